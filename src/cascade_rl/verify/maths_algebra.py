r"""Compare mathematical answers by computer algebra; runs in a process that may be killed at any moment.

math-verify's parser (latex2sympy2_extended) reads single expressions; what it reads in a surprising way is
rewritten or refused first: decimals become exact fractions, `2 3` isn't 5, an expression must be used up.
Constants are compared as rationals where they are rational, else at 60 and, where they agree, at 400 digits;
expressions with variables at fixed points, all real. math-verify's own comparison is the last resort, for
what can't be evaluated. Its faults that are mended: sums of money, names, bases and lists in
`maths_structure`; rounding (`2^{-98}` for `2^{-99}`) and `0=0` by comparing exactly; asymmetry by deciding
structure before algebra.
"""

from __future__ import annotations

import logging
import math
import re
from functools import lru_cache

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify import verify
from sympy.core.function import AppliedUndef

from cascade_rl.verify.maths import excess, quick
from cascade_rl.verify.maths_compare import same_texts
from cascade_rl.verify.maths_notation import ENDTEXT, TEXT, tidy, without_thousands
from cascade_rl.verify.maths_numbers import rational

logging.getLogger("math_verify").setLevel(logging.ERROR)

MOST_BITS = 200_000  # of a number that is evaluated: some 60,000 digits
MOST_TERMS = 1000  # of a sum or product
LARGEST_BINOMIAL = 100_000
# 60 settle nearly all; 400 tell apart what agrees in 50, such as a root and the same plus 10^-50
DIGITS = (60, 400)
# (numerator, denominator) with both signs, of which each variable gets a value of its own; exact, so that
# only the functions round
POINTS = ((7, 5), (-13, 9), (31, 11), (-2, 7), (113, 40))
# mixed numbers are rewritten here, and case tells variables apart
CONFIG = ConversionConfig(interpret_as_mixed_fractions=False, lowercase_symbols=False)


class Unreadable(Exception):
    """The text is no single expression, or one that is too large."""


class GoldUnreadable(Unreadable):
    """The same, of a gold answer."""


_SCIENTIFIC = re.compile(r"(?<![A-Za-z0-9.}_])([0-9]+(?:\.[0-9]+)?)[eE]([+-]?[0-9]{1,3})(?![A-Za-z0-9.{])")
_DECIMAL = re.compile(r"(\^ ?)?([0-9]*)\.([0-9]+)")
_MIXED = re.compile(r"(?<![A-Za-z0-9.}_^)] )(?<![A-Za-z0-9.}_^)])([0-9]+) ?\\frac\{([0-9]+)\}\{([0-9]+)\}")
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\overline ?\{([0-9]+)\}")
_SUBSCRIPT = re.compile(r"_ ?([0-9]) (?=[0-9])")
_LIMITS = re.compile(r"_ ?\{[^{}]*\}")
# what the parser reads in a surprising way, and what is structure: that is decided before
_REFUSED = re.compile(
    rf"[{TEXT}{ENDTEXT}=<>≤≥≠∪∩∈±∓,;:%?#&@\"]|\\ldots|\\setminus|\\begin|\\end|\\[bp]?mod|[0-9] +[0-9]"
)


def _exact(match: re.Match[str]) -> str:
    power, whole, digits = match.groups()
    fraction = rf"\frac{{{int(whole + digits)}}}{{{10 ** len(digits)}}}"
    return rf"^{{{fraction}}}" if power else f"({fraction})"


def _repeat(match: re.Match[str]) -> str:
    whole, fixed, period = match.groups()
    value = sympy.Rational(int((whole or "0") + fixed)) + sympy.Rational(int(period), 10 ** len(period) - 1)
    value /= 10 ** len(fixed)
    return rf"(\frac{{{value.p}}}{{{value.q}}})"


def _mixed(match: re.Match[str]) -> str:
    whole, above, below = match.groups()
    return rf"({whole}+\frac{{{above}}}{{{below}}})" if 0 < int(above) < int(below) else match.group()


def _scientific(match: re.Match[str]) -> str:
    return rf"({match[1]}\cdot 10^{{{int(match[2])}}})"


@lru_cache(maxsize=4096)
def parse(text: str) -> sympy.Expr:
    """The expression that a tidy text is; raises Unreadable."""
    text = _SCIENTIFIC.sub(_scientific, without_thousands(text.strip()))
    text = _MIXED.sub(_mixed, _REPEATING.sub(_repeat, text))
    text = _DECIMAL.sub(_exact, text).removeprefix("+")
    text = _SUBSCRIPT.sub(r"_{\1} ", text)
    if not text or _REFUSED.search(_LIMITS.sub("", text)):
        raise Unreadable("no single expression")
    if reason := excess(text) or _large_binomial(text):
        raise Unreadable(reason)
    try:
        found = latex2sympy(text, conversion_config=CONFIG)
    # the parser raises TypeError, SyntaxError and bare Exceptions: all mean unreadable
    except Exception as error:
        raise Unreadable(f"{type(error).__name__}: {error}"[:200]) from None
    # complex infinity passes every difference test: dividing by zero is no value
    if not isinstance(found, sympy.Expr) or found.has(sympy.zoo, sympy.nan):
        raise Unreadable(f"no single expression, but a {type(found).__name__}")
    # `f(2)` names a value: as a function it could not be evaluated at points
    found = found.replace(lambda e: isinstance(e, AppliedUndef), lambda e: sympy.Symbol(str(e)))
    # an i is the imaginary unit unless it is the index of a sum
    if sympy.Symbol("i") not in found.atoms(sympy.Tuple):
        found = found.subs(sympy.Symbol("i"), sympy.I)
    _weigh(found)
    return found


def _large_binomial(text: str) -> str | None:
    """The parser evaluates binomials at once, so large ones are refused before."""
    large = any(int(n) > LARGEST_BINOMIAL for n in re.findall(r"[0-9]+", text))
    return "a large binomial coefficient" if large and "\\binom" in text else None


def _weigh(expression: sympy.Basic) -> float:
    """About how many bits the value of a constant has; raises Unreadable when they are too many."""
    # bottom up: what is small in its parts may still explode in their power
    parts = [_weigh(part) for part in expression.args] or [0.0]
    if expression.is_Rational:
        bits = (
            math.log2(abs(expression.p) or 1) + math.log2(expression.q)
            if abs(expression.p) < 1 << 1000
            else 1e3
        )
    # bits of the base times the exponent, or times the most that an exponent of so many bits can be
    elif isinstance(expression, sympy.Pow | sympy.exp):
        base, power = parts[0] if isinstance(expression, sympy.Pow) else 1.5, expression.args[-1]
        times = abs(float(power)) if power.is_Rational and parts[-1] < 60 else 2.0 ** min(parts[-1], 60.0)
        bits = base * max(times, 1.0) if power.is_number else 0.0
    elif isinstance(expression, sympy.factorial | sympy.binomial | sympy.gamma):
        bits = max(parts[0], 1.0) * 2.0 ** min(parts[0], 60.0)
    elif isinstance(expression, sympy.Sum | sympy.Product):
        bits = 0.0
        for _, low, high in expression.limits:
            if (high - low).is_number and not abs(sympy.N(high - low)) <= MOST_TERMS:
                raise Unreadable("a sum of too many terms")
    else:
        bits = sum(parts)
    if bits > MOST_BITS:
        raise Unreadable("a number of too many digits")
    return bits


class SympyAlgebra:
    """Comparison of single expressions; remembers whether a given one was unreadable."""

    def __init__(self) -> None:
        self.unreadable = ""

    def _both(self, gold: str, given: str) -> tuple[sympy.Expr, sympy.Expr] | None:
        try:
            ours = parse(gold)
        except Unreadable as error:
            raise GoldUnreadable(str(error)) from None
        try:
            return ours, parse(given)
        except Unreadable as error:
            self.unreadable = str(error)
            return None

    def equal(self, gold: str, given: str) -> bool:
        """Whether two expressions have one value."""
        known = quick(gold, given)
        if known is not None:
            return known
        pair = self._both(gold, given)
        return pair is not None and equal(*pair)

    def proportion(self, gold: str, given: str) -> int:
        """The sign of the constant that relates them, or 0."""
        pair = self._both(gold, given)
        return proportion(*pair) if pair else 0

    def holds(self, left: str, right: str) -> bool:
        """Whether two sides of one answer have one value; what can't be read has none."""
        try:
            return self.equal(left, right)
        except GoldUnreadable as error:
            self.unreadable = str(error)
            return False

    def order(self, left: str, right: str) -> int | None:
        """Which of two real numbers is greater; None if not both are some."""
        if left == right:
            return 0
        try:
            a, b = parse(left), parse(right)
        except Unreadable as error:
            self.unreadable = str(error)
            return None
        return order(a, b)


def equal(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether two expressions are equal wherever both are real."""
    if a == b:
        return True
    a, b = a.doit(), b.doit()
    if a == b:
        return True
    # differences of infinities prove nothing
    if any(e.has(sympy.oo, -sympy.oo, sympy.zoo, sympy.nan) for e in (a, b)):
        return False
    # two rationals that are not the same are different, without any digits
    if a.is_Rational and b.is_Rational:
        return False
    if not a.free_symbols | b.free_symbols:
        return _equal_constants(a, b)
    values = _values(a, b)
    # nowhere two real numbers: the last resort
    if not values:
        return bool(verify([a], [b], timeout_seconds=None))
    return all(_close(x, y) for x, y in values)


def _equal_constants(a: sympy.Expr, b: sympy.Expr) -> bool:
    # few digits settle most; many are asked only of what agrees in the first ones
    for digits in DIGITS:
        x, y = (sympy.N(e, digits, maxn=2 * digits) for e in (a, b))
        if not all(v.is_number and v.is_finite for v in (x, y)):
            return bool(verify([a], [b], timeout_seconds=None))
        if not _close(x, y, digits - 10):
            return False
    return True


def _close(x: sympy.Expr, y: sympy.Expr, digits: int = 40) -> bool:
    """Whether two numbers agree to so many digits; against zero, to so many places."""
    size = max(abs(x), abs(y))
    return bool(
        abs(x - y)
        <= (size if min(abs(x), abs(y)) > sympy.Float(10) ** -digits else 1) * sympy.Float(10) ** -digits
    )


def _values(a: sympy.Expr, b: sympy.Expr) -> list[tuple[sympy.Expr, sympy.Expr]]:
    """The values of both at the points where they are numbers, and real unless one of them has an i."""
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    complex_ = a.has(sympy.I) or b.has(sympy.I)
    found = []
    for n, (above, below) in enumerate(POINTS):
        point = {
            s: sympy.Rational(above * (k + 2) + n * k, below * (k + 1) + k) for k, s in enumerate(symbols)
        }
        x, y = (sympy.N(e.subs(point), 60) for e in (a, b))
        if not all(v.is_number and v.is_finite for v in (x, y)):
            continue
        # outside of an expression's domain both may be complex and differ by a branch
        if complex_ or (x.is_real and y.is_real):
            found.append((x, y))
    return found


def proportion(a: sympy.Expr, b: sympy.Expr) -> int:
    """The sign of the constant c in a = c b; 0 when there is none or no real one, or for two constants."""
    a, b = a.doit(), b.doit()
    if not (a.free_symbols and b.free_symbols):
        return 0
    pairs = [(x, y) for x, y in _values(a, b) if not (_close(x, sympy.S.Zero) and _close(y, sympy.S.Zero))]
    # one point shows no proportion
    if len(pairs) < 2 or any(_close(x, sympy.S.Zero) or _close(y, sympy.S.Zero) for x, y in pairs):
        return 0
    ratios = [x / y for x, y in pairs]
    if not ratios[0].is_real or not all(_close(r, ratios[0], 30) for r in ratios):
        return 0
    return 1 if ratios[0] > 0 else -1


def order(a: sympy.Expr, b: sympy.Expr) -> int | None:
    """-1, 0 or 1 for two real constants, None for others."""
    values = [sympy.N(e, 60, maxn=120) for e in (a, b)]
    if not all(v.is_number and v.is_real and v.is_finite for v in values):
        return None
    return 0 if equal(a, b) else -1 if values[0] < values[1] else 1


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
    except GoldUnreadable as error:
        return {"outcome": "gold", "note": str(error)}
    except Exception as error:
        # raises, and so makes the fault ours, if the gold alone fails in the same way
        probe(gold)
        return {"outcome": "unparseable", "note": f"{type(error).__name__}: {error}"[:200]}
    outcome = "right" if right else "unparseable" if algebra.unreadable else "wrong"
    return {"outcome": outcome, "note": "" if right else algebra.unreadable}


class _Probe:
    """Evaluates the gold side of whatever is compared."""

    def equal(self, gold: str, given: str) -> bool:
        """True, unless the gold can't be read or evaluated."""
        if quick(gold, given) is None or rational(gold) is None:
            expression = parse(gold)
            # all the work of a comparison that does not end early, and never true
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
    return same_texts(tidy(gold), tidy(gold), _Probe())


def warm() -> None:
    """Make the first calls as fast as the later ones: builds the parser's tables."""
    judge(r"\frac{\sqrt{3}}{2}+x^2", r"x^2+\sin\frac{\pi}{3}")
