"""How alike two changes of the same files are, by what each removes and adds.

SWE-RL (arXiv 2502.18449) and the report (arXiv 2512.13607) take difflib's ratio over the text of two patches.
Path, context and common letters make any two patches half alike by that measure: an unrelated line in the
right file earns 0.5 to 0.8. Here each version is divided into tokens and compared with the files as they
were. Only tokens count as alike that both changes add, at the same place, and tokens that both remove. What
chance gives is taken off: of an added line half must be shared before it counts at all, and removals count
beyond what as many removals anywhere would hit. A change that adds nothing of what the golden one adds earns
at most `PLACE`, unless it replaces the very same tokens and leaves the rest of their lines (a wrong operator
in the place of another). Right lines in the wrong file are nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from cascade_rl.verify.patches.matching import Purse, common_ends, matching_blocks

NEARLY = 0.99  # the most that a change earns which is not the golden one
PLACE = 0.1  # the most for having removed the right tokens alone
NEAR = 0.6  # more, times the share of the lines that is left, for other tokens in the place of the right ones
ELSEWHERE = 0.75  # how far a right line counts as shared that is added at another place of its file

# indentation is a token, so are words, and each other sign; blanks within a line are none
_TOKEN = re.compile(r"^[ \t]++(?=\S)|\w++|[^\w\s]")
_COMMENT = re.compile(r"(?:^|\s)#")

Tokens = list[str]


def _code(line: str) -> str:
    """A line of Python without its comment; a sign with a quote behind it may stand in a text."""
    start = max(line.rfind('"'), line.rfind("'")) + 1
    found = _COMMENT.search(line, start)
    return line[: found.start()] if found is not None else line


@dataclass(slots=True)
class Text:
    """A version of a file: its tokens, and for each line the index of its first one (and one behind all)."""

    lines: list[str]
    tokens: Tokens = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])

    @classmethod
    def of(cls, path: str, lines: list[str], whole_lines: bool) -> Text:
        made = cls(lines)
        for line in lines:
            said = _code(line) if path.endswith(".py") and "#" in line else line
            made.tokens += [line] if whole_lines else _TOKEN.findall(said)
            made.starts.append(len(made.tokens))
        return made


def _pairs(a: Text, b: Text, purse: Purse) -> Iterator[tuple[int, int]]:
    """The tokens that two versions share, as pairs of indices: by line, within changed lines by token."""
    at_a = at_b = 0
    for i, j, size in (*matching_blocks(a.lines, b.lines, purse), (len(a.lines), len(b.lines), 0)):
        inner_a = a.tokens[a.starts[at_a] : a.starts[i]]
        inner_b = b.tokens[b.starts[at_b] : b.starts[j]]
        for k, m, n in matching_blocks(inner_a, inner_b, purse):
            yield from zip(
                range(a.starts[at_a] + k, a.starts[at_a] + k + n),
                range(b.starts[at_b] + m, b.starts[at_b] + m + n),
                strict=True,
            )
        at_a, at_b = i + size, j + size
        yield from zip(range(a.starts[i], a.starts[at_a]), range(b.starts[j], b.starts[at_b]), strict=True)


@dataclass(slots=True)
class Change:
    """What a version does to a file: tokens of it that are removed, own ones that are added."""

    text: Text
    removed: set[int]
    added: set[int]

    @classmethod
    def of(cls, before: Text, after: Text, purse: Purse) -> Change:
        kept = list(_pairs(before, after, purse))
        removed = set(range(len(before.tokens))) - {i for i, _ in kept}
        return cls(after, removed, set(range(len(after.tokens))) - {j for _, j in kept})

    def added_lines(self) -> Iterator[tuple[str, list[int], int]]:
        """Each line that has added tokens, with these and the number of all its tokens."""
        for line, (start, stop) in zip(self.text.lines, pairwise(self.text.starts), strict=True):
            tokens = [i for i in range(start, stop) if i in self.added]
            if tokens:
                yield line, tokens, stop - start


def _credit(golden: Change, shared: set[int], same: Counter[str]) -> float:
    """How many added tokens count as shared: twice what is shared of a golden line beyond one half of it."""
    total = 0.0
    for line, tokens, _ in golden.added_lines():
        share = sum(i in shared for i in tokens) / len(tokens)
        if share < ELSEWHERE and same[line] > 0:
            same[line] -= 1
            share = ELSEWHERE
        total += len(tokens) * max(0.0, 2 * share - 1)
    return total


@dataclass(slots=True)
class Tally:
    """Tokens of all files: their own, removed by each side and both, added by each, shared of these."""

    size: int = 0
    removed: tuple[int, int, int] = (0, 0, 0)
    added: tuple[int, int] = (0, 0)
    credit: float = 0.0
    in_lines: int = 0  # tokens of the lines in which the golden change adds some
    same_removed: bool = True

    def include(self, path: str, versions: list[list[str]], whole_lines: bool, purse: Purse) -> None:
        """Take in one file, by the lines of its three versions: before, given and golden."""
        head, tail = _ends_of_all(*versions)
        inner = [Text.of(path, lines[head : len(lines) - tail], whole_lines) for lines in versions]
        # what no version changes counts by its size alone
        outer = [*versions[0][:head], *versions[0][len(versions[0]) - tail :]]
        self.size += len(outer) if whole_lines else len(_TOKEN.findall("\n".join(outer)))
        given, golden = (Change.of(inner[0], text, purse) for text in inner[1:])
        self._compare(set(versions[0]), given, golden, purse)
        self.size += len(inner[0].tokens)

    def _compare(self, before: set[str], given: Change, golden: Change, purse: Purse) -> None:
        wanted = Counter(line for line, *_ in golden.added_lines())
        # code of one file is alike: a copy of its lines says nothing, unless that line is wanted once more
        there = before - wanted.keys()
        own = {i for line, tokens, _ in given.added_lines() if line not in there for i in tokens}
        shared = {j for i, j in _pairs(given.text, golden.text, purse) if i in own and j in golden.added}
        same = wanted & Counter(line for line, *_ in given.added_lines())
        self.credit += _credit(golden, shared, same)
        self.same_removed &= given.removed == golden.removed
        self.in_lines += sum(size for *_, size in golden.added_lines())
        both = len(given.removed & golden.removed)
        counts = (len(given.removed), len(golden.removed), both)
        self.removed = tuple(map(sum, zip(self.removed, counts, strict=True)))  # type: ignore[assignment]
        self.added = (self.added[0] + len(given.added), self.added[1] + len(golden.added))

    def likeness(self) -> float:
        """In [0, 1]: the share that both have in common, so that what is done beside counts against it."""
        given, golden, both = self.removed
        removal = _beyond_chance(given, golden, both, self.size)
        addition = 2 * self.credit / sum(self.added) if sum(self.added) else 0.0
        if not self.added[1]:
            # nothing was to be added: whatever is makes it less like
            return removal * golden / (golden + self.added[0]) if golden else 0.0
        if not golden:
            return addition * self.added[1] / (self.added[1] + given)
        place = PLACE
        if self.same_removed and 0 < self.added[0] <= self.added[1]:
            place += NEAR * (1 - self.added[1] / self.in_lines)
        return place * removal * (1 - addition) + addition * (1 + removal) / 2


def _ends_of_all(before: list[str], given: list[str], golden: list[str]) -> tuple[int, int]:
    """How many lines three versions share at the beginning, and of the rest at the end."""
    heads, tails = zip(common_ends(before, given), common_ends(before, golden), strict=True)
    head = min(heads)
    return head, min(*tails, min(map(len, (before, given, golden))) - head)


def _beyond_chance(a: int, b: int, both: int, size: int) -> float:
    """How far two sets of removed tokens agree beyond chance (Cohen's kappa over the means), at least 0."""
    if not a or not b:
        return 0.0
    chance, mean = a * b / size, (a + b) / 2
    # all of the file removed on both sides: nothing is left to chance
    return max(0.0, (both - chance) / (mean - chance)) if mean > chance else 1.0


def differing(*sides: Mapping[str, str]) -> list[str]:
    """The paths of the files that are not the same on all sides."""
    paths = sorted(set().union(*(side.keys() for side in sides)))
    return [path for path in paths if len({side.get(path) for side in sides}) > 1]


def likeness(before: Mapping[str, str], given: Mapping[str, str], golden: Mapping[str, str]) -> float:
    """How alike two versions of some files are in what they change: 1 for the same, else at most `NEARLY`.

    By tokens; by lines where the golden change alters blanks or comments alone. In bounded time: what is too
    dear to be compared counts as unlike.
    """
    if given == golden:
        return 1.0
    paths = differing(before, given, golden)
    for whole_lines in (False, True):
        purse, tally = Purse(), Tally()
        for path in paths:
            versions = [side.get(path, "").split("\n") for side in (before, given, golden)]
            tally.include(path, versions, whole_lines, purse)
        if tally.removed[1] or tally.added[1]:
            break
    return min(tally.likeness(), NEARLY)
