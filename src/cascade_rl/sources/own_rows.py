"""Rows turned by a map into what a stage trains on, each counted: nothing vanishes, bad ones are named.

Rows that become problems of a domain are read by `tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from cascade_rl.errors import InputError
from cascade_rl.sources.formats import files, rows
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


def own_rows(source: str, one: Callable[[Mapping[str, Any]], T | None]) -> Iterator[OwnRow[T]]:
    """Every row of a table through a map; None of the map is a row that says nothing, such as a tie.

    Raises InputError for files that can't be read.
    """
    scheme, _, pattern = source.partition(":")
    for path in files(pattern):
        yield from rows_of_file(scheme, path, one)


def rows_of_file(
    scheme: str, path: Path, one: Callable[[Mapping[str, Any]], T | None]
) -> Iterator[OwnRow[T]]:
    """Every row of one file through a map."""
    for row in rows(scheme, path):
        if row.value is None:
            yield OwnRow(row.place, None, fault=row.fault)
            continue
        try:
            yield OwnRow(row.place, row.value, one(row.value))
        except InputError as error:
            yield OwnRow(row.place, row.value, fault=str(error))


@dataclass(slots=True)
class Counts(Generic[T]):
    """What became of the rows of a table while it is read: good, bad, or saying nothing."""

    read: int = 0
    good: int = 0
    places: list[str] = field(default_factory=list)
    bad: int = 0

    def add(self, row: OwnRow[T]) -> T | None:
        """Count a row; what the map made of it."""
        self.read += 1
        if row.fault:
            self.bad += 1
            self.places += [f"{row.place}: {row.fault}"] if self.bad <= MOST_NAMED else []
            return None
        self.good += row.made is not None
        return row.made

    def tally(self, source: str) -> Tally:
        """The counts of a source."""
        empty = self.read - self.bad - self.good
        beside = (f"{empty} without a preference",) if empty else ()
        return Tally(source, self.read, self.bad, tuple(self.places), 0, 0, self.good, beside=beside)


def counted(source: str, mapped: Iterable[OwnRow[T]]) -> Tally:
    """How many of some rows are good, bad or say nothing; none is kept."""
    counts = Counts[T]()
    for row in mapped:
        counts.add(row)
    return counts.tally(source)


def refuse_bad(tally: Tally, *, skip: bool, of: str = "") -> None:
    """Raise InputError, which names up to three rows with reasons, for bad rows that are not to be skipped.

    Also when there is nothing else. `of` says which rows were read where it was not all of them.
    """
    if tally.bad and not (skip and tally.kept):
        more = f"; and {tally.bad - MOST_NAMED} more" if tally.bad > MOST_NAMED else ""
        raise InputError(
            f"{tally.bad} of {of}{tally.read} rows can't be used: {'; '.join(tally.places)}{more}; "
            "bad_rows: skip leaves them out"
        )
    if not tally.kept:
        raise InputError(f"{tally.source}: none of its {tally.read} rows can be used")
