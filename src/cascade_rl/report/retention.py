"""What is left of each benchmark at the end: final minus own stage, and final minus best so far.

The difference to the own stage is paired over the held-out problems when both scorecards give scores per
problem (normal interval of the mean difference); otherwise the two intervals are combined as if the
samples were independent, which is wider. A benchmark that no stage owns is compared with its first score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cascade_rl.report.markup import points
from cascade_rl.report.records import Matrix, Row, Run
from cascade_rl.types import Score

Z95 = 1.959964


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
    def lost(self) -> bool:
        """Whether the whole 95 % interval lies under zero."""
        return self.high < 0


def paired(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean difference over the same problems; None unless they are the same."""
    if len(before) < 2 or before.keys() != after.keys():
        return None
    diffs = [after[key] - before[key] for key in sorted(before)]
    mean = math.fsum(diffs) / len(diffs)
    spread = math.sqrt(math.fsum((d - mean) ** 2 for d in diffs) / (len(diffs) - 1) / len(diffs))
    return mean - Z95 * spread, mean + Z95 * spread


def independent(before: Score, after: Score) -> tuple[float, float]:
    """The interval of a difference from two intervals: half widths add in squares."""
    change = after.mean - before.mean
    low = math.hypot(after.mean - after.low, before.high - before.mean)
    high = math.hypot(after.high - after.mean, before.mean - before.low)
    return change - low, change + high


def retention(row: Row, matrix: Matrix, per_problem: Mapping[str, Mapping[str, float]]) -> Retention | None:
    """The retention of one benchmark; None while its own stage is still to come or is the last one measured."""
    measured = [stage for stage in matrix.stages if stage in row.scores]
    if not measured:
        return None
    final, since = measured[-1], row.own_stage or measured[0]
    if since not in measured or since == final:
        return None
    interval = paired(per_problem.get(since, {}), per_problem.get(final, {}))
    low, high = interval or independent(row.scores[since], row.scores[final])
    best = max(measured, key=lambda stage: row.scores[stage].mean)
    end = row.scores[final].mean
    return Retention(row.name, final, since, end - row.scores[since].mean, low, high, best, end - row.scores[best].mean)


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
    return f"Nothing forgotten: {word} retention {where}", "good"
