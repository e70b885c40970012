"""Line charts, stacked bars and sparklines as inline SVG, styled by the page's own classes.

Line charts scale with their box (a fixed view box); bars use percentages so that their text keeps its size.
Every step has an invisible column whose tooltip names all values there: no script is needed to read numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from cascade_rl.report.markup import esc
from cascade_rl.report.numbers import duration

# units of the view box
WIDTH, HEIGHT = 380, 222
LEFT, RIGHT, TOP, BOTTOM = 46, 370, 34, 188
MOST_POINTS = 240  # more would only make the page larger: a plot is 324 units wide
SMOOTH_FROM = 40  # steps from which a running mean says more than the points
BAR_ROW = 46  # pixels
COLOURS = 8  # of the palette in style.py, after which they repeat
# seconds: 1 s to 24 h
CLOCK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Series:
    """(x, y) points in order of x; `spread` is a half width around y for each point, or None."""

    name: str
    points: tuple[tuple[float, float], ...]
    spread: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """An alarm at x, told by its tooltip."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What a line chart shows; `floor` and `ceiling` are values that the y axis must reach."""

    title: str
    unit: str
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    phases: tuple[tuple[float, str], ...] = ()
    floor: float | None = None
    ceiling: float | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps data to the view box."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        """The horizontal place of a value."""
        return LEFT + (RIGHT - LEFT) * (value - self.x0) / (self.x1 - self.x0)

    def y(self, value: float) -> float:
        """The vertical place of a value, kept inside the plot."""
        share = (value - self.y0) / (self.y1 - self.y0)
        return BOTTOM - (BOTTOM - TOP) * min(1.0, max(0.0, share))


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most `most` + 1 round numbers inside [low, high]: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= most)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def clock_ticks(longest: float) -> list[float]:
    """Round times from 0 to `longest` seconds, at most six."""
    step = next((s for s in CLOCK_STEPS if longest / s <= 5), math.ceil(longest / 5 / 86400) * 86400)
    return [0.0] + [float(i * step) for i in range(1, math.floor(longest / step) + 1)]


def short(value: float) -> str:
    """A number with about three digits; powers of ten only when there is no other way."""
    if not math.isfinite(value):
        return "not a number"
    if value != 0 and (abs(value) < 0.001 or abs(value) >= 1e6):
        mantissa, power = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(power)}".replace("-", "\u2212")
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3
    text = f"{value:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "\u2212")


def thinned(series: Series) -> Series:
    """At most `MOST_POINTS` points: means over equal runs of steps; a gap (NaN) in a run is passed over."""
    # runs of equal size keep steps evenly spaced; alarms have marks of their own, so none is averaged away
    size = math.ceil(len(series.points) / MOST_POINTS)
    if size <= 1:
        return series
    chunks = [range(i, min(i + size, len(series.points))) for i in range(0, len(series.points), size)]
    means, spreads = [], []
    for chunk in chunks:
        real = [i for i in chunk if math.isfinite(series.points[i][1])] or [chunk[0]]
        means.append((series.points[chunk[0]][0], sum(series.points[i][1] for i in real) / len(real)))
        spreads.append(sum(series.spread[i] for i in real) / len(real) if series.spread else 0.0)
    return Series(series.name, tuple(means), tuple(spreads) if series.spread else None)


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A centred running mean over about a tenth of the points; gaps stay gaps."""
    reach = max(1, len(points) // 20)
    out = []
    for i, (x, y) in enumerate(points):
        near = [v for _, v in points[max(0, i - reach) : i + reach + 1] if math.isfinite(v)]
        out.append((x, sum(near) / len(near) if near and math.isfinite(y) else math.nan))
    return out


def path(points: Sequence[tuple[float, float]], scale: Scale) -> str:
    """The `d` of a line; a value that is not a number interrupts it, a lone value becomes a dot."""
    parts, drawing = [], False
    for x, y in points:
        if not math.isfinite(y):
            drawing = False
            continue
        parts.append(
            # h0: a line of no length, which a round cap draws as a dot
            f"{'L' if drawing else 'M'}{scale.x(x):.1f} {scale.y(y):.1f}" + ("" if drawing else "h0")
        )
        drawing = True
    return "".join(parts)


def _band(series: Series, scale: Scale) -> str:
    real = [
        (x, y, s)
        for (x, y), s in zip(series.points, series.spread or (), strict=False)
        if math.isfinite(y + s)
    ]
    if len(real) < 2:
        return ""
    edge = [(x, y + s) for x, y, s in real] + [(x, y - s) for x, y, s in reversed(real)]
    corners = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in edge)
    return f'<polygon class="band" points="{corners}"/>'


def _limits(chart: Chart) -> Scale | None:
    """The scale that holds all finite values and bands, with round numbers at both ends of y."""
    ys, xs = [], []
    for series in chart.series:
        spread = series.spread or (0.0,) * len(series.points)
        for (x, y), s in zip(series.points, spread, strict=True):
            xs.append(x)
            ys += [v for v in (y - s, y + s) if math.isfinite(v)]
    if not ys:
        return None
    low, high = min([*ys, *[f for f in (chart.floor,) if f is not None]]), max(ys)
    high = high if chart.ceiling is None else max(high, chart.ceiling)
    if low == high:
        # a flat line: some room around it, but none below a floor
        low, high = low - (abs(low) * 0.1 or 0.5) * (low != chart.floor), high + (abs(high) * 0.1 or 0.5)
    ticks = nice_ticks(low, high)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else high - low
    # 1e-6: a value that lies on a tick must not add a step for its last bit
    low, high = math.floor(low / step + 1e-6) * step, math.ceil(high / step - 1e-6) * step
    x0, x1 = min(xs), max(xs)
    return Scale(x0, x1, low, high) if x0 < x1 else Scale(x0 - 1, x1 + 1, low, high)


def _axes(chart: Chart, scale: Scale) -> str:
    parts = [f'<text class="unit" x="4" y="10">{esc(chart.unit)}</text>']
    for value in nice_ticks(scale.y0, scale.y1):
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{short(value)}</text>'
        )
    for value in (v for v in nice_ticks(scale.x0, scale.x1) if v == int(v)):
        x = scale.x(value)
        parts.append(f'<line class="notch" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 4}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{BOTTOM + 16}" text-anchor="middle">{int(value)}</text>'
        )
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>')
    parts.append(f'<text class="unit" x="{RIGHT}" y="{HEIGHT - 3}" text-anchor="end">step</text>')
    return "".join(parts)


def _phases(chart: Chart, scale: Scale) -> str:
    parts = []
    for x, name in chart.phases:
        place = scale.x(x)
        parts.append(
            f'<g class="phase"><title>from step {short(x)}: {esc(name)}</title>'
            f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{TOP - 8}" y2="{BOTTOM}"/>'
            f'<text x="{min(place + 3, RIGHT - 50):.1f}" y="{TOP - 5}">{esc(name)}</text></g>'
        )
    return "".join(parts)


def _line(series: Series, scale: Scale, colour: int) -> str:
    group = f'<g class="series c{colour % COLOURS}">{_band(series, scale)}'
    if len(series.points) >= SMOOTH_FROM:
        group += f'<path class="raw" d="{path(series.points, scale)}"/>'
        return group + f'<path class="line" d="{path(smoothed(series.points), scale)}"/></g>'
    dots = [(scale.x(x), scale.y(y)) for x, y in series.points if math.isfinite(y)]
    circles = (
        "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.9"/>' for x, y in dots) if len(dots) <= 24 else ""
    )
    return group + f'<path class="line" d="{path(series.points, scale)}"/>{circles}</g>'


def _columns(chart: Chart, scale: Scale) -> str:
    """One transparent column a step, with the values of all series in its tooltip."""
    lines: dict[float, list[str]] = {}
    for series in chart.series:
        spreads = series.spread or (None,) * len(series.points)
        for (x, y), spread in zip(series.points, spreads, strict=True):
            width = "" if spread is None else f" ± {short(spread)}"
            lines.setdefault(x, []).append(f"{series.name}: {short(y)}{width}")
    xs = sorted(lines)
    edges = [LEFT, *((scale.x(a) + scale.x(b)) / 2 for a, b in pairwise(xs)), RIGHT]
    return "".join(
        f'<rect class="hit" x="{edges[i]:.1f}" width="{max(edges[i + 1] - edges[i], 0.1):.1f}" y="{TOP}" '
        f'height="{BOTTOM - TOP}"><title>step {short(x)}\n{esc(chr(10).join(lines[x]))}</title></rect>'
        for i, x in enumerate(xs)
    )


def _marks(chart: Chart, scale: Scale) -> str:
    return "".join(
        f'<g class="mark"><title>step {short(mark.x)}: {esc(mark.text)}</title>'
        f'<path d="M{scale.x(mark.x):.1f} {BOTTOM - 9}l5 9h-10z"/></g>'
        for mark in chart.marks
    )


def line_chart(chart: Chart, *, columns: bool = True) -> str:
    """The chart as an SVG element; empty text when no value is a number.

    Without `columns` nothing in it can be pointed at: for a picture, in which a browser shows no tooltips.
    """
    chart = replace(chart, series=tuple(map(thinned, chart.series)))
    scale = _limits(chart)
    if scale is None:
        return ""
    lines = "".join(_line(series, scale, i) for i, series in enumerate(chart.series))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{esc(chart.title)} by step">'
        f"<title>{esc(chart.title)}</title>{_axes(chart, scale)}{_phases(chart, scale)}{lines}"
        f"{_columns(chart, scale) if columns else ''}{_marks(chart, scale)}</svg>"
    )


def _bar(name: str, seconds: Mapping[str, float], parts: Sequence[str], top: int, longest: float) -> str:
    """One row: its name, its total, and a piece for each part."""
    total, left = math.fsum(seconds.values()), 0.0
    out = [
        f'<text class="bar-name" x="0" y="{top + 14}">{esc(name)}</text>',
        f'<text class="tick" x="100%" y="{top + 14}" text-anchor="end">{duration(total)}</text>',
    ]
    for colour, part in enumerate(parts):
        width = 100 * seconds.get(part, 0.0) / longest
        if width > 0:
            share = f"{100 * seconds[part] / total:.0f} %"
            place = f'x="{left:.3f}%" width="{width:.3f}%" y="{top + 20}" height="18"'
            out.append(
                f'<rect class="bar c{colour % COLOURS}" {place}>'
                f"<title>{esc(name)}, {esc(part)}: {duration(seconds[part])} ({share})</title></rect>"
            )
        left += width
    return "".join(out)


def stacked_bars(rows: Sequence[tuple[str, Mapping[str, float]]], parts: Sequence[str]) -> str:
    """Horizontal bars of seconds, a row each, cut into `parts` (which fix the colours); one axis below."""
    longest = max((math.fsum(seconds.values()) for _, seconds in rows), default=0.0)
    if longest <= 0:
        return ""
    foot = BAR_ROW * len(rows) + 4
    out = [_bar(name, seconds, parts, i * BAR_ROW, longest) for i, (name, seconds) in enumerate(rows)]
    out.append(f'<line class="axis" x1="0" x2="100%" y1="{foot}" y2="{foot}"/>')
    for value in clock_ticks(longest):
        anchor = "start" if value == 0 else "end" if value > 0.95 * longest else "middle"
        place = f'x="{100 * value / longest:.2f}%" text-anchor="{anchor}"'
        text = "0" if value == 0 else duration(value).replace(".0 s", " s")
        out.append(f'<text class="tick" {place} y="{foot + 16}">{text}</text>')
    size = f'width="100%" height="{foot + 22}"'
    start = f'<svg class="bars" {size} role="img" aria-label="seconds per phase and stage">'
    return f"{start}<title>Time per phase</title>{''.join(out)}</svg>"


def sparkline(values: Sequence[float | None], own: int | None) -> str:
    """A line of a few values without axes, the own stage ringed; empty text for fewer than two values."""
    real = [(i, value) for i, value in enumerate(values) if value is not None]
    if len(real) < 2:
        return ""
    low, high = min(v for _, v in real), max(v for _, v in real)
    # two points at least, or noise would look like a mountain
    span = max(high - low, 0.02)
    spots = [(4 + 64 * i / (len(values) - 1), 20 - 16 * (v - low) / span, i) for i, v in real]
    ring = "".join(
        f'<circle class="own-ring" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y, i in spots if i == own
    )
    line = "".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y, _) in enumerate(spots))
    return (
        f'<svg class="spark" viewBox="0 0 72 24" width="72" height="24" aria-hidden="true">'
        f'<path class="line" d="{line}"/>{ring}</svg>'
    )
