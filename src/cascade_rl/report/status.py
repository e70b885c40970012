"""How far each stage of a run directory is: what `cascade status` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cascade_rl.errors import InputError
from cascade_rl.recipe import Stage as Plan
from cascade_rl.recipe.reading import stored
from cascade_rl.report.read import read_run, require_run
from cascade_rl.report.records import DONE, HELD, RUNNING, WAITING, Run, Stage
from cascade_rl.run.tracking.sent import faults
from cascade_rl.scores.gate import GateResult

PASSED = "passed"  # what a gate without a fall says
UNMEASURED = "not measured"  # where no benchmark was scored
# a fault in another file, such as a sample, costs the status nothing
USED = ("recipe.yaml", "ledger.json", "stage.json", "journal.jsonl", "scorecard.json", "gate.json")


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage: its state, steps of those planned, what it scored, what the gate said.

    Also the model before the first one, with none `planned`.

    The state is `done`, `held` (done, but its gate stopped the run), `started` or `to do`. `scores` are
    shares in the order of the benchmarks, None where there is none yet.
    """

    stage: str
    state: str
    steps: int
    planned: int
    scores: tuple[float | None, ...]
    gate: str


@dataclass(frozen=True, slots=True)
class RunStatus:
    """All stages of the recipe in order, with the names of its benchmarks.

    `untold` are trackers that have not had all of the run, with the reasons.
    """

    benchmarks: tuple[str, ...]
    stages: tuple[StageStatus, ...]
    untold: Mapping[str, str] = field(default_factory=dict)


def run_status(run_dir: Path) -> RunStatus:
    """The status of a run; raises InputError when the directory is no run or damaged."""
    require_run(run_dir)
    run = read_run(run_dir)
    _refuse_damage(run_dir, run)
    recipe = stored(run.recipe, str(run_dir / "recipe.yaml"))
    benchmarks = tuple(benchmark.name for benchmark in recipe.benchmarks)
    found = {stage.name: stage for stage in run.stages}
    rows = [_base(run.base, benchmarks)] if run.base else []
    rows += [
        _status(plan, found.get(plan.name, Stage(plan.name, "", WAITING)), benchmarks)
        for plan in recipe.stages
    ]
    return RunStatus(benchmarks, tuple(rows), faults(run_dir))


def _refuse_damage(run_dir: Path, run: Run) -> None:
    """A page can leave out what it can't read; a status without its ledger would be wrong."""
    for fault in run.unread:
        file, _, why = fault.partition(": ")
        if Path(file).name in USED:
            raise InputError(f"{run_dir / file} is no file of a run: {why}")


def _status(plan: Plan, stage: Stage, benchmarks: tuple[str, ...]) -> StageStatus:
    # The ledger alone says that a stage is done: it is written last, after scorecard and gate.
    state = "done" if stage.ledger else "started" if stage.description else "to do"
    if stage.status == HELD:
        state = "held"
    steps = stage.steps[-1].step + 1 if stage.steps else 0
    shares = _shares(stage, benchmarks)
    return StageStatus(plan.name, state, steps, plan.planned_steps, shares, _gate(stage.gate))


def _base(base: Stage, benchmarks: tuple[str, ...]) -> StageStatus:
    """The row of the model before the first stage, which has no steps and no gate."""
    state = {DONE: "done", RUNNING: "started"}.get(base.status, "to do")
    return StageStatus(base.name, state, 0, 0, _shares(base, benchmarks), "")


def _shares(stage: Stage, benchmarks: tuple[str, ...]) -> tuple[float | None, ...]:
    scores = stage.card.benchmarks if stage.card else {}
    return tuple(scores[name].score.mean if name in scores else None for name in benchmarks)


def _gate(gate: GateResult | None) -> str:
    if gate is None:
        return ""
    if not gate.measured:
        return UNMEASURED
    return PASSED if gate.passed else "; ".join(gate.notes)
