"""Answers stated without a box, at the end of a reply: `The answer is 5.`, `#### 5`, a last line `x = 5`.

Only what stands last counts. A statement about the answer (`The solution is complete.`, `if the answer is
wrong`) states none; any other word after `the answer is` is an answer, since it may take an earlier one back.
"""

from __future__ import annotations

import re

LONGEST_TAIL = 4000  # characters at the end of a reply that are searched for an answer without a box

_STATEMENT = re.compile(
    r"(?P<if>\b(?:if|whether|unless) (?:the |this |my )?)?(?:"
    r"(?:(?:final|correct|right|my) )*+\b(?:(?P<strong>answer|ans)|result|solution)\b"
    r"(?: to (?:the|this) (?:problem|question))?[\"*]{0,3}"
    r"(?: (?:is|are|should be|must be|would be|will be|equals|comes out to|comes out as)\b"
    r"(?: therefore| thus)?|s are\b|[:=]| =|\.? ?: ?| ?(?=\$|\\[(\[]))"
    r"|(?P<mark>####)"
    r"|(?P<other>答案|答え|答|정답|답|Ответ|Réponse|Respuesta|Antwort|Risposta|Resposta|Odpowiedź)"
    r"(?:是|为|應為|应为|は|은|는)?(?: ?[:：]|(?<=[是为為は은는]) ?| ))"
    r"\s*:?\s*",
    re.IGNORECASE,
)
_TAG = re.compile(r"<answer>([^<]{1,300})</answer>", re.IGNORECASE)
# words about an answer that stands elsewhere, which affirm it
_COMMENT = re.compile(
    r"(?:also|indeed|now|thus|therefore|then|very|quite|still|already|easily|easy|simple|complete|correct"
    r"|right|verified|checked|confirmed|clear|unique|straightforward|valid|consistent|reasonable|shown|given"
    r"|obtained|found|boxed|below|above|done|finished|immediate|obvious|fine|good|derived|based on"
    r"|as (?:above|follows)"
    r"|in (?:the|a|simplest) (?:box|form))\b",
    re.IGNORECASE,
)
# and what takes it back, which is an answer of its own, though no right one
_TAKEN_BACK = re.compile(
    r"\b(?:not|no|wrong|incorrect|false|invalid|unknown|undefined|impossible|none|never|n't)\b", re.IGNORECASE
)
_MATHEMATICAL = re.compile(r"[0-9$\\=]|^[A-Za-z]\b(?!['\w])")
# `The largest n is 34`: what a sentence says of its subject
_SUBJECT = re.compile(
    r"(?:the|its|their|our|this) [^=<>]{1,80}? (?:is|are|equals) (?=[$\\0-9-])", re.IGNORECASE
)
_WHOLE = re.compile(
    r"(?:therefore|thus|hence|so)?,?\s*(?:\*\*(?P<bold>[^*\n]+)\*\*|\$\$?(?P<dollar>[^$\n]+)\$\$?"
    r"|\\\[(?P<display>(?:[^\\\n]|\\(?!\]))+)\\\]|\\\((?P<inline>(?:[^\\\n]|\\(?!\)))+)\\\)"
    r"|(?P<plain>[-+]?[0-9][0-9.,/]*%?)|(?P<named>[A-Za-z](?:_\w)? ?= ?[^=\n<>]{1,60}))\s*\.?",
    re.IGNORECASE,
)


def bare_answer(text: str) -> str | None:
    """What the end of a reply states without a box: in a tag, after `answer is`, or as the last line."""
    tail = text[-LONGEST_TAIL:].rstrip()
    line = _last_line(tail)
    tag = next(reversed(list(_TAG.finditer(tail))), None)
    for statement in reversed(list(_STATEMENT.finditer(tail, tag.end() if tag else 0))):
        rest = tail[statement.end() :].strip()
        stated = _sentence(rest.split("\n", 1)[0] if not rest.startswith("\\[") else rest.partition("\\]")[0])
        stated = _SUBJECT.sub("", stated, count=1) if _SUBJECT.match(stated) else stated
        if not statement["if"] and _states(stated, strong=_is_strong(statement)):
            # what stands behind it as a line of its own comes last
            later = line if "\n" in rest and line and _MATHEMATICAL.search(line) else None
            return later or stated or None
    return tag[1].strip() if tag else line


def _last_line(tail: str) -> str | None:
    """What the last line states, if it is nothing but a value."""
    lines = [line.strip() for line in tail.rsplit("\n", 5) if line.strip()]
    whole = _WHOLE.fullmatch(lines[-1]) if lines else None
    return next(filter(None, whole.groups())) if whole else None


def _is_strong(statement: re.Match[str]) -> bool:
    return any(statement[kind] for kind in ("strong", "mark", "other"))


def _states(text: str, *, strong: bool) -> bool:
    """Whether what follows is an answer; of a `result` or `solution`, words are a remark."""
    if _MATHEMATICAL.search(text):
        return True
    return not _COMMENT.match(text) if strong else bool(_TAKEN_BACK.search(text))


def _sentence(line: str) -> str:
    """A line up to the full stop that ends its first sentence, without emphasis."""
    ends = r"\.\s+(?=[A-Z])|[.。!]$|。|(?<=\S)\s+(?:because|since|as required)\b"
    line = re.split(ends, line.strip().strip("*"))[0]
    return (
        line.strip().strip("*").strip().strip('"}').strip()
        if '"' in line
        else line.strip().strip("*").strip()
    )
