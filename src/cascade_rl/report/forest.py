"""A forest plot in the cells of a table, as inline SVG: dots with intervals, all on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.report.charts import nice_ticks, short
from cascade_rl.report.markup import esc

# pixels: the cell keeps its size, so that text does
WIDTH, HEIGHT, MARGIN = 260, 26, 12
LEAST = 0.02  # of the half scale, in shares: noise of half a point must not look like a mountain

CSS = """
.forest { display: block; overflow: visible; }
.forest line { stroke: var(--rule); }
.forest .zero { stroke: var(--quiet); }
.forest .reach { stroke: var(--quiet); stroke-width: 2; }
.forest circle { fill: var(--quiet); }
.forest .better .reach { stroke: var(--c0); }
.forest .better circle { fill: var(--c0); }
.forest .worse .reach { stroke: var(--c1); }
.forest .worse circle { fill: var(--c1); }
.forest .other .reach { stroke-dasharray: 2 3; }
.forest .other circle { fill: var(--ground); stroke: var(--quiet); stroke-width: 1.5; }
"""


@dataclass(frozen=True, slots=True)
class Reach:
    """A change with its interval, in shares; `tone` is a class of `CSS`, `title` the tooltip."""

    low: float
    middle: float
    high: float
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Forest:
    """The scale of a plot: symmetric about zero, so that gains and losses can be compared by eye."""

    half: float

    @classmethod
    def of(cls, rows: Sequence[Reach]) -> Forest:
        """The scale that holds all rows."""
        return cls(max([LEAST, *(max(abs(row.low), abs(row.high)) for row in rows)]))

    def x(self, value: float) -> float:
        """The horizontal place of a value."""
        return MARGIN + (WIDTH - 2 * MARGIN) * (value + self.half) / (2 * self.half)

    @property
    def ticks(self) -> list[float]:
        """Round numbers of points, as shares, zero among them."""
        return [tick / 100 for tick in nice_ticks(-100 * self.half, 100 * self.half, 6)]

    def row(self, reach: Reach) -> str:
        """The cell of a row."""
        grid = "".join(
            f'<line class="{"zero" if tick == 0 else ""}" x1="{self.x(tick):.1f}" x2="{self.x(tick):.1f}" '
            f'y1="0" y2="{HEIGHT}"/>'
            for tick in self.ticks
        )
        middle = HEIGHT / 2
        return (
            f'<svg class="forest" width="{WIDTH}" height="{HEIGHT}" role="img" '
            f'aria-label="{esc(reach.title)}">'
            f'{grid}<g class="{reach.tone}"><title>{esc(reach.title)}</title>'
            f'<line class="reach" x1="{self.x(reach.low):.1f}" x2="{self.x(reach.high):.1f}" '
            f'y1="{middle}" y2="{middle}"/>'
            f'<circle cx="{self.x(reach.middle):.1f}" cy="{middle}" r="4"/></g></svg>'
        )

    def axis(self) -> str:
        """The scale below the rows, in points."""
        marks = "".join(
            f'<text class="tick" x="{self.x(tick):.1f}" y="12" text-anchor="middle">'
            f"{'+' if tick > 0 else ''}{short(100 * tick)}</text>"
            for tick in self.ticks
        )
        return f'<svg class="forest" width="{WIDTH}" height="16" aria-hidden="true">{marks}</svg>'
