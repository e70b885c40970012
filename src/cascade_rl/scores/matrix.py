"""Benchmarks x stages: the table that shows what each stage did to every domain (the report's tables 3 to 9).

Retention is the end against the own stage and against the best earlier stage, in the headline mode. A stage that
changed no weights of the policy is a column like any other: its scorecard repeats the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.scores.as_json import mode_to_json, score_to_json
from cascade_rl.scores.statistics import Change, Direction, compare
from cascade_rl.types import BenchmarkScore, Scorecard

ARROWS = {Direction.GAIN: " ↑", Direction.LOSS: " ↓", Direction.SAME: ""}
CAPTION = (
    "Average over samples in the headline mode, in per cent; ↑ and ↓ mark changes from the stage before whose paired "
    "95 % interval excludes zero; bold is the stage that trains the benchmark's domain."
)


@dataclass(frozen=True, slots=True)
class Retention:
    """A benchmark at the end against its own stage and its best earlier one; None where there is no such stage."""

    benchmark: str
    final: str
    own_stage: str | None
    from_own: Change | None
    best_stage: str | None
    from_best: Change | None


def matrix(
    scorecards: Sequence[Scorecard], own_stages: Mapping[str, str], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """The content of matrix.json; `own_stages` maps a benchmark to the stage that trains for it."""
    _check(scorecards)
    benchmarks = {}
    for name in benchmark_names(scorecards):
        row = _row(scorecards, name)
        benchmarks[name] = {
            "own_stage": own_stages.get(name),
            "headline": str(row[list(row)[-1]].headline),
            "scores": {stage: score_to_json(found.score) for stage, found in row.items()},
            "modes": {
                stage: {str(mode): mode_to_json(m) for mode, m in found.modes.items()}
                for stage, found in row.items()
            },
        }
    return {"stages": [card.stage for card in scorecards], "benchmarks": benchmarks, "seconds": dict(seconds)}


def retention(scorecards: Sequence[Scorecard], own_stages: Mapping[str, str]) -> tuple[Retention, ...]:
    """What is left of each benchmark of the last scorecard.

    The best earlier stage is the best of several noisy scores and so a little flattered: a small fall from it is
    expected of a run that forgot nothing.
    """
    _check(scorecards)
    return tuple(_retention(scorecards, name, own_stages.get(name)) for name in scorecards[-1].benchmarks)


def markdown(scorecards: Sequence[Scorecard], own_stages: Mapping[str, str]) -> str:
    """The matrix as a Markdown table for a model card, with its caption."""
    _check(scorecards)
    stages = [card.stage for card in scorecards]
    lines = [_line(["benchmark", *stages]), _line(["---", *("---:" for _ in stages)])]
    for name in benchmark_names(scorecards):
        lines.append(_line([name, *_cells(stages, _row(scorecards, name), own_stages.get(name))]))
    return "\n".join([*lines, "", CAPTION, ""])


def retention_markdown(rows: Sequence[Retention]) -> str:
    """The retention table for a model card: changes in points with their 95 % intervals."""
    lines = [
        _line(["benchmark", "own stage", "since own stage", "best before", "since best"]),
        _line(["---"] * 5),
    ]
    for row in rows:
        own = [row.own_stage or "", _points(row.from_own)]
        lines.append(_line([row.benchmark, *own, row.best_stage or "", _points(row.from_best)]))
    return "\n".join([*lines, ""])


def benchmark_names(scorecards: Sequence[Scorecard]) -> list[str]:
    """All benchmarks in the order in which they first appear."""
    return list(dict.fromkeys(name for card in scorecards for name in card.benchmarks))


def _retention(scorecards: Sequence[Scorecard], name: str, own: str | None) -> Retention:
    *before, final = _row(scorecards, name).items()
    earlier = dict(before)
    best = max(earlier, key=lambda stage: earlier[stage].score.mean, default=None)
    from_own = _change(earlier[own], final[1]) if own in earlier else None
    from_best = _change(earlier[best], final[1]) if best is not None else None
    return Retention(name, final[0], own, from_own, best, from_best)


def _change(before: BenchmarkScore, after: BenchmarkScore) -> Change:
    return compare(before.modes[after.headline], after.modes[after.headline])


def _cells(stages: Sequence[str], row: Mapping[str, BenchmarkScore], own: str | None) -> list[str]:
    cells, previous = [], None
    for stage in stages:
        found = row.get(stage)
        if found is None:
            cells.append("")
            continue
        number = f"{100 * found.score.mean:.1f}"
        arrow = "" if previous is None else ARROWS[_change(previous, found).verdict]
        cells.append((f"**{number}**" if stage == own else number) + arrow)
        previous = found
    return cells


def _row(scorecards: Sequence[Scorecard], name: str) -> dict[str, BenchmarkScore]:
    return {card.stage: card.benchmarks[name] for card in scorecards if name in card.benchmarks}


def _check(scorecards: Sequence[Scorecard]) -> None:
    stages = [card.stage for card in scorecards]
    if not stages or len(set(stages)) < len(stages):
        raise ValueError(
            f"a matrix needs scorecards of distinct stages, found: {', '.join(stages) or 'none'}"
        )


def _points(change: Change | None) -> str:
    if change is None:
        return ""
    return f"{100 * change.change:+.1f} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
