r"""Whether two expressions with variables are one: at points of all signs, sizes and kinds.

Equal is what agrees wherever both have a value, at whole numbers and between them, near zero and far from it,
for every pattern of signs. What the gold answer has a value for the other must have, too, but for isolated
points (`\frac{x^2}{x}` is x). Where the gold answer itself has none for half of the signs (`\sqrt{ab}`), only
positive values count for that, as they are usually meant. Letters such as n are whole numbers as soon as one
of both expressions has a floor, a factorial, a sum or the like.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import product

import sympy

from cascade_rl.verify.maths.values import (
    NoValueError,
    Number,
    TooLargeError,
    UnsupportedError,
    close,
    value_at,
)

DIGITS = 60  # of a value; two are one when 40 agree, and are told apart with three times as many
ENOUGH = 6  # points at which both must have a value
WHOLE_LETTERS = frozenset("ijklmnNK")
_WHOLE_FUNCTIONS = (
    sympy.floor, sympy.ceiling, sympy.factorial, sympy.factorial2, sympy.binomial, sympy.Mod, sympy.Sum,
    sympy.Product, sympy.core.function.AppliedUndef,
)  # fmt: skip
# squares, cubes, powers of two and what lies beside them
_WHOLES = (
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 17, 24, 25, 27, 31, 32, 36, 11, 14, 45, 60, 100, 121, 1001,
)  # fmt: skip
_SMALL = tuple(Fraction(*p) for p in ((1, 3), (2, 7), (3, 5), (4, 5), (1, 1000), (12, 13), (5, 11), (7, 10)))
_MIDDLE = tuple(
    Fraction(*p) for p in ((7, 5), (13, 9), (31, 11), (20, 9), (113, 40), (6, 5), (17, 4), (9, 7))
)
_HALVES = tuple(Fraction(n, 2) for n in (1, 3, 5, 7, 9, 11))
_LARGE = tuple(Fraction(*p) for p in ((43, 3), (1003, 7), (99, 4), (311, 13), (5001, 11)))
# beyond what a bound such as `\max(x, -500)` hides
_HUGE = tuple(Fraction(*p) for p in ((123457, 3), (50000001, 7), (10**10 + 1, 9)))
_KINDS = (_MIDDLE, _SMALL, _WHOLES, _HALVES, _LARGE, _HUGE)
_PER_PATTERN = 7  # points for each pattern of signs: one of each kind and one of mixed kinds
MOST_PATTERNS = 16
NEARBY = 100  # values up to which an expression must be computable
MOST_STEPS = 4  # arguments of floors and ceilings that are made whole
SEED = 2512

Point = dict[sympy.Symbol, Number]


def _whole_symbols(*expressions: sympy.Expr) -> frozenset[sympy.Symbol]:
    """Letters that stand for whole numbers."""
    alternating = any(
        p.base.is_negative and p.exp.free_symbols for e in expressions for p in e.atoms(sympy.Pow)
    )
    if not alternating and not any(e.has(*_WHOLE_FUNCTIONS) for e in expressions):
        return frozenset()
    return frozenset(s for e in expressions for s in e.free_symbols if str(s)[:1] in WHOLE_LETTERS)


@lru_cache(maxsize=256)
def _patterns(count: int) -> tuple[tuple[int, ...], ...]:
    """Signs for so many variables: all of them, or a choice with each variable alone of its sign."""
    if 2**count <= MOST_PATTERNS:
        return tuple(product((1, -1), repeat=count))
    rng = random.Random(SEED)
    found = [(1,) * count, (-1,) * count]
    found += [tuple(-1 if k == i else 1 for k in range(count)) for i in range(min(count, 6))]
    while len(found) < MOST_PATTERNS:
        found.append(tuple(rng.choice((1, -1)) for _ in range(count)))
    return tuple(found)


@lru_cache(maxsize=512)
def points(whole: tuple[bool, ...]) -> tuple[tuple[tuple[Number, ...], bool], ...]:
    """Values for variables, and whether the point is an ordinary one: neither whole numbers nor an edge."""
    rng = random.Random(SEED)
    count, found = len(whole), []
    rounds = 4 if count == 1 else 2 if count == 2 else 1
    for _ in range(rounds):
        for n in range(_PER_PATTERN):
            for signs in _patterns(count):
                kinds = [_KINDS[n] if n < len(_KINDS) else rng.choice(_KINDS) for _ in whole]
                chosen: list[Number] = [
                    rng.choice(_WHOLES if is_whole else kind)
                    for is_whole, kind in zip(whole, kinds, strict=True)
                ]
                ordinary = any(whole) or not any(kind is _WHOLES for kind in kinds)
                found.append((tuple(s * v for s, v in zip(signs, chosen, strict=True)), ordinary))
    edges = (0, 1, -1, 2, -2)
    found += [
        (tuple(edges[(i + k * j) % 5] for k in range(count)), False) for i in range(5) for j in (0, 1, 2)
    ]
    if count == 1:
        found += [((n,), whole[0] and n > 3) for n in (*_WHOLES, *(-w for w in _WHOLES[:9]))]
    return tuple(dict.fromkeys(found))


def _more_points(count: int) -> Iterator[tuple[Number, ...]]:
    """Many others, for expressions with a small domain somewhere."""
    rng = random.Random(SEED + 1)
    for n in range(240):
        yield tuple(
            Fraction(rng.randint(-60, 60) * (1 + n // 60), rng.choice((3, 7, 10))) for _ in range(count)
        )


def _steps(
    expressions: tuple[sympy.Expr, ...],
    symbols: list[sympy.Symbol],
    wholes: frozenset[sympy.Symbol],
    real: bool,
) -> Iterator[Point]:
    """Points at which the argument of a floor or ceiling is a whole number, where both sides of it differ."""
    inner = {f.args[0] for e in expressions for f in e.atoms(sympy.floor, sympy.ceiling)}
    rest = [Fraction(2, 7), Fraction(-13, 9), Fraction(31, 11), Fraction(5, 3), Fraction(-1, 2)]
    for argument in sorted(inner, key=sympy.default_sort_key)[:MOST_STEPS]:
        for symbol in sorted(argument.free_symbols, key=str)[:2]:
            if symbol in wholes:
                continue
            point: Point = {s: 3 if s in wholes else rest[i % 5] for i, s in enumerate(symbols)}
            seen: list[Number] = [_value(argument, point | {symbol: x}, real) for x in (0, 1, 2)]
            exact = all(isinstance(v, int | Fraction) for v in seen)
            if exact and (slope := seen[1] - seen[0]) and seen[2] - seen[1] == slope:
                found = [Fraction(k - seen[0]) / Fraction(slope) for k in (-2, -1, 0, 1, 2, 5)]
            else:
                found = _roots(
                    argument.subs({s: sympy.Rational(point[s]) for s in symbols if s != symbol}), symbol
                )
            yield from (point | {symbol: x} for x in found)


def _roots(argument: sympy.Expr, symbol: sympy.Symbol) -> list[Number]:
    """Where an expression of one variable is 1, 2 or 3, as far as algebra finds it at once."""
    if not argument.is_algebraic_expr(symbol) and not argument.has(sympy.log, sympy.exp):
        return []
    found: list[Number] = []
    for k in (1, 2, 3):
        try:
            roots = sympy.solve(argument - k, symbol)
        except (NotImplementedError, ValueError):
            return found
        for root in roots[:3]:
            try:
                # as many digits as the second sight has, which must find a whole number there, too
                found.append(value_at(root, {}, 3 * DIGITS + 20, True))
            except (NoValueError, UnsupportedError):
                continue
    return found


def _value(
    e: sympy.Expr, point: Point, real: bool, digits: int = DIGITS, *, strict: bool = False
) -> Number | None:
    """A value, or None where there is none; `strict`: what is too large is raised."""
    try:
        return value_at(e, point, digits, real)
    except TooLargeError:
        if strict:
            raise
        return None
    except NoValueError:
        return None


def _both(gold: sympy.Expr, given: sympy.Expr, point: Point, real: bool) -> tuple[Number, Number] | None:
    """The values of both at a point, None for what has none; nothing where one is too large to tell."""
    try:
        a = _value(gold, point, real, strict=True)
    except TooLargeError:
        return None
    if a is None:
        return None, None
    try:
        return a, _value(given, point, real, strict=True)
    except TooLargeError:
        # far out that says nothing; nearby an answer may not hide in it where it would be wrong
        return None if any(abs(v) > NEARBY for v in point.values()) else (a, None)


def compare(gold: sympy.Expr, given: sympy.Expr) -> Iterator[tuple[Number, Number, Point, bool]]:
    """The values at one point after another at which the gold has one; raises UnsupportedError.

    The other's is None where it has none; the last part says whether the point is an ordinary one.
    """
    symbols = sorted(gold.free_symbols | given.free_symbols, key=str)
    wholes = _whole_symbols(gold, given)
    real = not (gold.has(sympy.I) or given.has(sympy.I))
    seen = 0
    for values, ordinary in points(tuple(s in wholes for s in symbols)):
        point = dict(zip(symbols, values, strict=True))
        pair = _both(gold, given, point, real)
        if pair is None:
            continue
        a, b = pair
        seen += b is not None
        # of whole numbers only natural ones are meant
        meant = ordinary and all(point[s] > 3 for s in wholes)
        yield a, b, point, meant
    if gold.has(sympy.floor, sympy.ceiling) or given.has(sympy.floor, sympy.ceiling):
        for point in _steps((gold, given), symbols, wholes, real):
            if pair := _both(gold, given, point, real):
                yield *pair, point, False
    if seen >= ENOUGH:
        return
    for values in _more_points(len(symbols)):
        point = {s: Fraction(round(v)) if s in wholes else v for s, v in zip(symbols, values, strict=True)}
        if (pair := _both(gold, given, point, real)) and pair[0] is not None:
            yield *pair, point, not wholes


def same_values(gold: sympy.Expr, given: sympy.Expr) -> bool:
    """Whether two expressions agree wherever both have a value, and the other has one where the gold has."""
    real = not (gold.has(sympy.I) or given.has(sympy.I))
    agreed = without = 0
    alone: list[bool] = []  # ordinary points that only the gold has a value at: whether all are positive
    for a, b, point, ordinary in compare(gold, given):
        if a is None:
            without += ordinary
        elif b is None:
            if ordinary:
                alone.append(all(v > 0 for v in point.values()))
        elif close(a, b) or _close_on_second_sight(gold, given, point, real):
            agreed += 1
        else:
            return False
    # a pole may fall on one ordinary point, no more
    missing = sum(alone) if without > 1 else len(alone)
    return agreed >= ENOUGH and missing <= 1


def _close_on_second_sight(gold: sympy.Expr, given: sympy.Expr, point: Point, real: bool) -> bool:
    """Whether two values that differ do so by rounding alone."""
    a, b = (_value(e, point, real, 3 * DIGITS) for e in (gold, given))
    return a is not None and b is not None and close(a, b)


def proportion(gold: sympy.Expr, given: sympy.Expr) -> int:
    """The sign of the constant c in gold = c given; 0 when there is none or no real one."""
    ratio: Number = None
    agreed = 0
    for a, b, _, ordinary in compare(gold, given):
        if a is None or (b is None and not ordinary):
            continue
        if b is None:
            return 0
        if close(a, 0) or close(b, 0):
            if close(a, 0) != close(b, 0):
                return 0
            continue
        found = (
            Fraction(a) / Fraction(b)
            if isinstance(a, int | Fraction) and isinstance(b, int | Fraction)
            else a / b
        )
        if ratio is None:
            ratio = found
        elif not close(ratio, found, 30):
            return 0
        agreed += 1
    if agreed < ENOUGH or isinstance(ratio, complex) or getattr(ratio, "imag", 0) != 0:
        return 0
    return 1 if ratio > 0 else -1


__all__ = ["UnsupportedError", "compare", "points", "proportion", "same_values"]
