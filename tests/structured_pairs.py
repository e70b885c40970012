r"""Pairs of structured answers whose verdict is known from what they mean, not from how they are written.

Each kind of answer has a small model (names to values, a set of numbers as the cells of a line, rows of a matrix,
a ratio, a list) with a meaning that Python compares, and prints itself in many notations. A mutation is kept
as unequal where its meaning is another. Nothing here reads LaTeX.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import gcd

Printed = Callable[[random.Random], str]
Meaning = object


def spelt(value: Fraction, rng: random.Random) -> str:
    """A rational in one of its notations."""
    sign, top, bottom = "-" if value < 0 else "", abs(value.numerator), value.denominator
    if bottom == 1:
        if top >= 1000:
            return sign + rng.choice(
                [str(top), f"{top:,}".replace(",", "{,}"), f"{top:,}".replace(",", ",\\!")]
            )
        return sign + rng.choice([str(top)] * 5 + [f"{top}.0", f"{{{top}}}", rf"\frac{{{2 * top}}}{{2}}"])
    forms = [
        rf"{sign}\frac{{{top}}}{{{bottom}}}",
        rf"{sign}\dfrac{{{top}}}{{{bottom}}}",
        f"{sign}{top}/{bottom}",
    ]
    if sign:
        forms.append(rf"\frac{{-{top}}}{{{bottom}}}")
    if bottom in (2, 4, 5, 10):
        forms.append(str(float(value)))
    return rng.choice(forms)


def number(rng: random.Random) -> Fraction:
    if rng.random() < 0.08:
        return Fraction(rng.choice([1000, 2500, 12345, 1234567]))
    return Fraction(rng.randint(-9, 12), rng.choice([1, 1, 1, 1, 2, 3, 5]))


def numbers(rng: random.Random, least: int, most: int) -> list[Fraction]:
    found: list[Fraction] = []
    size = rng.randint(least, most)
    while len(found) < size:
        if (value := number(rng)) not in found:
            found.append(value)
    return found


def gap(rng: random.Random) -> str:
    return rng.choice([", ", ",\\ ", ",\\quad ", " , "])


def dressed(text: str, rng: random.Random) -> str:
    """The same in a dress that says nothing."""
    return rng.choice(
        [text] * 6
        + [
            f"${text}$",
            rf"\displaystyle {text}",
            rf"\mathbf{{{text}}}" if "{" not in text else text,
            rf"\color{{blue}}{{{text}}}",
            f" {text} .",
            rf"\({text}\)",
        ]
    )


class Values:
    """A list of numbers without order."""

    def __init__(self, rng: random.Random) -> None:
        self.values = numbers(rng, 2, 4)
        if rng.random() < 0.2:
            self.values.append(rng.choice(self.values))

    def meaning(self) -> Meaning:
        return frozenset(Counter(self.values).items())

    def mutate(self, rng: random.Random) -> None:
        kind = rng.randrange(3)
        if kind == 0:
            self.values[rng.randrange(len(self.values))] = number(rng)
        elif kind == 1:
            self.values.append(number(rng))
        elif len(self.values) > 2:
            self.values.pop()

    def show(self, rng: random.Random) -> str:
        items = [spelt(value, rng) for value in rng.sample(self.values, len(self.values))]
        form = rng.randrange(4)
        if form == 0:
            return r" \text{ or } ".join(items)
        if form == 1:
            return (
                gap(rng).join(items[:-1])
                + rng.choice([r" \text{ and } ", r",\text{ and } ", " and "])
                + items[-1]
            )
        if form == 2:
            return gap(rng).join(f"x={item}" for item in items)
        return gap(rng).join(items)


class Members(Values):
    """A set of numbers."""

    def meaning(self) -> Meaning:
        return frozenset(self.values)

    def show(self, rng: random.Random) -> str:
        values = list(dict.fromkeys(self.values))
        items = [spelt(value, rng) for value in rng.sample(values, len(values))]
        left, right = rng.choice([(r"\{", r"\}"), (r"\left\{", r"\right\}"), (r"\lbrace ", r" \rbrace")])
        return rng.choice(["", "S = ", "x \\in "]) + left + gap(rng).join(items) + right


class Point:
    """Numbers in a row, with brackets that tell an interval from a point."""

    def __init__(self, rng: random.Random) -> None:
        self.values = [number(rng) for _ in range(rng.randint(2, 4))]

    def meaning(self) -> Meaning:
        return tuple(self.values)

    def mutate(self, rng: random.Random) -> None:
        if rng.random() < 0.5:
            rng.shuffle(self.values)
        else:
            self.values[rng.randrange(len(self.values))] = number(rng)

    def show(self, rng: random.Random) -> str:
        items = [spelt(value, rng) for value in self.values]
        form = rng.randrange(6)
        if form == 0 and len(items) <= 3:
            names = "xyz"[: len(items)]
            return f"({','.join(names)}) = ({gap(rng).join(items)})"
        if form == 1:
            return rf"\langle {gap(rng).join(items)} \rangle"
        if form == 2:
            return r"\begin{pmatrix}" + r" \\ ".join(items) + r"\end{pmatrix}"
        if form == 3:
            return f"({'; '.join(items)})"
        if form == 4:
            return rf"P\left({gap(rng).join(items)}\right)"
        return f"({gap(rng).join(items)})"


class Assigned:
    """Values by name."""

    NAMES = (("x", "y"), ("x", "y", "z"), ("a", "b"), ("p", "q"), ("AB", "CD"), ("x_1", "x_2"), ("m", "n"))

    def __init__(self, rng: random.Random) -> None:
        names = rng.choice(self.NAMES)
        self.values = {name: number(rng) for name in names}

    def meaning(self) -> Meaning:
        return frozenset(self.values.items())

    def mutate(self, rng: random.Random) -> None:
        names = list(self.values)
        kind = rng.randrange(3)
        if kind == 0:
            self.values[rng.choice(names)] = number(rng)
        elif kind == 1:
            values = list(self.values.values())
            rng.shuffle(values)
            self.values = dict(zip(names, values, strict=True))
        else:
            self.values = dict(zip(rng.choice(self.NAMES), self.values.values(), strict=False))

    def show(self, rng: random.Random) -> str:
        names = rng.sample(list(self.values), len(self.values))
        items = {name: spelt(self.values[name], rng) for name in names}
        form = rng.randrange(4)
        if form == 0:
            return f"({', '.join(names)}) = ({', '.join(items[name] for name in names)})"
        equations = [rng.choice([f"{name}={items[name]}", f"{name} = {items[name]}"]) for name in names]
        if form == 1:
            return r"\begin{cases}" + rng.choice([r" \\ ", r", \\ "]).join(equations) + r"\end{cases}"
        if form == 2:
            return rng.choice([" and ", r" \text{ and } "]).join(equations)
        return gap(rng).join(equations)


class Region:
    """A set of real numbers whose ends are whole numbers from 0 to 8: 19 cells, a bit each."""

    ENDS = 9

    def __init__(self, rng: random.Random) -> None:
        self.cells = 0
        while self.cells in (0, self.all()):
            self.cells = 0
            for _ in range(rng.randint(1, 2)):
                low, high = sorted(rng.sample(range(-1, self.ENDS + 1), 2))
                first = 0 if low < 0 else 2 * low + 1 + rng.randrange(2)
                last = 2 * self.ENDS if high >= self.ENDS else 2 * high + 1 - rng.randrange(2)
                self.cells |= (1 << (last + 1)) - (1 << first) if first <= last else 0
            if rng.random() < 0.3:
                self.cells &= ~(1 << (2 * rng.randrange(self.ENDS) + 1))

    def all(self) -> int:
        return (1 << (2 * self.ENDS + 1)) - 1

    def meaning(self) -> Meaning:
        return self.cells

    def mutate(self, rng: random.Random) -> None:
        changed = self.cells
        while changed in (0, self.cells, self.all()):
            kind = rng.randrange(3)
            if kind == 0:
                changed ^= 1 << rng.randrange(2 * self.ENDS + 1)
            elif kind == 1:
                changed = self.all() & ~changed
            else:
                changed ^= (1 << rng.randrange(2 * self.ENDS + 1)) * 3 & self.all()
        self.cells = changed

    def pieces(self) -> list[tuple[int, int]]:
        """The runs of cells that are in the set, as the first and the last cell."""
        found: list[tuple[int, int]] = []
        for cell in range(2 * self.ENDS + 1):
            if self.cells >> cell & 1:
                if found and found[-1][1] == cell - 1:
                    found[-1] = (found[-1][0], cell)
                else:
                    found.append((cell, cell))
        return found

    def interval(self, piece: tuple[int, int]) -> str:
        first, last = piece
        low = r"(-\infty" if first == 0 else f"[{first // 2}" if first % 2 else f"({first // 2 - 1}"
        high = r"\infty)" if last == 2 * self.ENDS else f"{last // 2}]" if last % 2 else f"{last // 2})"
        if first == last and first % 2:
            return rf"\{{{first // 2}\}}"
        return f"{low},{high}"

    def relation(self, piece: tuple[int, int], name: str, rng: random.Random) -> str:
        first, last = piece
        if first == last and first % 2:
            return f"{name}={first // 2}"
        low = "" if first == 0 else f"{first // 2} \\le " if first % 2 else f"{first // 2 - 1} < "
        high = "" if last == 2 * self.ENDS else f" \\le {last // 2}" if last % 2 else f" < {last // 2}"
        if low and high:
            one, two = low + name, name + high
            return rng.choice(
                [
                    low + name + high,
                    rf"({one} \text{{ and }} {two})"[1:-1] if self.single() else low + name + high,
                ]
            )
        return low + name + high

    def single(self) -> bool:
        return len(self.pieces()) == 1

    def show(self, rng: random.Random) -> str:
        pieces = self.pieces()
        form = rng.randrange(5)
        others = Region.__new__(Region)
        others.cells = self.all() & ~self.cells
        if form == 0:
            return r" \cup ".join(self.interval(piece) for piece in rng.sample(pieces, len(pieces)))
        if form == 1 and all(piece[0] == piece[1] and piece[0] % 2 for piece in others.pieces()):
            points = ", ".join(str(piece[0] // 2) for piece in others.pieces())
            return rng.choice([rf"\mathbb{{R}} \setminus \{{{points}\}}", rf"x \ne {points}"])
        if form == 2 and len(others.pieces()) <= 2:
            taken = r" \cup ".join(others.interval(piece) for piece in others.pieces())
            return (
                rf"\mathbb{{R}} \setminus {taken}"
                if len(others.pieces()) == 1
                else r" \cup ".join(map(self.interval, pieces))
            )
        name = "x"
        told = rng.choice([r" \text{ or } ", " or "]).join(
            self.relation(piece, name, rng) for piece in rng.sample(pieces, len(pieces))
        )
        if form == 3:
            return rf"\{{ x {rng.choice(['|', ':', chr(92) + 'mid'])} {told} \}}"
        return told


class Ratios:
    """A ratio of two to four whole numbers, of which some may be zero."""

    def __init__(self, rng: random.Random) -> None:
        self.values = [0]
        while sum(map(bool, self.values)) < 2:
            self.values = [rng.choice([0, 1, 2, 3, 4, 5, 6, 7]) for _ in range(rng.randint(3, 4))]

    def meaning(self) -> Meaning:
        return tuple(value // gcd(*self.values) for value in self.values)

    def mutate(self, rng: random.Random) -> None:
        at = rng.randrange(len(self.values))
        self.values[at] = rng.randint(0, 9) or int(not any(self.values[:at] + self.values[at + 1 :]))

    def show(self, rng: random.Random) -> str:
        factor = rng.choice([Fraction(1), Fraction(1), Fraction(2), Fraction(3), Fraction(1, 2)])
        items = [spelt(value * factor, rng) for value in map(Fraction, self.values)]
        return rng.choice([":", " : ", r"\colon "]).join(items)


class Table:
    """A matrix, as such, as a multiple or as a sum."""

    def __init__(self, rng: random.Random) -> None:
        wide = rng.randint(2, 3)
        self.rows = [[number(rng) for _ in range(wide)] for _ in range(rng.randint(2, 3))]

    def meaning(self) -> Meaning:
        return tuple(map(tuple, self.rows))

    def mutate(self, rng: random.Random) -> None:
        if rng.random() < 0.4:
            self.rows = [list(row) for row in zip(*self.rows, strict=True)]
        else:
            row = rng.choice(self.rows)
            row[rng.randrange(len(row))] = number(rng)

    @staticmethod
    def plain(rows: list[list[Fraction]], rng: random.Random) -> str:
        lines = rng.choice([r" \\ ", r"\\"]).join("&".join(spelt(v, rng) for v in row) for row in rows)
        columns = "c" * len(rows[0])
        return rng.choice(
            [
                rf"\begin{{pmatrix}}{lines}\end{{pmatrix}}",
                rf"\begin{{bmatrix}} {lines} \end{{bmatrix}}",
                rf"\left[\begin{{array}}{{{columns}}}{lines}\end{{array}}\right]",
                rf"\left(\begin{{matrix}}{lines}\end{{matrix}}\right)",
            ]
        )

    def show(self, rng: random.Random) -> str:
        form = rng.randrange(4)
        if form == 0:
            factor = Fraction(rng.choice([2, 3, -1, -2]))
            return spelt(1 / factor, rng) + self.plain([[v * factor for v in row] for row in self.rows], rng)
        if form == 1:
            part = [[Fraction(rng.randint(-3, 3)) for _ in row] for row in self.rows]
            rest = [[v - w for v, w in zip(a, b, strict=True)] for a, b in zip(self.rows, part, strict=True)]
            return self.plain(part, rng) + "+" + self.plain(rest, rng)
        return rng.choice(["", "A = "]) + self.plain(self.rows, rng)


class Chained:
    """One value, said by a chain of which every link holds; a mutation breaks a link or the value."""

    def __init__(self, rng: random.Random) -> None:
        self.value, self.broken = rng.randint(2, 40), 0
        self.name = rng.choice(["x", "n", "AB", "f(2)", "P(X=1)", r"\angle A", "[ABC]"])

    def meaning(self) -> Meaning:
        return (self.value, self.broken)

    def mutate(self, rng: random.Random) -> None:
        if rng.random() < 0.5:
            self.broken = rng.choice([-2, -1, 1, 2, 10])
        else:
            self.value += rng.choice([-1, 1, 5])

    def show(self, rng: random.Random) -> str:
        part = rng.randint(1, self.value - 1) if self.value > 1 else 1
        middle = self.value + self.broken
        name = self.name
        if self.broken:
            return rng.choice(
                [
                    f"{name} = {middle} = {self.value}",
                    f"{middle} = {self.value}",
                    f"{name}={middle}={self.value}",
                ]
            )
        return rng.choice(
            [
                f"{self.value}",
                f"{name} = {self.value}",
                f"{self.value} = {name}",
                f"{name} = {part}+{self.value - part} = {self.value}",
                rf"{name} = {part}\cdot {self.value}/{part} = {self.value}",
            ]
        )


class Groups:
    """A number with thousands, and the list of its groups, which is another answer."""

    def __init__(self, rng: random.Random) -> None:
        self.groups = [rng.randint(1, 99), *(rng.randint(100, 999) for _ in range(rng.randint(1, 2)))]
        self.listed, self.unit = False, rng.choice([r"\%", " cm"])

    def meaning(self) -> Meaning:
        return (tuple(sorted(self.groups)) if self.listed else tuple(self.groups), self.listed)

    def mutate(self, rng: random.Random) -> None:
        self.listed = not self.listed
        rng.shuffle(self.groups)

    def show(self, rng: random.Random) -> str:
        texts = list(map(str, self.groups))
        if self.listed:
            # in the order of the number, `1, 234` could be that with a blank
            return rng.choice([", ", r" \text{ and } "]).join(sorted(texts, key=int, reverse=True))
        forms = [
            "{,}".join(texts),
            r",\!".join(texts),
            "".join(texts),
            r"\,".join(texts),
            ",".join(texts) + rng.choice(["", self.unit]),
        ]
        return rng.choice(
            forms if len(texts) == 2 else [f for f in forms if "," not in f or "{,}" in f or "!" in f]
        )


KINDS = (Values, Members, Point, Assigned, Region, Ratios, Table, Chained, Groups)


def pairs(seed: int, families: int) -> Iterator[tuple[str, str, str, bool]]:
    """Kind, gold, reply, and whether they mean the same; in turn of every kind."""
    rng = random.Random(seed)
    for n in range(families):
        kind = KINDS[n % len(KINDS)]
        state = rng.getstate()
        model = kind(rng)
        shown = [model.show(rng) for _ in range(3)]
        meaning = model.meaning()
        if getattr(model, "broken", 0) == 0:
            yield kind.__name__, shown[0], dressed(shown[1], rng), True
            yield kind.__name__, shown[1], dressed(shown[2], rng), True
        for _ in range(2):
            after = rng.getstate()
            rng.setstate(state)
            other = kind(rng)
            rng.setstate(after)
            other.mutate(rng)
            if other.meaning() != meaning:
                text = other.show(rng)
                yield kind.__name__, shown[0], text, False
                # a broken chain is no gold
                if not getattr(other, "broken", 0):
                    yield kind.__name__, text, dressed(shown[2], rng), False
