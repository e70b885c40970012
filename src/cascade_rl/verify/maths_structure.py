r"""What kind of answer a text is, before any algebra: lists, tuples, intervals, relations, words.

Structure is decided here, on text, so that a computer algebra system only ever sees single expressions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.verify.maths_notation import ENDTEXT, TEXT, closing
from cascade_rl.verify.maths_numbers import based, from_words, rational

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
# three letters and no bracket: `sin(` and `ab` are mathematics
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}(?![A-Za-z(])")
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
        _WORD.search(text) or text.lower() in _SHORT_WORDS
    ):
        return Words(plain.casefold()) if len(_WORD.findall(plain)) >= _PROSE else None
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
    return _measured(text)


def _signed(text: str, signs: str) -> str:
    return text.replace("±", signs[0], 1).replace("∓", signs[1])


def _all_signs(text: str) -> list[str]:
    texts = [text]
    while "±" in texts[0]:
        texts = [_signed(t, signs) for t in texts for signs in ("+-", "-+")]
    return texts


_KNOWN_UNITS = {
    "meter": "m", "metre": "m", "centimeter": "cm", "centimetre": "cm", "millimeter": "mm", "kilometer": "km",
    "kilometre": "km", "inche": "in", "inch": "in", "feet": "ft", "foot": "ft", "yard": "yd", "mile": "mi",
    "gram": "g", "kilogram": "kg", "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h",
    "liter": "l", "litre": "l", "milliliter": "ml", "dollar": "$", "usd": "$", "cent": "cents", "degree": "°",
    "pound": "lb", "ounce": "oz",
}  # fmt: skip
_SHORT_UNITS = {
    *_KNOWN_UNITS.values(),
    "mg",
    "kmh",
    "mph",
    "km/h",
    "m/s",
    "n",
    "j",
    "w",
    "v",
    "k",
    "c",
    "f",
    "pa",
    "hz",
}
# digits and words of choice: a hedge must not pass as a unit
_NO_UNIT = re.compile(
    r"[^A-Za-z°$µ/·^ .-]|\b(?:or|and|not|but|to|if|maybe|possibly|perhaps|either)\b", re.IGNORECASE
)
_TEXT_UNIT = re.compile(rf"(.*[0-9A-Za-z)}}\]!]) ?{TEXT}([^{ENDTEXT}]*){ENDTEXT} ?(?:\^ ?\{{?([23])\}}?)?")
_RAW_UNIT = re.compile(r"(.*[0-9)}\]])( ?)([A-Za-z]+(?:[ /][A-Za-z]+)*)\.? ?(?:\^ ?\{?([23])\}?)?")


def _is_unit(text: str) -> bool:
    """Whether text behind a number may be left out; another answer, such as `or 6`, may not."""
    return text.startswith("mod ") or not _NO_UNIT.search(text)


def _unit(text: str, power: str | None) -> str:
    """A unit's usual symbol; `square meters` becomes `m2`."""
    text = text.strip(" .").casefold()
    for word, exponent in (("square ", "2"), ("cubic ", "3"), ("sq ", "2"), ("cu ", "3")):
        if text.startswith(word):
            text, power = text.removeprefix(word), exponent
    text = _KNOWN_UNITS.get(text.removesuffix("s"), text)
    return text + (power or "")


def _measured(text: str) -> Answer:
    """An expression, with a percent sign or a unit taken off."""
    text = text.lstrip("€£¥").strip()
    if text.endswith("%"):
        return Scalar(text[:-1].strip(), percent=True)
    if (match := _TEXT_UNIT.fullmatch(text)) and _is_unit(match[2]):
        unit = _unit(match[2], match[3])
        return Scalar(match[1].strip(), "" if unit == "percent" else unit, unit == "percent")
    if (match := _RAW_UNIT.fullmatch(text)) and _is_unit(match[3]):
        head, space, raw, power = match.groups()
        unit, number = _unit(raw, power), rational(head.strip()) is not None
        # a short unit only behind a plain number: behind an expression its letters are variables
        known = raw.casefold() in _SHORT_UNITS or unit.rstrip("23") in _SHORT_UNITS
        if (len(raw) > 2 and space and _WORD.search(raw)) or (known and number):
            return Scalar(head.strip(), "" if unit == "percent" else unit, unit == "percent")
    return Scalar(text)
