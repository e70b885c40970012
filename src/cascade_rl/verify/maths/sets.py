r"""Sets of real numbers, whatever they are written as: intervals, inequalities, unions, set builders, points.

Each becomes a tree of intervals. Two trees are compared on the line that their ends cut into cells, a point
or a gap each: a set is the cells it holds, as bits, so that and, or, and without are bits as well. Ends that
no order is known of, such as letters, leave only trees of the same intervals equal.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from cascade_rl.verify.maths.algebras import FLIPPED, Algebra
from cascade_rl.verify.maths.kinds import Answer, Builder, Chain, Many, Row, Scalar, Sets
from cascade_rl.verify.maths.labels import is_label, name
from cascade_rl.verify.maths.linear import is_constant, linear
from cascade_rl.verify.maths.numbers import rational

MOST_ENDS = 40
_SQUARE = re.compile(r"([A-Za-z]) ?\^ ?(?:2|\{ ?2 ?\})")
LOWEST, HIGHEST = r"-\infty", r"\infty"


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers between two ends; `pair` if it was written as a pair, which may be a point of the plane."""

    low: str
    low_open: bool
    high: str
    high_open: bool
    pair: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """Sets joined by ∪, ∩ or ∖; by a comma, they are joined by ∩ unless that leaves nothing."""

    sign: str
    parts: tuple[Tree, ...]


Tree = Interval | Joined
NOTHING = Joined("∪", ())
ALL = Interval(LOWEST, True, HIGHEST, True)


class _Unordered(Exception):
    """The ends have no known order, or are none of an interval."""


def same_sets(gold: Answer, given: Answer, algebra: Algebra) -> bool | None:
    """Whether two answers are one set of real numbers; None when they aren't both sets."""
    if not (_tells(gold) or _tells(given)):
        return None
    names: list[set[str]] = [set(), set()]
    trees = [_tree(answer, known) for answer, known in zip((gold, given), names, strict=True)]
    if trees[0] is None or trees[1] is None or max(map(len, names)) > 1:
        return None
    # a name may be left out, not exchanged
    if names[0] and names[1] and names[0] != names[1]:
        return False
    try:
        line = _line([*_ends(trees[0]), *_ends(trees[1])], algebra)
        return _cells(trees[0], line) == _cells(trees[1], line)
    except _Unordered:
        return _same_trees(trees[0], trees[1], algebra)


def is_inequality(answer: Answer) -> bool:
    """Whether it is a chain of <, ≤ and the like, or several."""
    if isinstance(answer, Many):
        return bool(answer.items) and not answer.braced and any(map(is_inequality, answer.items))
    return isinstance(answer, Chain) and not {"=", "≈"} & set(answer.signs)


def _is_reals(answer: Answer) -> TypeGuard[Scalar]:
    return isinstance(answer, Scalar) and answer.text == r"\mathbb{R}"


def _tells(answer: Answer) -> bool:
    """Whether it can't be but a set: a pair may be a point, and `1, 2` a list."""
    return isinstance(answer, Sets | Builder) or is_inequality(answer) or _is_reals(answer)


def _tree(answer: Answer, names: set[str]) -> Tree | None:
    """The tree of an answer, whose names are added to `names`; None if it is no set of real numbers."""
    if isinstance(answer, Sets):
        return _joined(answer.sign, answer.items, names)
    if isinstance(answer, Many):
        return _listed(answer, names)
    if isinstance(answer, Row):
        return _pair(answer)
    if isinstance(answer, Builder):
        bound: set[str] = set()
        found = _tree(answer.condition, bound)
        return found if bound <= {answer.name} else None
    if isinstance(answer, Chain):
        return _chain(answer, names)
    return ALL if _is_reals(answer) else None


def _joined(sign: str, items: Sequence[Answer], names: set[str]) -> Tree | None:
    parts = [_tree(item, names) for item in items]
    known = tuple(part for part in parts if part is not None)
    return Joined(sign, known) if len(known) == len(parts) else None


def _pair(row: Row) -> Tree | None:
    if len(row.items) != 2 or row.opening not in "([" or row.closing not in ")]":
        return None
    low, high = row.items
    if not (isinstance(low, Scalar) and isinstance(high, Scalar)) or low.unit or high.unit:
        return None
    return Interval(low.text, row.opening == "(", high.text, row.closing == ")", pair=True)


def _point(text: str) -> Tree:
    return Interval(text, False, text, False)


def _listed(many: Many, names: set[str]) -> Tree | None:
    """A set of points, or conditions with and, or and commas between; intervals so joined are a union."""
    if many.braced:
        points = [item.text for item in many.items if isinstance(item, Scalar) and not item.unit]
        return Joined("∪", tuple(map(_point, points))) if len(points) == len(many.items) else None
    if all(isinstance(item, Row) for item in many.items):
        return _joined("∪", many.items, names)
    if not is_inequality(many):
        return None
    groups: list[list[Tree]] = [[]]
    before: Answer | None = None
    for item, join in zip(
        many.items, ["", *many.joins] if many.joins else [","] * len(many.items), strict=True
    ):
        # `x ≠ 1, 2` and `x = 1 or 2`
        if isinstance(item, Scalar) and isinstance(before, Chain) and before.signs in (("≠",), ("=",)):
            item = Chain((before.sides[0], item.text), before.signs)
        # all real x, beside other conditions
        part = None if isinstance(item, Scalar | Row) and not _is_reals(item) else _tree(item, names)
        if part is None:
            return None
        if join in ("or", ";"):
            groups.append([])
        groups[-1].append(part)
        before = item
    sign = "∩" if "and" in many.joins or len(groups) > 1 else ","
    return Joined("∪", tuple(Joined(sign, tuple(group)) for group in groups))


def _chain(chain: Chain, names: set[str]) -> Tree | None:
    """Where every link of a chain holds."""
    links = zip(chain.sides, chain.signs, chain.sides[1:], strict=False)
    found = [_link(*link, names) for link in links]
    known = tuple(part for part in found if part is not None)
    if len(known) < len(found):
        return None
    return known[0] if len(known) == 1 else Joined("∩", known)


def _link(left: str, sign: str, right: str, names: set[str]) -> Tree | None:
    """Where `left sign right` holds, if one side is a number and the other depends on one name."""
    if sign == "≈":
        return None
    if is_constant(left):
        left, sign, right = right, FLIPPED[sign], left
    if not is_constant(right):
        return None
    if is_label(left):
        names.add(name(left))
        return _compared(sign, right)
    if (form := linear(left)) is not None:
        names.add(form.name)
        bound = form.solved(right)
        return _compared(FLIPPED[sign] if form.slope < 0 else sign, bound)
    if left.startswith("|") and left.endswith("|") and (form := linear(left[1:-1])) is not None:
        names.add(form.name)
        return _within(sign, *form.around(right))
    square = _SQUARE.fullmatch(left)
    value = rational(right)
    if square is None or value is None:
        return None
    names.add(square[1])
    if value < 0:
        return {"<": NOTHING, "≤": NOTHING, "=": NOTHING}.get(sign, ALL)
    return _within(sign, rf"-\sqrt{{{right}}}", rf"\sqrt{{{right}}}") if value else _within(sign, "0", "0")


def _compared(sign: str, bound: str) -> Tree:
    below, above = Interval(LOWEST, True, bound, sign != "≤"), Interval(bound, sign != "≥", HIGHEST, True)
    if sign == "=":
        return _point(bound)
    if sign == "≠":
        return Joined("∪", (below, above))
    return below if sign in "<≤" else above


def _within(sign: str, low: str, high: str) -> Tree | None:
    """`|x| sign c`; a negative c makes `low` the greater one, and both ways come out right."""
    if sign in "<≤":
        return Interval(low, sign == "<", high, sign == "<")
    if sign in ">≥":
        return Joined(
            "∪", (Interval(LOWEST, True, low, sign == ">"), Interval(high, sign == ">", HIGHEST, True))
        )
    return None


def _ends(tree: Tree) -> Iterator[str]:
    if isinstance(tree, Joined):
        for part in tree.parts:
            yield from _ends(part)
    else:
        yield from (tree.low, tree.high)


def _line(ends: Sequence[str], algebra: Algebra) -> dict[str, int]:
    """The place of each end among all different ones, from the left; infinities have none."""
    texts = [text for text in dict.fromkeys(ends) if text.removeprefix("+").strip() not in (LOWEST, HIGHEST)]
    if len(texts) > MOST_ENDS:
        raise _Unordered

    def order(a: str, b: str) -> int:
        found = algebra.order(a, b)
        if found is None:
            raise _Unordered
        return found

    places: dict[str, int] = {}
    place = -1
    before: str | None = None
    if len(texts) == 1 and algebra.order(texts[0], "0") is None:
        raise _Unordered
    for text in sorted(texts, key=functools.cmp_to_key(order)):
        place += before is None or order(before, text) != 0
        places[text] = place
        before = text
    return places


def _cells(tree: Tree, line: dict[str, int]) -> int:
    """The cells of a set: bit 2i+1 is the end at place i, bit 2i the gap before it."""
    if isinstance(tree, Interval):
        low, high = tree.low.removeprefix("+").strip(), tree.high.removeprefix("+").strip()
        last = 2 * (max(line.values(), default=-1) + 1)
        if low == HIGHEST or high == LOWEST:
            raise _Unordered
        first = 0 if low == LOWEST else 2 * line[tree.low] + 1 + tree.low_open
        end = last if high == HIGHEST else 2 * line[tree.high] + 1 - tree.high_open
        if tree.pair and first > end:
            raise _Unordered  # (3,1) is a point
        return ((1 << (end + 1)) - (1 << first)) if first <= end else 0
    parts = [_cells(part, line) for part in tree.parts]
    if not parts:
        return 0
    everything = functools.reduce(int.__or__, parts)
    if tree.sign == "∪":
        return everything
    if tree.sign == "∖":
        return functools.reduce(lambda a, b: a & ~b, parts)
    common = functools.reduce(int.__and__, parts)
    return common or (everything if tree.sign == "," else 0)


def _leaves(tree: Tree) -> list[Interval] | None:
    """The intervals of a union, or None where it is more than that."""
    if isinstance(tree, Interval):
        return [tree]
    if tree.sign != "∪" and len(tree.parts) != 1:
        return None
    found = [_leaves(part) for part in tree.parts]
    return None if None in found else [leaf for leaves in found if leaves for leaf in leaves]


def _same_trees(gold: Tree, given: Tree, algebra: Algebra) -> bool:
    ours, theirs = _leaves(gold), _leaves(given)
    if ours is None or theirs is None or len(ours) != len(theirs) or len(ours) > MOST_ENDS:
        return False
    for one in ours:
        alike = (o for o in theirs if (o.low_open, o.high_open) == (one.low_open, one.high_open))
        found = next(
            (o for o in alike if algebra.equal(one.low, o.low) and algebra.equal(one.high, o.high)), None
        )
        if found is None:
            return False
        theirs.remove(found)
    return True
