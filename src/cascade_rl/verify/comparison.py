"""Two answers to one prompt: how they are fenced for a judge, what its label says, how each is styled.

Labels and what is counted of a style are those of Arena-Hard-Auto (arXiv 2406.11939;
github.com/lmarena/arena-hard-auto: `gen_judgment.py`, `utils/add_markdown_info.py`).

What is covered: a label or a fence that an answer spells is no longer one once it is fenced, so a judge that
quotes it gives no verdict. What is not: an answer may still ask for a verdict in plain words, and only the
judge can be told not to listen.
"""

from __future__ import annotations

import re

# How much better A is than B: 2 significantly, 1 slightly.
LABELS = {"A>>B": 2, "A>B": 1, "A=B": 0, "B>A": -1, "B>>A": -2}
# The same from the other side; judges write these too, and the public code takes them.
_TURNED = {"B<<A": 2, "B<A": 1, "B=A": 0, "A<B": -1, "A<<B": -2}
_LABEL = re.compile(r"\[\[[ ]{0,3}([AB])[ ]{0,3}(>>|>|=|<<|<)[ ]{0,3}([AB])[ ]{0,3}\]\]", re.IGNORECASE)
# Looser than what is read: whatever a judge might copy and close up.
_LIKE_A_LABEL = re.compile(
    r"\[{1,9}(?=[ \\*]{0,9}[ABab][ \\*]{0,9}[<>=＜＞]{1,3}[ \\*]{0,9}[ABab][ \\*]{0,9}\])"
)
# Marks of turns, of public judge prompts and of chat templates, which servers may read as control tokens.
_CONTROL = re.compile(r"<\|(?=[^<>|\n]{1,60}\|>)")

STYLES = ("length", "headers", "lists", "bold")
_CODE = re.compile(r"```[^`]*```")
_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
# blanks without line ends: over many empty lines `\s*` would take quadratic time
_ITEM = re.compile(r"^[^\S\n]*(?:\d{1,9}\.|[-*+])\s", re.MULTILINE)
_STARS = re.compile(r"\*\*[^*\n]+\*\*")
_SCORES = re.compile(r"__[^_\n]+__")


def fenced(text: str) -> str:
    """The text with each verdict label and control token spelled in it made harmless, as short as before.

    `[[A>B]]` becomes `⟦A>B]]`, `<|im_end|>` becomes `‹|im_end|>`; code such as `[[1, 2]]` stays.
    """
    return _CONTROL.sub("‹|", _LIKE_A_LABEL.sub("⟦", text))


def label(text: str) -> int | None:
    """How much better a judge says A is than B, from -2 to 2; None when its text ends in no verdict.

    Read is what follows the judge's reasoning (`</think>`), of that the last line; where that has no label,
    all labels of the text must agree. A last line that names two different ones names none.
    """
    head, _, said = text.rpartition("</think>")
    # reasoning that never ends holds labels that were only thought of
    if not head and "<think>" in said:
        return None
    lines = said.strip().splitlines() or [""]
    found = _labels(lines[-1]) or _labels(said)
    return found.pop() if len(found) == 1 else None


def _labels(text: str) -> set[int]:
    spelt = {f"{m[1]}{m[2]}{m[3]}".upper() for m in _LABEL.finditer(text)}
    return {(LABELS | _TURNED)[each] for each in spelt if each in LABELS or each in _TURNED}


def style(answer: str) -> dict[str, float]:
    """Its length in characters, and how many headers, list items and bold passages it has outside of code."""
    prose = _CODE.sub("", answer)
    headers, items, stars, scores = (len(p.findall(prose)) for p in (_HEADER, _ITEM, _STARS, _SCORES))
    return {"length": float(len(answer)), "headers": headers, "lists": items, "bold": stars + scores}
