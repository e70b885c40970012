"""Unified diffs: read them (git's and those of `diff -u`) and write them; `hunks` applies them.

Stricter than `git apply` and `patch`: the counts of a hunk must be right. Files may be made, removed, renamed
and copied; modes are read and ignored; binary patches are refused. A hunk without numbers (`@@ ... @@`, as
some tools ask for) is read up to the first line that is none of a hunk.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cascade_rl.verify.patches.errors import Unparseable
from cascade_rl.verify.patches.matching import opcodes
from cascade_rl.verify.patches.names import LETTERS

LOST = 3  # blank context lines that may be missing at the very end of a diff
NOWHERE = "/dev/null"
SIGNS = (" ", "+", "-")
NO_NEWLINE = "\\ No newline at end of file"
# nine digits at most: no line has a longer number
_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_FREE = re.compile(r"@@(?: \.\.\.)?(?: @@)?\s*")
# git's escapes alone: nothing else may reach the parser of Python's literals
_QUOTED = re.compile(r'"(?:[^"\\]|\\(?:[abtnvfr"\\]|[0-3][0-7]{2}))*+"')
# how `diff -N` dates a file that is not there, in whatever zone
_EPOCH = re.compile(r"\t(?:1970-01-01|1969-12-31)[ T]\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines with their signs, each with its newline.

    `start` is the old line, from 1, or 0 for a new file, or None where no number is given; then `anchor` may
    be a line above, and `ends` says that the file ends with the hunk.
    """

    start: int | None
    signed: tuple[tuple[str, str], ...]
    anchor: str = ""
    ends: bool = False

    @property
    def old(self) -> list[str]:
        return [text for sign, text in self.signed if sign != "+"]

    @property
    def new(self) -> list[str]:
        return [text for sign, text in self.signed if sign != "-"]


@dataclass(slots=True)
class Section:
    """What a diff does to one file, by the paths of its headers, letters of git's before them included.

    A path is None where the file is made or removed. `moves`: rename or copy. `lettered`: whether git's
    letters stand before the paths, None where no header of git's tells. `whole`: the file is removed whatever
    it holds.
    """

    old: str | None
    new: str | None
    hunks: list[Hunk] = field(default_factory=list)
    moves: str | None = None
    lettered: bool | None = None
    whole: bool = False


def heads_section(lines: Sequence[str], i: int) -> bool:
    """Whether a section of a diff begins at a line."""
    return lines[i].startswith("diff --git ") or _heads_file(lines, i)


def _heads_file(lines: Sequence[str], i: int) -> bool:
    return lines[i].startswith("--- ") and i + 1 < len(lines) and lines[i + 1].startswith("+++ ")


def read_section(lines: Sequence[str], i: int) -> tuple[Section, int]:
    """The section that begins at a line, and the index of the first line after it; raises Unparseable."""
    if lines[i].startswith("diff --git "):
        return _read_git_section(lines, i)
    # its second line may stand outside: of an indented diff, say, that goes on without the indent
    if not _heads_file(lines, i):
        raise Unparseable(f"line {i + 1}: half of a file header")
    section = Section(_path(lines[i][4:]), _path(lines[i + 1][4:]))
    if section.old is None and section.new is None:
        raise Unparseable("both sides of a section are /dev/null")
    end = _read_hunks(lines, i + 2, section)
    if not section.hunks:
        raise Unparseable(f"line {i + 1}: a file header without a hunk")
    # `diff -N` names a file that is not there, and dates it to the beginning of time
    if _EPOCH.search(lines[i]) and not any(hunk.old for hunk in section.hunks):
        section.old = None
    elif _EPOCH.search(lines[i + 1]) and not any(hunk.new for hunk in section.hunks):
        section.new = None
    return section, end


def _path(text: str) -> str | None:
    """A path as a header has it: quoted as git quotes, or up to a tab; None for a file that is not there."""
    if text.startswith('"'):
        return _unquoted(text.rstrip())
    path = text.partition("\t")[0].rstrip()
    return None if path == NOWHERE else path


def _unquoted(text: str) -> str:
    quoted = _QUOTED.match(text)
    if quoted is None:
        raise Unparseable(f"the quoted path {text[:80]!r} can't be read")
    # git writes other bytes as they are or as octal numbers
    raw = "".join(chr(b) if b < 128 else f"\\x{b:02x}" for b in quoted[0].encode("utf-8", "surrogatepass"))
    try:
        path: bytes = ast.literal_eval("b" + raw)
        return path.decode()
    except (SyntaxError, ValueError):
        raise Unparseable(f"the quoted path {text[:80]!r} can't be read") from None


def _git_names(line: str) -> tuple[str, str]:
    """The two paths of a `diff --git` line."""
    rest = line.removeprefix("diff --git ").rstrip()
    quoted = re.fullmatch(r'("(?:[^"\\]|\\.)*+"|\S+) ("(?:[^"\\]|\\.)*+"|\S+)', rest)
    if quoted is not None:
        old, new = (_unquoted(path) if path.startswith('"') else path for path in quoted.groups())
        return old, new
    # paths with blanks: the same on both sides, but for git's letters; or an older name beside a newer one
    half = len(rest) // 2
    old, new = rest[:half], rest[half + 1 :]
    if rest[half : half + 1] == " " and (old == new or old[2:] == new[2:]):
        return old, new
    old, middle, new = rest.partition(" b/")
    if not middle:
        raise Unparseable("want `diff --git a/PATH b/PATH`")
    return old, "b/" + new


def lettered(old: str, new: str) -> bool:
    """Whether two paths of one header have the letters that git puts before them."""
    letters = old[:1] + new[:1]
    return old[1:2] == new[1:2] == "/" and letters[0] != letters[1] and {*letters} <= {*LETTERS}


def _read_git_section(lines: Sequence[str], i: int) -> tuple[Section, int]:
    """Read a section from its `diff --git` line on."""
    names = _git_names(lines[i])
    section = Section(*names, lettered=lettered(*names))
    for j in range(i + 1, len(lines)):
        line = lines[j].removesuffix("\r")
        word, _, rest = line.partition(" from ") if " from " in line else line.partition(" to ")
        if line.startswith("new file mode"):
            section.old = None
        elif line.startswith("deleted file mode"):
            section.new = None
        elif word in ("rename", "copy") and rest:
            section.moves, section.lettered = word, False
            side = "old" if " from " in line else "new"
            setattr(section, side, _path(rest))
        elif line.startswith(("Binary files ", "GIT binary patch")):
            raise Unparseable(f"line {j + 1}: binary patches are not read")
        elif _heads_file(lines, j):
            if section.moves is None:
                found = {_path(line[4:]), _path(lines[j + 1][4:])} - {None}
                if not found <= set(names):
                    return section, j  # the section of another file, which has no header of git's
                section.old, section.new = _path(line[4:]), _path(lines[j + 1][4:])
            return section, _read_hunks(lines, j + 2, section)
        elif not line.startswith(
            ("index ", "old mode", "new mode", "similarity index", "dissimilarity index")
        ):
            return section, j
    return section, len(lines)


def _read_hunks(lines: Sequence[str], i: int, section: Section) -> int:
    """Read hunks as long as they follow; returns the index of the first line after them."""
    # headers that end with a carriage return were sent so throughout: git itself never writes them
    sent = lines[i - 1].endswith("\r")
    while i < len(lines):
        if (head := _HUNK.match(lines[i])) is not None:
            hunk, i = _read_hunk(lines, i, head, sent)
        elif _FREE.fullmatch(lines[i]):
            hunk, i = read_free(lines, i + 1, "", sent)
        else:
            break
        section.hunks.append(hunk)
    return i


def _signed(line: str, following: str, sent: bool) -> tuple[str, str, bool]:
    """Sign and text of a line of a hunk, and whether the line behind it says that it has no newline."""
    line = line.removesuffix("\r") if sent else line
    # editors strip the blank of an empty context line
    line = line if line[:1] in SIGNS else " " + line
    bare = following.startswith("\\ ")
    return line[0], line[1:] + ("" if bare else "\n"), bare


def _read_hunk(lines: Sequence[str], i: int, head: re.Match[str], sent: bool) -> tuple[Hunk, int]:
    start, left_old, _, left_new = (1 if n is None else int(n) for n in head.groups())
    signed: list[tuple[str, str]] = []
    at = i + 1
    while left_old > 0 or left_new > 0:
        if at >= len(lines) or lines[at][:1] not in (*SIGNS, "", "\r"):
            raise Unparseable(f"line {i + 1}: the hunk is shorter than its header says")
        sign, text, bare = _signed(lines[at], lines[at + 1] if at + 1 < len(lines) else "", sent)
        at += 1 + bare
        left_old, left_new = left_old - (sign != "+"), left_new - (sign != "-")
        signed.append((sign, text))
    longer = at < len(lines) and (
        lines[at][:1] in ("+", " ") or (lines[at].startswith("-") and not _ends_patch(lines, at))
    )
    if left_old < 0 or left_new < 0 or longer:
        raise Unparseable(f"line {i + 1}: the hunk is longer than its header says")
    return Hunk(start, tuple(signed)), at


def read_free(lines: Sequence[str], i: int, anchor: str, sent: bool = False) -> tuple[Hunk, int]:
    """A hunk without numbers whose lines begin at `i`: up to the first line that is none of a hunk."""
    signed: list[tuple[str, str]] = []
    at = end = i
    while at < len(lines) and lines[at][:1] in (*SIGNS, "", "\r") and not heads_section(lines, at):
        sign, text, bare = _signed(lines[at], lines[at + 1] if at + 1 < len(lines) else "", sent)
        signed.append((sign, text))
        at += 1 + bare
        # empty lines behind the last line with a sign are none of it
        end = at if lines[at - 1 - bare].strip("\r") else end
    count = len(signed) - (at - end)
    if not any(sign != " " for sign, _ in signed[:count]):
        raise Unparseable(f"line {i}: a hunk without a changed line")
    return Hunk(None, tuple(signed[:count]), anchor), end


def _ends_patch(lines: Sequence[str], i: int) -> bool:
    """Whether a line that starts with a minus is the next file's header, or a mailed patch's signature."""
    return _heads_file(lines, i) or lines[i].rstrip() in ("--", "---")


def split_lines(text: str) -> list[str]:
    """Lines with their newlines; the last may lack one."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def unified_diff(before: Mapping[str, str], after: Mapping[str, str], context: int = 3) -> str:
    """The unified diff of every file that differs, by path, as `git apply` and `patch -p1` read it."""
    parts = [
        _file_diff(path, before.get(path), after.get(path), context)
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]
    return "\n".join(parts)


def _file_diff(path: str, before: str | None, after: str | None, context: int) -> str:
    old, new = split_lines(before or ""), split_lines(after or "")
    name = path + "\t" if " " in path else path  # so that the reader knows where the name ends
    out = [f"diff --git a/{path} b/{path}"]
    if before is None or after is None:
        out.append(f"{'new' if before is None else 'deleted'} file mode 100644")
    if old == new:
        return "\n".join(out)  # an empty file: no hunk
    out += [NOWHERE if before is None else f"a/{name}", NOWHERE if after is None else f"b/{name}"]
    out[-2:] = ["--- " + out[-2], "+++ " + out[-1]]
    aligned = difflib.SequenceMatcher[str]()
    # what `get_opcodes` keeps and gives again; the stubs leave the attribute out
    aligned.opcodes = opcodes(old, new)  # type: ignore[attr-defined]
    for group in aligned.get_grouped_opcodes(context):
        i, k, j, m = group[0][1], group[-1][2], group[0][3], group[-1][4]
        out.append(f"@@ -{_range(i, k)} +{_range(j, m)} @@")
        for tag, a, b, c, d in group:
            signs = (" ", "") if tag == "equal" else ("-", "+")
            signed = [(signs[0], line) for line in old[a:b]]
            signed += [(signs[1], line) for line in new[c:d] if tag != "equal"]
            for sign, line in signed:
                out += [sign + line[:-1]] if line.endswith("\n") else [sign + line, NO_NEWLINE]
    return "\n".join(out)


def _range(start: int, stop: int) -> str:
    """A range of lines as a hunk's header writes it."""
    length = stop - start
    return str(start + 1) if length == 1 else f"{start + 1 if length else start},{length}"
