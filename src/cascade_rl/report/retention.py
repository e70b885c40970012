"""What is left of each benchmark at the end: final minus own stage, and final minus best so far.

Intervals are those of the gate (`evals.statistics`): paired over the held-out problems when both scorecards give
scores per problem, else from the two scores alone. A benchmark that no stage owns is compared with its first
score. A fall counts as forgotten when its interval excludes zero and it exceeds the band that the gate uses at
the end, 3 points: smaller ones are swing between steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cascade_rl.report.markup import points
from cascade_rl.report.records import Matrix, Row, Run
from cascade_rl.scores.statistics import Change, independent_change, paired_change

BAND, ROUNDING = 0.03, 1e-9
Problems = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Retention:
    """One benchmark at the end; differences of shares, negative is a fall; `since` is the stage compared with."""

    benchmark: str
    final: str
    since: str
    change: float
    low: float
    high: float
    best: str
    below_best: float

    @property
    def fell(self) -> bool:
        """Whether the whole 95 % interval lies under zero."""
        return self.high < 0

    @property
    def lost(self) -> bool:
        """Whether it fell by more than the band."""
        return self.fell and -self.change > BAND + ROUNDING


def _change(row: Row, since: str, final: str, per_problem: Problems) -> Change:
    before, after = per_problem.get(since, {}), per_problem.get(final, {})
    if len(before) > 1 and before.keys() == after.keys():
        return paired_change(before, after, k=min(row.scores[since].k, row.scores[final].k))
    return independent_change(row.scores[since], row.scores[final])


def from_best(row: Row, matrix: Matrix) -> tuple[str, float] | None:
    """The stage with the best score so far and the last score minus that one; None before the second score."""
    measured = [stage for stage in matrix.stages if stage in row.scores]
    if len(measured) < 2:
        return None
    best = max(measured, key=lambda stage: row.scores[stage].mean)
    return best, row.scores[measured[-1]].mean - row.scores[best].mean


def retention(row: Row, matrix: Matrix, per_problem: Problems) -> Retention | None:
    """The retention of one benchmark; None while its own stage is still to come or is the last one measured."""
    measured = [stage for stage in matrix.stages if stage in row.scores]
    best = from_best(row, matrix)
    if best is None:
        return None
    final, since = measured[-1], row.own_stage or measured[0]
    if since not in measured or since == final:
        return None
    change = _change(row, since, final, per_problem)
    shown = row.scores[final].mean - row.scores[since].mean
    return Retention(row.name, final, since, shown, change.low, change.high, *best)


def retentions(matrix: Matrix, run: Run | None = None) -> tuple[Retention, ...]:
    """The retention of every benchmark that has one, in the matrix's order."""
    found = []
    for row in matrix.rows:
        problems = {stage.name: stage.per_problem.get(row.name, {}) for stage in (run.stages if run else ())}
        found.append(retention(row, matrix, problems))
    return tuple(kept for kept in found if kept is not None)


def verdict(matrix: Matrix, kept: tuple[Retention, ...]) -> tuple[str, str]:
    """One line on forgetting, and its tone: `good`, `bad` or `open`."""
    if not matrix.rows:
        return "No benchmark has been scored yet", "open"
    if not kept:
        return "Too early to speak of forgetting: no benchmark was scored again after its own stage", "open"
    if lost := [k for k in kept if k.lost]:
        cells = "; ".join(f"{k.benchmark} {points(k.change)} points since {k.since}" for k in lost)
        return f"Forgotten: {cells}", "bad"
    worst = min(kept, key=lambda k: k.change)
    word = "worst" if worst.change < 0 else "lowest"
    where = f"{points(worst.change)} points ({worst.benchmark}, since {worst.since})"
    beyond = f" beyond {points(BAND)[1:]} points" if any(k.fell for k in kept) else ""
    return f"Nothing forgotten{beyond}: {word} retention {where}", "good"
