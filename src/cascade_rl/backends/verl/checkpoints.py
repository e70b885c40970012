"""Which of verl's checkpoints are whole, of which step, and of how many GPUs.

verl names its last one in `latest_checkpointed_iteration.txt`, a file that it empties before it writes it,
and goes on from whatever stands there: from a step past the end, too, where it trains nothing and exits 0. So
it is never left to choose: a start is told which checkpoint to go on from, or that there is none.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from cascade_rl.backends.verl.job import Job
from cascade_rl.backends.verl.planned import Planned
from cascade_rl.errors import InputError, StageError
from cascade_rl.run.files import read_json

PARTS = ("model", "optim", "extra_state")  # of each rank
SHARD = re.compile(r"(model|optim|extra_state)_world_size_(\d+)_rank_(\d+)\.pt")


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint: its step (verl counts from 1), its folder, and where in it the weights lie.

    faults  what keeps it from being gone on from, in words; none: it is whole
    """

    step: int
    folder: Path
    weights: Path
    world_size: int | None
    faults: tuple[str, ...]


def saved(job: Job, plan: Planned) -> list[Saved]:
    """All checkpoints of a job, the last step first."""
    found = []
    for folder in job.checkpoints.glob("global_step_*"):
        number = folder.name.removeprefix("global_step_")
        if number.isdecimal() and folder.is_dir():
            found.append(_look(int(number), folder, plan))
    return sorted(found, key=lambda s: -s.step)


def last_whole(job: Job, plan: Planned) -> Saved | None:
    """The last checkpoint that can be gone on from; None: the job begins anew.

    Raises StageError where checkpoints belong to another number of GPUs or to a longer job: those are no
    beginning of this one.
    """
    for found in saved(job, plan):
        if found.step > plan.steps:
            raise StageError(
                f"{found.folder} is of step {found.step}, but the job has {plan.steps}: verl would load "
                "it, train "
                f"nothing and exit without an error; move {job.checkpoints} away, and the job begins anew"
            )
        if found.faults:
            continue
        if found.world_size != plan.world_size:
            raise StageError(
                f"{found.folder} was written by {found.world_size} GPUs, the job now has "
                f"{plan.world_size}: verl's "
                "shards fit no other number. Give it as many as before (nodes, gpus_per_node), or move "
                f"{job.checkpoints} away: the job then begins anew from {plan.policy}"
            )
        return found
    return None


def _look(step: int, folder: Path, plan: Planned) -> Saved:
    # RL keeps the policy in a folder of its own (a critic would have another), SFT trains one model only
    weights = folder / "actor" if plan.kind == "rl" else folder
    if plan.strategy == "megatron":
        size, faults = _megatron(weights, step)
    else:
        size, faults = _shards(weights)
    loader = folder / "data.pt" if plan.kind == "rl" else folder / "data_0.pt"
    if not _is_whole(loader):
        # without it verl only warns, and takes the first prompts again
        faults.append(f"{loader.name} is missing or torn")
    return Saved(step, folder, weights, size, tuple(faults))


def _shards(weights: Path) -> tuple[int | None, list[str]]:
    """(world size, faults) of what FSDP wrote."""
    names = [m for m in map(SHARD.fullmatch, (p.name for p in weights.glob("*.pt"))) if m]
    sizes = {int(m[2]) for m in names}
    if len(sizes) != 1:
        said = "no shards" if not sizes else f"shards of {' and '.join(map(str, sorted(sizes)))} GPUs"
        return None, [f"{weights.name} holds {said}"]
    [size] = sizes
    paths = [weights / f"{part}_world_size_{size}_rank_{rank}.pt" for part in PARTS for rank in range(size)]
    faults = [f"{path.name} is missing or torn" for path in paths if not _is_whole(path)]
    try:
        config = read_json(weights / "fsdp_config.json")
    except InputError:
        config = None  # half written
    if not isinstance(config, dict) or config.get("world_size") != size:
        # written by rank 0 once its own shards are; the merger counts the shards by it
        faults.append("fsdp_config.json is missing, torn, or of another number of GPUs")
    return size, faults


def _megatron(weights: Path, step: int) -> tuple[int | None, list[str]]:
    """(world size, faults) of what Megatron wrote: its list of contents is renamed into place last."""
    contents = read_json(weights / "ckpt_contents.json")
    if not isinstance(contents, dict):
        return None, ["ckpt_contents.json is missing: it was not written to its end"]
    faults = (
        [] if contents.get("global_step") == step else [f"its contents are of {contents.get('global_step')}"]
    )
    return contents.get("world_size"), faults


def _is_whole(path: Path) -> bool:
    # torch writes zip archives, whose table of contents comes last: a torn file has none
    return path.is_file() and zipfile.is_zipfile(path)
