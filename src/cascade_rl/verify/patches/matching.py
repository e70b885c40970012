"""difflib with a budget: what texts have in common, exactly where that is affordable, in bounded time always.

difflib's matcher takes quadratic time on texts made of few different elements, and cubic time on texts made
to hurt it: 5 s at 5,000 characters, 6 s on two ordinary files of 20,000. Here each pass is charged before it
is run, and a matcher that has used up its budget gives way to a coarser comparison. The budget counts steps,
not seconds, so the result is the same on every machine.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import accumulate

MOST_STEPS = 4_000_000  # inner steps of difflib in one comparison: about a third of a second


class OverBudget(Exception):
    """The comparison would take too long."""


class Purse:
    """The steps that all comparisons of one verdict may take together."""

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self.left = steps


class BoundedMatcher(difflib.SequenceMatcher[str]):
    """A SequenceMatcher without autojunk that raises OverBudget instead of taking more than is left."""

    # set by difflib, documented in its source; its stubs leave them out
    a: Sequence[str]
    b2j: dict[str, list[int]]

    def __init__(self, a: Sequence[str], b: Sequence[str], purse: Purse | None = None) -> None:
        super().__init__(None, a, b, autojunk=False)
        self._purse = purse or Purse()
        # running sums: an element costs one step, and one more for each place in b where it stands
        self._cost = [0, *accumulate(1 + len(self.b2j.get(element, ())) for element in a)]

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        """difflib's, charged first: it looks at each place in b of each element of a."""
        # difflib makes one pass for each block that it finds, so bounding a single one is not enough
        self._purse.left -= self._cost[len(self.a) if ahi is None else ahi] - self._cost[alo]
        if self._purse.left < 0:
            raise OverBudget
        return super().find_longest_match(alo, ahi, blo, bhi)


def common_ends(a: Sequence[str], b: Sequence[str]) -> tuple[int, int]:
    """How many elements two sequences share at the beginning, and of the rest at the end."""
    most = min(len(a), len(b))
    head = next((i for i in range(most) if a[i] != b[i]), most)
    tail = next((i for i in range(most - head) if a[-1 - i] != b[-1 - i]), most - head)
    return head, tail


def opcodes(old: Sequence[str], new: Sequence[str]) -> Sequence[tuple[str, int, int, int, int]]:
    """difflib's opcodes; over budget, all between the common beginning and end is one replacement."""
    try:
        return BoundedMatcher(old, new).get_opcodes()
    except OverBudget:
        head, tail = common_ends(old, new)
        i, j = len(old) - tail, len(new) - tail
        codes = [
            ("equal", 0, head, 0, head),
            ("replace", head, i, head, j),
            ("equal", i, len(old), j, len(new)),
        ]
        return [code for code in codes if code[1] < code[2] or code[3] < code[4]]


def matching_blocks(a: Sequence[str], b: Sequence[str], purse: Purse) -> list[tuple[int, int, int]]:
    """Where two sequences agree: places in both and a length, in order, none of length 0.

    The common beginning and end are found first, as diff tools do; difflib aligns what is between. When the
    purse is empty, that counts as different.
    """
    head, tail = common_ends(a, b)
    i, j = len(a) - tail, len(b) - tail
    found = [(0, 0, head)]
    if head < i and head < j:
        try:
            inner = BoundedMatcher(a[head:i], b[head:j], purse).get_matching_blocks()
            found += [(head + k, head + m, size) for k, m, size in inner]
        except OverBudget:
            pass
    return [block for block in (*found, (i, j, tail)) if block[2]]
