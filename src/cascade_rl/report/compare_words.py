"""Numbers of a comparison as text, alike in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Iterable

from cascade_rl.report.comparison import Took
from cascade_rl.report.numbers import DASH, bounds, duration, percent, points
from cascade_rl.scores.compare import Answer, Comparison
from cascade_rl.types import ModeScore

SIGNS = {Answer.BETTER: "▲", Answer.WORSE: "▼", Answer.OTHER: "≠"}
MANY = 1_000_000  # problems; what needs more will not be measured


def about(count: int) -> str:
    """A count rounded up to two digits: a plan, no promise."""
    if count > MANY:
        return f">{MANY:,}"
    size = 10 ** max(0, len(str(count)) - 2)
    return f"~{math.ceil(count / size) * size:,}"


def answer(c: Comparison) -> str:
    """The answer, with the problems that would be needed where it is open."""
    if c.answer is not Answer.OPEN:
        return str(c.answer)
    return f"{c.answer} ({about(c.needed)})" if c.needed else f"{c.answer} (equal)"


def p_value(p: float | None) -> str:
    """A p-value with three digits after the point at most."""
    if p is None:
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}".rstrip("0").rstrip(".")


def change(c: Comparison) -> str:
    """The change in points."""
    return points(c.change.change) if c.change else DASH


def interval(c: Comparison) -> str:
    """Its 95 % interval in points."""
    return bounds(c.change.low, c.change.high, points) if c.change else ""


def over(c: Comparison) -> str:
    """How many problems the change rests on."""
    if c.change is None:
        return DASH
    return f"{c.common:,}" + ("*" if any(c.only) else "") if c.change.paired else "unpaired"


def score(found: ModeScore | None) -> str:
    """avg@k in percent; `100` rather than `100.0`, which is wider than all others."""
    text = DASH if found is None else percent(found.average.mean)
    return "100" if text == "100.0" else text


def size(found: ModeScore | None) -> str:
    """Problems and samples of each."""
    return DASH if found is None else f"{found.average.n:,}×{found.average.k}"


def rate(value: float | None) -> str:
    """Something a second, or a count."""
    return DASH if value is None or math.isnan(value) else f"{value:,.0f}"


def spent(seconds: float | None) -> str:
    """Seconds in words."""
    return DASH if seconds is None else duration(seconds)


def took_columns(took: Iterable[Took]) -> dict[str, list[str]]:
    """Heads, in lines, and cells of what things took; columns that nobody knows are left out."""
    rows = tuple(took)
    columns = {
        "tokens\na reply": [rate(one.tokens) for one in rows],
        "leak\n%": [percent(one.leak) for one in rows],
        "clipped\n%": [percent(one.clipped) for one in rows],
        "eval": [spent(one.evaluation_s) for one in rows],
        "eval\ntok/s": [rate(one.evaluation_rate) for one in rows],
        "training": [spent(one.training_s) for one in rows],
        "sampled\ntok/s": [rate(one.sampled) for one in rows],
        "trained\ntok/s": [rate(one.trained) for one in rows],
    }
    return {head: cells for head, cells in columns.items() if set(cells) != {DASH}}
