"""What a maths verdict says of an answer: the text, and what it was read as where that is something else.

A person who looks at verdicts sees here a wrongly read answer: a letter taken for a unit, a list taken for
one number, an interval taken for a point.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from cascade_rl.verify.maths import excess
from cascade_rl.verify.maths_extract import Boxes
from cascade_rl.verify.maths_notation import ENDTEXT, TEXT, tidy
from cascade_rl.verify.maths_structure import (
    Based,
    Chain,
    Many,
    Matrix,
    Ratio,
    Row,
    Scalar,
    Union,
    Words,
    read,
)
from cascade_rl.verify.told import cut, quoted

LONGEST_READING = 80  # characters
MOST_SHOWN = 6  # items of a list
_PLAIN = re.compile(r"-?[0-9]+|[A-Za-z]")  # read as they stand, whatever the rules


def answered(gold: str, given: Boxes, joined: bool = False) -> str:
    """`answered '12 cm' (read as 12, unit cm), wanted '13'`; `joined`: adjacent boxes count as a list."""
    return f"answered {_with_reading(given.joined if joined else given.last)}, {wanted(gold)}"


def wanted(gold: str) -> str:
    """`wanted '13'`, with what the gold was read as."""
    return f"wanted {_with_reading(gold)}"


def _with_reading(text: str) -> str:
    found = reading(text)
    return f"{quoted(text)} (read as {found})" if found else quoted(text)


def reading(text: str) -> str:
    """What an answer is read as, such as `the list 1; 2`; empty where it is read as it stands."""
    # what is too large is not taken apart: of it numbers alone are compared
    if _PLAIN.fullmatch(text) or excess(text):
        return ""
    said = _said(read(tidy(text)))
    # blanks around a sign are no other reading
    return "" if said.replace(" ", "") == _bare(text).replace(" ", "") else cut(said, LONGEST_READING)


def _bare(text: str) -> str:
    """A text without the marks of `tidy` and with single blanks."""
    return " ".join(text.replace(TEXT, " ").replace(ENDTEXT, " ").split())


def _said(answer: Any) -> str:
    match answer:
        case Words(text=text):
            return f"the words {quoted(_bare(text))}"
        case Scalar():
            return _scalar(answer)
        case Based(value=value, base=base):
            return f"{value}, written in base {base}"
        case Ratio(items=items):
            return f"the ratio {_items(items, ':')}"
        case Many(items=items, braced=braced):
            return f"the {'set' if braced else 'list'} {_items(items, '; ') or 'of nothing'}"
        case Row(opening=opening, items=items, closing=closing):
            kind = "point" if len(items) != 2 else "pair" if opening + closing == "()" else "interval"
            return f"the {kind} {opening}{_items(items, '; ')}{closing}"
        case Matrix(kind=kind, rows=rows):
            return f"the {kind} {_items([_items(row, ', ') for row in rows], '; ')}"
        case Union(items=items):
            return f"the union of {_items(items, ' and ')}"
        case Chain(sides=sides, signs=signs):
            return " ".join(_interleaved([_bare(side) for side in sides], signs))
        case _:
            return _anything(answer)


def _scalar(answer: Scalar) -> str:
    text = _bare(answer.text)
    if answer.percent:
        return f"{text} percent"
    return f"{text}, unit {_bare(answer.unit)}" if answer.unit else text


def _items(items: Sequence[Any], mark: str) -> str:
    shown = mark.join(_said(item) for item in items[:MOST_SHOWN])
    more = len(items) - MOST_SHOWN
    return f"{shown}{mark}and {more} more" if more > 0 else shown


def _interleaved(sides: Sequence[str], signs: Sequence[str]) -> list[str]:
    return [part for pair in zip(sides, (*signs, ""), strict=True) for part in pair if part]


def _anything(answer: Any) -> str:
    """A kind of answer that has no words of its own here, by its name and its fields."""
    if not is_dataclass(answer):
        return _bare(str(answer))
    values = (getattr(answer, field.name) for field in fields(answer))
    said = (_items(v, "; ") if isinstance(v, tuple) else _said(v) for v in values if v not in ("", False))
    return f"{type(answer).__name__.lower()} {', '.join(said)}"
