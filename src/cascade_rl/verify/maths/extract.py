r"""The final answer of a maths reply in boxes.

Only what stands last counts, so a reply can't hedge with several answers. Boxes with nothing between them but
signs, spacing and a joining word are one list, which answers golds that are lists, and no gold that is one
value. What stands in no box is left to `statements`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WIDEST_GAP = 60  # characters between boxes that make one list
MOST_BOXES = 20  # of such a list

Span = tuple[int, int, tuple[int, int]]  # of a box its place and that of its content

# an escaped brace is text; `\\boxed` after a line break of LaTeX is none, so `\\.` is taken first
_BRACES = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*(\{?)|\\.|[{}]", re.DOTALL)
# signs, spacing and joining words, at most with the next one's name: no prose
_BETWEEN = re.compile(
    r"(?:[^\w\\]|\\[^A-Za-z]"
    r"|\\(?:q?quad|text|mbox|mathrm|textbf|enspace|space|thinspace|hspace|newline)(?![A-Za-z])"
    r"|(?:and|or|und|oder|et|ou|或|和|与|及|и|или)(?!\w)"
    r"|[A-Za-z](?:_\{?\w\}?)? ?= ?)*+"
)
_NAME = re.compile(r"(?<![\w\\])([A-Za-z](?:_\{?\w\}?)?) ?= ?\$?$")
# atomic, so that nothing is cut short in order to match; not before a brace, which may lack its partner
_UNBRACED = re.compile(
    r"((?>-?(?:\\[dt]?frac\s*[0-9]\s*[0-9]|[0-9](?:[0-9.,/]*[0-9])?|\\[A-Za-z]+|[A-Za-z](?![A-Za-z]))))"
    r"(?! ?\})"
)


@dataclass(frozen=True, slots=True)
class Boxes:
    """What counts alone, and as a list.

    `last` is the content of the last box where no other stands beside it, or only such as say the same;
    else it is `joined`, the contents of all that do.
    """

    last: str
    joined: str


def boxes(text: str) -> Boxes | None:
    r"""The last complete `\boxed{}` or `\fbox{}`, braces matched; without any, the last `\boxed 5`."""
    spans = _spans(text)
    if not isinstance(spans, list):
        return Boxes(spans, spans) if spans else None
    adjacent = [spans[-1]]
    # from the last box backwards, until prose stands between
    for before, after in zip(reversed(spans[:-1]), reversed(spans), strict=False):
        if after[0] - before[1] > WIDEST_GAP or not _BETWEEN.fullmatch(text, before[1], after[0]):
            break
        adjacent.insert(0, before)
    return _counted(text, adjacent)


def _spans(text: str) -> list[Span] | str | None:
    """The last complete boxes that are in no other; without any, the content of the last without braces."""
    loose: str | None = None
    # braces: of a box its place and its content's, of others nothing
    opened: list[tuple[int, int] | None] = []
    spans: list[Span] = []
    for match in _BRACES.finditer(text):
        token = match.group()
        if token == "}":
            start = opened.pop() if opened else None
            if start is not None:
                # boxes inside this one go: what counts is the whole
                spans = [s for s in spans if s[1] <= start[0]]
                spans.append((start[0], match.end(), (start[1], match.start())))
                del spans[:-MOST_BOXES]  # so a reply made of boxes takes linear time
        elif token == "{":
            opened.append(None)
        elif match[1]:
            opened.append((match.start(), match.end()))
        elif token.startswith(("\\boxed", "\\fbox", "\\framebox")) and token[-1].isspace():
            bare = _UNBRACED.match(text, match.end())
            loose = bare[1] if bare else loose
    return spans or loose


def _counted(text: str, adjacent: list[Span]) -> Boxes:
    """One box, or all that stand beside each other: two different ones are no answer to what has one."""
    contents = [text[slice(*span[2])].strip() for span in adjacent]
    names = [_NAME.search(text, max(0, span[0] - 12), span[0]) for span in adjacent]
    named = [f"{name[1]}={content}" for name, content in zip(names, contents, strict=True) if name]
    different = len({name[1] for name in names if name}) == len(contents) > 1
    joined = ", ".join(named if different else contents)
    return Boxes(contents[-1] if len(set(contents)) == 1 else joined, joined)


def last_boxed(text: str) -> str | None:
    """The content of the last box, or None."""
    found = _spans(text)
    return text[slice(*found[-1][2])] if isinstance(found, list) else found
