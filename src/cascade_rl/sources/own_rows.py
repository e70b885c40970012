"""Rows turned by a map into what a stage trains on, each counted: nothing vanishes, bad ones are named.

Rows that become problems of a domain are read by `tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import BadRows, refusal
from cascade_rl.sources.parts import Part, parts
from cascade_rl.types import Tally

MOST_NAMED = 3  # bad rows; a file of another shape is wrong in all of them

T = TypeVar("T")


class Elsewhere(Enum):
    """What a map makes of a row that belongs to another split."""

    ELSEWHERE = "elsewhere"


# None of a map is a row that says nothing, such as a tie
Made = Callable[[Mapping[str, Any]], T | Elsewhere | None]


@dataclass(frozen=True, slots=True)
class OwnRow(Generic[T]):
    """A row before and after its map; bad where `fault` says why.

    `row` is None where the file is broken there, `made` too where the row is fine and says nothing, or is
    `elsewhere`, in another split.
    """

    place: str
    row: Mapping[str, Any] | None
    made: T | None = None
    fault: str = ""
    elsewhere: bool = False


def own_rows(source: str, one: Made[T]) -> Iterator[OwnRow[T]]:
    """Every row of a table through a map.

    Raises InputError for what can't be read.
    """
    for part in parts(source):
        yield from rows_of_part(part, one)


def rows_of_part(part: Part, one: Made[T]) -> Iterator[OwnRow[T]]:
    """Every row of one part of a table through a map."""
    for row in part.rows():
        if row.value is None:
            yield OwnRow(row.place, None, fault=row.fault)
            continue
        try:
            made = one(row.value)
        except InputError as error:
            yield OwnRow(row.place, row.value, fault=str(error))
            continue
        if isinstance(made, Elsewhere):
            yield OwnRow(row.place, row.value, elsewhere=True)
        else:
            yield OwnRow(row.place, row.value, made)


@dataclass(slots=True)
class Counts(Generic[T]):
    """What became of the rows of a table while it is read: good, bad, elsewhere, or saying nothing."""

    read: int = 0
    good: int = 0
    elsewhere: int = 0
    bad: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, row: OwnRow[T]) -> T | None:
        """Count a row; what the map made of it."""
        self.read += 1
        if row.fault:
            self.bad += 1
            self.places += [f"{row.place}: {row.fault}"] if self.bad <= MOST_NAMED else []
            return None
        self.elsewhere += row.elsewhere
        self.good += row.made is not None
        return row.made

    def tally(self, source: str) -> Tally:
        """The counts of a source."""
        empty = self.read - self.bad - self.good - self.elsewhere
        places = tuple(self.places)
        return Tally(source, self.read, self.bad, places, 0, self.elsewhere, self.good, empty=empty)


def counted(source: str, mapped: Iterable[OwnRow[T]]) -> Tally:
    """How many of some rows are good, bad, elsewhere or say nothing; none is kept."""
    counts = Counts[T]()
    for row in mapped:
        counts.add(row)
    return counts.tally(source)


def refuse_bad(tally: Tally, bad_rows: BadRows) -> None:
    """Raise InputError, which names up to three rows with reasons, for more bad rows than may be left out.

    Also when there is nothing else.
    """
    if refused := refusal(tally.bad, tally.read, bad_rows):
        raise InputError("\n".join([*tally.places, refused]))
    if not tally.kept:
        raise InputError(f"none of the rows can be used: {tally.line()}")
