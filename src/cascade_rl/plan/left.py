"""What of a plan is left to do in a run directory, and the refusal of what won't be done in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum
from pathlib import Path

import yaml

from cascade_rl.errors import InputError
from cascade_rl.plan.phases import EVALUATION
from cascade_rl.plan.stage_plan import PhasePlan
from cascade_rl.plan.total import HOUR, Plan
from cascade_rl.recipe import BASE, Recipe
from cascade_rl.report.numbers import duration
from cascade_rl.run.folder import stage_folder
from cascade_rl.run.ledger import Ledger, first_change, recipe_text

WHOLE = -1  # of a stage that is done, its evaluation, too


def steps_done(recipe: Recipe, run: Path) -> dict[str, int]:
    """Saved steps by stage, `WHOLE` of stages that are done; a changed recipe redoes what it changes."""
    file = run / "recipe.yaml"
    if not file.is_file():
        return {}
    before = _raw(file.read_text(encoding="utf-8", errors="replace"))
    now = yaml.safe_load(recipe_text(recipe))
    # a hub's commit is filled in as a run begins
    if before.get("model", {}).get("commit") and not recipe.model.commit:
        now["model"] = {**now["model"], "commit": before["model"]["commit"]}
    kept = first_change(before, now) if before.get("stages") else 0
    done = len(Ledger(run).entries)
    found = {stage.name: WHOLE for stage in recipe.stages[: min(kept, done)]}
    # set aside with the first stage
    if recipe.score_base and kept and (run / BASE / "scorecard.json").is_file():
        found[BASE] = WHOLE
    if done < min(kept, len(recipe.stages)):
        name = recipe.stages[done].name
        found[name] = saved_step(stage_folder(run, done, name))
    return found


def _raw(text: str) -> dict[str, dict[str, str]]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def saved_step(folder: Path) -> int:
    """The step of the newest whole state of a stage; 0 without any."""
    # the manifest is written last (train/state.py)
    states = [path.parent.name for path in folder.glob("**/step-*/manifest.json")]
    return max((int(name.removeprefix("step-")) for name in states), default=0)


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a plan: steps by the place of its phase."""

    plan: Plan
    steps: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """Of all that is left."""
        return fsum(self.of(place) for place in range(len(self.steps)))

    def of(self, place: int) -> float:
        """Seconds that are left of a phase."""
        return self.plan.phases[place].seconds_of(self.steps[place]) if self.steps[place] else 0.0

    @property
    def longest(self) -> int:
        """The place of the phase with most left to do."""
        return max(range(len(self.steps)), key=self.of)


def left_of(plan: Plan, done: Mapping[str, int]) -> Left:
    """By the steps that are saved of each stage."""
    return Left(plan, tuple(_steps(each, done.get(each.phase.stage, 0)) for each in plan.phases))


def _steps(each: PhasePlan, done: int) -> int:
    if done == WHOLE:
        return 0
    if each.phase.kind == EVALUATION:
        return each.phase.steps
    return max(0, each.phase.steps - max(0, done - each.phase.first))


def refuse_late(left: Left, hours: float) -> None:
    """Raise InputError where what is left takes longer: how long, the longest stage, and what to change."""
    # to the millisecond: hours are rarely whole seconds
    over = round(left.seconds - hours * HOUR, 3)
    if over <= 0:
        return
    place = left.longest
    longest, took = left.plan.phases[place], left.of(place)
    mend = _mend(longest, left.steps[place], over)
    raise InputError(
        f"--within {hours:g}: the plan takes {duration(left.seconds)}, {duration(over)} too long; longest is "
        f"{longest.phase.name} with {duration(took)} ({longest.time.pole}): {mend}; "
        "nothing was written"
    )


def _mend(longest: PhasePlan, steps: int, over: float) -> str:
    """What would bring the longest phase down by what is too much."""
    phase = longest.phase
    if phase.kind == EVALUATION:
        return "ask fewer problems or a smaller k (benchmarks), or more GPUs"
    # whole steps that have to go
    less = -int(-over // longest.time.total) if longest.time.total else steps
    if less < steps:
        return (
            f"{less} steps fewer would do (stages.{phase.stage}.steps), as would shorter texts or more GPUs"
        )
    return "shorten it and others (stages.NAME.steps), or take more GPUs"
