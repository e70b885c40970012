"""The section on speed: a table of what `speed` found, and what its columns mean."""

from __future__ import annotations

from cascade_rl.report.markup import esc, table
from cascade_rl.report.records import Run
from cascade_rl.report.speed import SHARES, has_figures, machine_line, speed_rows

FIGURES = (
    "sampled, tokens/s",
    "trained, tokens/s",
    "MFU, %",
    "MBU, %",
    "rollout of limit, %",
    "update of limit, %",
)
MEANING = (
    "<b>MFU</b>: operations of the model in the updates (forward and backward, each prompt once, nothing recomputed) over "
    "what the machine multiplies in their time. <b>MBU</b>: bytes of weights and cache that decoding must read over what "
    "the machine copies in the time of the rollouts. <b>Of the limit</b>: the least time that the cost model allows "
    "(docs/engine.md: products and bytes at the measured peaks, nothing else) over the time taken. Trained tokens count a "
    "prompt once for all its replies."
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
