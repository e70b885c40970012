"""How the rows of a table are read, as a recipe says it: the keys that go with a source of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator

# What stands before the colon of a source that is a table of rows, and what follows it.
SCHEMES: Mapping[str, str] = {
    **dict.fromkeys(("jsonl", "json", "csv", "parquet", "file"), "PATH"),
    "package": "NAME/PATH",
    "hub": "ORG/NAME@REVISION#SPLIT",
}
FORMS = tuple(f"{scheme}:{rest}" for scheme, rest in SCHEMES.items())

# The named maps of own pairs.
PAIR_MAPS = ("trl-preference", "hh-preference", "helpsteer")
# The share of bad rows that `skip` alone leaves out: where most are bad, the map is wrong, not the rows.
MOST_SKIPPED = 0.5


def _readable(said: object) -> object:
    """What `bad_rows` may be, in one message: the alternatives of a union would each have their own."""
    share = said.get("skip") if isinstance(said, dict) and len(said) == 1 else None
    fits = isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1
    if said not in (None, "strict", "skip") and not fits:
        raise ValueError("want strict, skip, or {skip: 0.05}: the largest share of rows that may be left out")
    return said


MapKey = str | dict[str, Any] | None
BadRows = Annotated[str | dict[str, float] | None, BeforeValidator(_readable)]


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows become problems.

    map       the name of a map, or a mapping of fields to operations; None takes rows as they are
    split     `all`: each row in every split; `hash`: by a hash of its prompt; `hash-rl`: the same, but what
              that gives to SFT is RL's; else the column that says it. None takes the column `split`, and
              the hash where a row has none
    bad_rows  `skip` leaves them out, counted, up to a half of all, `{skip: SHARE}` up to that share; else
              they refuse the table
    """

    map: str | Mapping[str, Any] | None = None
    split: str | None = None
    bad_rows: BadRows = None

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


def refusal(bad: int, read: int, said: BadRows) -> str | None:
    """Why so many bad rows refuse a table, with the mend; None where they are none or may be left out."""
    if not bad:
        return None
    counted = f"{bad} of {read} rows are bad"
    if said in (None, "strict"):
        return f"{counted}: mend them, or bad_rows: skip leaves them out"
    most = said["skip"] if isinstance(said, dict) else MOST_SKIPPED
    if bad / read <= most:
        return None
    shown = f"{{skip: {most:g}}}" if isinstance(said, dict) else "skip"
    return (
        f"{counted}, and bad_rows: {shown} leaves out {int(most * read + 1e-9)} at most: mend them or the "
        "map, or raise the share in bad_rows: {skip: SHARE}"
    )


def is_none(value: object) -> bool:
    """Whether a key was not given."""
    return value is None


def is_false(value: object) -> bool:
    """Whether a switch is off."""
    return value is False


def one_of(*names: str | None) -> Callable[[object], object]:
    """A check of a `map` that is one of these names or a mapping; in one message, as `_readable`."""

    def check(said: object) -> object:
        if isinstance(said, dict) or said in names:
            return said
        known = ", ".join(repr(name) for name in names if name)
        raise ValueError(f"Input should be {known}, or a mapping of fields to operations")

    return check


def of_a_table(source: str) -> bool:
    """Whether a source is read from files of rows."""
    return source.partition(":")[0] in SCHEMES


def table_only(source: str) -> str:
    """The source; ValueError if it is not read from files of rows."""
    if not of_a_table(source) or source.endswith(":"):
        raise ValueError(f"the rows hold what is trained on: source must be one of {', '.join(FORMS)}")
    return source


def reading_of(block: TableKeys) -> Reading:
    """How a block wants its rows read."""
    return Reading(block.map, block.split, block.bad_rows)
