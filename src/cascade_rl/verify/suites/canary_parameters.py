"""Parameters of `pytest.mark.parametrize`: where each set's values stand, and what pytest calls the set."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.verify.suites.canary_sites import Function, called
from cascade_rl.verify.suites.canary_values import literal


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """One set: its values' nodes by parameter, the values, and the id that was given to it, if any."""

    nodes: dict[str, ast.expr]
    values: dict[str, Any]
    given_id: str | None
    index: int

    def id(self, name: str = "", value: Any = None) -> str:
        """What pytest calls the set, perhaps with another value of one parameter."""
        if self.given_id is not None:
            return self.given_id
        values = self.values | ({name: value} if name else {})
        return "-".join(_value_id(values[key], key, self.index) for key in self.nodes)


def parameter_sets(function: Function) -> list[ParameterSet]:
    """The sets of a test whose only parametrisation is written out in literals; none for any other."""
    calls = [d for d in function.decorator_list if isinstance(d, ast.Call) and called(d) == "parametrize"]
    if len(calls) != 1 or len(calls[0].args) != 2:
        return []
    names = _names(calls[0].args[0])
    rows = calls[0].args[1]
    ids = [word.value for word in calls[0].keywords if word.arg == "ids"]
    words = {word.arg for word in calls[0].keywords} - {"ids"}
    if not names or words or not isinstance(rows, ast.List | ast.Tuple):
        return []
    given = next(literal(ids[0]), None) if ids else [None] * len(rows.elts)
    if not isinstance(given, list | tuple) or len(given) != len(rows.elts):
        return []
    found = [_set(row, names, name, i) for i, (row, name) in enumerate(zip(rows.elts, given, strict=True))]
    sets = [one for one in found if one is not None]
    # pytest numbers sets of one name: then no name here would be right
    return sets if len(sets) == len(rows.elts) == len({one.id() for one in sets}) else []


def _names(node: ast.expr) -> list[str]:
    [*found] = literal(node)
    if found and isinstance(found[0], str):
        return [name.strip() for name in found[0].split(",") if name.strip()]
    if found and isinstance(found[0], list | tuple) and all(isinstance(name, str) for name in found[0]):
        return list(found[0])
    return []


def _set(row: ast.expr, names: Sequence[str], given: Any, index: int) -> ParameterSet | None:
    if isinstance(row, ast.Call) and called(row) == "param":
        own = [v for word in row.keywords if word.arg == "id" for v in literal(word.value)]
        # marks (skip, xfail) make another test of it
        if any(word.arg != "id" for word in row.keywords) or (row.keywords and not own):
            return None
        given, nodes = own[0] if own else given, list(row.args)
    elif len(names) == 1:
        nodes = [row]
    elif isinstance(row, ast.Tuple | ast.List):
        nodes = list(row.elts)
    else:
        return None
    values = list(_all(nodes))
    if len(nodes) != len(names) or len(values) != len(names) or not isinstance(given, str | None):
        return None
    by_name = dict(zip(names, nodes, strict=True))
    return ParameterSet(by_name, dict(zip(names, values, strict=True)), given, index)


def _all(nodes: Sequence[ast.expr]) -> Iterator[Any]:
    for node in nodes:
        yield from literal(node)


def _value_id(value: Any, name: str, index: int) -> str:
    """As pytest names a value: written out when it is simple, by its parameter and place when not."""
    match value:
        case str():
            return value.encode("unicode_escape").decode("ascii")
        case bytes():
            return value.decode("latin-1").encode("unicode_escape").decode("ascii")
        case bool() | int() | float() | complex() | None:
            return str(value)
        case _:
            return f"{name}{index}"
