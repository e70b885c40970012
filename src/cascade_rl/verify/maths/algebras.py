"""What a comparison needs to know about single expressions, and the part of it that arithmetic tells."""

from __future__ import annotations

from typing import Protocol

from cascade_rl.verify.maths.notation import squeezed
from cascade_rl.verify.maths.numbers import rational

# when both sides change places, or are multiplied by a negative number
FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "=": "=", "≠": "≠", "≈": "≈"}


class Undecided(Exception):
    """Arithmetic alone can't tell."""


class Algebra(Protocol):
    """Comparison of single expressions, of which `equal` and `proportion` may blame the gold."""

    def equal(self, gold: str, given: str) -> bool:
        """Whether two expressions have one value."""
        ...

    def proportion(self, gold: str, given: str) -> int:
        """1 or -1: one is a positive or negative constant times the other; 0 else, and for two constants."""
        ...

    def holds(self, left: str, right: str) -> bool:
        """Whether two sides of one answer have one value; what can't be read has none."""
        ...

    def order(self, left: str, right: str) -> int | None:
        """-1, 0 or 1: the first number is less, the same or greater; None if not both are real numbers."""
        ...


class Arithmetic:
    """Rationals, infinities and lone letters; everything else is undecided."""

    def equal(self, gold: str, given: str) -> bool:
        """Whether two numbers or symbols are the same."""
        a, b = _atom(gold), _atom(given)
        if (a, b) == (None, None) and squeezed(gold) == squeezed(given):
            return True
        if a is None or b is None:
            raise Undecided
        return a == b

    def proportion(self, gold: str, given: str) -> int:
        """Undecided, always."""
        raise Undecided

    def holds(self, left: str, right: str) -> bool:
        """The same as `equal`."""
        return self.equal(left, right)

    def order(self, left: str, right: str) -> int | None:
        """The order of two rationals."""
        a, b = rational(left), rational(right)
        if a is not None and b is not None:
            return (a > b) - (a < b)
        raise Undecided


class Within:
    """An algebra for the sides of one answer, whose faults are that answer's own."""

    def __init__(self, algebra: Algebra) -> None:
        self.equal = self.holds = algebra.holds
        self.order = algebra.order

    def proportion(self, gold: str, given: str) -> int:
        """0: one answer makes no equation of another."""
        return 0


def _atom(text: str) -> object | None:
    if (number := rational(text)) is not None:
        return number
    text = squeezed(text)
    # e and i are numbers, which algebra may know by another name
    if text in (r"\infty", r"-\infty") or (len(text) == 1 and text.isalpha() and text not in "ei"):
        return text
    return None
