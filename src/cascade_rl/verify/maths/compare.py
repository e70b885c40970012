"""When two answers are one, by their structure; single expressions are left to an `Algebra`.

In process that is `Arithmetic`, which knows rationals and raises `Undecided` for all else; in a worker it is
the computer algebra of `algebra`. Nothing here is approximate, and the gold answer always comes first:
what may be left out (a name, a unit, a percent sign) may be left out on either side, but where both say it
they must agree. What isn't decided is different.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from cascade_rl.verify.maths.algebras import FLIPPED, Algebra, Arithmetic, Undecided, Within
from cascade_rl.verify.maths.kinds import (
    Answer,
    Based,
    Builder,
    Chain,
    Clock,
    Many,
    Matrix,
    Named,
    Over,
    Pieces,
    Ratio,
    Row,
    Scalar,
    Sets,
    Words,
)
from cascade_rl.verify.maths.labels import in_order, is_label, is_quantity, name
from cascade_rl.verify.maths.notation import squeezed
from cascade_rl.verify.maths.numbers import rational
from cascade_rl.verify.maths.options import same_options
from cascade_rl.verify.maths.sets import is_inequality, same_sets
from cascade_rl.verify.maths.structure import MOST_ITEMS, read, read_list
from cascade_rl.verify.maths.units import same_quantities
from cascade_rl.verify.maths.words import same_clocks, same_labels

__all__ = ["Algebra", "Arithmetic", "Undecided", "same", "same_readings", "same_texts"]


def same_texts(gold: str, given: str, algebra: Algebra) -> bool:
    """Whether two tidy answers are one, options with their text taken as either."""
    known = same_options(gold, given, lambda ours, theirs: same_readings(ours, theirs, algebra))
    return same_readings(gold, given, algebra) if known is None else known


def same_readings(gold: str, given: str, algebra: Algebra) -> bool:
    """Whether two tidy answers are one in a reading of both: `98,118,122` may be a number or a list."""
    if same_labels(gold, given):
        return True
    first, second = read(gold), read(given)
    if same(first, second, algebra):
        return True
    golds, givens = ([one, read_list(text)] for one, text in ((first, gold), (second, given)))
    # every pair of readings but the first, which was compared above
    pairs = [(a, b) for a in golds for b in givens if a and b and (a is not first or b is not second)]
    return any(same(a, b, algebra) for a, b in pairs)


def same(gold: Answer, given: Answer, algebra: Algebra) -> bool:
    """Whether two answers are one."""
    if isinstance(gold, Over) or isinstance(given, Over):
        return _same_over(gold, given, algebra)
    if (sets := same_sets(gold, given, algebra)) is not None:
        return sets
    if isinstance(gold, Named) or isinstance(given, Named):
        return _same_named(gold, given, algebra)
    if isinstance(gold, Chain) and isinstance(given, Chain):
        return _same_chains(gold, given, algebra)
    if isinstance(given, Chain):
        value = _value(given, algebra, of_reply=True)
        return value is not None and same(gold, value, algebra)
    if isinstance(gold, Chain):
        value = _value(gold, algebra)
        return value is not None and same(value, given, algebra)
    if isinstance(gold, Scalar) and isinstance(given, Scalar):
        return _same_scalars(gold, given, algebra)
    if isinstance(gold, Many | Row) and isinstance(given, Many | Row):
        return _same_collections(gold, given, algebra)
    return _same_others(gold, given, algebra)


def _same_others(gold: Answer, given: Answer, algebra: Algebra) -> bool:
    if isinstance(gold, Clock):
        return same_clocks(gold, given)
    if isinstance(gold, Ratio | Scalar) and isinstance(given, Ratio | Scalar):
        return _same_ratios(gold, given, algebra)
    if isinstance(gold, Matrix) or isinstance(given, Matrix):
        return _same_matrices(gold, given, algebra)
    if isinstance(gold, Sets) and isinstance(given, Sets):
        if gold.sign == given.sign == "∖":
            return _same_rows(gold.items, given.items, algebra)
        return gold.sign == given.sign and _same_bags(gold.items, given.items, algebra)
    if isinstance(gold, Pieces) and isinstance(given, Pieces):
        rows = [[Row("", piece, "") for piece in side.pieces] for side in (gold, given)]
        return _same_bags(rows[0], rows[1], algebra)
    if isinstance(gold, Builder) and isinstance(given, Builder):
        return gold.name == given.name and same(gold.condition, given.condition, algebra)
    if isinstance(gold, Words | Based) and type(gold) is type(given):
        return gold == given
    for ratio, row in ((gold, given), (given, gold)):
        if isinstance(ratio, Ratio) and ratio.spoken and isinstance(row, Row):
            range_ = Row("[", tuple(Scalar(text) for text in ratio.items), "]")
            return same(gold, range_, algebra) if row is gold else same(range_, given, algebra)
    return _same_alone(gold, given, algebra)


def _same_alone(gold: Answer, given: Answer, algebra: Algebra) -> bool:
    """A set or list of one thing against that thing, or letters in a row against a list of them."""
    for one, other in ((gold, given), (given, gold)):
        if isinstance(one, Many) and len(one.items) == 1 and not isinstance(other, Many):
            return same(one.items[0], other, algebra) if one is gold else same(other, one.items[0], algebra)
        # `A, B, D` of a question with several right options
        if isinstance(one, Many) and isinstance(other, Scalar | Words) and _OPTIONS.fullmatch(other.text):
            if "or" in one.joins:
                return False
            letters = [item.text.casefold() for item in one.items if isinstance(item, Scalar)]
            return len(letters) == len(one.items) and sorted(letters) == sorted(set(other.text.casefold()))
    return False


def _same_over(gold: Answer, given: Answer, algebra: Algebra) -> bool:
    """What holds for all k in Z; that may be left out, unless it makes another set of an inequality."""
    if isinstance(gold, Over) and isinstance(given, Over):
        return gold.numbers == given.numbers and same(gold.answer, given.answer, algebra)
    one, other = (gold, given) if isinstance(gold, Over) else (given, gold)
    assert isinstance(one, Over)
    if is_inequality(one.answer) or isinstance(one.answer, Sets):
        return False
    return same(one.answer, other, algebra) if one is gold else same(other, one.answer, algebra)


def _same_scalars(gold: Scalar, given: Scalar, algebra: Algebra) -> bool:
    return same_quantities(gold, given, algebra.equal)


def _same_collections(gold: Many | Row, given: Many | Row, algebra: Algebra) -> bool:
    if isinstance(gold, Many):
        if isinstance(given, Many):
            return _same_lists(gold, given, algebra)
        row, many = given, gold
    elif isinstance(given, Row):
        # brackets of a pair tell an interval from a point; of three items and more they tell nothing
        alike = (gold.opening, gold.closing) == (given.opening, given.closing) or len(gold.items) > 2
        return alike and _same_rows(gold.items, given.items, algebra)
    else:
        row, many = gold, given
    if many.braced and len(many.items) == 1 and isinstance(many.items[0], Row):
        return same(row, many.items[0], algebra) if row is gold else same(many.items[0], row, algebra)
    # `(1,2)` may be a list in needless brackets, not where the other side is a set or leaves a choice
    plain = row.opening == "(" and row.closing == ")" and not many.braced and "or" not in many.joins
    return plain and _same_rows(gold.items, given.items, algebra)


def _same_lists(gold: Many, given: Many, algebra: Algebra) -> bool:
    # conditions that must all hold are others than conditions of which one must
    if is_inequality(gold) and ("or" in gold.joins) != ("or" in given.joins):
        return False
    if not gold.braced:
        return _same_bags(gold.items, given.items, algebra)
    # a set has each of its members once, however often they are said
    ours, theirs = set(gold.items) - set(given.items), set(given.items) - set(gold.items)
    return (
        max(len(gold.items), len(given.items)) <= MOST_ITEMS
        and all(any(same(a, b, algebra) for b in given.items) for a in gold.items if a in ours)
        and all(any(same(a, b, algebra) for a in gold.items) for b in given.items if b in theirs)
    )


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


def _same_named(gold: Answer, given: Answer, algebra: Algebra) -> bool:
    """Values by name, against such or against values in the order of the names."""
    if isinstance(gold, Named) and isinstance(given, Named):
        ours, theirs = (dict(zip(a.names, a.values, strict=True)) for a in (gold, given))
        return ours.keys() == theirs.keys() and all(
            same(read(ours[n]), read(theirs[n]), algebra) for n in ours
        )
    named, other = (gold, given) if isinstance(gold, Named) else (given, gold)
    assert isinstance(named, Named)
    if isinstance(other, Matrix) and other.kind == "matrix" and all(len(row) == 1 for row in other.rows):
        other = Row("(", tuple(row[0] for row in other.rows), ")")
    if not isinstance(other, Many | Row) or (isinstance(other, Many) and other.braced):
        return _same_alone(gold, given, algebra)
    # one or the other isn't both
    if isinstance(other, Many) and "or" in other.joins and not _enumerates(named, other):
        return False
    if isinstance(other, Many) and _enumerates(named, other):
        values = [read(value) for value in named.values]
        others = [read(item.sides[-1]) for item in other.items if isinstance(item, Chain)]
        return _same_bags(*((values, others) if named is gold else (others, values)), algebra)
    order = in_order(named.names)
    stated = tuple(range(len(named.names)))
    # a row without names has the usual order, so `y=1, x=2` is (2,1); of a list none is known then
    if order is None:
        order = stated
    if len(other.items) != len(order) or (isinstance(other, Many) and order != stated and not named.row):
        return False
    if isinstance(other, Row) and (other.opening, other.closing) != ("(", ")"):
        return False
    # each with its name, which the other side may say as well
    sides = [
        (Chain((named.names[i], named.values[i]), ("=",)), item)
        for i, item in zip(order, other.items, strict=True)
    ]
    return all(same(a, b, algebra) if named is gold else same(b, a, algebra) for a, b in sides)


def _same_ratios(gold: Ratio | Scalar, given: Ratio | Scalar, algebra: Algebra) -> bool:
    """Proportional ratios; a ratio of two is a fraction, too."""
    a, b = (r.items if isinstance(r, Ratio) else (r.text,) for r in (gold, given))
    if len(a) == len(b):
        # what isn't zero in one may not be in the other; by that place all others are compared
        zero = [[_is_zero(item, algebra) for item in items] for items in (a, b)]
        if zero[0] != zero[1] or all(zero[0]):
            return False
        at = zero[0].index(False)
        pairs = [pair for i, pair in enumerate(zip(a, b, strict=True)) if i != at and not zero[0][i]]
        return all(_same_products((x, b[at]), (y, a[at]), algebra) for x, y in pairs)
    if sorted((len(a), len(b))) != [1, 2]:
        return False
    return algebra.equal(*(f"\\frac{{{r[0]}}}{{{r[1]}}}" if len(r) == 2 else r[0] for r in (a, b)))


def _enumerates(named: Named, other: Many) -> bool:
    """Whether `x_1=1, x_2=2` counts what the other side calls x each time."""
    bases = {n.partition("_")[0] for n in named.names if "_" in n} | {n for n in named.names if "_" not in n}
    chains = [item for item in other.items if isinstance(item, Chain) and set(item.signs) == {"="}]
    return len(chains) == len(other.items) and {name(c.sides[0]) for c in chains} == bases and len(bases) == 1


def _same_products(gold: tuple[str, str], given: tuple[str, str], algebra: Algebra) -> bool:
    numbers = [rational(text) for text in (*gold, *given)]
    if None not in numbers:
        a, b, c, d = (number or 0 for number in numbers)
        return a * b == c * d
    return algebra.equal(*(rf"({one})\cdot ({other})" for one, other in (gold, given)))


def _is_zero(text: str, algebra: Algebra) -> bool:
    number = rational(text)
    return algebra.holds(text, "0") if number is None else number == 0


def _same_matrices(gold: Answer, given: Answer, algebra: Algebra) -> bool:
    """Matrices of one kind and size; one row or column is a vector, which may stand in brackets."""
    if isinstance(gold, Matrix) and isinstance(given, Matrix):
        return (
            gold.kind == given.kind
            and len(gold.rows) == len(given.rows)
            and all(_same_rows(a, b, algebra) for a, b in zip(gold.rows, given.rows, strict=True))
        )
    matrix, row = (gold, given) if isinstance(gold, Matrix) else (given, gold)
    if not isinstance(matrix, Matrix) or not isinstance(row, Row) or matrix.kind != "matrix":
        return False
    if row.opening != "(" or row.closing != ")":
        return False
    if len(matrix.rows) != 1 and any(len(line) != 1 for line in matrix.rows):
        return False
    column = tuple(cell for line in matrix.rows for cell in line)
    return (
        _same_rows(column, row.items, algebra) if matrix is gold else _same_rows(row.items, column, algebra)
    )


def _value(chain: Chain, algebra: Algebra, of_reply: bool = False) -> Answer | None:
    """What an equation says that something is: the last side of `x = ... = 5`, or of `6 · 7 = 42`."""
    sides = list(chain.sides)
    if "≈" in chain.signs:
        # rounded values behind the exact one say nothing more, if they are its own
        exact = chain.signs.index("≈") + 1
        if not all(_rounds(sides[exact - 1], side, algebra) for side in sides[exact:]):
            return None
        if exact == 1:
            return read(sides[0])
        sides = sides[:exact]
    if not set(chain.signs) <= {"=", "≈"} or "=" in chain.signs[len(sides) - 1 :]:
        return None
    named = is_label(sides[0]) or (of_reply and is_quantity(sides[0]))
    # `5 = x`
    if not named and is_label(sides[-1]) and not any(map(is_label, sides[:-1])):
        sides, named = [sides[-1], *sides[:-1]], True
    values = [side for side in sides[1:] if not is_label(side)] or sides[-1:]
    if not named:
        if (rational(sides[0]) is not None and "/" not in sides[0]) or _VARIABLE.search(
            _COMMAND.sub("", sides[0])
        ):
            return None  # `5=5` says nothing, and `x+y=5` is no value
        values = sides
    # `x = 6 = 5` names two values, and so none; every link must hold
    last = values[-1]
    if all(_linked(side, last, algebra) for side in values[:-1]):
        return read(last)
    return None


def _rounds(exact: str, decimal: str, algebra: Algebra) -> bool:
    """Whether a decimal is a number to so many places, cut off or rounded."""
    value = rational(decimal)
    if value is None or "." not in decimal:
        return False
    place = Fraction(1, 10 ** len(decimal.partition(".")[2].strip()))
    ends = [algebra.order(exact, str(value + sign * place)) for sign in (-1, 1)]
    return ends == [1, -1]


_OPTIONS = re.compile("[A-H]{2,}|[a-h]{3,}")  # of three letters and more the case is folded as of a word's
_COMMAND = re.compile(r"\\[A-Za-z]+")
_VARIABLE = re.compile("[A-Za-z]")


def _linked(side: str, last: str, algebra: Algebra) -> bool:
    """Whether two sides of one equation are the same; a unit may stand behind the last one only."""
    return squeezed(side) == squeezed(last) or same(read(side), read(last), Within(algebra))


def _same_chains(gold: Chain, given: Chain, algebra: Algebra) -> bool:
    if gold == given:
        return True
    ours, theirs = _rising(gold), _rising(given)
    if len(ours.sides) > 2 and ours.signs == theirs.signs and "=" not in ours.signs:
        pairs = zip(ours.sides, theirs.sides, strict=True)
        return all(squeezed(a) == squeezed(b) or algebra.equal(a, b) for a, b in pairs)
    if _same_name(gold, given):
        a, b = _value(gold, algebra), _value(given, algebra)
        if a is not None and b is not None and same(a, b, algebra):
            return True
    if len(gold.sides) != 2 or len(given.sides) != 2:
        return False
    if not all(isinstance(read(side), Scalar) for side in (*gold.sides, *given.sides)):
        return False
    # an equation is what it sets to zero, up to a factor; an inequality turns when that is negative
    first, second = (f"({c.sides[0]})-({c.sides[1]})" for c in (gold, given))
    sign = algebra.proportion(first, second)
    return sign != 0 and given.signs[0] == (gold.signs[0] if sign > 0 else FLIPPED[gold.signs[0]])


def _same_name(gold: Chain, given: Chain) -> bool:
    """Whether both say what one name is worth, which may stand last."""
    if set(gold.signs + given.signs) != {"="}:
        return False
    labels = [next((s for s in (c.sides[0], c.sides[-1]) if is_label(s)), None) for c in (gold, given)]
    return labels[0] is not None and labels[1] is not None and name(labels[0]) == name(labels[1])


def _rising(chain: Chain) -> Chain:
    """A chain that falls, turned round."""
    if not set(chain.signs) <= {">", "≥"}:
        return chain
    return Chain(chain.sides[::-1], tuple(FLIPPED[sign] for sign in chain.signs[::-1]))
