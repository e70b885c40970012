"""The calls of an answer: JSON objects of `name` and `arguments` inside `<tool_call></tool_call>`.

An object is read as JSON from its opening tag on, so that a tag inside a text of its arguments ends nothing.
One call that can't be read makes the whole answer unreadable: which calls were meant would be a guess. What
stands beside the tags is not looked at. Time is linear in the answer's length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

OPENING, CLOSING = "<tool_call>", "</tool_call>"
MOST = 64  # calls of one answer; each is held against each that is wanted
_BLANKS = re.compile(r"[ \t\r\n]*+")


class Malformed(ValueError):
    """Why an answer's calls can't be read."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function's name, and its arguments as JSON values."""

    name: str
    arguments: Mapping[str, Any]


def calls_in(answer: str) -> list[Call]:
    """The calls of an answer without its thought, in order; Malformed when one can't be read."""
    found: list[Call] = []
    at = 0
    while (opening := answer.find(OPENING, at)) >= 0:
        _no_closing(answer, at, opening)
        if len(found) == MOST:
            raise Malformed(f"more than {MOST} calls")
        call, at = _call(answer, opening + len(OPENING), len(found) + 1)
        found.append(call)
    _no_closing(answer, at, len(answer))
    return found


def written(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as the template writes it."""
    inner = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"{OPENING}\n{inner}\n{CLOSING}"


def _no_closing(answer: str, begin: int, end: int) -> None:
    if answer.find(CLOSING, begin, end) >= 0:
        raise Malformed(f"{CLOSING} without {OPENING}")


def _call(answer: str, begin: int, number: int) -> tuple[Call, int]:
    """The call whose object begins at `begin` or after blanks, and the place after its closing tag."""
    try:
        value, end = _DECODER.raw_decode(answer, _blanks(answer, begin))
    except Malformed as error:
        raise Malformed(f"call {number}: {error}") from None
    # ValueError: also a number of more digits than Python reads
    except (ValueError, RecursionError) as error:
        raise Malformed(f"call {number} is no JSON: {error!s:.80}") from None
    end = _blanks(answer, end)
    if not answer.startswith(CLOSING, end):
        found = "something stands behind its object" if end < len(answer) else "it is never closed"
        raise Malformed(f"call {number}: {found}")
    if not isinstance(value, dict):
        raise Malformed(f"call {number} is no object with name and arguments")
    name, arguments = value.get("name"), value.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise Malformed(f"call {number}: want a name that is a text and arguments that are an object")
    return Call(name, arguments), end + len(CLOSING)


def _blanks(answer: str, begin: int) -> int:
    found = _BLANKS.match(answer, begin)
    return found.end() if found else begin


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's pairs; one key said twice has no one value, and readers differ in which they take."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("a key is said twice")
    return made


def _no_number(said: str) -> NoReturn:
    raise Malformed(f"{said} is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)
