"""Linear equations in one unknown, line by line: what is added goes to the other side, then a division."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cascade_rl.sources.worked.arithmetic import Paper, Unworkable, said

Row = Mapping[str, Any]
Worked = tuple[list[str], Fraction]

EQUATION = re.compile(r"([-+*\w ]+?) = (-?\d+)")
TERM = re.compile(r"([-+]?)(?:(\d+)\*)?([a-z])|([-+]?\d+)")


def equation(row: Row, fine: bool) -> Worked | None:
    """Of `20*h + 65 = 1485` the lines `20*h=1485-65`, the difference, and h as a quotient."""
    asked = EQUATION.search(row["question"].partition(":")[2])
    if not asked:
        return None
    left, right = asked[1].replace(" ", ""), Decimal(asked[2])
    terms = list(TERM.finditer(left))
    unknowns = [term for term in terms if term[3]]
    if "".join(term[0] for term in terms) != left or len(unknowns) != 1:
        return None
    name, factor = unknowns[0][3], Decimal(unknowns[0][1] + (unknowns[0][2] or "1"))
    added = sum((Decimal(term[4]) for term in terms if term[4]), Decimal(0))
    paper, side = Paper(fine), _times(factor, name)
    try:
        if added:
            sign = "-" if added > 0 else "+"
            paper.lines.append(f"{side}={said(right)}{sign}{said(abs(added))}")
            right = paper.minus(right, added)
        if factor < 0:
            factor, right = -factor, -right
            paper.lines += [f"{_times(factor, name)}={said(right)}"] if factor != 1 else []
        if factor != 1:
            right = paper.over(right, factor)
    except Unworkable:
        return None
    return [*paper.lines, f"{name}={said(right)}"], Fraction(right)


def _times(factor: Decimal, name: str) -> str:
    return {1: name, -1: f"-{name}"}.get(int(factor), f"{said(factor)}*{name}")
