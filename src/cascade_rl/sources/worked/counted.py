"""Counting: letters of a text, legs of animals, bits of a number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

Row = Mapping[str, Any]
Worked = tuple[list[str], Fraction]

# as the questions mean them, which the package keeps to itself
LEGS: Mapping[int, str] = {
    0: "snake, sea slug, jellyfish, flatworm, leech",
    2: "chicken, bird, human, duck",
    4: "dog, cat, cow, horse, lion, elephant, giraffe, tiger, deer, sheep",
    5: "starfish",
    6: "insect, ant, butterfly, beetle, bee, wasp, grasshopper, cricket, cockroach, praying mantis, firefly",
    8: "spider, scorpion",
    10: "crab, lobster, shrimp",
    14: "woodlouse",
}  # fmt: skip
LEGS_OF: Mapping[str, int] = {animal: n for n, names in LEGS.items() for animal in names.split(", ")}
HALVED_UP_TO = 2**10  # larger ones are halved four times at once


def letters(row: Row, fine: bool) -> Worked | None:
    """The text spelt word by word, the running count behind each letter that is asked for."""
    asked = re.search(r'the letter "(.)" appear in the text: "(.*)"\?', row["question"], re.DOTALL)
    if not asked:
        return None
    letter, count, lines = asked[1].lower(), 0, []
    for word in asked[2].lower().split():
        spelt = []
        for one in word:
            count += one == letter
            spelt.append(f"{one}{count}" if one == letter else one)
        lines.append(" ".join(spelt))
    return [*lines, f"{letter}: {count}"], Fraction(count)


def legs(row: Row, fine: bool) -> Worked | None:
    """Animals times their legs, with a running total."""
    listed = re.search(r"if you have (.*)\?", row["question"])
    total: int | None = None
    lines = []
    for number, animals in re.findall(r"(\d+) ([a-z ]+)", listed[1] if listed else ""):
        each = LEGS_OF.get(animals, LEGS_OF.get(animals.removesuffix("s")))
        if each is None:
            return None
        n, tens = int(number), int(number) // 10 * 10
        # 12*14 is beyond the table that is known by heart
        by_parts = n > 10 and each > 10
        middle = f"{tens * each}+{(n - tens) * each}=" if by_parts else ""
        product = f"{n}*{each}={middle}{n * each}"
        # what has no legs, and what comes first, changes no total
        running = f", {total}+{n * each}={total + n * each}" if total and each else ""
        total = (total or 0) + n * each
        lines.append(f"{n} {animals}: {product}{running}")
    return None if total is None else ([*lines, f"total: {total}"], Fraction(total))


def bits(row: Row, fine: bool) -> Worked | None:
    """Division by 2, for large numbers by 16, with the ones of the rests counted so far behind each."""
    asked = re.search(r"the number (\d+)\?", row["question"])
    if not asked:
        return None
    left, total, lines = int(asked[1]), 0, []
    by = 2 if left <= HALVED_UP_TO else 16
    while left:
        over, rest = divmod(left, by)
        total += rest.bit_count()
        lines.append(f"{left}={over}*{by}+{rest}: {total}")
        left = over
    return (lines, Fraction(total)) if lines else None
