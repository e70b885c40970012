"""How many tokens the rows of a table have: the middle, the end, and how many are over a limit."""

from __future__ import annotations

from array import array
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lengths:
    """What was counted (`prompts`), how many there are, and their tokens; `over` None without a limit."""

    what: str
    count: int
    median: int
    high: int
    longest: int
    limit: int | None = None
    over: int | None = None

    def line(self) -> str:
        """All of it in one line."""
        parts = f"median {self.median:,}, 95 % at most {self.high:,}, longest {self.longest:,}"
        over = "" if self.over is None else f"; {self.over:,} over {self.limit:,}"
        return f"tokens of {self.count:,} {self.what}: {parts}{over}"


class LengthCount:
    """Counts lengths while a table is read; four bytes each, so that millions of them fit."""

    def __init__(self, what: str, limit: int | None = None) -> None:
        self._what, self._limit = what, limit
        self._found = array("I")

    def add(self, tokens: int) -> None:
        """Count one."""
        self._found.append(tokens)

    def lengths(self) -> Lengths | None:
        """Of all so far; None of none."""
        if not self._found:
            return None
        ranked = sorted(self._found)
        over = None if self._limit is None else sum(tokens > self._limit for tokens in ranked)
        middle, high = _at(ranked, 50), _at(ranked, 95)
        return Lengths(self._what, len(ranked), middle, high, ranked[-1], self._limit, over)


def _at(ranked: list[int], percent: int) -> int:
    """The least length that this share of all does not pass: by rank, so that it is one of them."""
    return ranked[-(-percent * len(ranked) // 100) - 1]
