"""Judge code repairs without running them: apply the patch, compare it with the golden one.

A patch is what `reading` finds in a text: SEARCH/REPLACE edits, unified diffs, patches of
`apply_patch`, together if they claim different lines. The reward is the execution-free one of the report
(arXiv 2512.13607, SWE RL): -1 for a patch that can't be used, 0 for one that changes nothing, 1 for the
golden change, else a similarity: lexical here (`similarity`), or by a judge model (`questions`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cascade_rl.verify.patches.blocks import SEARCH, Edit
from cascade_rl.verify.patches.diffs import Section, unified_diff
from cascade_rl.verify.patches.edits import edit_splices, edit_text, edits_between, solution_text
from cascade_rl.verify.patches.errors import (
    FileExists,
    GoldenError,
    NoChange,
    Overlap,
    PatchError,
    Unparseable,
)
from cascade_rl.verify.patches.hunks import changed_by
from cascade_rl.verify.patches.reading import read_patch
from cascade_rl.verify.patches.similarity import differing
from cascade_rl.verify.patches.similarity import likeness as similarity
from cascade_rl.verify.patches.text import Pages, spliced

__all__ = [
    "SEARCH", "Edit", "PatchError", "differing", "edit_text", "parse_edits", "similarity", "solution_text",
    "unified_diff",
]  # fmt: skip

Parts = Sequence[Edit | Section]


def parse_edits(text: str, files: Mapping[str, str] | None = None) -> list[Edit]:
    """The SEARCH/REPLACE edits of a text, in order; raises Unparseable.

    `files` decide what the text leaves open: which line names the file, which one divides the edit.
    """
    edits = [part for part in read_patch(text, Pages(files or {})) if isinstance(part, Edit)]
    if not edits:
        raise Unparseable("no edit")
    return edits


def parse_diff(text: str) -> list[Section]:
    """The sections of a diff, in order; text before and between them is passed over. Raises Unparseable."""
    sections = [part for part in read_patch(text, Pages({})) if isinstance(part, Section)]
    if not sections:
        raise Unparseable("no section of a diff")
    return sections


def apply_patch(text: str, files: Mapping[str, str]) -> dict[str, str]:
    """All files after a patch of any kind; raises the PatchError that says why it can't be applied."""
    if re.search(r"[\ud800-\udfff]", text):
        raise Unparseable("half of a surrogate pair: no file can hold it")
    pages = Pages(files)
    return _applied(read_patch(text, pages), pages)


def apply_diff(sections: Sequence[Section], files: Mapping[str, str]) -> dict[str, str]:
    """All files after the sections of a diff; raises the PatchError that says why they can't be applied."""
    return _applied(sections, Pages(files))


def _applied(parts: Parts, pages: Pages) -> dict[str, str]:
    """All files after all changes, each made to the files as they were."""
    placed, whole = changed_by([part for part in parts if isinstance(part, Section)], pages)
    for path, splices in edit_splices([part for part in parts if isinstance(part, Edit)], pages).items():
        if path in whole:
            raise Overlap(f"{path}: an edit and a section of a diff claim this file")
        placed[path] = [*placed.get(path, []), *splices]
    after = {**pages.files, **{path: spliced(pages[path], changes, path) for path, changes in placed.items()}}
    for path, text in whole.items():
        if text is None:
            after.pop(path, None)
    made = {path: text for path, text in whole.items() if text is not None}
    after |= made
    _check_folders(made, after)
    if after == dict(pages.files):
        raise NoChange("the patch changes nothing")
    return after


def _check_folders(made: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raises FileExists where a new file would be a folder of others, or lie in a file."""
    if not made:
        return
    folders = {path[: i.start()] for path in after for i in re.finditer("/", path)}
    for path in sorted(folders & after.keys()):
        raise FileExists(f"{path}: it can't be a file and a folder")


def as_solution(patch: str, files: Mapping[str, str]) -> str:
    """A patch as a reply holds it: as SEARCH/REPLACE edits where these can say it, else as a fenced diff."""
    after = apply_patch(patch, files)
    changed = [path for path in files if files[path] != after.get(path)]
    # edits can't make or remove files
    if after.keys() == files.keys():
        edits = [edit for path in changed for edit in edits_between(path, files[path], after[path])]
        text = solution_text(edits)
        # nor say all of a file's text: lines of marks, blank lines alone, ends of lines that change
        if _gives(text, files, after):
            return text
    return f"<solution>\n```diff\n{unified_diff(files, after)}\n```\n</solution>"


def _gives(text: str, files: Mapping[str, str], after: Mapping[str, str]) -> bool:
    try:
        return apply_patch(text, files) == after
    except PatchError:
        return False


@dataclass(frozen=True, slots=True)
class Appraisal:
    """A patch beside the golden one.

    after        the files after the patch; None when `error` says why it can't be applied
    right        the files after the golden patch
    """

    right: dict[str, str]
    after: dict[str, str] | None = None
    error: PatchError | None = None


def appraise(patch: str, golden: str, files: Mapping[str, str]) -> Appraisal:
    """Apply both patches and compare; raises GoldenError when the golden one can't be applied."""
    try:
        right = apply_patch(golden, files)
    except PatchError as error:
        raise GoldenError(f"the golden patch can't be applied: {type(error).__name__}: {error}") from None
    try:
        after = apply_patch(patch, files)
    except PatchError as error:
        return Appraisal(right, error=error)
    return Appraisal(right, after)


def execution_free_reward(patch: str, golden: str, files: Mapping[str, str], floor: float = 0.5) -> float:
    """The report's reward: -1 unusable, 0 changes nothing, 1 the golden change, else the similarity.

    A similarity under `floor` counts as 0 (the report's better variant has 0.5). Raises GoldenError.
    """
    found = appraise(patch, golden, files)
    if found.after is None:
        return 0.0 if isinstance(found.error, NoChange) else -1.0
    value = similarity(files, found.after, found.right)
    return value if value >= floor else 0.0
