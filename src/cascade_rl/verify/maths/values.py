r"""The value of an expression at a point: exact where it is rational, else to any number of digits.

Variables are real. Without an i in it an expression is read over the real numbers: an even root or a
logarithm of what is negative has no value, and an odd root of it is the real one (`\sqrt[3]{-8}` is -2).
With an i the principal values count. What is a whole number up to rounding is taken for one, so that floor
and ceiling are right at whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import sympy
from mpmath import mp

MOST_BITS = 20_000  # of a value; a point that leads to more is passed over
MOST_TERMS = 1000  # of a sum at a point
LARGEST_FACTORIAL = 500
LARGEST_ANGLE = 10**15
Number = Any  # int, Fraction, mpf or mpc: mpmath has no types of its own


class NoValueError(Exception):
    """No real number, or one that is too large to be of use."""


class TooLargeError(NoValueError):
    """A value that is too large to be computed, which says nothing about the domain."""


class UnsupportedError(Exception):
    """An expression that can't be evaluated here, such as an integral that stays one."""


def value_at(
    expression: sympy.Basic, point: Mapping[sympy.Symbol, Number], digits: int, real: bool
) -> Number:
    """The value of an expression at a point; raises NoValueError or UnsupportedError."""
    with mp.workdps(digits):
        try:
            found = _Evaluation(dict(point), real).of(expression)
        except (ZeroDivisionError, OverflowError, ValueError, mpmath.libmp.ComplexResult) as error:
            raise NoValueError(str(error)) from None
        if isinstance(found, mpmath.mpf | mpmath.mpc) and not mpmath.isfinite(found):
            raise NoValueError("no finite number")
        if isinstance(found, mpmath.mpc) and real:
            raise NoValueError("no real number")
        return found


def close(x: Number, y: Number, digits: int = 40) -> bool:
    """Whether two numbers agree to so many digits; against zero, to so many places."""
    if not _inexact(x) and not _inexact(y):
        return bool(x == y)
    with mp.workdps(2 * digits):
        x, y, least = _mp(x), _mp(y), mpmath.mpf(10) ** -digits
        size = max(abs(x), abs(y)) if min(abs(x), abs(y)) > least else 1
        return bool(abs(x - y) <= size * least)


def _inexact(x: Number) -> bool:
    return isinstance(x, mpmath.mpf | mpmath.mpc)


def _mp(x: Number) -> Number:
    if isinstance(x, Fraction):
        return mpmath.mpf(x.numerator) / x.denominator
    return x if _inexact(x) else mpmath.mpf(x)


def _bits(x: Number) -> float:
    """About the binary logarithm of a number's size."""
    if isinstance(x, Fraction):
        return max(x.numerator.bit_length(), x.denominator.bit_length())
    return float(abs(mpmath.mag(x))) if x else 0.0


def _whole(x: Number) -> int | None:
    """The whole number that a number is, up to rounding; else None."""
    if not _inexact(x):
        return int(x) if x == int(x) else None
    if isinstance(x, mpmath.mpc):
        return None
    if _bits(x) > MOST_BITS:
        raise TooLargeError("too large")
    near = int(mpmath.nint(x))
    # so many digits are right of a value in the tens of thousands
    return near if abs(x - near) < mpmath.mpf(10) ** (12 - mp.dps) * max(1, abs(near)) else None


class _Evaluation:
    """One point, with one rule of what counts as a value."""

    def __init__(self, point: dict[sympy.Symbol, Number], real: bool) -> None:
        self.point, self.real = point, real

    def of(self, e: sympy.Basic) -> Number:
        """The value of an expression."""
        if e.is_Rational:
            return Fraction(int(e.p), int(e.q)) if e.q != 1 else int(e.p)
        if e.is_Symbol:
            if e not in self.point:
                raise UnsupportedError(str(e))
            return self.point[e]
        name = type(e).__name__
        if name in _CONSTANTS:
            return _CONSTANTS[name]()
        if name == "ImaginaryUnit":
            if self.real:
                raise NoValueError("an imaginary number")
            return mpmath.mpc(0, 1)
        if name in ("Sum", "Product"):
            return self._series(e, name)
        if name == "Pow":
            return self._power(e)
        arguments = [self.of(part) for part in e.args]
        if name == "Add":
            return _total(arguments)
        if name == "Mul":
            return _product(arguments)
        if name in _EXACT:
            return _EXACT[name](*arguments)
        if name in _FUNCTIONS:
            return self._function(name, arguments)
        raise UnsupportedError(name)

    def _function(self, name: str, arguments: list[Number]) -> Number:
        function, domain = _FUNCTIONS[name]
        x, *others = arguments
        if name == "log" and others:
            return _quotient(self._function("log", [x]), self._function("log", others))
        if not isinstance(x, mpmath.mpc):
            if x == 0 and name in ("sin", "tan", "asin", "atan", "sinh", "tanh"):
                return 0
            if x == 0 and name in ("exp", "cos", "cosh"):
                return 1
            if x == 1 and name == "log":
                return 0
            if abs(x) > LARGEST_ANGLE and name not in ("log", "atan", "asinh", "acosh", "tanh"):
                raise TooLargeError("too large")
            # one may be passed by rounding alone
            if name in ("asin", "acos") and _inexact(x) and _whole(x) in (1, -1):
                x = _whole(x)
            if self.real and not domain(x):
                raise NoValueError("outside of the real domain")
        if name in ("exp", "sinh", "cosh") and abs(x) > MOST_BITS / 2:
            raise TooLargeError("too large")
        return function(_mp(x))

    def _power(self, e: sympy.Basic) -> Number:
        base = self.of(e.args[0])
        # an odd root is real only where the exponent says so itself, not by chance at a point
        if e.args[1].is_Rational:
            return self._root(base, int(e.args[1].p), int(e.args[1].q))
        power = self.of(e.args[1])
        whole = None if isinstance(power, mpmath.mpc) else _whole(power)
        if whole is not None:
            return self._root(base, whole, 1)
        if base == 0:
            if not isinstance(power, mpmath.mpc) and power > 0:
                return 0
            raise NoValueError("a power of zero")
        if abs(_bits(base)) * abs(power) > MOST_BITS:
            raise TooLargeError("too large")
        if not isinstance(base, mpmath.mpc) and base < 0 and self.real:
            raise NoValueError("a broken power of a negative number")
        return mpmath.power(_mp(base), _mp(power))

    def _root(self, base: Number, above: int, below: int) -> Number:
        if base == 0:
            if above > 0:
                return 0
            raise NoValueError("a power of zero")
        if (_bits(base) + 1) * abs(above) > MOST_BITS:
            raise TooLargeError("too large")
        if below == 1:
            return (Fraction(base) if isinstance(base, int) and above < 0 else base) ** above
        if self.real and not isinstance(base, mpmath.mpc) and base < 0:
            if below % 2 == 0:
                raise NoValueError("an even root of a negative number")
            root = mpmath.power(-_mp(base), mpmath.mpf(above) / below)
            return -root if above % 2 else root
        return mpmath.power(_mp(base), mpmath.mpf(above) / below)

    def _series(self, e: sympy.Basic, name: str) -> Number:
        if len(e.limits) != 1 or len(e.limits[0]) != 3:
            raise UnsupportedError(name)
        index, *ends = e.limits[0]
        low, high = (_whole(self.of(end)) for end in ends)
        if low is None or high is None or high < low - 1 or high - low > MOST_TERMS:
            raise NoValueError("no number of terms")
        kept = self.point.get(index)
        found = []
        for k in range(low, high + 1):
            self.point[index] = k
            found.append(self.of(e.function))
        self.point.pop(index, None)
        if kept is not None:
            self.point[index] = kept
        return _total(found) if name == "Sum" else _product(found)


def _total(numbers: list[Number]) -> Number:
    exact = sum(x for x in numbers if not _inexact(x))
    rough = [x for x in numbers if _inexact(x)]
    return sum(rough, _mp(exact)) if rough else exact


def _product(numbers: list[Number]) -> Number:
    exact: Number = 1
    for x in numbers:
        if not _inexact(x):
            exact *= x
    rough = [x for x in numbers if _inexact(x)]
    if not rough or not exact:
        return exact
    found = _mp(exact)
    for x in rough:
        found *= x
    return found


def _quotient(a: Number, b: Number) -> Number:
    if not b:
        raise NoValueError("division by zero")
    return Fraction(a) / Fraction(b) if not _inexact(a) and not _inexact(b) else _mp(a) / _mp(b)


def _real(x: Number) -> Number:
    if isinstance(x, mpmath.mpc):
        raise NoValueError("no real number")
    return x


def _floor(x: Number) -> Number:
    whole = _whole(_real(x))
    return whole if whole is not None else int(mpmath.floor(_mp(x)))


def _ceiling(x: Number) -> Number:
    return -_floor(-_real(x))


def _mod(a: Number, b: Number) -> Number:
    return _total([a, _product([-1, b, _floor(_quotient(a, b))])])


def _factorial(n: Number) -> Number:
    whole = _whole(_real(n))
    if whole is None:
        return mpmath.gamma(_mp(n) + 1) if abs(n) < LARGEST_FACTORIAL else _too_large()
    if whole < 0:
        raise NoValueError("a factorial of a negative number")
    return math.factorial(whole) if whole <= LARGEST_FACTORIAL else _too_large()


def _too_large() -> Number:
    raise TooLargeError("too large")


def _double_factorial(n: Number) -> Number:
    whole = _whole(_real(n))
    if whole is None or whole < -1:
        raise NoValueError("a double factorial of what is no whole number")
    return math.prod(range(whole, 0, -2)) if whole <= LARGEST_FACTORIAL else _too_large()


def _binomial(n: Number, k: Number) -> Number:
    below, above = _whole(_real(k)), _whole(_real(n))
    if below is None and above is None:
        return (
            mpmath.binomial(_mp(n), _mp(k)) if abs(_mp(n)) + abs(_mp(k)) < LARGEST_FACTORIAL else _too_large()
        )
    if below is None:
        raise NoValueError("a binomial with a broken number")
    if above is not None and above >= 0 and below > above - below:
        below = above - below  # symmetric, and zero outside
    if below < 0:
        return 0
    if below > LARGEST_FACTORIAL:
        return _too_large()
    found: Number = 1
    for i in range(below):
        found = _quotient(_product([found, _total([n, -i])]), i + 1)
    return found


def _whole_numbers(function: Callable[..., int]) -> Callable[..., Number]:
    def of(*numbers: Number) -> Number:
        wholes = [_whole(_real(x)) for x in numbers]
        if None in wholes:
            raise NoValueError("of whole numbers only")
        return function(*wholes)

    return of


def _sign(x: Number) -> int:
    return 0 if _real(x) == 0 else 1 if x > 0 else -1


@lru_cache(maxsize=64)
def _constant(name: str, digits: int) -> Number:
    with mp.workdps(digits):
        return +getattr(mpmath, name)


_CONSTANTS: dict[str, Callable[[], Number]] = {
    "Pi": lambda: _constant("pi", mp.dps),
    "Exp1": lambda: _constant("e", mp.dps),
    "GoldenRatio": lambda: _constant("phi", mp.dps),
    "EulerGamma": lambda: _constant("euler", mp.dps),
}
_EXACT: dict[str, Callable[..., Number]] = {
    "Abs": abs,
    "floor": _floor,
    "ceiling": _ceiling,
    "Mod": _mod,
    "Max": lambda *x: max(map(_real, x), key=_mp),
    "Min": lambda *x: min(map(_real, x), key=_mp),
    "sign": _sign,
    "factorial": _factorial,
    "factorial2": _double_factorial,
    "binomial": _binomial,
    "gcd": _whole_numbers(math.gcd),
    "lcm": _whole_numbers(math.lcm),
    "conjugate": lambda x: x.conjugate() if isinstance(x, mpmath.mpc) else x,
    "re": lambda x: x.real if isinstance(x, mpmath.mpc) else x,
    "im": lambda x: x.imag if isinstance(x, mpmath.mpc) else 0,
    "UnevaluatedExpr": lambda x: x,
}


def _everywhere(_: Number) -> bool:
    return True


def _between(x: Number) -> bool:
    return bool(-1 <= x <= 1)


def _outside(x: Number) -> bool:
    return bool(abs(x) >= 1)


_NAMES = "exp sin cos tan cot sec csc sinh cosh tanh coth sech csch atan asinh acot arg erf"
_FUNCTIONS: dict[str, tuple[Callable[[Number], Number], Callable[[Number], bool]]] = {
    "asin": (mpmath.asin, _between),
    "acos": (mpmath.acos, _between),
    "asec": (mpmath.asec, _outside),
    "acsc": (mpmath.acsc, _outside),
    "acosh": (mpmath.acosh, lambda x: bool(x >= 1)),
    "atanh": (mpmath.atanh, lambda x: bool(-1 < x < 1)),
    "acoth": (mpmath.acoth, lambda x: bool(abs(x) > 1)),
    "log": (mpmath.log, lambda x: bool(x > 0)),
    "gamma": (mpmath.gamma, lambda x: _whole(x) is None or x > 0),
    **{name: (getattr(mpmath, name), _everywhere) for name in _NAMES.split()},
}
