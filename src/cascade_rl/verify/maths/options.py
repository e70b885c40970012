r"""Options of a question: `B`, `(B)` and `\textbf{(B) }12`. A letter is one only where the gold is."""

from __future__ import annotations

import re
from collections.abc import Callable

from cascade_rl.verify.maths.words import unmarked

# options reach from A to K
_LETTER = re.compile(r"(?:[Oo]ption |[Cc]hoice )?\(?([A-K])\)?[.:]?")
# of either case only where brackets or a word mark it
_MARKED = re.compile(r"(?:option |choice )?\(([A-K])\)[.:]?|(?:option |choice )([A-K])", re.IGNORECASE)
_OPTION = re.compile(
    r"(?:[Oo]ption |[Cc]hoice )?(?:\(([A-K])\)|([A-K])[).]|([A-K]): (?![^:]*:)) ?"
    r"(?!or\b|and\b|[,/&])(?!.*\([A-K]\))(\S.*)"
)


_ANY_CASE = re.compile(_LETTER.pattern, re.IGNORECASE)


def same_options(gold: str, given: str, same: Callable[[str, str], bool]) -> bool | None:
    """Whether two tidy texts are one option, or its text; None where neither is one with its text."""
    plain, other = unmarked(gold), unmarked(given)
    ours, theirs = _OPTION.fullmatch(plain), _OPTION.fullmatch(other)
    marked = _MARKED.fullmatch(plain)
    if letter := marked or _LETTER.fullmatch(plain):
        # the reply holds the letter, with its text or without: the letter decides
        found = theirs or (_ANY_CASE if marked else _LETTER).fullmatch(other)
        return None if found is None else _of(letter) == _of(found)
    if ours:
        alone = theirs or _ANY_CASE.fullmatch(other)
        return same(ours[4], given) if alone is None else _of(ours) == _of(alone)
    return True if theirs and same(gold, theirs[4]) else None


def _of(match: re.Match[str]) -> str:
    """The letter, which is the only group that matched besides the text."""
    return next(group for group in match.groups() if group).upper()
