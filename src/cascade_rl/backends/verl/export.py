"""What a job trained, as a Hugging Face directory that was held against the weights it came from.

verl writes a shard a GPU. Its own merger puts them together; whether it did is looked at twice, by two codes
that share nothing with it: `inside/export.py` in verl's environment and the loader of this package.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cascade_rl.backends.verl.checkpoints import Saved, last_whole
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.backends.verl.planned import Planned, read_plan
from cascade_rl.backends.verl.processes import inherited
from cascade_rl.backends.verl.reasons import tail
from cascade_rl.errors import InputError, StageError
from cascade_rl.model.checkpoint import load_directory, read_config
from cascade_rl.model.decoder import views
from cascade_rl.model.network import Network
from cascade_rl.model.packed import Tree, pack
from cascade_rl.model.weight_files import weight_files
from cascade_rl.protocols import WHOLE
from cascade_rl.run.files import read_record, sync_folder, write_json

PROOF = "verl_export.json"  # in the exported directory: what was checked, and the numbers
SCRIPT = "export.py"
# of what the job began with: verl's copies are written anew by another transformers, and lose what ours say
KEPT = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model",
        "chat_template*", "generation_config.json", "origin.json")  # fmt: skip
# Fixed, of different lengths and scripts: what a tokenizer or an embedding loses shows in one of them.
TEXTS = (
    "The sum of the first three odd numbers is 9, since 1 + 3 + 5 = 9.",
    "def add(a, b):\n    return a + b\n",
    "Straße, café, Ω ≈ 3.14; 你好",
)
NEW_TOKENS = 8
# Two libraries compute in fp32 what a model says of a token; seen: 1e-5
NATS = 1e-3


def export_job(job: Job, command: Command, *, may_stand: bool = False) -> Path:
    """Merge the job's last checkpoint and prove the result; nothing to do if that was done.

    The weights are in the precision in which verl trained them. `may_stand`: that they are those that the
    job began with is no fault, as in a part of a stage in which no group had a signal.
    Raises StageError where the job is not at its end, where merging fails, or where a check does.
    """
    plan = read_plan(job)
    if job.exported.exists():
        return _known(job, plan)
    if plan.strategy == "megatron":
        raise StageError(
            f"{job.folder}: what Megatron trained can't be held against its shards here yet, so it isn't "
            "exported; its checkpoints are left as they are. verl.strategy: fsdp2 is exported"
        )
    found = last_whole(job, plan)
    if found is None or found.step != plan.steps:
        reached = found.step if found else 0
        raise StageError(
            f"{job.folder} has reached step {reached} of {plan.steps}: launch it before it is exported"
        )
    merged = job.folder / ".exported.tmp"
    shutil.rmtree(merged, ignore_errors=True)
    _merge(job, command, found, merged)
    proof = _prove(job, command, plan, found, merged, may_stand)
    for path in (path for pattern in KEPT for path in merged.glob(pattern)):
        path.unlink()
    for path in (path for pattern in KEPT for path in plan.policy.glob(pattern)):
        shutil.copyfile(path, merged / path.name)
    proof["loaded"] = _load(job, plan, merged, proof)
    write_json(merged / PROOF, {"step": found.step, "world_size": found.world_size} | proof)
    merged.rename(job.exported)
    sync_folder(job.folder)
    return job.exported


def _known(job: Job, plan: Planned) -> Path:
    record = read_record(job.exported / PROOF, "step")
    if record is None or record["step"] != plan.steps:
        raise StageError(
            f"{job.exported} is not of step {plan.steps} of this job; move it away, it is made anew"
        )
    return job.exported


def _merge(job: Job, command: Command, found: Saved, merged: Path) -> None:
    """Write the weights as one model: verl's own where it saved them whole, else merged by it."""
    own = found.weights / "huggingface"
    try:
        weight_files(own)
    except InputError:
        words = ["-m", "verl.model_merger", "merge", "--backend", "fsdp"]
        words += ["--local_dir", str(found.weights), "--target_dir", str(merged)]
        _run(job, command, words, "merge.log")
        weight_files(merged)
    else:
        shutil.copytree(own, merged)


def _prove(
    job: Job, command: Command, plan: Planned, found: Saved, merged: Path, may_stand: bool
) -> dict[str, Any]:
    """What verl's environment finds of the merged directory; StageError with every problem."""
    script = job.folder / SCRIPT
    shutil.copyfile(Path(__file__).parent / "inside" / SCRIPT, script)
    request = {
        "weights": str(found.weights.resolve()),
        "merged": str(merged.resolve()),
        "policy": str(plan.policy.resolve()),
        "world_size": found.world_size,
        "texts": TEXTS,
        "new_tokens": NEW_TOKENS,
        "may_stand": may_stand,
    }
    asked, answered = job.folder / "export_request.json", job.folder / "export_result.json"
    write_json(asked, request)
    answered.unlink(missing_ok=True)
    _run(job, command, [str(script.resolve()), str(asked.resolve()), str(answered.resolve())], "export.log")
    proof: dict[str, Any] = json.loads(answered.read_text())
    if proof["problems"]:
        _refuse(job, proof["problems"])
    return proof


def _load(job: Job, plan: Planned, merged: Path, proof: dict[str, Any]) -> dict[str, float]:
    """What this package finds of the directory: the same network, and the same numbers in its own code."""
    _, network, flat = load_directory(merged)
    _, before = read_config(plan.policy)
    if network != before:
        _refuse(
            job, [f"its config.json says another model than {plan.policy}: {network} instead of {before}"]
        )
    gap = max(
        abs(ours - theirs)
        for ids, wanted in zip(proof["ids"], proof["logprobs"], strict=True)
        for ours, theirs in zip(_logprobs(network, flat, ids), wanted, strict=True)
    )
    if not gap < NATS:
        _refuse(job, [f"this package finds log-probabilities up to {gap:.1e} nats away from transformers'"])
    return {"gap": gap}


def _logprobs(network: Network, flat: torch.Tensor, ids: Sequence[int]) -> list[float]:
    """log p of each token after the first, by our own network in fp32."""
    import numpy as np

    weights = views(flat, network.shapes())
    packed = pack([Tree(np.empty(0, np.int64), (np.asarray(ids[:-1], np.int64),))], torch.device("cpu"))
    with torch.no_grad(), network.laid_out(weights, layers=True):
        scored = network.scored(weights, packed)
        found: list[float] = network.logprobs(weights, scored, torch.tensor(ids[1:]), WHOLE).tolist()
    return found


def _run(job: Job, command: Command, words: Sequence[str], log: str) -> None:
    """Run a program of verl's environment to its end; StageError with its last lines."""
    with (job.folder / log).open("wb") as file:
        done = subprocess.run(
            [*command.python, *words],
            cwd=job.folder,
            env=inherited(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            check=False,
        )
    if done.returncode:
        said = "\n".join(f"  {line}" for line in tail(job.folder / log))
        raise StageError(
            f"{' '.join(words[:3])} failed with exit code {done.returncode}:\n{said}\n  all of it: "
            f"{job.folder / log}"
        )


def _refuse(job: Job, problems: Sequence[str]) -> None:
    shown = "\n".join(f"  {text}" for text in problems[:20])
    more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
    raise StageError(
        f"what {job.folder} exported is not what it trained; its checkpoints are left as they "
        f"are:\n{shown}{more}"
    )
