"""Read what a reply says of files: SEARCH/REPLACE edits, sections of unified diffs and of `apply_patch`.

One pass from the first line to the last, in linear time; each kind takes its own lines whole, so that an edit
may hold what looks like a diff, and a diff what looks like an edit. Text between them is passed over, except
what looks like the torn part of a change: it would be lost in silence.
"""

from __future__ import annotations

import re

from cascade_rl.verify.patches.blocks import Edit, Fence, after_line, read_edit, replace_mark, search_mark
from cascade_rl.verify.patches.diffs import LOST, Section, heads_section, read_section
from cascade_rl.verify.patches.envelopes import BEGIN, read_envelope
from cascade_rl.verify.patches.errors import Unparseable
from cascade_rl.verify.patches.text import Pages

MOST_PARTS = 2_000  # edits and sections of one reply
# at the beginning of a line: a mention of the tags in a sentence or in code is no solution
_OPEN, _CLOSE = re.compile(r"^[ \t]*+<solution>", re.M), re.compile(r"(?:^[ \t]*+|`)</solution>", re.M)


def solution_of(text: str) -> str:
    """What the last solution tags enclose; all of the text when there are none."""
    # the last one, so that a draft within the reasoning of an answer doesn't count
    starts = [found.end() for found in _OPEN.finditer(text)]
    if not starts:
        return text
    closed = _CLOSE.search(text, starts[-1])
    # the backtick before a closing tag belongs to a fence
    return text[starts[-1] : closed.start() + closed[0].startswith("`") if closed else len(text)]


def read_patch(text: str, pages: Pages) -> list[Edit | Section]:
    """All changes that a reply holds, in order; raises Unparseable."""
    # replies come without the blank lines at their end
    lines = [*solution_of(text).split("\n"), *[""] * LOST]
    dedented = _Dedented(lines)
    parts: list[Edit | Section] = []
    fence: Fence | None = None
    last: str | None = None  # the file of the edit before
    i = floor = 0
    while i < len(lines):
        if search_mark(lines[i], pages.files) is not None:
            edit, i = read_edit(lines, i, floor, fence, pages, last)
            parts.append(edit)
            last, floor = edit.path, i
        elif lines[i].rstrip() == BEGIN:
            sections, i = read_envelope(lines, i + 1)
            parts += sections
        elif heads_section(lines, i):
            section, i = read_section(lines, i)
            parts.append(section)
        elif (indent := _indent_of_diff(lines, i, fence)) > 0:
            sections, i = _read_indented(dedented, i, indent)
            parts += sections
        elif replace_mark(lines[i]) or lines[i].startswith("@@ "):
            raise Unparseable(f"line {i + 1}: a part of a change without its beginning")
        else:
            fence = after_line(fence, lines[i], i)
            i += 1
        if len(parts) > MOST_PARTS:
            raise Unparseable(f"over {MOST_PARTS} changes")
    if not parts:
        raise Unparseable("no edit and no diff")
    return parts


def _indent_of_diff(lines: list[str], i: int, fence: Fence | None) -> int:
    """By how many blanks a section of a diff in an indented block (of a list) is indented; else 0."""
    indent = len(lines[i]) - len(lines[i].lstrip(" "))
    if fence is None or not 0 < indent <= 16:
        return 0
    two = [line.removeprefix(" " * indent) for line in lines[i : i + 2]]
    return indent if heads_section(two, 0) or two[0].rstrip() == BEGIN else 0


class _Dedented:
    """Stretches of lines that are all indented, without their indent, each made once."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._made: dict[int, tuple[int, list[str]]] = {}

    def around(self, i: int, indent: int) -> tuple[int, list[str]]:
        """Where a stretch begins that holds line `i`, and its lines."""
        start, inner = self._made.get(indent, (0, []))
        if not start <= i < start + len(inner):
            blanks, end = " " * indent, i
            while end < len(self._lines) and (
                self._lines[end].startswith(blanks) or not self._lines[end].strip()
            ):
                end += 1
            start, inner = i, [line[indent:] for line in self._lines[i:end]]
            self._made[indent] = start, inner
        return start, inner


def _read_indented(dedented: _Dedented, i: int, indent: int) -> tuple[list[Section], int]:
    """The change at line `i` of indented lines, and the index of the line behind it."""
    start, inner = dedented.around(i, indent)
    if inner[i - start].rstrip() == BEGIN:
        sections, end = read_envelope(inner, i - start + 1)
        return sections, start + end
    section, end = read_section(inner, i - start)
    return [section], start + end
