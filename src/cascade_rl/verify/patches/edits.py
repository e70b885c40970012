"""SEARCH/REPLACE edits: write them, place them, and derive them from two versions of a file.

A repair holds one or more edits, by custom each in its own fenced block that names the file first, inside
`<solution>...</solution>` (the tags may be missing; `blocks` reads other shapes as well):

    ```diff
    ### shapes.py
    <<<<<<< SEARCH
        return w + h
    =======
        return w * h
    >>>>>>> REPLACE
    ```

SEARCH is matched as whole lines against the file as it was, at exactly one place (Agentless and SWE-RL take
the first of several, and match the end of a line in its middle; aider forgives indentation and fills in
`...`). How lines end is the file's affair. Only a diff can make or remove a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from cascade_rl.verify.patches.blocks import DIVIDER, REPLACE, SEARCH, Edit
from cascade_rl.verify.patches.errors import NoChange, NoMatch, PatchError, SeveralMatches, UnknownFile
from cascade_rl.verify.patches.matching import opcodes
from cascade_rl.verify.patches.text import Page, Pages, Splice, spliced


def edit_text(edit: Edit) -> str:
    """The edit as a fenced block: what `patches.parse_edits` reads."""
    return "\n".join(
        ["```diff", f"### {edit.path}", SEARCH, *edit.search, DIVIDER, *edit.replace, REPLACE, "```"]
    )


def solution_text(edits: Sequence[Edit]) -> str:
    """Edits as a whole solution."""
    return "\n".join(["<solution>", *map(edit_text, edits), "</solution>"])


def edit_splices(edits: Sequence[Edit], pages: Pages) -> dict[str, list[Splice]]:
    """Where each edit belongs, by path; raises the PatchError that says why one belongs nowhere."""
    found: dict[str, list[Splice]] = {}
    for edit in edits:
        if edit.path not in pages.files:
            raise UnknownFile(f"{edit.path}: no such file")
        page = pages[edit.path]
        at, count = _place(edit, page), len(edit.search)
        new = page.refitted(at, count, edit.replace)
        found.setdefault(edit.path, []).append(Splice(at, count, tuple(new), kept=True))
    return found


def _place(edit: Edit, page: Page) -> int:
    places = page.places(edit.search)
    first = next(places, None)
    if first is None:
        raise NoMatch(f"{edit.path}: SEARCH does not stand in the file")
    second = next(places, None)
    if second is not None:
        raise SeveralMatches(f"{edit.path}: SEARCH matches at lines {first + 1} and {second + 1}")
    return first


def apply_edits(edits: Sequence[Edit], files: Mapping[str, str]) -> dict[str, str]:
    """All files after the edits; raises the PatchError that says why they can't be applied."""
    pages = Pages(files)
    placed = edit_splices(edits, pages)
    after = {**files, **{path: spliced(pages[path], splices, path) for path, splices in placed.items()}}
    if after == dict(files):
        raise NoChange("the edits change nothing")
    return after


def edits_between(path: str, before: str, after: str) -> list[Edit]:
    """The fewest lines of SEARCH that turn one version of a file into the other, each at one place only.

    Where edits can't say it (lines that end otherwise than those beside them), what they say comes near.
    """
    page = Page(before)
    old, new = page.bare, Page(after).bare
    spans = [[i, k, j, m] for tag, i, k, j, m in opcodes(old, new) if tag != "equal"]
    merged: list[list[int]] = []
    for span in spans:
        _widen(span, page)
        while merged and span[0] < merged[-1][1]:  # it grew into the one before: they are one edit
            previous = merged.pop()
            span = [previous[0], span[1], previous[2], span[3]]
        merged.append(span)
    edits = [Edit(path, tuple(old[i:k]), tuple(new[j:m])) for i, k, j, m in merged]
    try:
        if not edits or apply_edits(edits, {path: before})[path] == after:
            return edits
    except PatchError:
        pass
    return [Edit(path, tuple(old), tuple(new))]


def _widen(span: list[int], page: Page) -> None:
    """Grow a span of lines, upward and downward by turns, until it stands in the file once only."""
    up, old = True, page.bare
    # an insertion has no old line, and blank ones alone say no place: it takes a neighbour into SEARCH
    while (
        not any(line.strip() for line in old[span[0] : span[1]])
        or len(list(islice(page.places(old[span[0] : span[1]]), 2))) > 1
    ):
        can_rise, can_fall = span[0] > 0, span[1] < len(old)
        if not can_rise and not can_fall:
            return
        if (up and can_rise) or not can_fall:
            span[0], span[2] = span[0] - 1, span[2] - 1
        else:
            span[1], span[3] = span[1] + 1, span[3] + 1
        up = not up
