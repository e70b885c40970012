"""SEARCH/REPLACE edits: read them, write them, apply them, and derive them from two versions of a file.

A repair holds one or more edits, each in its own fenced block that names the file first, inside
`<solution>...</solution>` (the tags may be missing):

    ```diff
    ### shapes.py
    <<<<<<< SEARCH
        return w + h
    =======
        return w * h
    >>>>>>> REPLACE
    ```

SEARCH is matched as whole lines against the file as it was, at exactly one place (Agentless and SWE-RL take
the first of several, and match the end of a line in its middle). Only a diff can make or remove a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from cascade_rl.verify.patch_errors import (
    NoChange,
    NoMatch,
    Overlap,
    SeveralMatches,
    UnknownFile,
    Unparseable,
)
from cascade_rl.verify.patch_matching import opcodes

# conflict markers, as Agentless and SWE-RL ask for them
SEARCH, DIVIDER, REPLACE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines to find in a file and the lines to put in their place."""

    path: str
    search: tuple[str, ...]
    replace: tuple[str, ...]


def edit_text(edit: Edit) -> str:
    """The edit as a fenced block: what `parse_edits` reads."""
    return "\n".join(
        ["```diff", f"### {edit.path}", SEARCH, *edit.search, DIVIDER, *edit.replace, REPLACE, "```"]
    )


def solution_text(edits: Sequence[Edit]) -> str:
    """Edits as a whole solution."""
    return "\n".join(["<solution>", *map(edit_text, edits), "</solution>"])


def solution_of(text: str) -> str:
    """What the last solution tags enclose; all of the text when there are none."""
    # the last one, so that a draft within the reasoning of an answer doesn't count
    if "<solution>" in text:
        text = text.rpartition("<solution>")[2].partition("</solution>")[0]
    return text


def parse_edits(text: str) -> list[Edit]:
    """The edits of a solution, in order; raises Unparseable with the reason."""
    lines = solution_of(text).replace("\r\n", "\n").split("\n")
    edits, i = [], 0
    while i < len(lines):
        if lines[i].startswith("```"):
            edit, i = _read_block(lines, i + 1)
            edits.append(edit)
        elif lines[i].rstrip() in (SEARCH, REPLACE):
            raise Unparseable(f"line {i + 1}: an edit outside a fenced block")
        i += 1
    if not edits:
        raise Unparseable("no fenced block with an edit")
    return edits


def _read_block(lines: Sequence[str], start: int) -> tuple[Edit, int]:
    """The edit whose block begins at `start`, and the index of the line that closes its fence."""

    def until(mark: str, i: int) -> int:
        for j in range(i, len(lines)):
            if lines[j].rstrip() == mark:
                return j
            # a second marker before the one that is due: an edit lacks its end
            if lines[j].rstrip() in (SEARCH, REPLACE):
                break
        raise Unparseable(f"line {i + 1}: no {mark!r} where one is due")

    path = re.sub(r"^#+\s*", "", lines[start].strip()) if start < len(lines) else ""
    if not path or path in (SEARCH, "```"):
        raise Unparseable(f"line {start + 1}: the block does not name its file first")
    search = until(SEARCH, start + 1)
    if any(line.strip() for line in lines[start + 1 : search]):
        raise Unparseable(f"line {start + 2}: text between the file name and {SEARCH!r}")
    divider = until(DIVIDER, search + 1)
    end = until(REPLACE, divider + 1)
    if divider == search + 1:
        raise Unparseable(f"line {search + 1}: SEARCH is empty")
    if end + 1 >= len(lines) or lines[end + 1].rstrip() != "```":
        raise Unparseable(f"line {end + 1}: one block holds one edit, and its fence must close")
    return Edit(path, tuple(lines[search + 1 : divider]), tuple(lines[divider + 1 : end])), end + 1


def _places(search: Sequence[str], text: str) -> Iterator[int]:
    """Indices of the lines at which `search` stands in a text as whole lines, in linear time for each."""
    # newlines at both ends, so that only whole lines match
    needle, hay = "\n".join(("", *search, "")), f"\n{text}\n"
    at = hay.find(needle)
    while at >= 0:
        yield hay.count("\n", 0, at)
        # overlapping places count, too: both would be meant
        at = hay.find(needle, at + 1)


def _place(edit: Edit, text: str) -> int:
    places = _places(edit.search, text)
    first = next(places, None)
    if first is None:
        raise NoMatch(f"{edit.path}: SEARCH does not stand in the file")
    second = next(places, None)
    if second is not None:
        raise SeveralMatches(f"{edit.path}: SEARCH matches at lines {first + 1} and {second + 1}")
    return first


def apply_edits(edits: Sequence[Edit], files: Mapping[str, str]) -> dict[str, str]:
    """All files after the edits; raises the PatchError that says why they can't be applied."""
    placed: dict[str, list[tuple[int, Edit]]] = {}
    for edit in edits:
        if edit.path not in files:
            raise UnknownFile(f"{edit.path}: no such file")
        placed.setdefault(edit.path, []).append((_place(edit, files[edit.path]), edit))
    after = dict(files)
    for path, spots in placed.items():
        spots.sort(key=lambda spot: spot[0])
        for (i, first), (j, _) in pairwise(spots):
            if j < i + len(first.search):
                raise Overlap(f"{path}: two edits claim line {j + 1}")
        lines = files[path].split("\n")
        # from the end, so that the places before stay right
        for i, edit in reversed(spots):
            lines[i : i + len(edit.search)] = edit.replace
        after[path] = "\n".join(lines)
    if after == dict(files):
        raise NoChange("the edits change nothing")
    return after


def edits_between(path: str, before: str, after: str) -> list[Edit]:
    """The fewest lines of SEARCH that turn one version of a file into the other, each at one place only."""
    old, new = before.split("\n"), after.split("\n")
    spans = [[i, k, j, m] for tag, i, k, j, m in opcodes(old, new) if tag != "equal"]
    merged: list[list[int]] = []
    for span in spans:
        _widen(span, old, before)
        while merged and span[0] < merged[-1][1]:  # it grew into the one before: they are one edit
            previous = merged.pop()
            span = [previous[0], span[1], previous[2], span[3]]
        merged.append(span)
    return _without_overlap(
        [Edit(path, tuple(old[i:k]), tuple(new[j:m])) for i, k, j, m in merged], path, before, after
    )


def _widen(span: list[int], old: Sequence[str], before: str) -> None:
    """Grow a span of lines, upward and downward by turns, until it stands in the file once only."""
    up = True
    # an insertion has no old line: it takes a neighbour into SEARCH
    while span[0] == span[1] or len(list(islice(_places(old[span[0] : span[1]], before), 2))) > 1:
        can_rise, can_fall = span[0] > 0, span[1] < len(old)
        if (up and can_rise) or not can_fall:
            span[0], span[2] = span[0] - 1, span[2] - 1
        else:
            span[1], span[3] = span[1] + 1, span[3] + 1
        up = not up


def _without_overlap(edits: list[Edit], path: str, before: str, after: str) -> list[Edit]:
    """The edits if they give what they should, else the file as one edit."""
    if before == after:
        return []
    try:
        if apply_edits(edits, {path: before})[path] == after:
            return edits
    except (Overlap, NoMatch, SeveralMatches):
        pass
    return [Edit(path, tuple(before.split("\n")), tuple(after.split("\n")))]
