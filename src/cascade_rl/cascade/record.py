"""What stage.json says of a stage when it begins, and whether one that was begun may go on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cascade_rl.cascade.outside import Outside
from cascade_rl.cascade.run import Progress, Run
from cascade_rl.data.settle import Settled
from cascade_rl.errors import StageError, StartedOtherwise
from cascade_rl.grading.services import standing
from cascade_rl.recipe import Stage
from cascade_rl.run.files import read_record
from cascade_rl.sandbox.levels import LEVELS
from cascade_rl.train.stage_run import Exported

# Between stages nothing but weights goes over. arXiv 2512.13607 does not say whether its optimiser does.
CARRIED = "weights only; fresh optimiser, counters and generators"

# Of a stage's lineage what a user may have changed on purpose, by mending data or training a stage before it.
REDONE = {"data": "data", "incoming_weights": "incoming weights", "reward_model": "reward model"}


@dataclass(frozen=True, slots=True)
class Start:
    """A stage that is about to begin: its place, its settled data, the reward model that it asks, its key.

    `outside` is what it takes from outside the run, if anything.
    """

    stage: Stage
    folder: Path
    settled: Settled
    reward_model: Exported | None
    key: str
    outside: Outside | None = None


def check_started(run: Run, progress: Progress, begun: Start) -> None:
    """An unfinished stage goes on only if it was started with the same settings, data and weights.

    Raises StartedOtherwise where data or weights are others, StageError where the program or the machine is.
    """
    before = read_record(begun.folder / "stage.json", "key")
    if not before:
        return
    if before["key"] != begun.key:
        now, then = record_of(run, progress, begun)["lineage"], before.get("lineage", {})
        changed = [key for key in run.settings if key in now and now[key] != then.get(key)]
        other = [what for key, what in REDONE.items() if now.get(key) != then.get(key)]
        if changed or not other:
            raise StageError(
                f"{begun.folder} was started with other settings ({', '.join(changed) or 'the program'}); "
                "--accept-changes does not cover a changed program or machine: move the directory away, or "
                "choose another --out"
            )
        raise StartedOtherwise(begun.folder, " and ".join(other))
    level, then = _sandbox_level(run), before.get("sandbox")
    # LEVELS run from strong to weak: going on at a stronger level is allowed
    if level and then and LEVELS.index(level) > LEVELS.index(then):
        raise StageError(
            f"{begun.folder} was started with the sandbox level {then}, and here it is {level}: rewards "
            "would not be comparable; see `cascade doctor`"
        )


def _sandbox_level(run: Run) -> str | None:
    found = standing(run.world.services)
    return found.level if found else None


def record_of(run: Run, progress: Progress, begun: Start) -> dict[str, Any]:
    """The content of stage.json when a stage begins; docs/runs.md says what each key is."""
    # the model stands whole in recipe.yaml; here it would be repeated in every stage
    shared = {key: value for key, value in run.settings.items() if key != "model"}
    if begun.reward_model and begun.reward_model.weights:
        shared["reward_model"] = begun.reward_model.weights
    return {
        "stage": begun.stage.name,
        "kind": begun.stage.kind,
        "key": begun.key,
        "settings": begun.stage.model_dump(mode="json", exclude_none=True),
        "carried": CARRIED,
        "sandbox": _sandbox_level(run),
        "data": begun.settled.described,
        **({"origin": dict(run.world.origin)} if run.world.origin else {}),
        "lineage": {
            "run": run.recipe.name,
            "seed": run.recipe.seed,
            "parent": progress.parent or "base",
            "incoming_weights": progress.weights,
            "data": begun.settled.hash,
            "recipe": run.recipe.hash,
            **({"outside": asdict(begun.outside)} if begun.outside else {}),
            **shared,
            **({"base": "; ".join(run.notes)} if run.notes else {}),
        },
    }
