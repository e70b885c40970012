"""Word problems: GSM-Symbolic brings its own thought, which is checked; sisters and friends take a step."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

from cascade_rl.sources.worked.arithmetic import Unworkable, number, tree

Row = Mapping[str, Any]
Worked = tuple[list[str], Fraction]

# what a sum may be written with; words end it
SIGNS = r"\d.+\-*/×x()%\s"
BEFORE = re.compile(rf"[{SIGNS}]*[\d)%]\s*$")
BEHIND = re.compile(rf"\s*-?[\d(][{SIGNS}]*")
WORDS = re.compile(r"\b(?!x\b)[A-Za-z][A-Za-z'’-]*,?")
LAST = re.compile(r"-?\d+(?:\.\d+)?")
CURRENCY = re.compile(r"[$€£¥]|(?<=\d),(?=\d{3})")
WHOLE = re.compile(r"(?<=\d)\.0(?!\d)")


def told(row: Row, fine: bool) -> Worked | None:
    """The row's own thought if each of its equations can be read and is true: one in twelve is not."""
    cot = WHOLE.sub("", str(row["metadata"].get("answer_cot", "")).partition("####")[0].strip())
    plain = CURRENCY.sub("", cot)
    numbers = LAST.findall(plain)
    if not numbers or not all(_true(line) for line in plain.splitlines()):
        return None
    return cot.splitlines(), Fraction(numbers[-1])


def relations(row: Row, fine: bool) -> Worked | None:
    """Of Alice's brother, Alice is one sister more; likewise of friends."""
    asked = re.search(
        r"(\w+) has (.*?)\. .*?How many (sisters|female friends) does ", row["question"], re.DOTALL
    )
    if not asked or "colleague" in row["question"]:
        return None
    has = re.search(rf"(\d+) {asked[3]}", asked[2])
    if not has:
        return None
    count = int(has[1])
    return [f"{count} {asked[3]} and {asked[1]}: {count}+1={count + 1}"], Fraction(count + 1)


def _true(line: str) -> bool:
    """Whether on both sides of each `=` stands the same value; `10 boxes * 4` is read without its words."""
    sides = line.split("=")
    return all(
        _same(before, after) or _same(WORDS.sub(" ", before), after) for before, after in pairwise(sides)
    )


def _same(before: str, after: str) -> bool:
    left, right = BEFORE.search(before), BEHIND.match(after)
    if not left or not right:
        return False
    try:
        return _read(left[0]) == _read(right[0])
    except (Unworkable, ZeroDivisionError):
        return False


def _read(side: str) -> Fraction:
    """The value of a side as people write it: `3 x 4`, `2(5)`, `20%`."""
    plain = re.sub(r"(\d+(?:\.\d+)?)%", r"(\1/100)", side.strip().rstrip(" .+-*/x×("))
    plain = re.sub(r"(?<=[\d)])\s*(?=\()", "*", plain.replace("x", "*").replace("×", "*"))
    return _evaluated(tree(plain.strip(" .")))


def _evaluated(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and (found := number(ast.unparse(node))) is not None:
        return found
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluated(node.operand)
    if isinstance(node, ast.BinOp):
        a, b = _evaluated(node.left), _evaluated(node.right)
        if isinstance(node.op, ast.Add):
            return a + b
        if isinstance(node.op, ast.Sub):
            return a - b
        if isinstance(node.op, ast.Mult):
            return a * b
        if isinstance(node.op, ast.Div):
            return a / b
    raise Unworkable(f"{type(node).__name__} is no sum")
