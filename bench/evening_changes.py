"""What changed between two stages of a run, and in the mean of its seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from evening_runs import Told

from cascade_rl.scores.statistics import Change, Direction, compare, paired_change
from cascade_rl.types import Mode, ModeScore

Ends = tuple[ModeScore, ModeScore]


def ends(told: Told, name: str, before: str, after: str, mode: Mode | None = None) -> Ends | None:
    """A benchmark's scores after two stages, in the headline mode if none is said; None where one is missing."""
    first, last = told.mode(before, name, mode), told.mode(after, name, mode)
    return (first, last) if first and last else None


def _around(told: Told, name: str, stage: str) -> Ends | None:
    at = told.stages.index(stage) if stage in told.stages else 0
    return ends(told, name, told.stages[at - 1], stage) if at else None


@cache
def step_change(told: Told, name: str, stage: str) -> Change | None:
    """What a stage changed of a benchmark, against the one before it, over the same problems."""
    found = _around(told, name, stage)
    return compare(*found) if found else None


def mean_change(runs: Sequence[Told], name: str, stage: str) -> Change | None:
    """The mean over the seeds of what a stage changed; None unless every seed has it."""
    return mean_of([_around(told, name, stage) for told in runs])


def mean_of(pairs: Sequence[Ends | None]) -> Change | None:
    """The mean over the seeds of a change; None unless every seed has it.

    Over the same problems each problem counts once, with the mean of its changes; where seeds drew other
    problems, the intervals are independent. Either way it says how sure the problems make it: seeds are too
    few to say how far another one would be.
    """
    found = [pair for pair in pairs if pair is not None]
    if len(found) < len(pairs):
        return None
    sides = [[dict(pair[side].per_problem) for pair in found] for side in (0, 1)]
    if len({frozenset(scores) for scores in sides[0]}) == 1 and sides[0][0]:
        before, after = map(_mean, sides)
        return paired_change(before, after, k=sum(last.average.k for _, last in found))
    return _independent([compare(*pair) for pair in found])


def _mean(seeds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: math.fsum(found[name] for found in seeds) / len(seeds) for name in seeds[0]}


def _independent(changes: Sequence[Change]) -> Change:
    count = len(changes)
    mean = math.fsum(c.change for c in changes) / count
    low = mean - math.sqrt(math.fsum((c.change - c.low) ** 2 for c in changes)) / count
    high = mean + math.sqrt(math.fsum((c.high - c.change) ** 2 for c in changes)) / count
    verdict = Direction.SAME if low <= 0 <= high else Direction.GAIN if mean > 0 else Direction.LOSS
    return Change(mean, low, high, math.nan, verdict, min(c.n for c in changes), False)
