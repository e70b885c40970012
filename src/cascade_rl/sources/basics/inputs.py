"""Made-up arguments for the tasks: by kind, edge cases and drawn ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

# words with double letters, a palindrome, capitals, and the same letters in another order
WORDS = (
    "apple", "banana", "level", "kite", "Moon", "tea", "eat", "river", "noon", "glass", "Oslo", "ink",
    "zebra",
    "queue", "stone", "notes", "a", "up", "radar", "python", "letter", "green", "Book", "sky",
)  # fmt: skip
MARKS = ("", "", "", ",", ".", "!", "?", " 7", " 42", "  x")

# what was drawn for the arguments before: some kinds take a value out of the first
Draw = Callable[[random.Random, Sequence[Any]], Any]


def _many(draw: Callable[[random.Random], Any], least: int, most: int = 7) -> Draw:
    return lambda rng, before: [draw(rng) for _ in range(rng.randint(least, most))]


def _number(rng: random.Random) -> int:
    # few values, so that some come twice
    return rng.choice((rng.randint(-9, 20), rng.randint(0, 4), rng.randint(1, 12)))


def _word(rng: random.Random) -> str:
    return rng.choice(WORDS)


def _text(rng: random.Random) -> str:
    return " ".join(_word(rng) + rng.choice(MARKS) for _ in range(rng.randint(1, 5)))


def _table(least: int) -> Draw:
    return lambda rng, before: {
        word.lower(): rng.randint(0, 9) for word in rng.sample(WORDS, rng.randint(least, 5))
    }


def _grid(rng: random.Random, before: Sequence[Any]) -> list[list[int]]:
    width = rng.randint(1, 4)
    return [[rng.randint(-5, 9) for _ in range(width)] for _ in range(rng.randint(1, 4))]


def _square(rng: random.Random, before: Sequence[Any]) -> list[list[int]]:
    side = rng.randint(2, 4)
    return [[rng.randint(0, 5) for _ in range(side)] for _ in range(side)]


def _item(rng: random.Random, before: Sequence[Any]) -> Any:
    """Mostly one of the first argument's own, so that boundaries are met."""
    own = list(before[0])
    if own and rng.random() < 0.7:
        return rng.choice(own)
    return _word(rng) if own and isinstance(own[0], str) else _number(rng)


def _like(rng: random.Random, before: Sequence[Any]) -> list[int]:
    """A list as long as the first, now and then the same."""
    own = list(before[0])
    return own if rng.random() < 0.15 else [rng.choice((x, x + 1, x - 2)) for x in own]


def _anagram(rng: random.Random, before: Sequence[Any]) -> str:
    own = list(before[0])
    return "".join(rng.sample(own, len(own))) if rng.random() < 0.5 else _word(rng).lower()


def _turned(rng: random.Random, before: Sequence[Any]) -> str:
    place = rng.randint(0, len(before[0]))
    return (before[0][place:] + before[0][:place]) if rng.random() < 0.6 else _anagram(rng, before)


def _numbered(rng: random.Random) -> str:
    return " ".join(
        rng.choice((_word(rng), str(rng.randint(0, 999)), "b7")) for _ in range(rng.randint(1, 5))
    )


def _other_table(rng: random.Random, before: Sequence[Any]) -> dict[str, int]:
    """Some keys of the first table, in part with its values, and some that it has not."""
    own = {key: rng.choice((value, value + 1)) for key, value in before[0].items() if rng.random() < 0.6}
    return own | {word.lower(): rng.randint(0, 9) for word in rng.sample(WORDS, rng.randint(0, 2))}


def _interval(rng: random.Random, before: Sequence[Any]) -> list[int]:
    start = rng.randint(-3, 9)
    return [start, start + rng.randint(1, 9)]


def _symmetric(rng: random.Random, before: Sequence[Any]) -> list[list[int]]:
    grid = _square(rng, before)
    mirrored = [[grid[min(i, j)][max(i, j)] for j in range(len(grid))] for i in range(len(grid))]
    return mirrored if rng.random() < 0.6 else grid


# kind: (edge cases, how others are drawn)
KINDS: dict[str, tuple[tuple[Any, ...], Draw]] = {
    # whole numbers
    "n": ((0, 1, 2), lambda rng, before: rng.randint(3, 40)),
    "pos": ((1, 2), lambda rng, before: rng.randint(3, 60)),
    "int": ((0, -1), lambda rng, before: rng.randint(-50, 50)),
    "int9": ((0,), lambda rng, before: rng.randint(-9, 15)),
    "digit": ((0,), lambda rng, before: rng.randint(0, 9)),
    "few": ((1, 0), lambda rng, before: rng.randint(1, 5)),
    "step": ((1,), lambda rng, before: rng.randint(2, 4)),
    "big": ((0, 7, 10, 100), lambda rng, before: rng.randint(11, 99_999)),
    "year": ((1900, 2000, 2023), lambda rng, before: rng.choice((4, 100)) * rng.randint(1, 25) + 1600),
    "marks": ((50, 30, 10), lambda rng, before: rng.randint(0, 99)),
    "below": ((), lambda rng, before: before[0] + rng.choice((0, 0, -5, 4))),
    "above": ((), lambda rng, before: max(before[1], before[0] + rng.choice((0, 0, 5, -4)))),
    "item": ((), _item),
    "sumof": ((), lambda rng, before: sum(rng.sample(before[0], 2)) if len(before[0]) > 1 else 0),
    # lists of them
    "ints": (([], [5], [2, 2]), _many(_number, 2)),
    "ints1": (([5], [-3, -3], [-4]), _many(_number, 2)),
    "ints2": (([3, 3], [1, 2], [-5, 4]), _many(_number, 2)),
    "nats": (([], [0], [7, 7]), _many(lambda rng: rng.randint(0, 12), 2)),
    "bits": (([], [1], [0, 0]), _many(lambda rng: rng.randint(0, 1), 2, 9)),
    "zeros": (([], [0], [0, 5]), _many(lambda rng: rng.choice((0, 0, rng.randint(-9, 9))), 3, 8)),
    "signs": (([], [0], [-2, 3]), _many(lambda rng: rng.choice((0, 1, -1, 1, -1)) * rng.randint(1, 9), 2, 8)),
    "repeats": (([], [3], [3, 3]), _many(lambda rng: rng.randint(0, 4), 2, 8)),
    "repeats9": (([], [3], [3, 3]), _many(lambda rng: rng.randint(0, 15), 4, 9)),
    "ridges": (([], [3], [1, 2, 1]), _many(lambda rng: rng.randint(0, 5), 4, 9)),
    "multiples": (([], [0]), _many(lambda rng: rng.randint(-3, 6) * rng.randint(2, 9), 3, 8)),
    "long": (([], [1, 2]), _many(_number, 4, 14)),
    "sorted": (([], [4]), lambda rng, before: sorted(_many(_number, 2)(rng, before))),
    "reals0": (([], [1.5], [0.0, 2.0]), _many(lambda rng: rng.randint(-8, 30) / 2, 2)),
    "like": ((), _like),
    "lists": (([], [[]], [[1]]), _many(lambda rng: [_number(rng) for _ in range(rng.randint(0, 3))], 2, 4)),
    # texts
    "words": (([], ["a"], ["tea", "tea"]), _many(_word, 2, 5)),
    "text": (("", "a", "  up "), lambda rng, before: _text(rng)),
    "word": (("", "a"), lambda rng, before: _word(rng)),
    "lower": (("", "a"), lambda rng, before: _word(rng).lower() + rng.choice(("", _word(rng).lower()))),
    "anagram": (("", "tea"), _anagram),
    "lower1": (("a",), lambda rng, before: _word(rng).lower()),
    "long_word": (("", "a"), lambda rng, before: _word(rng) + _word(rng) + rng.choice(("", _word(rng)))),
    "short_word": (("", "a"), lambda rng, before: _word(rng)[: rng.randint(1, 6)]),
    "like_long": (("",), lambda rng, before: rng.choice((before[0][::-1], _word(rng).lower()))),
    "starts": (("", "a"), lambda rng, before: before[0][: rng.randint(0, 4)] + _word(rng).lower()),
    "turned": (("",), _turned),
    "runs": (
        ("", "aa", "ab"),
        lambda rng, before: "".join(rng.choice("abc") * rng.randint(1, 3) for _ in range(4)),
    ),
    "part": (("", "a"), lambda rng, before: rng.choice(("a", "b", "ab", "aa", "ca", "bb"))),
    "blanks": (
        ("", " "),
        lambda rng, before: (" " * rng.randint(0, 2)).join(["", *rng.sample(WORDS, 3), ""]),
    ),
    "numbered": (("", "a1b", "007"), lambda rng, before: _numbered(rng)),
    "lines": (("", " "), lambda rng, before: "\n".join(rng.choice((_word(rng), "", "  ")) for _ in range(4))),
    "setting": (("", "a"), lambda rng, before: f"{_word(rng)} = {_word(rng)}" + rng.choice(("", " ", "=1"))),
    "endings": (([], ["e"]), lambda rng, before: rng.sample(("e", "a", "le", "on", "y", "ne"), 3)),
    "bits_text": (("", "0", "1"), lambda rng, before: "".join(rng.choices("01", k=rng.randint(2, 7)))),
    "words_around": (([], ["a"]), _many(lambda rng: "abcdefghijkl"[: rng.randint(1, 11)], 4, 8)),
    "repeated_words": (([], ["a"]), _many(lambda rng: rng.choice(("tea", "up", "ink")), 3, 6)),
    "letter": (("a",), lambda rng, before: rng.choice("aelnotp")),
    "table": (({}, {"a": 1}), _table(2)),
    "table1": (({"a": 1},), _table(2)),
    "other_table": (({}, {"a": 2}), _other_table),
    "names_table": (({},), lambda rng, before: {w.lower(): rng.choice("xyz") for w in rng.sample(WORDS, 4)}),
    "key_of": (("a",), lambda rng, before: rng.choice([*before[0], "up"])),
    "keys_of": (([],), lambda rng, before: rng.choices([*before[0], "gold"], k=rng.randint(1, 4))),
    "pairs": (([], [["a", 1]]), _many(lambda rng: [_word(rng), rng.randint(0, 9)], 2, 5)),
    "repeated_pairs": (([], [["a", 1]]), _many(lambda rng: [rng.choice("abc"), rng.randint(1, 9)], 2, 6)),
    "points": (([[0, 0]],), _many(lambda rng: [rng.randint(-5, 9), rng.randint(-5, 9)], 2, 5)),
    "point": (([0, 0],), lambda rng, before: [rng.randint(-9, 9), rng.randint(-9, 9)]),
    "interval": (([0, 4],), _interval),
    "symmetric": (([[1]],), _symmetric),
    "grid": (([[1]], [[2, 3]]), _grid),
    "square": (([[1]],), _square),
}


def arguments(kinds: Sequence[str], rng: random.Random, turn: int) -> list[Any]:
    """Arguments of these kinds: the first `turn`s bring the edge cases of the first, then drawn ones."""
    made: list[Any] = []
    for place, kind in enumerate(kinds):
        edges, draw = KINDS[kind]
        if place == 0 and turn < len(edges):
            made.append(edges[turn])
        elif place and edges and rng.random() < 0.25:
            made.append(rng.choice(edges))
        else:
            made.append(draw(rng, made))
    return made
