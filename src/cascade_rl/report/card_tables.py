"""The tables of a model card in Markdown: the matrix, and what is left of each benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cascade_rl.report.numbers import THIN_ARROWS
from cascade_rl.scores.matrix import benchmark_names
from cascade_rl.scores.points import in_points
from cascade_rl.scores.retention import Retention, Since
from cascade_rl.scores.statistics import compare
from cascade_rl.types import BenchmarkScore, Scorecard

CAPTION = (
    "Average over samples in the headline mode, in per cent; ↑ and ↓ mark changes from the stage before "
    "whose paired 95 % interval excludes zero; bold is the stage that trains the benchmark's domain."
)


def matrix_markdown(scorecards: Sequence[Scorecard], own_stages: Mapping[str, str | None]) -> str:
    """The matrix as a Markdown table with its caption; `own_stages` has all benchmarks of the recipe."""
    stages = [card.stage for card in scorecards]
    names = list(dict.fromkeys([*own_stages, *benchmark_names(scorecards)]))
    if not names:
        return "The recipe has no benchmarks: nothing was measured.\n"
    lines = [line(["benchmark", *stages]), line(["---", *("---:" for _ in stages)])]
    for name in names:
        row = {card.stage: card.benchmarks[name] for card in scorecards if name in card.benchmarks}
        lines.append(line([name, *_cells(stages, row, own_stages.get(name))]))
    return "\n".join([*lines, "", CAPTION, ""])


def retention_markdown(rows: Sequence[Retention]) -> str:
    """The retention table: changes in points with their 95 % intervals."""
    head = ["benchmark", "own stage", "since own stage", "best before", "since best"]
    lines = [line(head), line(["---"] * len(head))]
    for row in rows:
        # Without an own stage the first score stands in; unnamed, the number would belong to nothing.
        own = row.own_stage or (f"none; first score {row.since_own.stage}" if row.since_own else "")
        best = row.since_best.stage if row.since_best else ""
        lines.append(line([row.benchmark, own, _change(row.since_own), best, _change(row.since_best)]))
    return "\n".join([*lines, ""])


def _cells(stages: Sequence[str], row: Mapping[str, BenchmarkScore], own: str | None) -> list[str]:
    cells: list[str] = []
    previous: BenchmarkScore | None = None
    for stage in stages:
        found = row.get(stage)
        if found is None:
            cells.append("not scored")
            continue
        number = f"{100 * found.score.mean:.1f}"
        cells.append((f"**{number}**" if stage == own else number) + _arrow(previous, found))
        previous = found
    return cells


def _arrow(before: BenchmarkScore | None, after: BenchmarkScore) -> str:
    # a mode that was not measured before has nothing to be compared with: a changed recipe may ask another
    if before is None or after.headline not in before.modes:
        return ""
    # the interval alone, without the gate's band and correction, as CAPTION says
    change = compare(before.modes[after.headline], after.modes[after.headline])
    sign = THIN_ARROWS.get(change.verdict, "")
    return f" {sign}" if sign else ""


def _change(since: Since | None) -> str:
    if since is None:
        return ""
    change, low, high = (
        in_points(x, sign=True) for x in (since.change.change, since.change.low, since.change.high)
    )
    return f"{change} ({low} to {high})"


def line(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    # a name of a file's own may hold the column sign
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
