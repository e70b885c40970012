"""Judge code repairs without running them: apply the patch, compare it with the golden one.

A patch is SEARCH/REPLACE edits (`patch_edits`) or a unified diff (`patch_diffs`). The reward is the
execution-free one of the report (arXiv 2512.13607, SWE RL): -1 for a patch that can't be used, 0 for one that
changes nothing, 1 for the golden change, else a similarity: lexical here (`patch_similarity`), or by a judge
model (`patch_questions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cascade_rl.verify.patch_diffs import apply_diff, looks_like_diff, parse_diff, unified_diff
from cascade_rl.verify.patch_edits import (
    SEARCH,
    Edit,
    apply_edits,
    edit_text,
    edits_between,
    parse_edits,
    solution_of,
    solution_text,
)
from cascade_rl.verify.patch_errors import GoldenError, NoChange, PatchError
from cascade_rl.verify.patch_similarity import NEARLY, changed_lines, lexical_similarity

__all__ = ["SEARCH", "Edit", "PatchError", "edit_text", "parse_edits", "solution_text", "unified_diff"]


def apply_patch(text: str, files: Mapping[str, str]) -> dict[str, str]:
    """All files after a patch of either kind; raises the PatchError that says why it can't be applied."""
    text = solution_of(text)
    # a SEARCH line decides: an edit may hold or make a file that looks like a diff
    if looks_like_diff(text) and not any(line.rstrip() == SEARCH for line in text.split("\n")):
        return apply_diff(parse_diff(text), files)
    return apply_edits(parse_edits(text), files)


def as_solution(patch: str, files: Mapping[str, str]) -> str:
    """A patch as a reply holds it: as SEARCH/REPLACE edits where these can say it, else as a fenced diff."""
    after = apply_patch(patch, files)
    # edits can't make or remove files
    if after.keys() != files.keys():
        return f"<solution>\n```diff\n{unified_diff(files, after)}\n```\n</solution>"
    changed = [path for path in files if files[path] != after[path]]
    return solution_text([edit for path in changed for edit in edits_between(path, files[path], after[path])])


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


def similarity(files: Mapping[str, str], after: Mapping[str, str], right: Mapping[str, str]) -> float:
    """How alike two versions of some files are in what they change: 1 for the same, else at most `NEARLY`."""
    if after == right:
        return 1.0
    # the same lines at another place of the file are alike, and not the golden change
    return min(lexical_similarity(changed_lines(files, after), changed_lines(files, right)), NEARLY)


def execution_free_reward(patch: str, golden: str, files: Mapping[str, str], floor: float = 0.5) -> float:
    """The report's reward: -1 unusable, 0 changes nothing, 1 the golden change, else the similarity.

    A similarity under `floor` counts as 0 (the report's better variant has 0.5). Raises GoldenError.
    """
    found = appraise(patch, golden, files)
    if found.after is None:
        return 0.0 if isinstance(found.error, NoChange) else -1.0
    value = similarity(files, found.after, found.right)
    return value if value >= floor else 0.0
