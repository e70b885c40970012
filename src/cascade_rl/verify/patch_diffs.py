"""Unified diffs: read them (git's and those of `diff -u`), apply them to files in memory, write them.

Stricter than `git apply` and `patch`: the counts of a hunk must be right, its lines must stand in the file
exactly, at the line that it names or at one place only within `FARTHEST` lines of it (both tools take the
nearest of several, `patch` forgives context). Files may be made, removed, renamed and copied; modes are read
and ignored; binary patches are refused. Nothing is written to disk, so no path or link can lead out.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cascade_rl.verify.patch_errors import (
    FileExists,
    NoChange,
    NoMatch,
    Overlap,
    SeveralMatches,
    UnknownFile,
    Unparseable,
    UnsafePath,
)
from cascade_rl.verify.patch_matching import opcodes

FARTHEST = 200  # lines between where a hunk says it belongs and where it may be found
LOST = 3  # blank context lines that may be missing at the very end of a diff
NOWHERE = "/dev/null"
NO_NEWLINE = "\\ No newline at end of file"
# nine digits at most: no line has a longer number
_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")


@dataclass(frozen=True, slots=True)
class Hunk:
    """Old and new lines, each with its newline; `start` is the old line, from 1, or 0 for a new file."""

    start: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(slots=True)
class Section:
    """What a diff does to one file: a path is None where it is made or removed; `moves`: rename or copy."""

    old: str | None
    new: str | None
    hunks: list[Hunk] = field(default_factory=list)
    moves: str | None = None


def looks_like_diff(text: str) -> bool:
    """Whether some line starts a unified diff."""
    return re.search(r"^(diff --git |--- .*\r?\n\+\+\+ )", text, re.MULTILINE) is not None


def parse_diff(text: str) -> list[Section]:
    """The sections of a diff, in order; text before and between them is passed over. Raises Unparseable."""
    lines = _diff_lines(text)
    sections: list[Section] = []
    i = 0
    while i < len(lines):
        if lines[i].startswith("diff --git "):
            i = _read_git_header(lines, i, sections)
        elif lines[i].startswith("--- ") and i + 1 < len(lines) and lines[i + 1].startswith("+++ "):
            sections.append(_named(_path(lines[i][4:]), _path(lines[i + 1][4:])))
            i = _read_hunks(lines, i + 2, sections[-1])
            if not sections[-1].hunks:
                raise Unparseable(f"line {i}: a file header without a hunk")
        # passed over, its changes would be lost in silence
        elif lines[i].startswith("@@ -"):
            raise Unparseable(f"line {i + 1}: a hunk without a file header")
        else:
            i += 1
    if not sections:
        raise Unparseable("no section of a unified diff")
    return sections


def _diff_lines(text: str) -> list[str]:
    """The lines of a diff: of its fenced blocks if a fence stands before it, else of the whole text."""
    if "\r\n" in text and text.count("\r\n") >= text.rstrip("\n").count("\n"):
        text = text.replace("\r\n", "\n")  # sent with carriage returns throughout, not a diff of such a file
    lines = [*text.split("\n"), *[""] * LOST]  # replies come without the blank lines at their end
    fences = [i for i, line in enumerate(lines) if line.startswith("```")]
    starts = [i for i, line in enumerate(lines) if line.startswith(("diff --git ", "--- "))]
    if not fences or not starts or fences[0] > starts[0]:
        return lines
    # the lines of every second stretch between fences
    inside = [
        line
        for a, b in zip(fences[::2], [*fences[1::2], len(lines)], strict=False)
        for line in lines[a + 1 : b]
    ]
    return inside if looks_like_diff("\n".join(inside)) else lines


def _path(text: str) -> str:
    """A path as a header has it: quoted as git quotes, or up to a tab."""
    if not text.startswith('"'):
        return text.partition("\t")[0].rstrip()
    try:
        path: bytes = ast.literal_eval("b" + text.rstrip())
        return path.decode()
    except (SyntaxError, ValueError):
        raise Unparseable(f"the quoted path {text!r} can't be read") from None


def _named(old: str, new: str) -> Section:
    """A section for two header paths; the letters that git puts before them are taken off."""
    given = [path for path in (old, new) if path != NOWHERE]
    if not given:
        raise Unparseable("both sides of a section are /dev/null")
    # only if both sides have their letter; a diff made outside of git has none
    if all(path.startswith(prefix) for path, prefix in ((old, "a/"), (new, "b/")) if path != NOWHERE):
        old, new = (path if path == NOWHERE else path[2:] for path in (old, new))
    return Section(None if old == NOWHERE else old, None if new == NOWHERE else new)


def _read_git_header(lines: Sequence[str], i: int, sections: list[Section]) -> int:
    """Read a section from its `diff --git` line on; returns the index of the first line after it."""
    names = re.fullmatch(
        r'diff --git ("a/(?:[^"\\]|\\.)*"|a/.*) ("b/(?:[^"\\]|\\.)*"|b/.*)', lines[i].rstrip()
    )
    if names is None:
        raise Unparseable(f"line {i + 1}: want `diff --git a/PATH b/PATH`")
    section = _named(_path(names[1]), _path(names[2]))
    sections.append(section)
    for j in range(i + 1, len(lines)):
        line = lines[j]
        word, _, rest = line.partition(" from ") if " from " in line else line.partition(" to ")
        if line.startswith("new file mode"):
            section.old = None
        elif line.startswith("deleted file mode"):
            section.new = None
        elif word in ("rename", "copy") and rest:
            section.moves = word
            section.old, section.new = (
                (_path(rest), section.new) if " from " in line else (section.old, _path(rest))
            )
        elif line.startswith(("Binary files ", "GIT binary patch")):
            raise Unparseable(f"line {j + 1}: binary patches are not read")
        elif line.startswith("--- ") and j + 1 < len(lines) and lines[j + 1].startswith("+++ "):
            named = _named(_path(line[4:]), _path(lines[j + 1][4:]))
            if {named.old, named.new} - {None} != {section.old, section.new} - {None}:
                return j  # the section of another file, which has no header of git's
            section.old, section.new = named.old, named.new
            return _read_hunks(lines, j + 2, section)
        elif not line.startswith(
            ("index ", "old mode", "new mode", "similarity index", "dissimilarity index")
        ):
            return j
    return len(lines)


def _read_hunks(lines: Sequence[str], i: int, section: Section) -> int:
    """Read hunks as long as they follow; returns the index of the first line after them."""
    while i < len(lines) and (head := _HUNK.match(lines[i])):
        start, wanted_old, _, wanted_new = (1 if n is None else int(n) for n in head.groups())
        old: list[str] = []
        new: list[str] = []
        at = i + 1
        while len(old) < wanted_old or len(new) < wanted_new:
            if at >= len(lines) or not (lines[at] == "" or lines[at][0] in " +-"):
                raise Unparseable(f"line {i + 1}: the hunk is shorter than its header says")
            # editors strip the blank of an empty context line
            sign, text = lines[at][:1] or " ", lines[at][1:] + "\n"
            at += 1
            bare = at < len(lines) and lines[at].startswith("\\ ")
            if bare:
                text, at = text[:-1], at + 1
            for side, signs in ((old, " -"), (new, " +")):
                if sign in signs:
                    side.append(text)
        if (
            len(old) > wanted_old
            or len(new) > wanted_new
            or (at < len(lines) and lines[at][:1] in ("+", " "))
        ):
            raise Unparseable(f"line {i + 1}: the hunk is longer than its header says")
        if at < len(lines) and lines[at].startswith("-") and not _heads_file(lines, at):
            raise Unparseable(f"line {i + 1}: the hunk is longer than its header says")
        section.hunks.append(Hunk(start, tuple(old), tuple(new)))
        i = at
    return i


def _heads_file(lines: Sequence[str], i: int) -> bool:
    """Whether a line that starts with a minus is the next file's header, or a mailed patch's signature."""
    header = lines[i].startswith("--- ") and i + 1 < len(lines) and lines[i + 1].startswith("+++ ")
    return header or lines[i].rstrip() in ("--", "---")


def _split(text: str) -> list[str]:
    """Lines with their newlines; the last may lack one."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def apply_diff(sections: Sequence[Section], files: Mapping[str, str]) -> dict[str, str]:
    """All files after the diff; raises the PatchError that says why it can't be applied."""
    after = dict(files)
    claimed: set[str] = set()
    for section in sections:
        source, target = _ends(section, files)
        touched = {path for path in (source, target) if path is not None}
        # sections are applied to the files as they were: a second one would undo the first
        if claimed & touched:
            raise Overlap(f"{target or source}: two sections claim this file")
        claimed |= touched
        text = _apply_hunks(section.hunks, "" if source is None else files[source], source or target)
        # a removal quotes the whole file; a remainder means that it was made for another version
        if target is None and text:
            raise NoMatch(f"{source}: it is to be removed, but lines would be left")
        if source is not None and section.moves != "copy":
            del after[source]
        if target is not None:
            after[target] = text
    if after == dict(files):
        raise NoChange("the diff changes nothing")
    return after


def _ends(section: Section, files: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The file that a section reads and the one that it writes, both checked."""
    source, target = section.old, section.new
    for path in (source, target):
        if path is not None:
            check_path(path)
    if source is not None and target is not None and source != target and section.moves is None:
        source = target = target if target in files else source  # `diff -u old new` names one file twice
    if source is not None and source not in files:
        raise UnknownFile(f"{source}: no such file")
    if target is not None and target != source and target in files:
        raise FileExists(f"{target}: there is such a file already")
    return source, target


def check_path(path: str) -> None:
    """Raises UnsafePath unless the path is relative, plain and stays inside the repository."""
    parts = path.split("/")
    if not path or path.startswith("/") or {"", ".", ".."} & set(parts) or re.search(r"[\0-\x1f\\]", path):
        raise UnsafePath(f"{path!r}: not a path inside the repository")
    # hooks and configuration there are run by git itself
    if ".git" in parts:
        raise UnsafePath(f"{path!r}: git's own files are out of bounds")


def _apply_hunks(hunks: Sequence[Hunk], text: str, path: str | None) -> str:
    lines, drift = _split(text), 0
    placed: list[tuple[int, Hunk]] = []
    for hunk in hunks:
        # a hunk without old lines comes after line `start`
        expected = hunk.start - 1 if hunk.old else hunk.start
        # later hunks move along with earlier ones that were found elsewhere
        at = _find(hunk, lines, expected + drift, path)
        drift = at - expected
        placed.append((at, hunk))
    placed.sort(key=lambda spot: spot[0])
    for (i, first), (j, _) in pairwise(placed):
        if j < i + len(first.old):
            raise Overlap(f"{path}: two hunks claim line {j + 1}")
    for at, hunk in reversed(placed):
        lines[at : at + len(hunk.old)] = hunk.new
    if any(not line.endswith("\n") for line in lines[:-1]):
        raise NoMatch(f"{path}: a line without a newline would not be the last")
    return "".join(lines)


def _find(hunk: Hunk, lines: Sequence[str], expected: int, path: str | None) -> int:
    """Where a hunk belongs: at the line it names, else at the only place near it."""
    old = list(hunk.old)
    if not old:
        if not 0 <= expected <= len(lines):
            raise NoMatch(f"{path}: there is no line {expected}")
        return expected
    if expected >= 0 and lines[expected : expected + len(old)] == old:
        return expected
    near = range(max(0, expected - FARTHEST), min(len(lines) - len(old), expected + FARTHEST) + 1)
    # the first line is compared alone first: most places differ there
    found = [i for i in near if lines[i] == old[0] and lines[i : i + len(old)] == old]
    if not found:
        raise NoMatch(
            f"{path}: the lines of the hunk at line {hunk.start} don't stand within {FARTHEST} lines of it"
        )
    if len(found) > 1:
        raise SeveralMatches(
            f"{path}: the hunk at line {hunk.start} matches at lines {found[0] + 1}, {found[1] + 1}"
        )
    return found[0]


def unified_diff(before: Mapping[str, str], after: Mapping[str, str], context: int = 3) -> str:
    """The unified diff of every file that differs, by path, as `git apply` and `patch -p1` read it."""
    parts = [
        _file_diff(path, before.get(path), after.get(path), context)
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]
    return "\n".join(parts)


def _file_diff(path: str, before: str | None, after: str | None, context: int) -> str:
    old, new = _split(before or ""), _split(after or "")
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
