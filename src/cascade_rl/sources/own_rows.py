"""Rows turned by a map into what a stage trains on, each counted: nothing vanishes, bad ones are named.

Rows that become problems of a domain are read by `tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cascade_rl.errors import InputError
from cascade_rl.sources.parts import source_rows
from cascade_rl.types import Tally

MOST_NAMED = 3  # bad rows; a file of another shape is wrong in all of them

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnRow(Generic[T]):
    """A row before and after its map; bad where `fault` says why.

    `row` is None where the file is broken there, `made` too where the row is fine and says nothing.
    """

    place: str
    row: Mapping[str, Any] | None
    made: T | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class OwnTable(Generic[T]):
    """What the map made of the rows of a source, in their order, and what became of all of them."""

    items: tuple[T, ...]
    tally: Tally


def own_rows(source: str, one: Callable[[Mapping[str, Any]], T | None]) -> Iterator[OwnRow[T]]:
    """Every row of a table through a map; None of the map is a row that says nothing, such as a tie.

    Raises InputError for files that can't be read.
    """
    for row in source_rows(source):
        if row.value is None:
            yield OwnRow(row.place, None, fault=row.fault)
            continue
        try:
            yield OwnRow(row.place, row.value, one(row.value))
        except InputError as error:
            yield OwnRow(row.place, row.value, fault=str(error))


def own_table(source: str, one: Callable[[Mapping[str, Any]], T | None], *, skip: bool) -> OwnTable[T]:
    """All rows of a table, mapped and counted.

    Raises InputError, which names up to three rows with reasons, when rows are bad and not to be skipped;
    also when there is nothing else.
    """
    table = counted(source, own_rows(source, one))
    tally = table.tally
    if tally.bad and not (skip and table.items):
        more = f"; and {tally.bad - MOST_NAMED} more" if tally.bad > MOST_NAMED else ""
        raise InputError(
            f"{tally.bad} of {tally.read} rows can't be used: {'; '.join(tally.places)}{more}; "
            "bad_rows: skip leaves them out"
        )
    if not table.items:
        raise InputError(f"{source}: none of its {tally.read} rows can be used")
    return table


def counted(source: str, mapped: Iterable[OwnRow[T]]) -> OwnTable[T]:
    """What was made of some rows, and how many of them are good, bad or say nothing."""
    items: list[T] = []
    places: list[str] = []
    read = bad = 0
    for row in mapped:
        read += 1
        if row.fault:
            bad += 1
            places += [f"{row.place}: {row.fault}"] if bad <= MOST_NAMED else []
        elif row.made is not None:
            items.append(row.made)
    empty = read - bad - len(items)
    beside = (f"{empty} without a preference",) if empty else ()
    tally = Tally(source, read, bad, tuple(places), 0, 0, len(items), beside=beside)
    return OwnTable(tuple(items), tally)
