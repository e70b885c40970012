"""Rows of a table before and after their map: what `cascade data show` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from cascade_rl.data.show_lengths import LengthCount, Lengths
from cascade_rl.data.show_model import Reader
from cascade_rl.domain import Domain
from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import FORMS, Reading, of_a_table
from cascade_rl.sources.tables import Mapped, mapped_rows, tally_of
from cascade_rl.types import Problem, Tally


@dataclass(frozen=True, slots=True)
class Shown:
    """The first rows of a table, what became of all of them, whatever their split, and how long they are.

    `lengths` is None where nobody counts tokens.
    """

    rows: tuple[Mapped, ...]
    tally: Tally
    lengths: Lengths | None = None


def show(
    source: str,
    domain: Domain,
    reading: Reading,
    count: int,
    reader: Reader,
    limit: int | None = None,
) -> Shown:
    """The first `count` rows of a table in the order of its files, bad ones with their reasons.

    Where the reader counts tokens all prompts are read, `limit` is the most that one may have, and a row that
    the model's template can't write is bad. Raises InputError when the source is no table or can't be read.
    """
    if not of_a_table(source) or not source.partition(":")[2]:
        raise InputError(f"{source} is no table of rows; those are {', '.join(FORMS)}")
    first: list[Mapped] = []
    counted = LengthCount("prompts", limit)

    def keeping() -> Iterator[Mapped]:
        rows = mapped_rows(source, domain, reading)
        for mapped in rows:
            if reader.counts and mapped.problem is not None:
                mapped = _counted(mapped, mapped.problem, reader, counted)
            if len(first) < count:
                first.append(mapped)
            yield mapped

    tally = tally_of(source, keeping())
    return Shown(tuple(first), tally, counted.lengths())


def _counted(mapped: Mapped, problem: Problem, reader: Reader, counted: LengthCount) -> Mapped:
    try:
        counted.add(reader.prompt(problem).tokens or 0)
    except InputError as error:
        return replace(mapped, problem=None, fault=str(error))
    return mapped


def as_json(problem: Problem) -> dict[str, Any]:
    """A mapped row, as `--json` prints it."""
    messages = [{"role": m.role, "content": m.content} for m in problem.messages]
    return {"id": problem.id, "messages": messages, "answer": problem.answer, "mode": str(problem.mode)}
