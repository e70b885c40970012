"""How the rows of a table are read, as a recipe says it: the keys that go with a source of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

# what stands before the colon of a source that is a table of rows
SCHEMES = ("jsonl", "json", "csv", "parquet", "file")

MapKey = str | dict[str, Any] | None
BadRows = Literal["strict", "skip"] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows become problems.

    map       the name of a map, or a mapping of fields to operations; None takes rows as they are
    split     `all`: each row in every split; `hash`: by a hash of its prompt; `hash-rl`: the same, but what
              that gives to SFT is RL's; else the column that says it. None takes the column `split`, and
              the hash where a row has none
    bad_rows  `skip` leaves them out, counted; else they refuse the table
    """

    map: str | Mapping[str, Any] | None = None
    split: str | None = None
    bad_rows: BadRows = None

    @property
    def skip(self) -> bool:
        """Whether bad rows are left out."""
        return self.bad_rows == "skip"

    def told(self) -> list[str]:
        """The keys that were said."""
        return [key for key in ("map", "split", "bad_rows") if getattr(self, key) is not None]


AS_IT_IS = Reading()


class TableKeys(Protocol):
    """A block of a recipe that draws problems, perhaps from a table."""

    @property
    def source(self) -> str: ...
    @property
    def map(self) -> MapKey: ...
    @property
    def split(self) -> str | None: ...
    @property
    def bad_rows(self) -> BadRows: ...


def of_a_table(source: str) -> bool:
    """Whether a source is read from files of rows."""
    return source.partition(":")[0] in SCHEMES


def table_only(source: str) -> str:
    """The source; ValueError if it is not read from files of rows."""
    if not of_a_table(source) or source.endswith(":"):
        known = ", ".join(f"{scheme}:PATH" for scheme in SCHEMES)
        raise ValueError(f"the rows hold what is trained on: source must be one of {known}")
    return source


def reading_of(block: TableKeys) -> Reading:
    """How a block wants its rows read."""
    return Reading(block.map, block.split, block.bad_rows)
