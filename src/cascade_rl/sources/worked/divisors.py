"""Euclid's steps: the greatest common divisor, and the least common multiple by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cascade_rl.sources.worked.arithmetic import Paper

Row = Mapping[str, Any]
Worked = tuple[list[str], Fraction]


def greatest(row: Row, fine: bool) -> Worked | None:
    """The larger by the smaller, then the smaller by the rest, until there is no rest."""
    numbers = _numbers(row)
    if len(numbers) < 2:
        return None
    lines: list[str] = []
    found = numbers[0]
    for other in numbers[1:]:
        found = _euclid(found, other, lines)
    return lines, Fraction(found)


def least(row: Row, fine: bool) -> Worked | None:
    """One number over the greatest common divisor, times the other."""
    numbers = _numbers(row)
    if len(numbers) < 2:
        return None
    paper = Paper(fine)
    found = numbers[0]
    for other in numbers[1:]:
        common = _euclid(found, other, paper.lines)
        share = paper.over(Decimal(found), Decimal(common)) if common > 1 else Decimal(found)
        found = int(paper.times(share, Decimal(other)))
    return paper.lines, Fraction(found)


def _euclid(a: int, b: int, lines: list[str]) -> int:
    a, b = max(a, b), min(a, b)
    while b:
        lines.append(f"{a}={a // b}*{b}+{a % b}")
        a, b = b, a % b
    lines.append(f"gcd: {a}")
    return a


def _numbers(row: Row) -> list[int]:
    asked = re.search(r"of these numbers: ([\d, ]+)", row["question"])
    found = [int(text) for text in re.findall(r"\d+", asked[1])] if asked else []
    return found if all(found) else []
