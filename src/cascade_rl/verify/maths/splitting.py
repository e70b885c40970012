"""Parts of a tidy answer: what stands outside of all brackets decides."""

from __future__ import annotations

import re

from cascade_rl.verify.maths.characters import ENDTEXT, TEXT
from cascade_rl.verify.maths.numbers import rational

_AND = rf"[{TEXT} ] ?(?:and|or)(?: ?{ENDTEXT}| )"
# these part a list everywhere, a plain comma only what is not a number with thousands
_STRONG = re.compile(rf",? ?{_AND} ?|, |; ?|,$")
COMMA = re.compile(r", ?")
_SEMICOLON = re.compile("; ?")


def _depths(text: str) -> list[int]:
    """For each character the number of brackets that it stands in; a bracket stands outside of itself."""
    depth, depths = 0, []
    environments = "\\begin" in text
    for i, char in enumerate(text):
        if char in ")}]⟩":
            depth = max(0, depth - 1)  # a bracket too many is passed over
        elif environments and char == "\\" and text.startswith("\\end{", i):
            depth = max(0, depth - 1)
        depths.append(depth)
        if char in "({[⟨" or (environments and char == "\\" and text.startswith("\\begin{", i)):
            depth += 1
    return depths


def split(text: str, pattern: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """The parts between matches of `pattern` outside of brackets, and the matches."""
    found = list(pattern.finditer(text))
    if not found:
        return [text.strip()], []
    depths, parts, signs, at = _depths(text), [], [], 0
    for match in found:
        if depths[match.start()] == 0:
            parts.append(text[at : match.start()].strip())
            signs.append(match.group())
            at = match.end()
    return [*parts, text[at:].strip()], signs


def listed(text: str) -> tuple[list[str], list[str]]:
    """Items, split at `or`, `and`, semicolons and commas, but not within `1,234`; and what joins them.

    A join is `or`, `and`, a semicolon or a comma.
    """
    parts, signs = split(text, _STRONG)
    items: list[str] = []
    joins: list[str] = []
    for part, sign in zip(parts, ["", *signs], strict=True):
        inner = [part] if rational(part) is not None else [p for p in split(part, COMMA)[0] if p]
        if inner and items:
            joins.append(next((join for join in ("or", "and", ";") if join in sign), ","))
        items += inner
        joins += [","] * (len(inner) - 1)
    return items, joins


def row_items(text: str) -> list[str]:
    """What stands in a bracket, parted by semicolons or else by commas."""
    parts = split(text, _SEMICOLON)[0]
    return parts if len(parts) > 1 and all(parts) else [p for p in split(text, COMMA)[0] if p]
