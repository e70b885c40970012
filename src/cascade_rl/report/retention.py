"""What the page says of forgetting, from the files of a run; the rule is that of `scores.retention`."""

from __future__ import annotations

from collections.abc import Mapping

from cascade_rl.report.numbers import points
from cascade_rl.report.records import Run
from cascade_rl.scores.gate import FINAL_BAND
from cascade_rl.scores.matrix import Matrix, Row
from cascade_rl.scores.retention import Measured, Retention, retention
from cascade_rl.types import Scorecard


def matrix_retentions(matrix: Matrix, cards: Mapping[str, Scorecard] | None = None) -> tuple[Retention, ...]:
    """The retention of every benchmark of a matrix; paired where `cards` (by stage) know the problems."""
    found = ((row, _measured(row, matrix, cards or {})) for row in matrix.rows)
    return tuple(retention(row.name, measured, row.own_stage) for row, measured in found if measured)


def run_retentions(run: Run) -> tuple[Retention, ...]:
    """The retention of every benchmark of a run."""
    return matrix_retentions(run.matrix, {stage.name: stage.card for stage in run.scored if stage.card})


def run_verdict(run: Run) -> tuple[str, str]:
    """`verdict` of a run, which may have no benchmarks at all."""
    if run.unmeasured:
        return "The recipe has no benchmarks: nothing was measured", "open"
    return verdict(run.matrix, run_retentions(run))


def verdict(matrix: Matrix, found: tuple[Retention, ...]) -> tuple[str, str]:
    """One line on forgetting, and its tone: `good`, `bad` or `open`."""
    if not matrix.rows:
        return "No benchmark has been scored yet", "open"
    kept = [(k.benchmark, k.since_own) for k in found if k.since_own]
    if not kept:
        return "Too early to speak of forgetting: no benchmark was scored again after its own stage", "open"
    if lost := [(name, since) for name, since in kept if since.lost]:
        cells = "; ".join(
            f"{name} {points(since.change.change)} points since {since.stage}" for name, since in lost
        )
        return f"Forgotten: {cells}", "bad"
    name, worst = min(kept, key=lambda pair: pair[1].change.change)
    word = "worst" if worst.change.change < 0 else "lowest"
    where = f"{points(worst.change.change)} points ({name}, since {worst.stage})"
    beyond = f" beyond {points(FINAL_BAND)[1:]} points" if any(since.fell for _, since in kept) else ""
    return f"Nothing forgotten{beyond}: {word} retention {where}", "good"


def _measured(row: Row, matrix: Matrix, cards: Mapping[str, Scorecard]) -> dict[str, Measured]:
    """The headline score after each stage, with the problems of its scorecard where that is there."""
    measured = {}
    for stage in matrix.stages:
        if stage in row.scores:
            card = cards.get(stage)
            score = card.benchmarks.get(row.name) if card else None
            mode = score.modes.get(row.headline) if score else None
            measured[stage] = Measured(row.scores[stage], mode.per_problem if mode else {})
    return measured
