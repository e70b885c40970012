"""Own maps: fields of a problem, each made of a row by a chain of operations from a small closed set.

    prompt: {template: "{question} Put the answer in a box."}
    answer: {column: answer, after: "####"}

A chain begins with a value (`column`, `constant`, `template`); what follows is done to it in the order
written. `answer` and `meta` may also be an object of names, each with a chain of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from string import Formatter
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.sources.columns import RowError, column, parsed, shown
from cascade_rl.verify.maths_extract import last_boxed

FIELDS = ("prompt", "messages", "answer", "id", "mode", "split", "meta")
NESTED = ("answer", "meta")

RowMap = Callable[[Mapping[str, Any]], dict[str, Any]]
Start = Callable[[Mapping[str, Any]], Any]
Step = Callable[[Any], Any]


def _written(value: Any) -> str:
    """A value as a part of a text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _column(name: Any, place: str) -> Start:
    if not isinstance(name, str) or not name:
        raise InputError(f"{place}.column: want the name of a column, not {shown(name)}")
    return lambda row: column(row, name)


def _constant(value: Any, place: str) -> Start:
    return lambda row: value


def _template(text: Any, place: str) -> Start:
    r"""Columns in braces; `{{` and `}}` are braces, as in `\boxed{{}}`."""
    if not isinstance(text, str):
        raise InputError(f"{place}.template: want a text with columns in braces, not {shown(text)}")
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise InputError(f"{place}.template: {error}; write a brace that is meant as one twice") from None
    # "" and conversions are Python's: none of them names a column
    if any(name == "" or form or conversion for _, name, form, conversion in parts):
        raise InputError(
            f"{place}.template: braces hold the name of a column and nothing else; write {{{{}}}} for {{}}"
        )
    return lambda row: "".join(
        before + ("" if name is None else _written(column(row, name))) for before, name, _, _ in parts
    )


def _text(value: Any, what: str) -> str:
    # a bool is an int to Python
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowError(f"{what}: want a text, not {shown(value)}")
    return str(value)


def _after(mark: Any, place: str) -> Step:
    """What follows the last such mark, without blanks around it."""
    if not isinstance(mark, str) or not mark:
        raise InputError(f"{place}.after: want the mark that stands before, such as '####'")

    def step(value: Any) -> str:
        _, found, rest = _text(value, "after").rpartition(mark)
        if not found:
            raise RowError(f"after: no {mark!r} in {shown(value)}")
        return rest.strip()

    return step


def _last_box(value: Any) -> str:
    found = last_boxed(_text(value, "last_box"))
    if found is None:
        raise RowError(f"last_box: no \\boxed{{}} in {shown(value)}")
    return found.strip()


def _flag(name: str, step: Step) -> Callable[[Any, str], Step]:
    """An operation that takes nothing but `true`."""

    def made(value: Any, place: str) -> Step:
        if value is not True:
            raise InputError(f"{place}.{name}: want true; leave the key out where it is not meant")
        return step

    return made


def _choice(table: Any, place: str) -> Step:
    """Another value for each value; true and the text "true" are alike, 1 and "1" too: CSV knows no types."""
    if not isinstance(table, Mapping) or not table:
        raise InputError(f"{place}.choice: want a value for each value, such as {{train: rl, test: heldout}}")
    known = {_key(name): value for name, value in table.items()}

    def step(value: Any) -> Any:
        if _key(value) not in known:
            raise RowError(f"choice: {shown(value)} is none of {', '.join(known)}")
        return known[_key(value)]

    return step


def _key(value: Any) -> str:
    found = _written(value)
    # CSV of pandas has True where JSON has true
    return found.lower() if found in ("True", "False") else found


STARTS: Mapping[str, Callable[[Any, str], Start]] = {
    "column": _column,
    "constant": _constant,
    "template": _template,
}
STEPS: Mapping[str, Callable[[Any, str], Step]] = {
    "after": _after,
    "last_box": _flag("last_box", _last_box),
    "strip": _flag("strip", lambda value: _text(value, "strip").strip()),
    "json": _flag("json", lambda value: parsed(_text(value, "json"), "json")),
    "choice": _choice,
}


def own_map(fields: Mapping[str, Any]) -> RowMap:
    """The map of a mapping from fields to operations; InputError when it is none, with its place."""
    if unknown := [str(name) for name in fields if name not in FIELDS]:
        raise InputError(f"map: no field {', '.join(unknown)}; there are {', '.join(FIELDS)}")
    if ("prompt" in fields) == ("messages" in fields):
        raise InputError("map: want one of prompt and messages")
    if "answer" not in fields:
        raise InputError("map: answer is missing; {constant: null} where the domain needs none")
    made = {name: _value(said, f"map.{name}", name in NESTED) for name, said in fields.items()}
    return lambda row: {name: start(row) for name, start in made.items()}


def _value(said: Any, place: str, nested: bool) -> Start:
    """A chain, or where that may be an object of them."""
    if not isinstance(said, Mapping) or not said:
        raise InputError(
            f"{place}: want operations, such as {{column: {said if isinstance(said, str) else 'NAME'}}}"
        )
    known = [*STARTS, *STEPS]
    if nested and not any(name in known for name in said):
        parts = {str(name): _value(part, f"{place}.{name}", nested) for name, part in said.items()}
        return lambda row: {name: part(row) for name, part in parts.items()}
    if unknown := [str(name) for name in said if name not in known]:
        raise InputError(f"{place}: no operation {', '.join(unknown)}; there are {', '.join(known)}")
    return _chain(list(_split(said, place)), said, place)


def _split(said: Mapping[str, Any], place: str) -> Iterator[str]:
    for at, name in enumerate(said):
        if (name in STARTS) != (at == 0):
            raise InputError(f"{place}: begin with one of {', '.join(STARTS)}, and have only one of them")
        yield name


def _chain(names: list[str], said: Mapping[str, Any], place: str) -> Start:
    start = STARTS[names[0]](said[names[0]], place)
    steps = [STEPS[name](said[name], place) for name in names[1:]]

    def value(row: Mapping[str, Any]) -> Any:
        found = start(row)
        for step in steps:
            found = step(found)
        return found

    return value
