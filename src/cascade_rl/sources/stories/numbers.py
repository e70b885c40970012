"""The numbers of word problems: mostly small, never one of a thing, and such that no answer is negative."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

Draw = Callable[[random.Random], dict[str, int | str]]


def scale(rng: random.Random) -> int:
    """The largest number of a problem: its numbers are alike in size."""
    return rng.choices((12, 40, 150, 900), (35, 40, 18, 7))[0]


def amounts(*names: str) -> Draw:
    """Numbers of one scale."""

    def draw(rng: random.Random) -> dict[str, int | str]:
        most = scale(rng)
        return {name: rng.randint(2, most) for name in names}

    return draw


def whole(total: str, *parts: str) -> Draw:
    """A number that is larger than some others together, by 2 or more."""

    def draw(rng: random.Random) -> dict[str, int | str]:
        most = scale(rng)
        found: dict[str, int | str] = {name: rng.randint(2, most) for name in parts}
        return {total: sum(int(n) for n in found.values()) + rng.randint(2, most), **found}

    return draw


def factors(n: str, k: str) -> Draw:
    """Two numbers for a product: of the table, or a larger one and a digit."""

    def draw(rng: random.Random) -> dict[str, int | str]:
        if rng.random() < 0.7:
            return {n: rng.randint(2, 12), k: rng.randint(2, 12)}
        pair = [rng.randint(2, 9), rng.randint(11, 90)]
        rng.shuffle(pair)
        return dict(zip((n, k), pair, strict=True))

    return draw


def product(total: str, n: str, k: str) -> Draw:
    """A number that n shares of k make up."""

    def draw(rng: random.Random) -> dict[str, int | str]:
        found = factors(n, k)(rng)
        return {total: int(found[n]) * int(found[k]), n: found[n]}

    return draw


def rest(total: str, k: str) -> Draw:
    """A number into which k goes some times, and something is left."""

    def draw(rng: random.Random) -> dict[str, int | str]:
        by = rng.randint(3, 12)
        return {total: by * rng.randint(2, 12) + rng.randint(1, by - 1), k: by}

    return draw


def prices(*names: str) -> Draw:
    """Prices with cents, from 0.25 to 9.95 dollars."""

    def draw(rng: random.Random) -> dict[str, int | str]:
        return {name: f"{rng.randint(5, 199) * 5 / 100:.2f}" for name in names}

    return draw


def between(name: str, least: str, most: str) -> Draw:
    """One number."""
    return lambda rng: {name: rng.randint(int(least), int(most))}


def even(name: str) -> Draw:
    """A number of which there is a half, 14 or more."""
    return lambda rng: {name: 2 * rng.randint(7, max(12, scale(rng) // 2))}


def note(name: str) -> Draw:
    """A banknote that pays any of the `prices`."""
    return lambda rng: {name: rng.choice((10, 20, 50))}


def shares(a: str, b: str, n: str) -> Draw:
    """Two numbers that n shares make up together."""

    def draw(rng: random.Random) -> dict[str, int | str]:
        by, each = rng.randint(2, 9), rng.randint(3, 12)
        first = rng.randint(2, by * each - 2)
        return {a: first, b: by * each - first, n: by}

    return draw


def mean(a: str, b: str, c: str) -> Draw:
    """Three numbers whose sum is three times one."""

    def draw(rng: random.Random) -> dict[str, int | str]:
        middle = rng.randint(6, max(12, scale(rng)))
        up, down = rng.randint(0, middle // 2 - 1), rng.randint(0, middle // 2 - 1)
        return {a: middle + up, b: middle - up + down, c: middle - down}

    return draw


DRAWS: Mapping[str, Callable[..., Draw]] = {
    draw.__name__: draw
    for draw in (amounts, between, even, factors, mean, note, prices, product, rest, shares, whole)
}


def numbers(said: Sequence[str]) -> Draw:
    """What draws all numbers of a problem, from lines such as `whole t a b`."""
    draws = [DRAWS[name](*names) for name, *names in (line.split() for line in said)]
    return lambda rng: {name: number for draw in draws for name, number in draw(rng).items()}
