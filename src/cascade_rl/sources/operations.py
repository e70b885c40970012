"""Own maps: fields of what a row becomes, each made of it by a chain of operations from a small closed set.

    prompt: {template: "{question} Put the answer in a box."}
    answer: {column: answer, after: "####"}

A chain begins with a value (`column`, `constant`, `template`); what follows is done to it in the order
written. `answer` and `meta` may also be an object of names, each with a chain of its own. All that is wrong
in a map is told at once, a line each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from string import Formatter
from typing import Any, TypeVar

from cascade_rl.errors import InputError
from cascade_rl.sources.columns import RowError, column, parsed, shown
from cascade_rl.verify.maths.extract import last_boxed

RowMap = Callable[[Mapping[str, Any]], dict[str, Any]]
Start = Callable[[Mapping[str, Any]], Any]
Step = Callable[[Any], Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fields:
    """What a map may name.

    ways    one of them holds: what a map must name for it, and what it may name only there
    needed  what a map must name in any way; `hint` says how where there is nothing
    free    what it may name
    nested  of all these, those that may be objects
    """

    ways: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    needed: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    hint: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*(name for way in self.ways for part in way for name in part), *self.needed, *self.free)


PROBLEM = Fields(
    ways=((("prompt",), ()), (("messages",), ())),
    needed=("answer",),
    free=("id", "mode", "split", "meta"),
    nested=("answer", "meta"),
    hint="; {constant: null} where the domain needs none",
)


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


def own_map(said: Mapping[str, Any], fields: Fields = PROBLEM) -> RowMap:
    """The map of a mapping from fields to operations; InputError with all that is wrong in it, and where."""
    faults = _wrong_fields(said, fields)
    makers = {
        name: partial(_value, part, f"map.{name}", name in fields.nested)
        for name, part in said.items()
        if name in fields.names
    }
    made = _each(makers, faults)
    _refuse(faults)
    return lambda row: {name: start(row) for name, start in made.items()}


def _wrong_fields(said: Mapping[str, Any], fields: Fields) -> list[str]:
    """Fields that there are not, and those that are missing or don't go together."""
    unknown = [str(name) for name in said if name not in fields.names]
    faults = [f"map: no field {', '.join(unknown)}; there are {', '.join(fields.names)}"] if unknown else []
    meant = [way for way in fields.ways if any(name in said for part in way for name in part)]
    if len(meant) == 1 or len(fields.ways) == 1:
        missing = [name for name in (meant or fields.ways)[0][0] if name not in said]
    else:
        missing = []
        faults.append(f"map: want one of {' and '.join(' with '.join(way[0]) for way in fields.ways)}")
    missing += [name for name in fields.needed if name not in said]
    return faults + [f"map: {name} is missing{fields.hint}" for name in missing]


def _each(makers: Mapping[str, Callable[[], T]], faults: list[str]) -> dict[str, T]:
    """What each of them makes; their faults, a line each, are added to the others."""
    made = {}
    for name, maker in makers.items():
        try:
            made[name] = maker()
        except InputError as error:
            faults.append(str(error))
    return made


def _refuse(faults: list[str]) -> None:
    if faults:
        raise InputError("\n".join(faults))


def _value(said: Any, place: str, nested: bool) -> Start:
    """A chain, or where that may be an object of them."""
    if not isinstance(said, Mapping) or not said:
        raise InputError(
            f"{place}: want operations, such as {{column: {said if isinstance(said, str) else 'NAME'}}}"
        )
    if nested and not any(name in STARTS or name in STEPS for name in said):
        return _object(said, place)
    faults = []
    names = [name for name in said if name in STARTS or name in STEPS]
    if unknown := [str(name) for name in said if name not in names]:
        known = ", ".join([*STARTS, *STEPS])
        faults.append(f"{place}: no operation {', '.join(unknown)}; there are {known}")
    if not names or [name in STARTS for name in names] != [True] + [False] * (len(names) - 1):
        faults.append(f"{place}: begin with one of {', '.join(STARTS)}, and have only one of them")
    starts = {name: partial(STARTS[name], said[name], place) for name in names if name in STARTS}
    steps = {name: partial(STEPS[name], said[name], place) for name in names if name in STEPS}
    begin, then = _each(starts, faults), _each(steps, faults)
    _refuse(faults)
    return _chain(next(iter(begin.values())), list(then.values()))


def _object(said: Mapping[str, Any], place: str) -> Start:
    """An object of names, each with a value of its own."""
    faults: list[str] = []
    makers = {str(name): partial(_value, part, f"{place}.{name}", True) for name, part in said.items()}
    parts = _each(makers, faults)
    _refuse(faults)
    return lambda row: {name: part(row) for name, part in parts.items()}


def _chain(start: Start, steps: Sequence[Step]) -> Start:
    def value(row: Mapping[str, Any]) -> Any:
        found = start(row)
        for step in steps:
            found = step(found)
        return found

    return value
