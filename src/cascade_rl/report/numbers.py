"""The form of numbers, changes and times on the page, in the terminal and on the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping

MINUS, DASH = "\u2212", "\u2013"
# Beside a number in a table; hollow where the gate lets a loss pass.
ARROWS: Mapping[str, str] = {"gain": "▲", "loss": "▼"}
EXCUSED = "▽"
# The same in running text, where a filled triangle would be too heavy.
THIN_ARROWS: Mapping[str, str] = {"gain": "↑", "loss": "↓"}


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a number of percent, without the sign."""
    return DASH if share is None else f"{100 * share:.{digits}f}"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, signed and typeset (`in_points` is for plain files)."""
    if difference is None:
        return DASH
    text = f"{100 * difference:+.1f}"
    # neither +0.0 nor -0.0
    return "0.0" if float(text) == 0 else text.replace("-", MINUS)


def bounds(low: float | None, high: float | None, number: Callable[[float | None], str] = percent) -> str:
    """An interval; signed numbers are joined by `to`, since a dash between minus signs can't be read."""
    if low is None or high is None:
        return ""
    return f"{number(low)} to {number(high)}" if number is points else f"{number(low)}{DASH}{number(high)}"


def duration(seconds: float) -> str:
    """Seconds in words, two units at most."""
    # tenths matter only where a whole second is a large part
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    first = next(i for i, (_, size) in enumerate(units) if whole >= size)
    (big, size), (small, unit) = units[first], units[first + 1]
    rest = whole % size // unit
    return f"{whole // size} {big}" + (f" {rest} {small}" if rest else "")
