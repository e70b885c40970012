r"""Which letter a reply to a multiple-choice question states: in a box, after `answer`, or alone at its end.

The last statement wins, and it must name exactly one letter that is an option; a box without a letter is no
statement. Articles and pronouns aren't letters: `a` counts only where nothing but punctuation follows, and
`A` and `I` not before a word, unless it is one like `because`.
"""

from __future__ import annotations

import re
from string import ascii_uppercase

FEWEST_KNOWN = 10  # A to J, where the number of choices isn't given
LONGEST_TAIL = 8000  # characters at the end of a reply that are searched

# emphasis, dollars, brackets and LaTeX's fonts may stand around a letter
_OPEN = (
    r"(?:[\s*_$:=(\[{]|\\boxed|\\fbox|\\text(?:bf|rm)?|\\math(?:bf|rm)|\\\(|\\\[|option\b|choice\b|letter\b)*"
)
_LETTER = rf"{_OPEN}(?P<letter>[A-Za-z])(?![A-Za-z0-9'’^_=+]|\\(?![)\]]))"
# what follows the letter, seen and not taken, so that the next statement may begin in it
_REST = r"(?=(?P<rest>[^\n]{0,60}))"
_BOX = re.compile(rf"\\f?box(?:ed)?\s*\{{{_LETTER}(?=(?P<rest>[^{{}}\n]{{0,60}}))", re.IGNORECASE)
_STATED = re.compile(
    rf"(?:\banswers?\b|\bcorrect (?:choice|option)\b|\bbest (?:choice|option)\b)"
    rf"(?:\s*(?:is|would be|must be|:|=|->|→))+"
    rf"{_LETTER}{_REST}",
    re.IGNORECASE,
)
_CHOSEN = re.compile(
    rf"\b(?:i (?:choose|pick|select)|choose|go with|select)\s+{_LETTER}{_REST}", re.IGNORECASE
)
_NAMED = re.compile(
    r"(?:\b(?i:option|choice|answer) \(?|(?:^|[.!?]\s+|\n)\(?)"
    r"(?P<letter>[A-Z])\)? is (?:the )?(?:correct|right|best)"
    r"(?P<rest>)"
)
_ALONE = re.compile(r"[\s*_$(\[{]*(?P<letter>[A-Za-z])[\s*_$)\]}.:]*(?P<rest>)")
_LISTED = re.compile(r"[\s*_]*(?:\((?P<bracketed>[A-Za-z])\)|(?P<letter>[A-Z])[.):](?=\s))(?P<rest>.*)")
# "A or B", "A, C": two letters are no answer
_SECOND = re.compile(
    r"[\s()*\]}$.]*(?:,|/|&|and|or)\s*(?:option |choice )?[\s(*\[$]*([A-Za-z])(?![A-Za-z'’])"
)
_REASON = re.compile(
    r"\s+(?:because|since|as|for|is|and|but|which|so|due|by|with|in|on|from|given|here|there)\b"
)


def _one(match: re.Match[str], options: str) -> str | None:
    """The option that a statement names; empty text if it names none or two, None if it is an article."""
    letter, rest = match["letter"], match["rest"]
    if letter in "aAI" or letter.islower():
        word = re.match(r"\s+[a-z]", rest)
        if (word and not _REASON.match(rest)) or (letter.islower() and re.match(r"\s+\w", rest)):
            return None
    second = _SECOND.match(rest)
    if second and second[1].upper() in options and second[1].isupper() == letter.isupper():
        return "" if second[1].upper() != letter.upper() else letter.upper()
    return letter.upper() if letter.upper() in options else ""


def options(choices: int | None, gold: str = "") -> str:
    """The letters that may be answered."""
    count = choices or max(FEWEST_KNOWN, ascii_uppercase.find(gold.upper()) + 1)
    return ascii_uppercase[:count]


def stated(text: str, letters: str) -> str | None:
    """The one of `letters` that the reply states last, or None."""
    tail = text[-LONGEST_TAIL:]
    found = [
        (m.start("letter"), _one(m, letters))
        for p in (_BOX, _STATED, _CHOSEN, _NAMED)
        for m in p.finditer(tail)
    ]
    statements = [(at, letter) for at, letter in found if letter is not None]
    if statements:
        # the last one by place: a reply may weigh other options before
        return max(statements)[1] or None
    lines = [line for line in tail.split("\n") if line.strip()]
    if not lines:
        return None
    if alone := _ALONE.fullmatch(lines[-1]):
        return _one(alone, letters) or None
    listed = [match for line in lines if (match := _LISTED.match(line))]
    # a list of all options is the question once more
    if len(listed) == 1 and (len(lines) == 1 or listed[0].string is lines[-1]):
        letter = (listed[0]["bracketed"] or listed[0]["letter"]).upper()
        return letter if letter in letters and not _SECOND.match(listed[0]["rest"]) else None
    return None
