"""A file as lines with their ends, and changes of lines that keep the file's own ends.

A repair says which lines, not how they end: where it was found by its text alone, a file with carriage
returns keeps them, one with mixed ends keeps each, a byte order mark stays in front, and a file without a
newline at its end gets none. What a diff says of ends is taken literally where its old lines stand exactly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from cascade_rl.verify.patches.errors import NoMatch, Overlap
from cascade_rl.verify.patches.matching import common_ends

BOM = "\ufeff"


def cut(text: str) -> list[str]:
    """Lines with their ends; the last has none, and is empty where the text ends with a newline."""
    *lines, last = text.split("\n")
    return [*(line + "\n" for line in lines), last]


def bare(line: str) -> str:
    """A line without its end."""
    return line[:-2] if line.endswith("\r\n") else line.removesuffix("\n")


def end_of(line: str) -> str:
    """How a line ends: with a newline, with a carriage return before it, or not at all."""
    return line[len(bare(line)) :]


class Page:
    """A file to be changed: its lines as they are, and as they are compared."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = cut(text)
        # of real lines; a text that ends with a newline has an empty one behind it
        self.count = len(self.lines) - (not self.lines[-1])

    @cached_property
    def bare(self) -> list[str]:
        """The lines without ends and without a byte order mark."""
        return [bare(line) for line in cut(self.text.removeprefix(BOM))]

    @cached_property
    def usual(self) -> str:
        """The end that most lines have."""
        return "\r\n" if 2 * self.text.count("\r\n") > self.text.count("\n") else "\n"

    @cached_property
    def _hay(self) -> str:
        return "\n".join(("", *self.bare, ""))

    def places(self, search: Sequence[str]) -> Iterator[int]:
        """Indices of the lines at which bare lines stand as whole lines, in linear time for each."""
        # most that stand nowhere have a line that does not
        if not all(line in self._by_text for line in search):
            return
        # newlines at both ends, so that only whole lines match
        needle = "\n".join(("", *search, ""))
        at, line, counted = self._hay.find(needle), 0, 0
        while at >= 0:
            line, counted = line + self._hay.count("\n", counted, at), at
            yield line
            # overlapping places count, too: both would be meant
            at = self._hay.find(needle, at + 1)

    @cached_property
    def _by_text(self) -> dict[str, list[int]]:
        return _indices(self.bare)

    @cached_property
    def stripped(self) -> dict[str, list[int]]:
        """The indices of the lines with each text, whatever the blanks around it."""
        return _indices([line.strip() for line in self.bare])

    def lines_like(self, text: str, first: int, last: int) -> list[int]:
        """The indices of the lines with a text, from `first` to `last`."""
        found = self._by_text.get(text, [])
        return found[bisect_left(found, first) : bisect_left(found, last + 1)]

    def refitted(self, at: int, count: int, new: Sequence[str]) -> list[str]:
        """Bare lines in the place of `count` lines at `at`, with the ends that these had."""
        old = self.lines[at : at + count]
        head, tail = common_ends(self.bare[at : at + count], new)
        ends = [end_of(line) or self.usual for line in old]
        core = ends[head : count - tail]
        # an insertion takes the end of the line before it, else of the line behind it
        before = at + head - 1
        core = core or [end_of(self.lines[before if before >= 0 else 0]) or self.usual]
        fitted = [core[min(j, len(core) - 1)] for j in range(len(new) - head - tail)]
        taken = [*ends[:head], *fitted, *(ends[count - tail :] if tail else [])]
        return [line + end for line, end in zip(new, taken, strict=True)]


def _indices(lines: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        found.setdefault(line, []).append(i)
    return found


class Pages:
    """The files to be changed by path, each divided into lines when it is first asked for."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        self._made: dict[str, Page] = {}

    def __getitem__(self, path: str) -> Page:
        if path not in self._made:
            self._made[path] = Page(self.files[path])
        return self._made[path]


@dataclass(frozen=True, slots=True)
class Splice:
    """Lines of a file to be replaced, and the new lines with their ends.

    `kept`: found by its text alone, so that the file's beginning and end stay as they are.
    """

    at: int
    count: int
    new: tuple[str, ...]
    kept: bool


def spliced(page: Page, splices: Sequence[Splice], path: str) -> str:
    """The file's text after all splices; raises Overlap, and NoMatch where two lines would become one."""
    ordered = sorted(splices, key=lambda splice: splice.at)
    for first, second in pairwise(ordered):
        if second.at < first.at + first.count:
            raise Overlap(f"{path}: two changes claim line {second.at + 1}")
    lines = list(page.lines)
    # from the end, so that the places before stay right
    for splice in reversed(ordered):
        lines[splice.at : splice.at + splice.count] = splice.new
    real = lines if lines and lines[-1] else lines[:-1]
    if any(not line.endswith("\n") for line in real[:-1]):
        raise NoMatch(f"{path}: a line without a newline would not be the last")
    text = "".join(lines)
    kept = [splice for splice in ordered if splice.kept]
    # over the end of the file: what now stands last has no newline, as what stood last had none
    if any(splice.at + splice.count == len(page.lines) for splice in kept):
        text = bare(text)
    if page.text.startswith(BOM) and any(splice.at == 0 for splice in kept):
        text = BOM + text.removeprefix(BOM)
    return text
