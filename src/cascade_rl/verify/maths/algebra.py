r"""Compare mathematical answers by computer algebra; runs in a process that may be killed at any moment.

`parse` reads single expressions. Constants are compared as rationals where they are rational, else at
400 digits; expressions with variables at the points of `points`. What
can't be evaluated is equal only if algebra simplifies the difference to zero; what can't be decided is
different.

Whose fault it is when something can't be read is found by reading the gold answer alone: a reply can't make
its own verdict void.
"""

from __future__ import annotations

from functools import lru_cache

import sympy

from cascade_rl.verify.maths import points as maths_points
from cascade_rl.verify.maths.algebras import Arithmetic, Undecided
from cascade_rl.verify.maths.answers import quick
from cascade_rl.verify.maths.answers import tidied as tidy
from cascade_rl.verify.maths.compare import same_texts
from cascade_rl.verify.maths.kinds import Chain
from cascade_rl.verify.maths.notation import squeezed
from cascade_rl.verify.maths.numbers import rational
from cascade_rl.verify.maths.parse import Unreadable, parse
from cascade_rl.verify.maths.structure import read
from cascade_rl.verify.maths.values import NoValueError, UnsupportedError, close, value_at

# of a constant: they tell apart a root and the same plus 10^-50, and 60 of them may be lost by cancelling
DIGITS, LOST_DIGITS = 400, 60
_ARITHMETIC = Arithmetic()


class SympyAlgebra:
    """Comparison of single expressions; remembers whether one was unreadable."""

    def __init__(self) -> None:
        self.unreadable = ""

    def _both(self, gold: str, given: str) -> tuple[sympy.Expr, sympy.Expr] | None:
        try:
            return parse(gold), parse(given)
        except Unreadable as error:
            self.unreadable = self.unreadable or str(error)
            return None

    def equal(self, gold: str, given: str) -> bool:
        """Whether two expressions have one value."""
        # not `quick`, which tidies: a second time that would drop the `$` of money
        try:
            return _ARITHMETIC.equal(gold, given)
        except Undecided:
            pass
        if _without_brackets(gold) == _without_brackets(given):
            return True
        pair = self._both(gold, given)
        return pair is not None and equal(*pair)

    def proportion(self, gold: str, given: str) -> int:
        """The sign of the constant that relates them, or 0."""
        pair = self._both(gold, given)
        return proportion(*pair) if pair else 0

    def holds(self, left: str, right: str) -> bool:
        """Whether two sides of one answer have one value; what can't be read has none."""
        return self.equal(left, right)

    def order(self, left: str, right: str) -> int | None:
        """Which of two real numbers is greater; None if not both are some."""
        pair = self._both(left, right)
        return order(*pair) if pair else None


def _without_brackets(text: str) -> str:
    """A text with one kind of brackets and none twice, so that what is too large may still be the same."""
    kept: list[str] = []
    opened: list[int] = []
    for char in squeezed(text):
        if char in ")}" and opened:
            start = opened.pop()
            # `((x))` and `{(x)}` are `(x)`
            if kept[start + 1 : start + 2] == ["("] and kept[-1] == ")" and _closes(kept, start + 1):
                del kept[start], kept[-1]
            kept.append(")")
            continue
        if char in "({":
            opened.append(len(kept))
        kept.append("(" if char == "{" else char)
    return "".join(kept)


def _closes(kept: list[str], start: int) -> bool:
    """Whether the bracket at `start` closes at the very end."""
    depth = 0
    for i in range(start, len(kept)):
        depth += (kept[i] == "(") - (kept[i] == ")")
        if depth == 0:
            return i == len(kept) - 1
    return False


def equal(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether two expressions are equal; see `points` for those with variables."""
    if a == b:
        return True
    constant = not a.free_symbols | b.free_symbols
    a, b = _done(a, constant), _done(b, constant)
    if a == b:
        return True
    # differences of infinities prove nothing
    if any(e.has(sympy.oo, -sympy.oo, sympy.zoo, sympy.nan) for e in (a, b)):
        return False
    # two rationals that are not the same are different, without any digits
    if a.is_Rational and b.is_Rational:
        return False
    if constant:
        return _equal_constants(a, b)
    try:
        return maths_points.same_values(a, b)
    except UnsupportedError:
        return bool(sympy.simplify(a - b) == 0)


def _done(e: sympy.Expr, constant: bool) -> sympy.Expr:
    """An expression with its integrals, derivatives and limits worked out; sums are evaluated at points."""
    if constant or e.has(sympy.Integral, sympy.Derivative, sympy.Limit):
        return e.doit()
    return e


def _equal_constants(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether two constants are equal by their principal values, or with the real odd roots of numbers."""
    kinds = [False]
    if not any(e.has(sympy.I) for e in (a, b)) and any(map(_has_odd_root, (a, b))):
        kinds.append(True)
    try:
        return any(_same_value(a, b, real) for real in kinds)
    except UnsupportedError:
        return bool(sympy.simplify(a - b) == 0)


def _same_value(a: sympy.Expr, b: sympy.Expr, real: bool) -> bool:
    try:
        return close(value_at(a, {}, DIGITS, real), value_at(b, {}, DIGITS, real), DIGITS - LOST_DIGITS)
    except NoValueError:
        return False


def _has_odd_root(e: sympy.Expr) -> bool:
    return any(p.exp.is_Rational and p.exp.q % 2 == 1 and p.exp.q > 1 for p in e.atoms(sympy.Pow))


def proportion(a: sympy.Expr, b: sympy.Expr) -> int:
    """The sign of the constant c in a = c b; 0 when there is none or no real one, or for two constants."""
    a, b = _done(a, False), _done(b, False)
    if not (a.free_symbols and b.free_symbols):
        return 0
    try:
        return maths_points.proportion(a, b)
    except UnsupportedError:
        return 0


def order(a: sympy.Expr, b: sympy.Expr) -> int | None:
    """-1, 0 or 1 for two real constants, None for others."""
    values = [sympy.N(e, 60, maxn=120) for e in (a, b)]
    if not all(v.is_number and v.is_real and v.is_finite for v in values):
        return None
    # what agrees in so many digits is the same, or of no known order
    if abs(values[0] - values[1]) > sympy.Float(10) ** -40 * max(1, abs(values[0])):
        return -1 if values[0] < values[1] else 1
    return 0 if equal(a, b) else None


def judge(gold: str, *given: str) -> dict[str, str]:
    """`{"outcome": right, wrong, unparseable or gold, "note"}`; `gold`: the gold answer can't be read.

    `given` are readings of one answer, of which one must be right; the first one tells what else it is.
    Algebra raises all kinds of errors; what it raises is the given answer's fault if the gold can be
    evaluated alone.
    """
    found = [_judge(gold, reading) for reading in given]
    return next((f for f in found if f["outcome"] == "right"), found[0])


def _judge(gold: str, given: str) -> dict[str, str]:
    algebra = SympyAlgebra()
    try:
        right = same_texts(tidy(gold), tidy(given), algebra)
    except Exception as error:
        # raises, and so makes the fault ours, if the gold alone fails in the same way
        probe(gold)
        return {"outcome": "unparseable", "note": f"{type(error).__name__}: {error}"[:200]}
    if right:
        return {"outcome": "right", "note": ""}
    if algebra.unreadable and (reason := unreadable_gold(gold)):
        return {"outcome": "gold", "note": reason}
    return {"outcome": "unparseable" if algebra.unreadable else "wrong", "note": algebra.unreadable}


@lru_cache(maxsize=4096)
def unreadable_gold(gold: str) -> str:
    """Why a gold answer can't be read, found without any reply; nothing if it can."""
    # an equation equals itself without being read: it is compared with a plain number, too
    if isinstance(read(tidy(gold)), Chain):
        beside = SympyAlgebra()
        same_texts(tidy(gold), "7", beside)
        if beside.unreadable:
            return beside.unreadable
    try:
        same_texts(tidy(gold), tidy(gold), _Probe(evaluate=False))
    except Unreadable as error:
        return str(error)
    return ""


class _Probe:
    """Reads, and if asked to evaluates, the gold side of whatever is compared."""

    def __init__(self, *, evaluate: bool) -> None:
        self.evaluate = evaluate

    def equal(self, gold: str, given: str) -> bool:
        """True, unless the gold can't be read or evaluated."""
        if quick(gold, given) is None or rational(gold) is None:
            expression = parse(gold)
            # all the work of a comparison that does not end early, and never true
            if self.evaluate:
                equal(expression, expression + sympy.sqrt(2))
        return True

    def proportion(self, gold: str, given: str) -> int:
        """The same."""
        return int(self.equal(gold, given))

    def holds(self, left: str, right: str) -> bool:
        """The same."""
        return self.equal(left, right)

    def order(self, left: str, right: str) -> int | None:
        """None, so that every end of an interval is evaluated."""
        return None


def probe(gold: str) -> bool:
    """True if a gold answer can be read and evaluated; raises or never ends if not."""
    return same_texts(tidy(gold), tidy(gold), _Probe(evaluate=True))


def warm() -> None:
    """Make the first calls as fast as the later ones: builds the parser's tables."""
    judge(r"\frac{\sqrt{3}}{2}+x^2", r"x^2+\sin\frac{\pi}{3}")
