"""Calculations that are asked as such: chains, brackets, products, and the angles of a polygon."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cascade_rl.sources.worked.arithmetic import Paper, Unworkable, decimal, tree

Row = Mapping[str, Any]
Worked = tuple[list[str], Fraction]

ASKED = re.compile(r"[-\d.( ][-\d.()+*/ ]*[\d) ]")


def calculation(row: Row, fine: bool) -> Worked | None:
    """Operations in the order of precedence, each on a line."""
    paper = Paper(fine)
    try:
        result = _value(tree(_expression(row)), paper)
    except Unworkable:
        return None
    return (paper.lines, Fraction(result)) if paper.lines else None


def decimals(row: Row, fine: bool) -> Worked | None:
    """A running sum; the places behind the point are made as many for both numbers."""
    return calculation(row, False)


def product(row: Row, fine: bool) -> Worked | None:
    """One number times each place of the other, then the running sum of that."""
    return calculation(row, fine)


def angles(row: Row, fine: bool) -> Worked | None:
    """The last angle of a polygon: what its angles sum up to, less those that are known."""
    sides = re.search(r"(\d+)(?: sides|-gon)", row["question"])
    known = re.findall(r"(\d+(?:\.\d+)?)°", row["question"])
    if not sides or not known:
        return None
    paper = Paper(False)
    total = (int(sides[1]) - 2) * 180
    paper.lines.append(f"({sides[1]}-2)*180={total}")
    found = [decimal(angle.removesuffix(".0")) for angle in known]
    together = found[0]
    for angle in found[1:]:
        together = paper.plus(together, angle)
    return paper.lines, Fraction(paper.minus(Decimal(total), together))


def _expression(row: Row) -> str:
    """The longest calculation of the question."""
    found = [text.strip() for text in ASKED.findall(row["question"])]
    return max(found, key=len, default="")


def _value(node: ast.expr, paper: Paper) -> Decimal:
    if isinstance(node, ast.Constant):
        # what Python read, written as it was: 5.30 has lost a nought that its sum would show
        return decimal(ast.unparse(node))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand, paper)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, paper), _value(node.right, paper)
        if isinstance(node.op, ast.Add | ast.Sub):
            return paper.plus(left, right) if isinstance(node.op, ast.Add) else paper.minus(left, right)
        if isinstance(node.op, ast.Mult | ast.Div):
            return paper.times(left, right) if isinstance(node.op, ast.Mult) else paper.over(left, right)
    raise Unworkable(f"{type(node).__name__} is no sum")
