"""The patches of `apply_patch` (V4A, "*** Begin Patch"), read as sections of a diff.

`*** Update File:` with hunks of signed lines behind `@@` and perhaps a line above them, `*** Move to:`,
`*** Add File:`, `*** Delete File:`, `*** End of File`. A hunk has no numbers: its old lines must stand at one
place of the file, or at the first behind the line that `@@` names (codex, whose format it is, takes the first
of several and forgives blanks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cascade_rl.verify.patches.diffs import Section, read_free
from cascade_rl.verify.patches.errors import Unparseable

BEGIN, END = "*** Begin Patch", "*** End Patch"
UPDATE, ADD, DELETE, MOVE = "*** Update File: ", "*** Add File: ", "*** Delete File: ", "*** Move to: "
END_OF_FILE = "*** End of File"


def read_envelope(lines: Sequence[str], i: int) -> tuple[list[Section], int]:
    """The sections from the line behind `*** Begin Patch` on, and the index of the line behind the end."""
    sections: list[Section] = []
    while i < len(lines):
        line = lines[i].rstrip()
        if line == END:
            return sections, i + 1
        if line.startswith(UPDATE):
            section, i = _read_update(lines, i)
            sections.append(section)
        elif line.startswith(ADD):
            section, i = _read_added(lines, i)
            sections.append(section)
        elif line.startswith(DELETE):
            sections.append(Section(line.removeprefix(DELETE).strip(), None, lettered=False, whole=True))
            i += 1
        elif line:
            raise Unparseable(f"line {i + 1}: want a line that names a file, or {END!r}")
        else:
            i += 1
    raise Unparseable(f"no {END!r}: the patch was cut off")


def _read_update(lines: Sequence[str], i: int) -> tuple[Section, int]:
    path = lines[i].rstrip().removeprefix(UPDATE).strip()
    sent = lines[i].endswith("\r")
    section = Section(path, path, lettered=False)
    i += 1
    if i < len(lines) and lines[i].startswith(MOVE):
        section.new, section.moves = lines[i].rstrip().removeprefix(MOVE).strip(), "rename"
        i += 1
    anchor = ""
    while i < len(lines) and (not lines[i].startswith("***") or lines[i].rstrip() == END_OF_FILE):
        line = lines[i].rstrip()
        if line.startswith("@@"):
            # of several above each other the last is nearest
            anchor, i = line.strip("@").strip() or anchor, i + 1
        elif not line:
            i += 1
        elif line == END_OF_FILE and section.hunks:
            section.hunks[-1] = replace(section.hunks[-1], ends=True)
            i += 1
        else:
            start = i
            hunk, i = read_free(lines, i, anchor, sent)
            if i == start:
                raise Unparseable(f"line {i + 1}: no line of a hunk")
            section.hunks.append(hunk)
            anchor = ""
    if not section.hunks and section.moves is None:
        raise Unparseable(f"{path}: nothing is to be updated")
    return section, i


def _read_added(lines: Sequence[str], i: int) -> tuple[Section, int]:
    path = lines[i].rstrip().removeprefix(ADD).strip()
    end = i + 1
    while end < len(lines) and lines[end].startswith("+"):
        end += 1
    section = Section(None, path, lettered=False)
    if end > i + 1:
        hunk, _ = read_free(lines[i + 1 : end], 0, "", lines[i].endswith("\r"))
        section.hunks.append(replace(hunk, start=0))
    return section, end
