"""Values out of a row by name, or one reason why not: what maps are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cascade_rl.errors import InputError

MOST_SHOWN = 12  # names of columns in a message


class RowError(InputError):
    """A row that can't be mapped; the message says which column and what it wants."""


class LeftOut(RowError):
    """A row that is whole, but not of the kind that its map is for; the message says why."""


def column(row: Mapping[str, Any], name: str) -> Any:
    """The value of a column, or of a part of one by its path (`extra_info.index`)."""
    if name in row:
        return row[name]
    head, dot, rest = name.partition(".")
    inner = row.get(head) if dot else None
    # CSV and some public sets hold objects as JSON
    if isinstance(inner, str):
        inner = parsed(inner, head)
    if isinstance(inner, Mapping):
        return column(inner, rest)
    names = [str(key) for key in row]
    more = ", ..." if len(names) > MOST_SHOWN else ""
    raise RowError(f"no column {name!r}; there are {', '.join(names[:MOST_SHOWN]) or 'none'}{more}")


def text(row: Mapping[str, Any], name: str) -> str:
    """The text of a column that is not empty; a number is taken as one."""
    value = column(row, name)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise RowError(f"{name}: want a text, not {shown(value)}")
    return str(value)


def some(row: Mapping[str, Any], *names: str) -> str | None:
    """The first of these columns that the row has with a value; None if it has none."""
    return next((name for name in names if row.get(name) not in (None, "")), None)


def parsed(value: Any, name: str) -> Any:
    """What a text holds as JSON; other values as they are."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except RecursionError:
        raise RowError(f"{name}: JSON that is nested too deeply") from None
    except ValueError as error:
        raise RowError(f"{name}: want JSON, not {shown(value)}: {error}") from None


def listed(value: Any, name: str) -> list[Any]:
    """A list, perhaps written as JSON."""
    found = parsed(value, name)
    if not isinstance(found, list):
        raise RowError(f"{name}: want a list, not {shown(value)}")
    return found


def shown(value: Any) -> str:
    """A value in a message: its type and how it begins."""
    return "null" if value is None else f"{type(value).__name__} {value!r:.60}"
