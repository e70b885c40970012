"""Benchmarks x stages: the table that shows what each stage did to every domain (the report's tables 3 to 9).

A stage that left the policy as it was is a column, too: its scorecard repeats the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cascade_rl.types import Mode, Score, Scorecard


@dataclass(frozen=True, slots=True)
class ModeCell:
    """One benchmark after one stage in one mode; `leak` and `clipped` are shares in [0, 1]."""

    average: Score
    greedy: Score | None
    leak: float
    clipped: float
    mean_tokens: float


@dataclass(frozen=True, slots=True)
class Row:
    """One benchmark: `scores` has its headline score after each stage, `modes` is stage -> mode -> cell."""

    name: str
    own_stage: str | None
    headline: Mode
    scores: Mapping[str, Score]
    modes: Mapping[str, Mapping[Mode, ModeCell]]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Benchmarks x stages, in the order of the run; `seconds` per stage."""

    stages: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


def matrix(
    scorecards: Sequence[Scorecard], own_stages: Mapping[str, str | None], seconds: Mapping[str, float]
) -> Matrix:
    """The matrix of a run so far; `own_stages` maps a benchmark to the stage that trains for it.

    Raises ValueError unless there are scorecards, each of another stage.
    """
    check_distinct(scorecards)
    rows = tuple(_row(scorecards, name, own_stages.get(name)) for name in benchmark_names(scorecards))
    return Matrix(tuple(card.stage for card in scorecards), rows, dict(seconds))


def benchmark_names(scorecards: Sequence[Scorecard]) -> list[str]:
    """All benchmarks in the order in which they first appear."""
    return list(dict.fromkeys(name for card in scorecards for name in card.benchmarks))


def check_distinct(scorecards: Sequence[Scorecard]) -> None:
    """Raise ValueError where there is no scorecard, or two of one stage."""
    stages = [card.stage for card in scorecards]
    if not stages or len(set(stages)) < len(stages):
        raise ValueError(
            f"a matrix needs scorecards of distinct stages, found: {', '.join(stages) or 'none'}"
        )


def _row(scorecards: Sequence[Scorecard], name: str, own: str | None) -> Row:
    found = {card.stage: card.benchmarks[name] for card in scorecards if name in card.benchmarks}
    # should the headline have changed on the way, the newest card says which it is
    last = list(found.values())[-1]
    modes = {
        stage: {
            mode: ModeCell(m.average, m.greedy, m.leak, m.clipped, m.mean_tokens)
            for mode, m in benchmark.modes.items()
        }
        for stage, benchmark in found.items()
    }
    scores = {stage: benchmark.score for stage, benchmark in found.items()}
    return Row(name, own, last.headline, scores, modes)
