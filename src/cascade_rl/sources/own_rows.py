"""Rows turned into something else by a map, each counted: nothing vanishes, and wrong rows are named."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from cascade_rl.errors import InputError

MOST_NAMED = 3  # rows; a file of another shape is wrong in all of them

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mapped(Generic[T]):
    """What the rows of a source became.

    items  what the map made, in the order of the rows
    read   all rows
    bad    (place, reason) of those that the map refused
    empty  rows that are well formed and say nothing, such as a pair without a preference
    """

    items: tuple[T, ...]
    read: int
    bad: tuple[tuple[str, str], ...]
    empty: int

    def counted(self) -> str:
        """The counts, for people; what is 0 is left out."""
        parts = [f"{self.read} rows read", f"{len(self.items)} mapped"]
        parts += [f"{len(self.bad)} bad ({named(self.bad)})"] if self.bad else []
        parts += [f"{self.empty} without a preference"] if self.empty else []
        return ", ".join(parts)


def mapped(source: str, one: Callable[[Mapping[str, Any]], T | None], *, skip: bool = False) -> Mapped[T]:
    """The rows of a source, mapped; None of the map is an empty row.

    Raises InputError, which names up to three rows with reasons, when rows are bad and not to be skipped, or
    when there is nothing else.
    """
    items: list[T] = []
    bad: list[tuple[str, str]] = []
    count = empty = 0
    for place, row, fault in rows(source):
        count += 1
        try:
            if row is None:
                raise InputError(fault)
            made = one(row)
        except InputError as error:
            bad.append((place, str(error)))
        else:
            items += [] if made is None else [made]
            empty += made is None
    if bad and not (skip and items):
        raise InputError(f"{source}: {len(bad)} of {count} rows can't be used: {named(bad)}")
    if not items:
        raise InputError(f"{source}: none of its {count} rows can be used")
    return Mapped(tuple(items), count, tuple(bad), empty)


def named(bad: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> str:
    """The first of the bad rows with their reasons."""
    first = "; ".join(f"{place}: {why}" for place, why in bad[:MOST_NAMED])
    return first + (f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else "")


def rows(source: str) -> Iterator[tuple[str, Mapping[str, Any] | None, str]]:
    """(place, row, "") of each row of a source, or (place, None, fault) of one that can't be read."""
    scheme, _, pattern = source.partition(":")
    if scheme != "jsonl" or not pattern:
        raise InputError(f"{source} is no table of rows; those are jsonl:PATH")
    found = sorted(Path(path) for path in glob.glob(str(Path(pattern).expanduser())))
    for path in found or [Path(pattern)]:
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"can't read {path}: {error}") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _row(f"{path}:{number}", line)


def _row(place: str, line: str) -> tuple[str, Mapping[str, Any] | None, str]:
    try:
        value = json.loads(line)
    except ValueError as error:
        return place, None, f"no JSON: {error}"
    if not isinstance(value, dict):
        return place, None, f"the line holds {type(value).__name__}, not an object"
    return place, value, ""
