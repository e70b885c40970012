"""What a maths verdict says of an answer: the text, and what it was read as where that is something else.

A person who looks at verdicts sees here a wrongly read answer: a letter taken for a unit, a list taken for
one number, an interval taken for a point.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

from cascade_rl.verify.maths.answers import excess
from cascade_rl.verify.maths.extract import Boxes
from cascade_rl.verify.maths.notation import tidy
from cascade_rl.verify.maths.structure import read
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


# a group of replies has one gold, and often one answer
@lru_cache(maxsize=1024)
def reading(text: str) -> str:
    """What an answer is read as, such as `the list 1; 2`; empty where it is read as it stands."""
    # what is too large is not taken apart: of it numbers alone are compared
    if _PLAIN.fullmatch(text) or excess(text):
        return ""
    said = _said(read(tidy(text)))
    # blanks around a sign are no other reading
    return "" if said.replace(" ", "") == _bare(text).replace(" ", "") else cut(said, LONGEST_READING)


def _bare(text: str) -> str:
    """A text without the marks of `tidy`, which are no characters of any script, and with single blanks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _said(answer: Any) -> str:
    """A kind of answer in words; one that has none here by its name and its fields."""
    if not is_dataclass(answer):
        return _bare(str(answer))
    kind = type(answer).__name__
    if kind in _WORDS:
        return _WORDS[kind](answer)
    values = (getattr(answer, field.name) for field in fields(answer) if field.compare)
    said = (_items(v, "; ") if isinstance(v, tuple) else _said(v) for v in values if v not in ("", False, ()))
    return f"{kind.lower()} {', '.join(said)}"


def _items(items: Sequence[Any], mark: str) -> str:
    shown = mark.join(
        _items(item, " if ") if isinstance(item, tuple) else _said(item) for item in items[:MOST_SHOWN]
    )
    more = len(items) - MOST_SHOWN
    return f"{shown}{mark}and {more} more" if more > 0 else shown


def _scalar(answer: Any) -> str:
    text = _bare(answer.text)
    if answer.percent:
        return f"{text} percent"
    return f"{text}, unit {_bare(str(answer.unit))}" if answer.unit else text


def _row(answer: Any) -> str:
    brackets = answer.opening + answer.closing
    kind = "point" if len(answer.items) != 2 else "pair" if brackets == "()" else "interval"
    return f"the {kind} {answer.opening}{_items(answer.items, '; ')}{answer.closing}"


def _named(answer: Any) -> str:
    pairs = zip(answer.names, answer.values, strict=True)
    return _items([f"{name}={value}" for name, value in pairs], ", ")


def _chain(answer: Any) -> str:
    pairs = zip(answer.sides, (*answer.signs, ""), strict=True)
    return " ".join(_bare(part) for pair in pairs for part in pair if part)


# by the names of the kinds that `structure` reads
_WORDS: Mapping[str, Callable[[Any], str]] = {
    "Words": lambda answer: f"the words {quoted(_bare(answer.text))}",
    "Scalar": _scalar,
    "Based": lambda answer: f"{answer.value}, written in base {answer.base}",
    "Ratio": lambda answer: f"the ratio {_items(answer.items, ':')}",
    "Many": lambda answer: (
        f"the {'set' if answer.braced else 'list'} {_items(answer.items, '; ') or 'of nothing'}"
    ),
    "Row": _row,
    "Matrix": lambda answer: f"the {answer.kind} {_items([_items(row, ', ') for row in answer.rows], '; ')}",
    "Sets": lambda answer: _items(answer.items, f" {answer.sign} "),
    "Named": _named,
    "Clock": lambda answer: f"the time {answer.hour}:{answer.minute:02} {answer.half}".strip(),
    "Builder": lambda answer: f"all {_bare(answer.name)} with {_said(answer.condition)}",
    "Over": lambda answer: f"{_said(answer.answer)}, for {_bare(answer.names)} in {_bare(answer.numbers)}",
    "Pieces": lambda answer: f"pieces {_items(answer.pieces, '; ')}",
    "Chain": _chain,
}
