r"""What kind of answer a text is, before any algebra: lists, tuples, intervals, relations, words.

Structure is decided here, on text, so that a computer algebra system only ever sees single expressions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.verify.maths_notation import ENDTEXT, TEXT, closing
from cascade_rl.verify.maths_numbers import based, from_words, rational
from cascade_rl.verify.maths_units import WORD, measured, quantity

MOST_ITEMS = 100  # of a list or set; comparing two takes the square of it
RELATIONS = "=≤≥<>≠"


@dataclass(frozen=True, slots=True)
class Words:
    """Text that is no mathematics, case and spacing folded."""

    text: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """One expression; `unit` is folded text."""

    text: str
    unit: str = ""
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Based:
    """A numeral in a base that it names."""

    value: int
    base: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """`a:b` or `a:b:c`."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Many:
    """Alternatives or a set, without order; `braced` when it is a set."""

    items: tuple[Answer, ...]
    braced: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Items in brackets: a point, a vector or an interval."""

    opening: str
    items: tuple[Answer, ...]
    closing: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of a matrix; `kind` tells determinants from matrices."""

    kind: str
    rows: tuple[tuple[Answer, ...], ...]


@dataclass(frozen=True, slots=True)
class Union:
    """Intervals and sets joined by ∪."""

    items: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Sides of equations or inequalities and the signs between them."""

    sides: tuple[str, ...]
    signs: tuple[str, ...]


Answer = Words | Scalar | Based | Ratio | Many | Row | Matrix | Union | Chain


def _depths(text: str) -> list[int]:
    """For each character the number of brackets that it stands in; a bracket stands outside of itself."""
    depth, depths = 0, []
    for char in text:
        if char in ")}]":
            depth = max(0, depth - 1)  # a bracket too many is passed over
        depths.append(depth)
        if char in "({[":
            depth += 1
    return depths


def _split(text: str, pattern: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """The parts between matches of `pattern` outside of brackets, and the matches."""
    depths, parts, signs, at = _depths(text), [], [], 0
    for match in pattern.finditer(text):
        if depths[match.start()] == 0:
            parts.append(text[at : match.start()].strip())
            signs.append(match.group())
            at = match.end()
    return [*parts, text[at:].strip()], signs


_AND = rf"[{TEXT} ] ?(?:and|or)(?: ?{ENDTEXT}| )"
# these part a list everywhere, a plain comma only what is not a number with thousands
_STRONG = re.compile(rf",? ?{_AND} ?|, |; ?|,$")
_COMMA = re.compile(r", ?")
_UNION = re.compile(r" ?∪ ?")
_RELATION = re.compile(rf"[{RELATIONS}]")
_COLON = re.compile(r" ?: ?")
_MEMBER = re.compile(r"∈")
_MATRIX = re.compile(
    r"\\begin\{(array|[pbBvV]?matrix|smallmatrix)\}(?:\{[lcr| ]*\})?(.*)\\end\{\1\}", re.DOTALL
)
_TIME = re.compile(r"[0-9]{1,2}:[0-9]{2}")
_MARKS = re.compile(f"[{TEXT}{ENDTEXT}]")
_GREEK_LABEL = (
    r"\\(?:[a-zA-Z]?(?:alpha|beta|gamma|delta|theta|lambda|mu|nu|rho|sigma|tau|phi|varphi|omega|Omega))"
)
# one letter, up to four capitals, Greek, a word with a vowel, text; with index, prime or arguments
_LABEL = re.compile(
    rf"(?:\\(?:angle|triangle|overline|vec|hat|bar) ?\{{?[A-Za-z ]+\}}?"
    rf"|\|?[A-Z]{{1,4}}\|?|[a-z]|{_GREEK_LABEL}"
    rf"|{TEXT}[^{ENDTEXT}]+{ENDTEXT}|(?=[a-z]*[aeiou])[a-z]{{3,}})"
    r" ?(?:_(?:\{[^{}]*\}|\w))?(?:\^\{-1\})?'*(?: ?\([A-Za-z, ]*\))?"
)
# "the answer is" inside the box
_LEAD = re.compile(rf"{TEXT}[^{ENDTEXT}]*(?::|=|\bis|\bare) ?{ENDTEXT} ?(?=.)")
_PROSE = 3  # so many words, and it is a sentence
_SHORT_WORDS = {"no", "up", "or"}


def is_label(text: str) -> bool:
    """Whether the left side of `x = 5` only names the right one: `x`, `f(x)`, `AB`, `area`, not `xy`."""
    return _LABEL.fullmatch(text.strip()) is not None


def _words(text: str) -> Answer | None:
    """Words, a number in words or a letter in text; None for mathematics."""
    plain = " ".join(_MARKS.sub("", text).split())
    inside = re.sub(f"{TEXT}[^{ENDTEXT}]*{ENDTEXT}", "", text).strip(" .,()")
    if TEXT in text and not inside:
        plain = plain.strip(" .,()") if not any(c.isdigit() for c in plain) else plain
        if len(plain) <= 1:
            return Scalar(plain)
    elif not re.fullmatch(r"[A-Za-z][A-Za-z' -]+", text) or not (
        WORD.search(text) or text.lower() in _SHORT_WORDS
    ):
        return Words(plain.casefold()) if len(WORD.findall(plain)) >= _PROSE else None
    if (number := from_words(plain)) is not None:
        return Scalar(str(number))
    return Words(plain.casefold().removeprefix("the ")) if any(c.isalpha() for c in plain) else None


def _items(text: str) -> list[str]:
    """Alternatives: split at `or`, `and`, semicolons and commas, but not within `1,234`."""
    strong = [part for part in _split(text, _STRONG)[0] if part]
    found = []
    for part in strong:
        found += [part] if rational(part) is not None else [p for p in _split(part, _COMMA)[0] if p]
    return found


def read(text: str) -> Answer:
    """The structure of a tidy answer."""
    text = _LEAD.sub("", text.strip())
    if rational(text) is not None:
        return Scalar(text)
    # before words and lists: `5 miles per hour` is no sentence, and `1,000 cm` no list
    if (known := quantity(text)) is not None:
        return Scalar(*known)
    if (words := _words(text)) is not None:
        return words
    # no ratio, or 12:00 would equal 1:00
    if _TIME.fullmatch(text):
        return Words(text)
    if match := _MATRIX.fullmatch(text):
        return _matrix(match)
    # `x ∈ [0,1]` answers the interval
    name, *members = _split(text, _MEMBER)[0]
    if len(members) == 1 and is_label(name):
        return read(members[0])
    # lists before relations: `x=1, x=2` are two equations
    if len(items := _items(text)) > 1:
        return _many(items)
    if len(parts := _split(text, _UNION)[0]) > 1:
        return Union(tuple(read(part) for part in parts))
    sides, signs = _split(text, _RELATION)
    if signs and all(sides):
        return Chain(tuple(sides), tuple(signs))
    return _enclosed(text) or _single(text)


def read_list(text: str) -> Answer | None:
    """The other reading of `98,118,122`, as three numbers; None when there is only one."""
    items = [part for part in _split(text, _COMMA)[0] if part]
    return _many(items) if len(items) > 1 and rational(text) is not None else None


def _many(texts: Sequence[str], braced: bool = False) -> Many:
    found: list[Answer] = []
    for text in texts[: MOST_ITEMS + 1]:
        item = read(text)
        found += item.items if isinstance(item, Many) and not item.braced else [item]
    return Many(tuple(found), braced)


def _matrix(match: re.Match[str]) -> Answer:
    kind = "determinant" if match[1] in ("vmatrix", "Vmatrix") else "matrix"
    lines = [line for line in match[2].split("\\\\") if line.strip()]
    return Matrix(kind, tuple(tuple(read(cell) for cell in line.split("&")) for line in lines))


def _enclosed(text: str) -> Answer | None:
    r"""A set, tuple or interval, or what stands in needless brackets."""
    if text in (r"\emptyset", r"\{\}", r"\{ \}"):
        return Many((), braced=True)
    if text.startswith(r"\{") and text.endswith(r"\}") and closing(text, 1) == len(text) - 1:
        return _many([p for p in _split(text[2:-2], _COMMA)[0] if p], braced=True)
    if text.startswith(r"\langle ") and text.endswith(r"\rangle"):
        return Row("(", tuple(read(p) for p in _split(text[8:-7], _COMMA)[0]), ")")
    if re.match(r"[A-Z] ?\(.*,", text):
        text = text[1:].strip()  # the name of a point
    if text[:1] not in ("(", "[", "{") or closing(text, 0) != len(text) - 1:
        return None
    inner = [part for part in _split(text[1:-1], _COMMA)[0] if part]
    if len(inner) > 1 and text[0] != "{":
        return Row(text[0], tuple(read(part) for part in inner[: MOST_ITEMS + 1]), text[-1])
    return read(text[1:-1]) if text[0] != "[" and text[1:-1].strip() else None


def _single(text: str) -> Answer:
    """A ratio, a numeral with its base, two values of a ±, or an expression with its unit."""
    if 1 <= text.count("±") <= 3:
        return _many([_signed(text, "+-"), _signed(text, "-+")] if text.count("±") == 1 else _all_signs(text))
    parts = _split(text, _COLON)[0]
    if len(parts) in (2, 3, 4) and all(parts):
        return Ratio(tuple(parts))
    # only base 10 is the number itself: 1010_2 asked for is not answered by 10
    if (numeral := based(text)) is not None:
        return Scalar(str(numeral[0])) if numeral[1] == 10 else Based(*numeral)
    return Scalar(*measured(text))


def _signed(text: str, signs: str) -> str:
    return text.replace("±", signs[0], 1).replace("∓", signs[1])


def _all_signs(text: str) -> list[str]:
    texts = [text]
    while "±" in texts[0]:
        texts = [_signed(t, signs) for t in texts for signs in ("+-", "-+")]
    return texts
