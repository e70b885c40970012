"""One stage from its settled data to its exported weights; and the table of what trains the kinds.

`train_stage` leaves, in this order: stage.json as the stage begins, journals and states (by `train`),
stage.json with what came out, the checkpoint. The ledger's line is written by the caller, after scoring.

A new kind is a file in `recipe/` that says what it is, one in `data/` that provides what it trains on with a
row in `data/kinds.py`, one in `train/` that does it, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cascade_rl.cascade.outside import Outside, directory_of, pinned
from cascade_rl.cascade.probe import probe_of, probed_too_late
from cascade_rl.cascade.record import CARRIED, Start, record_of
from cascade_rl.cascade.run import Progress, Run
from cascade_rl.errors import StageError
from cascade_rl.model.checkpoint import load_directory, weights_hash
from cascade_rl.model.export import export
from cascade_rl.recipe import Stage
from cascade_rl.run.book import Book
from cascade_rl.run.files import write_json
from cascade_rl.run.folder import stage_folder
from cascade_rl.train import reward_model, rl, sft
from cascade_rl.train.stage_run import Exported, StageRun, Trained
from cascade_rl.types import Checkpoint, StageData

# What trains each kind, as `data/kinds.py` says what makes its data. Nobody else may ask `stage.kind`.
TRAINERS: Mapping[str, Callable[..., Trained]] = {
    "sft": sft.train,
    "reward_model": reward_model.train,
    "rl": rl.train,
}


def train_stage(run: Run, progress: Progress, begun: Start) -> tuple[Checkpoint, Mapping[str, str]]:
    """Train a stage, from its last saved step if there is one; the model that it exported.

    With it the checksums of what else it exported, see `run.ledger.Entry`.
    """
    folder = begun.folder
    record = record_of(run, progress, begun)
    write_json(folder / "stage.json", record)
    run.screen.note(
        f"carried into {begun.stage.name}: {CARRIED} ({progress.parent or 'base'}, {progress.weights})"
    )
    book = Book(folder)
    try:
        trained = TRAINERS[begun.stage.kind](_stage_run(run, progress, begun, book), begun.settled.data)
    finally:
        book.close()
    # The policy also after a reward model's stage, whose checkpoint is the policy as it came; the reward
    # model itself was exported by its `train`.
    flat = run.world.replicas.flat("policy")
    dtype = run.recipe.model.export_dtype
    if dtype == "bf16":
        # rounded here too: what is scored and handed on, or read again by a resume, is what is exported
        flat = flat.bfloat16().float()
        run.world.replicas.load("policy", flat)
    # relative, so that a run directory may be moved
    path = str(folder.relative_to(run.folder) / "checkpoint")
    weights = weights_hash(flat)
    made = Checkpoint(path, begun.stage.name, trained.step, progress.parent, run.recipe.hash, weights)
    lineage = record["lineage"] | {"checkpoint": made.path, "step": made.step, "weights": made.weights_hash}
    # lines: such as pairs that were made of the policy's own samples, unknown before
    data = [*record["data"], *trained.lines]
    write_json(folder / "stage.json", record | {"data": data, "lineage": lineage} | trained.facts)
    run.screen.waiting("export")
    export(
        folder / "checkpoint",
        run.world.raw,
        run.world.config,
        flat,
        run.world.tokenizer,
        generation=run.world.generation,
        dtype=dtype,
    )
    return made, trained.exports


def load_finished(run: Run, stage: Stage, made: Checkpoint) -> None:
    """Give the workers the weights of a stage that is done; StageError when the ledger has others."""
    path = run.folder / made.path
    flat = load_directory(path)[2]
    # The hash is of the values: a file damaged by one bit is found here, before it trains a stage.
    if weights_hash(flat) != made.weights_hash:
        raise StageError(
            f"{path} is not what the ledger recorded (its weights' checksum differs); restore it, or move "
            f"{path.parent} away: its stage is then trained anew"
        )
    run.world.replicas.load("policy", flat)
    if probed_too_late(run, stage, path.parent):
        run.screen.note(f"{stage.name} was trained without probes: policy best leaves it at its last step")


def _stage_run(run: Run, progress: Progress, begun: Start, book: Book) -> StageRun[Stage]:
    asked, body = begun.reward_model, None
    if begun.outside:
        there = directory_of(begun.outside, begun.stage, run.screen)
        if begun.stage.trains == "reward_model":
            body = there
        else:
            asked = Exported(there, None, apart=True)
    return StageRun(
        begun.stage,
        run.world,
        book,
        run.materials.domains,
        run.screen,
        seed=run.recipe.seed,
        key=begun.key,
        start=progress.start,
        reward_model=asked,
        body=body,
        stop_asked=run.stop_asked,
        probe=probe_of(run, begun.stage),
        export_dtype=run.recipe.model.export_dtype,
        smoke=run.recipe.smoke,
        peaks=run.peaks(),
    )


def asked_models(
    run: Run, stage: Stage, data: StageData, folder: Path
) -> tuple[Exported | None, Outside | None]:
    """The reward model of the run that a stage asks, and what it takes from outside instead."""
    return asked_reward_model(run, stage, data), pinned(stage, folder, run.screen)


def asked_reward_model(run: Run, stage: Stage, data: StageData) -> Exported | None:
    """The reward model that a stage asks, as its stage exported it; None where no reward is learned.

    The stage that trains it is done: it comes earlier.
    """
    name = stage.reward_model_among(run.recipe.before(stage.name))
    if name is None:
        return None
    # the problems of a pool are of one domain
    learned = any(run.materials.domains[pool[0].domain].learned for pool in data.pools())
    if not learned and not stage.adds_scores():
        return None
    index = [s.name for s in run.recipe.stages].index(name)
    weights = run.ledger.entries[index].exports.get(reward_model.FOLDER)
    apart = run.recipe.stage(name).outside() is not None
    return Exported(stage_folder(run.folder, index, name) / reward_model.FOLDER, weights, apart)
