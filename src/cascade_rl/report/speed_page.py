"""The sections on time: where it went, by stage and phase, and how near each phase came to the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cascade_rl.report.charts import stacked_bars
from cascade_rl.report.markup import esc, table
from cascade_rl.report.numbers import DASH, duration
from cascade_rl.report.records import Run, Stage
from cascade_rl.report.speed import OTHER, SHARES, has_figures, machine_line, speed_rows, spent_seconds
from cascade_rl.scores.matrix import Matrix

# the order of the bars' parts; phases that are not here come after them
PHASES = ("rollout", "grading", "update", "save", "evaluation")
FIGURES = (
    "sampled, tokens/s",
    "trained, tokens/s",
    "MFU, %",
    "MBU, %",
    "rollout of limit, %",
    "update of limit, %",
)
MEANING = (
    "<b>MFU</b>: operations of the model in the updates (forward and backward, each prompt once, nothing "
    "recomputed) over what the machine multiplies in their time. <b>MBU</b>: bytes of weights and cache that "
    "decoding must read over what the machine copies in the time of the rollouts. <b>Of the limit</b>: the "
    "least time that the cost model allows (docs/engine.md: products and bytes at the measured peaks, "
    "nothing else) over the time taken. Trained tokens count a prompt once for all its replies."
)


def time_section(stages: Sequence[Stage], matrix: Matrix) -> str:
    """The section #time: a bar per stage and the same numbers as a table."""
    rows = [(stage.name, spent) for stage in stages if (spent := spent_seconds(stage, matrix))]
    if not rows:
        return ""
    used = {phase for _, spent in rows for phase in spent}
    parts = [p for p in PHASES if p in used] + sorted(used - {*PHASES, OTHER}) + [OTHER] * (OTHER in used)
    keys = "".join(f'<li><i class="key bar c{i % 8}"></i>{esc(part)}</li>' for i, part in enumerate(parts))
    lines = [(name, spent) for name, spent in rows]
    if len(rows) > 1:
        lines.append(("all stages", {p: math.fsum(spent.get(p, 0.0) for _, spent in rows) for p in parts}))
    cells = [
        [
            esc(name),
            *(duration(spent[p]) if spent.get(p) else DASH for p in parts),
            duration(math.fsum(spent.values())),
        ]
        for name, spent in lines
    ]
    return (
        f'<section id="time"><h2>Where the time went</h2>{stacked_bars(rows, parts)}'
        f'<ul class="legend">{keys}</ul>'
        f"{table(['stage', *map(esc, parts), 'total'], cells, 'plain numbers')}</section>"
    )


def speed_section(run: Run) -> str:
    """The section #speed; empty for a run that does not say what its steps did."""
    if not has_figures(run):
        return ""
    head = ["stage", *(f"{name}, %" for name in SHARES), *FIGURES]
    rows = [[esc(cell) for cell in row] for row in speed_rows(run)]
    return (
        f'<section id="speed"><h2>How near to the limit</h2>{table(head, rows, "plain numbers")}'
        f'<p class="legend-text">{MEANING} {esc(machine_line(run))}</p></section>'
    )
