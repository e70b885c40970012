"""Judge code repairs: parse SEARCH/REPLACE edits, apply them, compare them with the golden patch.

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

SEARCH is matched as whole lines against the file as it was, at exactly one place. The reward is the
execution-free one of the report (arXiv 2512.13607, SWE RL), with lexical similarity in place of a judge.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SEARCH, DIVIDER, REPLACE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
LONGEST_BY_CHARACTER = 8_000  # characters of both texts together; longer ones are compared line by line
MOST_PAIRS = 500_000  # equal pairs of elements that difflib may have to walk through: well under a second
NEARLY = 0.99  # the most that a patch earns which is not the golden one


class PatchError(ValueError):
    """The patch can't be used; each subclass is one reason."""


class Unparseable(PatchError):
    """There is no edit, or one is not well-formed."""


class UnknownFile(PatchError):
    """An edit names a file that is not there."""


class NoMatch(PatchError):
    """The SEARCH lines don't stand in the file."""


class SeveralMatches(PatchError):
    """The SEARCH lines stand in the file more than once."""


class Overlap(PatchError):
    """Two edits claim the same lines."""


class NoChange(PatchError):
    """The edits leave every file as it was."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines to find in a file and the lines to put in their place."""

    path: str
    search: tuple[str, ...]
    replace: tuple[str, ...]


def edit_text(edit: Edit) -> str:
    """The edit as a fenced block: what `parse_edits` reads."""
    return "\n".join(["```diff", f"### {edit.path}", SEARCH, *edit.search, DIVIDER, *edit.replace, REPLACE, "```"])


def solution_text(edits: Sequence[Edit]) -> str:
    """Edits as a whole solution."""
    return "\n".join(["<solution>", *map(edit_text, edits), "</solution>"])


def parse_edits(text: str) -> list[Edit]:
    """The edits of a solution, in order; raises Unparseable with the reason."""
    if "<solution>" in text:
        text = text.rpartition("<solution>")[2].partition("</solution>")[0]
    lines = text.replace("\r\n", "\n").split("\n")
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


def _place(edit: Edit, lines: Sequence[str]) -> int:
    found = []
    for i in range(len(lines) - len(edit.search) + 1):
        if lines[i] == edit.search[0] and tuple(lines[i : i + len(edit.search)]) == edit.search:
            found.append(i)
            if len(found) > 1:
                raise SeveralMatches(f"{edit.path}: SEARCH matches at lines {found[0] + 1} and {found[1] + 1}")
    if not found:
        raise NoMatch(f"{edit.path}: SEARCH does not stand in the file")
    return found[0]


def apply_edits(edits: Sequence[Edit], files: Mapping[str, str]) -> dict[str, str]:
    """All files after the edits; raises the PatchError that says why they can't be applied."""
    placed: dict[str, list[tuple[int, Edit]]] = {}
    for edit in edits:
        if edit.path not in files:
            raise UnknownFile(f"{edit.path}: no such file")
        placed.setdefault(edit.path, []).append((_place(edit, files[edit.path].split("\n")), edit))
    after = dict(files)
    for path, spots in placed.items():
        spots.sort(key=lambda spot: spot[0])
        for (i, first), (j, _) in pairwise(spots):
            if j < i + len(first.search):
                raise Overlap(f"{path}: two edits claim line {j + 1}")
        lines = files[path].split("\n")
        for i, edit in reversed(spots):
            lines[i : i + len(edit.search)] = edit.replace
        after[path] = "\n".join(lines)
    if after == dict(files):
        raise NoChange("the edits change nothing")
    return after


def apply_patch(text: str, files: Mapping[str, str]) -> dict[str, str]:
    """Parse and apply in one go."""
    return apply_edits(parse_edits(text), files)


def _pairs(a: Sequence[str], b: Sequence[str]) -> int:
    """How many pairs of equal elements there are: the cost of one pass of difflib."""
    count = Counter(b)
    return sum(n * count[element] for element, n in Counter(a).items())


def unified_diff(before: Mapping[str, str], after: Mapping[str, str], context: int = 3) -> str:
    """The unified diff of every file that differs, by path; a file too repetitive to align is replaced whole."""
    out: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path, "").split("\n"), after.get(path, "").split("\n")
        if old == new:
            continue
        if _pairs(old, new) <= MOST_PAIRS:
            out += difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", n=context, lineterm="")
        else:
            out += [f"--- a/{path}", f"+++ b/{path}", f"@@ -1,{len(old)} +1,{len(new)} @@"]
            out += ["-" + line for line in old] + ["+" + line for line in new]
    return "\n".join(out)


def changed_lines(diff: str) -> str:
    """The removed and added lines of a unified diff, each file's under its name; no context, no positions."""
    kept, lines = [], diff.split("\n")
    header = False
    for i, line in enumerate(lines):
        if line.startswith("--- a/") and i + 1 < len(lines) and lines[i + 1] == "+++ b/" + line[6:]:
            kept.append(line[6:])
            header = True
        elif header:
            header = False  # the second half of a file's header
        elif line.startswith(("-", "+")):
            kept.append(line)
    return "\n".join(kept)


def lexical_similarity(diff: str, golden: str) -> float:
    """How alike the changed lines of two unified diffs are, in [0, 1], by difflib.

    By character up to `LONGEST_BY_CHARACTER`, by line above; texts made to keep difflib busy (the same few
    elements over and over) are compared as bags of lines, which is an upper bound.
    """
    a, b = changed_lines(diff), changed_lines(golden)
    if a == b:
        return 1.0
    if len(a) + len(b) <= LONGEST_BY_CHARACTER and _pairs(a, b) <= MOST_PAIRS:
        return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()
    lines = difflib.SequenceMatcher(None, a.split("\n"), b.split("\n"))
    return lines.ratio() if _pairs(lines.a, lines.b) <= MOST_PAIRS else lines.quick_ratio()


def execution_free_reward(patch: str, golden: str, files: Mapping[str, str], floor: float = 0.5) -> float:
    """The report's reward: -1 unusable, 0 changes nothing, 1 the golden change, else the similarity.

    A similarity under `floor` counts as 0 (the report's better variant has 0.5; 0 switches it off). The same
    change at another place of the file is not the golden one, and earns `NEARLY` at most.
    """
    right = apply_patch(golden, files)
    try:
        given = apply_patch(patch, files)
    except NoChange:
        return 0.0
    except PatchError:
        return -1.0
    if given == right:
        return 1.0
    similarity = min(lexical_similarity(unified_diff(files, given), unified_diff(files, right)), NEARLY)
    return similarity if similarity >= floor else 0.0
