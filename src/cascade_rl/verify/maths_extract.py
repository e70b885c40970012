r"""The final answer of a maths reply: the last box, or, where that is allowed, a bare statement at the end.

Only what stands last counts, so a reply can't hedge with several answers. Adjacent boxes joined by nothing
but a comma or `and` are one list, too, for golds that are lists. A stray number in a sentence is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_TAIL = 4000  # characters at the end of a reply that are searched for an answer without a box
WIDEST_GAP = 40  # characters between boxes that make one list
MOST_BOXES = 20  # of such a list

# an escaped brace is text; `\\boxed` after a line break of LaTeX is none, so `\\.` is taken first
_BRACES = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*(\{?)|\\.|[{}]", re.DOTALL)
_BETWEEN = re.compile(
    r"[\s,;$]*(?:\\?\\[()\[\]]|\\quad|\\text\{ ?(?:and|or) ?\}|and|or|\\,|\\;)?[\s,;$]*(?:and |or )?"
)
# atomic, so that nothing is cut short in order to match; not before a brace, which may lack its partner
_UNBRACED = re.compile(
    r"((?>-?(?:\\[dt]?frac\s*[0-9]\s*[0-9]|[0-9](?:[0-9.,/]*[0-9])?|\\[A-Za-z]+|[A-Za-z](?![A-Za-z]))))"
    r"(?! ?\})"
)


@dataclass(frozen=True, slots=True)
class Boxes:
    """The content of the last box, and of all boxes that directly precede it as one list."""

    last: str
    joined: str


def boxes(text: str) -> Boxes | None:
    r"""The last complete `\boxed{}` or `\fbox{}`, braces matched; without any, the last `\boxed 5`."""
    found: tuple[int, int] | None = None
    loose: str | None = None
    opened: list[
        tuple[int, int] | None
    ] = []  # braces: of a box its place and its content's, of others nothing
    spans: list[tuple[int, int, tuple[int, int]]] = []  # of each box its place and that of its content
    for match in _BRACES.finditer(text):
        token = match.group()
        if token == "}":
            start = opened.pop() if opened else None
            if start is not None:
                found = (start[1], match.start())
                # boxes inside this one go: what counts is the whole
                spans = [s for s in spans if s[1] < start[0]] + [(start[0], match.end(), found)]
                del spans[:-MOST_BOXES]  # so a reply made of boxes takes linear time
        elif token == "{":
            opened.append(None)
        elif match[1]:
            opened.append((match.start(), match.end()))
        elif token.startswith(("\\boxed", "\\fbox")) and token[-1].isspace():
            bare = _UNBRACED.match(text, match.end())
            loose = bare[1] if bare else loose
    if found is None:
        return Boxes(loose, loose) if loose else None
    parts = [spans[-1][2]]
    # from the last box backwards, until something else than a comma or a word of joining stands between
    for before, after in zip(reversed(spans[:-1]), reversed(spans), strict=False):
        if after[0] - before[1] > WIDEST_GAP or not _BETWEEN.fullmatch(text, before[1], after[0]):
            break
        parts.append(before[2])
    last = text[slice(*found)]
    return Boxes(last, ", ".join(text[slice(*part)] for part in reversed(parts)) if len(parts) > 1 else last)


def last_boxed(text: str) -> str | None:
    """The content of the last box, or None."""
    found = boxes(text)
    return found.last if found else None


_STATEMENT = re.compile(
    r"(?:(?:final |correct |right )?(?:answer|result|solution)(?: to (?:the|this) (?:problem|question))?"
    r"(?: is|s are| are|:| =|\*\*:|:\*\*)|####)\s*:?\s*",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    r"(?:therefore|thus|hence|so)?,?\s*(?:\*\*(?P<bold>[^*\n]+)\*\*|\$\$?(?P<dollar>[^$\n]+)\$\$?"
    r"|\\\[(?P<display>(?:[^\\\n]|\\(?!\]))+)\\\]|\\\((?P<inline>(?:[^\\\n]|\\(?!\)))+)\\\)"
    r"|(?P<plain>[-+]?[0-9][0-9.,/]*%?))\s*\.?",
    re.IGNORECASE,
)


def bare_answer(text: str) -> str | None:
    """What the end of a reply states without a box: after `answer is`, or as its whole last line."""
    tail = text[-LONGEST_TAIL:].rstrip()
    statements = list(_STATEMENT.finditer(tail))
    if statements:
        rest = tail[statements[-1].end() :].strip()
        line = rest.split("\n", 1)[0] if not rest.startswith("\\[") else rest.partition("\\]")[0]
        return _sentence(line) or None
    lines = [line.strip() for line in tail.rsplit("\n", 5) if line.strip()]
    whole = _WHOLE.fullmatch(lines[-1]) if lines else None
    return next(filter(None, whole.groups())) if whole else None


def _sentence(line: str) -> str:
    """A line up to the full stop that ends its first sentence, without emphasis."""
    line = re.split(r"\.\s+(?=[A-Z])|\.$|(?<=\S)\s+(?:because|since|as required)\b", line.strip().strip("*"))[
        0
    ]
    return line.strip().strip("*").strip()
