"""Pairs of expressions whose verdict is known without reading any LaTeX.

Expressions are trees of our own, printed as LaTeX in varying styles and evaluated by mpmath at 50 digits. Equal
ones come from rewriting by identities, unequal ones from a small mutation of which a witness was found: a
point at which both have a value, and not the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import mpmath

Tree = tuple[Any, ...]
WITNESS = mpmath.mpf(10) ** -25  # the least difference that counts as one
DIGITS = 50


def number(value: Any) -> Tree:
    return ("n", Fraction(value))


def value(tree: Tree, at: dict[str, Fraction]) -> mpmath.mpf | None:
    """The real value at a point, or None where there is none."""
    with mpmath.workdps(DIGITS):
        try:
            return _value(tree, at)
        except (ArithmeticError, ValueError, TypeError, mpmath.libmp.ComplexResult):
            return None


def _near(x: mpmath.mpf) -> mpmath.mpf:
    whole = mpmath.nint(x)
    return whole if abs(x - whole) < mpmath.mpf(10) ** -30 else x


def _real(x: Any) -> mpmath.mpf:
    if isinstance(x, mpmath.mpc):
        raise ValueError
    return x


def _value(tree: Tree, at: dict[str, Fraction]) -> mpmath.mpf:
    kind, *parts = tree
    if kind == "n":
        return mpmath.mpf(parts[0].numerator) / parts[0].denominator
    if kind == "v":
        return mpmath.mpf(at[parts[0]].numerator) / at[parts[0]].denominator
    if kind == "pi":
        return +mpmath.pi
    if kind == "^":
        base, power = _value(parts[0], at), parts[1]
        if base == 0 and power <= 0:
            raise ZeroDivisionError
        return base**power
    found = [_value(part, at) for part in parts]
    if kind == "+":
        return mpmath.fsum(found)
    if kind == "*":
        return mpmath.fprod(found)
    if kind == "/":
        return found[0] / found[1]
    [first, *others] = found
    if kind == "cbrt":
        return mpmath.cbrt(first) if first >= 0 else -mpmath.cbrt(-first)
    return _real(FUNCTIONS[kind](first, *others))


FUNCTIONS = {
    "-": lambda x: -x,
    "abs": abs,
    "sqrt": mpmath.sqrt,
    "floor": lambda x: mpmath.floor(_near(x)),
    "ceil": lambda x: mpmath.ceil(_near(x)),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "exp": mpmath.exp,
    "ln": mpmath.ln,
    "asin": mpmath.asin,
    "atan": mpmath.atan,
    "max": max,
    "min": min,
}


class Printer:
    """A tree as LaTeX, in a style drawn anew at every place."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def latex(self, tree: Tree) -> str:
        kind, *parts = tree
        if kind == "n":
            return self.number(parts[0])
        if kind == "v":
            return parts[0]
        if kind == "pi":
            return r"\pi"
        if kind == "+":
            texts = [self.latex(part) for part in parts]
            return texts[0] + "".join(t if t.startswith("-") else f"+{t}" for t in texts[1:])
        if kind == "*":
            return self.product(parts)
        if kind == "/":
            if self.rng.random() < 0.8:
                above, below = map(self.latex, parts)
                return rf"\{self.rng.choice(('frac', 'dfrac'))}{{{above}}}{{{below}}}"
            return f"{self.closed(parts[0])}/{self.bracketed(parts[1])}"
        if kind == "^":
            base = self.latex(parts[0]) if parts[0][0] == "v" else self.bracketed(parts[0])
            return (
                f"{base}^{{{parts[1]}}}"
                if not 0 < parts[1] < 10 or self.rng.random() < 0.5
                else f"{base}^{parts[1]}"
            )
        if kind == "-":
            return f"-{self.closed(parts[0])}"
        return self.function(kind, parts)

    def number(self, x: Fraction) -> str:
        if x < 0:
            return f"-{self.number(-x)}"
        if x.denominator == 1:
            return str(x)
        if x.denominator in (2, 4, 5, 10) and self.rng.random() < 0.4:
            return str(float(x))
        return rf"\frac{{{x.numerator}}}{{{x.denominator}}}"

    def product(self, parts: list[Tree]) -> str:
        text = ""
        for i, part in enumerate(parts):
            piece = self.latex(part) if part[0] in ("v", "^", "sqrt", "pi") else self.closed(part)
            if part[0] == "n" and (part[1] < 0 or part[1].denominator > 1):
                piece = self.latex(part) if i == 0 else self.bracketed(part)
            if i:
                plain = piece[:1].isalpha() or piece[:1] in "(|" or piece.startswith(r"\left(")
                named = text[-1:].isalpha() and "\\" in text
                style = self.rng.choice(("", r"\cdot ", r"\times ", r" \, "))
                if not plain or named or (text[-1:] in "|" or piece[:1] == "|"):
                    style = r"\cdot "
                text += style
            text += piece
        return text

    def bracketed(self, tree: Tree) -> str:
        return self.rng.choice(("({})", r"\left({}\right)")).format(self.latex(tree))

    def closed(self, tree: Tree) -> str:
        if tree[0] in ("v", "pi", "sqrt", "cbrt", "floor", "ceil", "abs", "max", "min") or (
            tree[0] == "n" and tree[1] >= 0
        ):
            return self.latex(tree)
        return self.bracketed(tree)

    def function(self, kind: str, parts: list[Tree]) -> str:
        inner = [self.latex(part) for part in parts]
        if kind in ("max", "min"):
            return (
                rf"\{kind}({inner[0]}, {inner[1]})"
                if self.rng.random() < 0.5
                else rf"\{kind}\{{{inner[0]},{inner[1]}\}}"
            )
        if kind == "abs":
            return rf"\left|{inner[0]}\right|" if self.rng.random() < 0.7 else f"|{inner[0]}|"
        if kind in ("floor", "ceil"):
            return (
                rf"\l{kind} {inner[0]} \r{kind}"
                if self.rng.random() < 0.5
                else rf"\left\l{kind} {inner[0]} \right\r{kind}"
            )
        if kind == "sqrt":
            return rf"\sqrt{{{inner[0]}}}"
        if kind == "cbrt":
            return rf"\sqrt[3]{{{inner[0]}}}"
        if kind == "exp":
            return f"e^{{{inner[0]}}}"
        name = {"asin": "arcsin", "atan": "arctan"}.get(kind, kind)
        return rf"\{name}({inner[0]})" if self.rng.random() < 0.5 else rf"\{name}\left({inner[0]}\right)"


X, Y, N = ("v", "x"), ("v", "y"), ("v", "n")


def neg(a: Tree) -> Tree:
    return ("-", a)


def minus(a: Tree, b: Tree) -> Tree:
    return ("+", a, neg(b))


# of any two trees: both sides are one wherever both have a value, and the left one has one wherever the right has
def identities(a: Tree, b: Tree, whole: Tree) -> list[tuple[Tree, Tree]]:
    two = number(2)
    return [
        (("+", a, b), ("+", b, a)),
        (("*", a, b), ("*", b, a)),
        (("*", a, ("+", b, number(3))), ("+", ("*", a, b), ("*", number(3), a))),
        (minus(("^", a, 2), ("^", b, 2)), ("*", minus(a, b), ("+", a, b))),
        (("^", ("+", a, b), 2), ("+", ("^", a, 2), ("*", two, a, b), ("^", b, 2))),
        (("sqrt", ("^", a, 2)), ("abs", a)),
        (("abs", ("*", a, b)), ("*", ("abs", a), ("abs", b))),
        (("abs", minus(a, b)), ("abs", minus(b, a))),
        (("max", a, b), ("/", ("+", a, b, ("abs", minus(a, b))), two)),
        (("min", a, b), minus(("+", a, b), ("max", a, b))),
        (("floor", ("+", a, number(1))), ("+", ("floor", a), number(1))),
        (("ceil", a), neg(("floor", neg(a)))),
        (("ceil", ("/", whole, two)), ("floor", ("/", ("+", whole, number(1)), two))),
        (("+", ("^", ("sin", a), 2), ("^", ("cos", a), 2), b), ("+", number(1), b)),
        (("sin", ("*", two, a)), ("*", two, ("sin", a), ("cos", a))),
        (("cos", neg(a)), ("cos", a)),
        (("*", ("exp", a), ("exp", b)), ("exp", ("+", a, b))),
        (("cbrt", ("^", a, 3)), a),
        (("cbrt", neg(a)), neg(("cbrt", a))),
        (("/", a, ("+", ("^", b, 2), number(1))), ("*", a, ("^", ("+", number(1), ("^", b, 2)), -1))),
        (("ln", ("^", ("+", ("abs", a), number(1)), 2)), ("*", two, ("ln", ("+", number(1), ("abs", a))))),
        (("sqrt", ("*", number(12), ("^", a, 2))), ("*", two, ("sqrt", number(3)), ("abs", a))),
        (("asin", ("sin", ("atan", a))), ("atan", a)),
        (("*", ("sqrt", ("abs", a)), ("sqrt", ("abs", b))), ("sqrt", ("abs", ("*", a, b)))),
        (("abs", ("abs", a)), ("abs", a)),
        (("-", ("+", a, neg(b))), ("+", b, neg(a))),
    ]


def leaf(rng: random.Random, variables: list[Tree]) -> Tree:
    if rng.random() < 0.65:
        return rng.choice(variables)
    return rng.choice(
        [number(rng.randint(1, 9)), number(Fraction(rng.randint(1, 9), rng.randint(2, 7))), ("pi",)]
    )


def tree(rng: random.Random, variables: list[Tree], depth: int) -> Tree:
    if depth == 0:
        return leaf(rng, variables)
    a, b = tree(rng, variables, depth - 1), tree(rng, variables, rng.randrange(depth))
    return rng.choice(
        [
            ("+", a, b),
            ("*", a, b),
            minus(a, b),
            ("^", a, rng.choice((2, 3))),
            ("abs", a),
            ("/", a, ("+", ("^", b, 2), number(1))),
            a,
        ]
    )


def places(of: Tree, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Tree]]:
    yield path, of
    for i, part in enumerate(of[1:], 1):
        if isinstance(part, tuple):
            yield from places(part, (*path, i))


def put(of: Tree, path: tuple[int, ...], new: Tree) -> Tree:
    if not path:
        return new
    return (*of[: path[0]], put(of[path[0]], path[1:], new), *of[path[0] + 1 :])


def mutations(part: Tree) -> list[Tree]:
    """Small changes of one place, as a careless or a cunning answer makes them."""
    kind, *inner = part
    found = [neg(part), ("abs", part), ("+", part, number(1))]
    swaps = {"floor": "ceil", "ceil": "floor", "max": "min", "min": "max", "sin": "cos", "cos": "sin"}
    if kind in swaps:
        found += [(swaps[kind], *inner)] * 2
    if kind in ("floor", "ceil"):
        found += [inner[0], (("+"), (swaps[kind], *inner), number(1 if kind == "ceil" else -1))] * 2
    if kind == "abs":
        found += [inner[0], neg(inner[0])] * 2
    if kind == "n":
        found += [number(inner[0] + 1), number(-inner[0]), number(inner[0] + Fraction(1, 1000))]
    if kind == "^":
        found += [("^", inner[0], inner[1] + 1), inner[0]]
    if kind == "v":
        found += [("*", number(2), part), ("/", ("^", part, 2), ("abs", part)), ("sqrt", ("^", part, 2))]
    if kind == "+":
        found += [("+", inner[0], *map(neg, inner[1:])), ("*", *inner)]
    if kind == "cbrt":
        found += [("sqrt", inner[0]), ("cbrt", ("abs", inner[0]))]
    return found


def grid(rng: random.Random, names: list[str]) -> list[dict[str, Fraction]]:
    """Points of all patterns of signs: broken, whole, half, small and large ones; n is whole."""
    found = []
    for i in range(48):
        point = {}
        for k, name in enumerate(names):
            sign = -1 if (i >> k) & 1 else 1
            size = rng.choice(
                [
                    Fraction(rng.randint(1, 60), 7),
                    Fraction(rng.randint(1, 9)),
                    Fraction(2 * rng.randint(0, 5) + 1, 2),
                    Fraction(rng.randint(1, 9), 10),
                    Fraction(rng.randint(10, 99), 3),
                ]
            )
            point[name] = sign * (Fraction(rng.randint(0, 40)) if name == "n" else size)
        found.append(point)
    return found


def witness(a: Tree, b: Tree, points: list[dict[str, Fraction]]) -> bool:
    """Whether there is a point at which both have a value, and not the same."""
    for point in points:
        x, y = value(a, point), value(b, point)
        if x is not None and y is not None and abs(x - y) > WITNESS * max(1, abs(x)):
            return True
    return False


def names_in(*trees: Tree) -> list[str]:
    return sorted({part[1] for t in trees for _, part in places(t) if part[0] == "v"})


def families(seed: int, count: int, mutants: int) -> Iterator[tuple[str, str, list[str]]]:
    """Two spellings of one expression by an identity, and spellings of others that differ somewhere."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        variables = rng.choice([[X], [X, Y], [X, Y], [("v", "a"), ("v", "b"), ("v", "c")], [N], [N, X]])
        a, b = tree(rng, variables, rng.choice((0, 1, 1, 2))), tree(rng, variables, rng.choice((0, 1)))
        whole = ("+", N, number(rng.randint(0, 3)))
        left, right = rng.choice(identities(a, b, whole))
        if rng.random() < 0.3:
            extra = leaf(rng, variables)
            left, right = ("+", left, extra), ("+", extra, right)
        names = names_in(left, right)
        points = grid(rng, names)
        # the oracle's own identities hold at the oracle's points, or the oracle is wrong
        assert not witness(left, right, points), (left, right)
        if not names or sum(value(left, p) is not None for p in points) < 12:
            continue
        others = []
        for _ in range(6 * mutants):
            base = rng.choice((left, right))
            path, part = rng.choice(list(places(base)))
            other = put(base, path, rng.choice(mutations(part)))
            if len(others) < mutants and witness(left, other, points):
                others.append(other)
        printer = Printer(rng)
        texts = [printer.latex(t) for t in (left, right, *others)]
        if len(others) == mutants and max(map(len, texts)) < 200:
            made += 1
            yield texts[0], texts[1], texts[2:]
