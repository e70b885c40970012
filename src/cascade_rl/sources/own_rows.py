"""Rows turned by a map into what a stage trains on, each counted: nothing vanishes, bad ones are named.

Rows that become problems of a domain are read by `tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cascade_rl.errors import InputError
from cascade_rl.sources.formats import files, rows
from cascade_rl.types import Tally

MOST_NAMED = 3  # bad rows; a file of another shape is wrong in all of them

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnTable(Generic[T]):
    """What the map made of the rows of a source, in their order, and what became of all of them."""

    items: tuple[T, ...]
    tally: Tally


def own_table(source: str, one: Callable[[Mapping[str, Any]], T | None], *, skip: bool) -> OwnTable[T]:
    """The rows of a table, mapped; None of the map is a row that says nothing, such as a pair that is a tie.

    Raises InputError, which names up to three rows with reasons, when rows are bad and not to be skipped;
    also when there is nothing else.
    """
    scheme, _, pattern = source.partition(":")
    items: list[T] = []
    bad: list[str] = []
    read = 0
    for row in (row for path in files(pattern) for row in rows(scheme, path)):
        read += 1
        try:
            made = None if row.value is None else one(row.value)
        except InputError as error:
            bad.append(f"{row.place}: {error}")
            continue
        if row.value is None:
            bad.append(f"{row.place}: {row.fault}")
        elif made is not None:
            items.append(made)
    if bad and not (skip and items):
        raise InputError(f"{len(bad)} of {read} rows can't be used: {_first(bad)}")
    if not items:
        raise InputError(f"{source}: none of its {read} rows can be used")
    empty = read - len(bad) - len(items)
    beside = (f"{empty} without a preference",) if empty else ()
    return OwnTable(
        tuple(items), Tally(source, read, len(bad), tuple(bad[:MOST_NAMED]), 0, 0, len(items), beside=beside)
    )


def _first(bad: list[str]) -> str:
    more = f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
    return "; ".join(bad[:MOST_NAMED]) + f"{more}; bad_rows: skip leaves them out"
