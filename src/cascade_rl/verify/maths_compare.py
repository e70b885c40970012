r"""When two answers are one, by their structure; single expressions are left to an `Algebra`.

In process that is `Arithmetic`, which knows rationals and raises `Undecided` for all else; in a worker it is
the computer algebra of `maths_algebra`. Nothing here is approximate, and the gold answer always comes first:
what may be left out (a name, a unit, a percent sign) may be left out on either side, but where both say it
they must agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol, TypeGuard

from cascade_rl.verify.maths_notation import squeezed
from cascade_rl.verify.maths_numbers import rational
from cascade_rl.verify.maths_structure import (
    MOST_ITEMS,
    Answer,
    Based,
    Chain,
    Many,
    Matrix,
    Ratio,
    Row,
    Scalar,
    Union,
    Words,
    is_label,
    read,
    read_list,
)
from cascade_rl.verify.maths_units import same_quantities

# when both sides change places, or are multiplied by a negative number
FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "=": "=", "≠": "≠"}
Interval = tuple[str, bool, str, bool]  # lower end, whether open, upper end, whether open


class Undecided(Exception):
    """Arithmetic alone can't tell."""


class Algebra(Protocol):
    """Comparison of single expressions."""

    def equal(self, gold: str, given: str) -> bool:
        """Whether two expressions have one value."""
        ...

    def proportion(self, gold: str, given: str) -> int:
        """1 or -1: one is a positive or negative constant times the other; 0 else, and for two constants."""
        ...


class Arithmetic:
    """Rationals, infinities and lone letters; everything else is undecided."""

    def equal(self, gold: str, given: str) -> bool:
        """Whether two numbers or symbols are the same."""
        a, b = _atom(gold), _atom(given)
        if (a, b) == (None, None) and squeezed(gold) == squeezed(given):
            return True
        if a is None or b is None:
            raise Undecided
        return a == b

    def proportion(self, gold: str, given: str) -> int:
        """Undecided, always."""
        raise Undecided


def _atom(text: str) -> object | None:
    if (number := rational(text)) is not None:
        return number
    text = squeezed(text)
    # e and i are numbers, which algebra may know by another name
    if text in (r"\infty", r"-\infty") or (len(text) == 1 and text.isalpha() and text not in "ei"):
        return text
    return None


def same(gold: Answer, given: Answer, algebra: Algebra) -> bool:
    """Whether two answers are one."""
    if isinstance(gold, Chain) and isinstance(given, Chain):
        return _same_chains(gold, given, algebra)
    # before the values of chains: x>3 is an interval, not a name for 3
    if gold_regions := _as_regions(gold, given):
        return _same_regions(*gold_regions, algebra)
    if isinstance(given, Chain):
        value = _value(given, algebra)
        return value is not None and same(gold, value, algebra)
    if isinstance(gold, Chain):
        value = _value(gold, algebra)
        return value is not None and same(value, given, algebra)
    if isinstance(gold, Scalar) and isinstance(given, Scalar):
        return _same_scalars(gold, given, algebra)
    if isinstance(gold, Many | Row) and isinstance(given, Many | Row):
        return _same_collections(gold, given, algebra)
    if isinstance(gold, Ratio | Scalar) and isinstance(given, Ratio | Scalar):
        return _same_ratios(gold, given, algebra)
    if isinstance(gold, Matrix) and isinstance(given, Matrix):
        return (
            gold.kind == given.kind
            and len(gold.rows) == len(given.rows)
            and all(_same_rows(a, b, algebra) for a, b in zip(gold.rows, given.rows, strict=True))
        )
    if isinstance(gold, Union) and isinstance(given, Union):
        return _same_bags(gold.items, given.items, algebra)
    if isinstance(gold, Words | Based) and type(gold) is type(given):
        return gold == given
    return _same_alone(gold, given, algebra)


def _same_alone(gold: Answer, given: Answer, algebra: Algebra) -> bool:
    """A set or list of one thing against that thing."""
    for one, other in ((gold, given), (given, gold)):
        if isinstance(one, Many) and len(one.items) == 1 and not isinstance(other, Many):
            return same(one.items[0], other, algebra) if one is gold else same(other, one.items[0], algebra)
    return False


def _same_scalars(gold: Scalar, given: Scalar, algebra: Algebra) -> bool:
    return same_quantities(gold, given, algebra.equal)


def _same_collections(gold: Many | Row, given: Many | Row, algebra: Algebra) -> bool:
    if isinstance(gold, Many):
        if isinstance(given, Many):
            return _same_bags(gold.items, given.items, algebra)
        row, many = given, gold
    elif isinstance(given, Row):
        # brackets of a pair tell an interval from a point; of three items and more they tell nothing
        alike = (gold.opening, gold.closing) == (given.opening, given.closing) or len(gold.items) > 2
        return alike and _same_rows(gold.items, given.items, algebra)
    else:
        row, many = gold, given
    # `(1,2)` may be a list in needless brackets, not where the other side is a set in braces
    plain = row.opening == "(" and row.closing == ")" and not many.braced
    return plain and _same_rows(gold.items, given.items, algebra)


def _same_rows(gold: Sequence[Answer], given: Sequence[Answer], algebra: Algebra) -> bool:
    return len(gold) == len(given) and all(same(a, b, algebra) for a, b in zip(gold, given, strict=True))


def _same_bags(gold: Sequence[Answer], given: Sequence[Answer], algebra: Algebra) -> bool:
    """Whether two collections hold the same answers as often, in any order."""
    if len(gold) != len(given) or len(gold) > MOST_ITEMS:
        return False
    left, rest = list(given), []
    for item in gold:
        # equal texts first: they cost no algebra, and leave less to compare
        if item in left:
            left.remove(item)
        else:
            rest.append(item)
    for item in rest:
        found = next((i for i, other in enumerate(left) if same(item, other, algebra)), None)
        if found is None:
            return False
        del left[found]
    return True


def _same_ratios(gold: Ratio | Scalar, given: Ratio | Scalar, algebra: Algebra) -> bool:
    """Proportional ratios; a ratio of two is a fraction, too."""
    a, b = (r.items if isinstance(r, Ratio) else (r.text,) for r in (gold, given))
    if len(a) == len(b):
        pairs = zip(a[1:], b[1:], strict=True)
        return all(algebra.equal(rf"({x})\cdot ({b[0]})", rf"({y})\cdot ({a[0]})") for x, y in pairs)
    if sorted((len(a), len(b))) != [1, 2]:
        return False
    return algebra.equal(*(f"\\frac{{{r[0]}}}{{{r[1]}}}" if len(r) == 2 else r[0] for r in (a, b)))


def _value(chain: Chain, algebra: Algebra) -> Answer | None:
    """What an equation says that something is: the last side of `x = ... = 5`, or of `6 · 7 = 42`."""
    if set(chain.signs) != {"="}:
        return None
    first, last = chain.sides[0], chain.sides[-1]
    # `x = 6 = 5` names two values, and so none
    if is_label(first):
        value = rational(last)
        contradicted = value is not None and any(
            rational(side) not in (None, value) for side in chain.sides[1:]
        )
        return None if contradicted else read(last)
    if rational(first) is not None or re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", first)):
        return None  # `5=5` says nothing, and `x+y=5` is no value
    # `6 · 7 = 42` is read as 42 only if it is true
    return read(last) if all(algebra.equal(side, last) for side in chain.sides[:-1]) else None


def _same_chains(gold: Chain, given: Chain, algebra: Algebra) -> bool:
    if gold == given:
        return True
    a, b = _regions(gold), _regions(given)
    if a is not None and b is not None:
        return _same_regions(a, b, algebra)
    named = (
        is_label(gold.sides[0]) and gold.sides[0] == given.sides[0] and set(gold.signs + given.signs) == {"="}
    )
    if named and same(read(gold.sides[-1]), read(given.sides[-1]), algebra):
        return True
    if len(gold.sides) != 2 or len(given.sides) != 2:
        return False
    if not all(isinstance(read(side), Scalar) for side in (*gold.sides, *given.sides)):
        return False
    # an equation is what it sets to zero, up to a factor; an inequality turns when that is negative
    ours, theirs = (f"({c.sides[0]})-({c.sides[1]})" for c in (gold, given))
    sign = algebra.proportion(ours, theirs)
    return sign != 0 and given.signs[0] == (gold.signs[0] if sign > 0 else FLIPPED[gold.signs[0]])


def _as_regions(gold: Answer, given: Answer) -> tuple[list[Interval], list[Interval]] | None:
    """Both as intervals, if one is an inequality or a union."""
    if not any(isinstance(x, Union) or _inequality(x) or _reals(x) for x in (gold, given)):
        return None
    a, b = _regions(gold), _regions(given)
    return None if a is None or b is None else (a, b)


def _inequality(answer: Answer) -> bool:
    if isinstance(answer, Many):
        return bool(answer.items) and all(map(_inequality, answer.items))
    return isinstance(answer, Chain) and "=" not in answer.signs


def _reals(answer: Answer) -> TypeGuard[Scalar]:
    return isinstance(answer, Scalar) and answer.text.startswith(r"\mathbb{R}")


def _regions(answer: Answer) -> list[Interval] | None:
    r"""The intervals of an answer: `x>3`, `(3,\infty)`, `x<1 or x>2`, `x≠3`, `\mathbb{R}`; else None."""
    if isinstance(answer, Union | Many):
        if isinstance(answer, Many) and (answer.braced or not _inequality(answer)):
            return None
        intervals: list[Interval] = []
        for part in map(_regions, answer.items):
            if part is None:
                return None
            intervals += part
        return intervals
    if isinstance(answer, Row) and len(answer.items) == 2:
        low, high = answer.items
        if not (isinstance(low, Scalar) and isinstance(high, Scalar)):
            return None
        return [(low.text, answer.opening == "(", high.text, answer.closing == ")")]
    if _reals(answer):
        return _punctured(answer.text.removeprefix(r"\mathbb{R}").strip())
    return _ray(answer) if isinstance(answer, Chain) else None


def _punctured(rest: str) -> list[Interval] | None:
    """The real numbers without the set that `rest` takes away."""
    if not rest:
        return [(r"-\infty", True, r"\infty", True)]
    match = re.fullmatch(r"(?:\\setminus|-) ?\\\{([^{},]+)\\\}", rest)
    return [(r"-\infty", True, match[1], True), (match[1], True, r"\infty", True)] if match else None


def _ray(chain: Chain) -> list[Interval] | None:
    """The interval of `x>3`, `3<x` or `1≤x<2`, where x is a name alone."""
    sides, signs = list(chain.sides), list(chain.signs)
    # one direction, so that the lower end comes first
    if signs[0] in ">≥":
        sides.reverse()
        signs = [FLIPPED[sign] for sign in reversed(signs)]
    if len(sides) == 2 and signs == ["≠"] and is_label(sides[0]):
        return [(r"-\infty", True, sides[1], True), (sides[1], True, r"\infty", True)]
    if not set(signs) <= {"<", "≤"} or len(sides) > 3:
        return None
    names = [i for i, side in enumerate(sides) if is_label(side)]
    if len(sides) == 3:
        return [(sides[0], signs[0] == "<", sides[2], signs[1] == "<")] if names == [1] else None
    if names == [0]:
        return [(r"-\infty", True, sides[1], signs[0] == "<")]
    return [(sides[0], signs[0] == "<", r"\infty", True)] if names == [1] else None


def _same_regions(gold: Sequence[Interval], given: Sequence[Interval], algebra: Algebra) -> bool:
    if len(gold) != len(given) or len(gold) > MOST_ITEMS:
        return False
    left = list(given)
    for low, low_open, high, high_open in gold:
        alike = (other for other in left if (other[1], other[3]) == (low_open, high_open))
        found = next((o for o in alike if algebra.equal(low, o[0]) and algebra.equal(high, o[2])), None)
        if found is None:
            return False
        left.remove(found)
    return True


# options reach from A to K
_LETTER = re.compile(r"(?:option |choice )?\(?([A-K])\)?[.:]?", re.IGNORECASE)
_OPTION = re.compile(
    r"(?:option |choice )?(?:\(([A-K])\)|([A-K])[).:]) ?(?!or\b|and\b|[,/&])(?!.*\([A-K]\))(\S.*)"
)


def same_texts(gold: str, given: str, algebra: Algebra) -> bool:
    """Whether two tidy answers are one, options with their text taken as either."""
    ours, theirs = (_OPTION.fullmatch(re.sub("[\ue000\ue001]", "", text)) for text in (gold, given))
    letter = _LETTER.fullmatch(re.sub("[\ue000\ue001]", "", gold))
    if letter and not theirs:
        other = _LETTER.fullmatch(re.sub("[\ue000\ue001]", "", given))
        if other:
            return (
                letter[1].casefold() == other[1].casefold()
                if len(given) > 1 or len(gold) > 1
                else gold == given
            )
    # the gold is an option's letter, the answer holds the letter and its text: the letter decides
    if letter and theirs:
        return letter[1].upper() == (theirs[1] or theirs[2])
    if ours:
        return _same_option(ours, given, theirs, algebra)
    if theirs and same_readings(gold, theirs[3], algebra):
        return True
    return same_readings(gold, given, algebra)


def _same_option(ours: re.Match[str], given: str, theirs: re.Match[str] | None, algebra: Algebra) -> bool:
    letter = ours[1] or ours[2]
    if theirs:
        return letter == (theirs[1] or theirs[2])
    alone = _LETTER.fullmatch(re.sub("[\ue000\ue001]", "", given))
    return letter == alone[1].upper() if alone else same_readings(ours[3], given, algebra)


def same_readings(gold: str, given: str, algebra: Algebra) -> bool:
    """Whether two tidy answers are one in a reading of both: `1,234` may be a number or a list."""
    first, second = read(gold), read(given)
    if same(first, second, algebra):
        return True
    golds, givens = ([one, read_list(text)] for one, text in ((first, gold), (second, given)))
    # every pair of readings but the first, which was compared above
    pairs = [(a, b) for a in golds for b in givens if a and b and (a is not first or b is not second)]
    return any(same(a, b, algebra) for a, b in pairs)
