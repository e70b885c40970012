"""Problems from tables: `jsonl:PATH`, `json:PATH`, `csv:PATH`, `parquet:PATH`, in every domain.

Each row of every split is read, mapped and checked, and each is counted: in its split, in another, bad, or
with an id that came before. Files come from outside, so bad rows are named by place and reason; unless
`bad_rows: skip` was said they refuse the whole table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade_rl.domain import Domain, Query
from cascade_rl.errors import AnswerError, InputError
from cascade_rl.recipe.tables import Reading
from cascade_rl.sources.columns import RowError, shown
from cascade_rl.sources.formats import files, rows
from cascade_rl.sources.maps import map_of
from cascade_rl.sources.rows import FORM, problem_of
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Problem, Split, Tally

MOST_NAMED = 3  # bad rows; a file in the wrong format is wrong in all of them


@dataclass(frozen=True, slots=True)
class Mapped:
    """A row before and after: without a problem `fault` says why. `split` None is every split."""

    place: str
    row: Mapping[str, Any] | None
    problem: Problem | None = None
    split: Split | None = None
    fault: str = ""


@dataclass(slots=True)
class _Counts:
    """What is known of a table while it is read."""

    read: int = 0
    bad: int = 0
    places: list[str] = field(default_factory=list)
    repeated: int = 0
    elsewhere: int = 0
    chosen: dict[str, Problem] = field(default_factory=dict)

    def tally(self, source: str) -> Tally:
        places = tuple(self.places)
        return Tally(source, self.read, self.bad, places, self.repeated, self.elsewhere, len(self.chosen))

    def add(self, mapped: Mapped, split: Split | None) -> None:
        """Count a row; `split` is the one that is asked for, None for all."""
        self.read += 1
        if mapped.problem is None:
            self.bad += 1
            if len(self.places) < MOST_NAMED:
                self.places.append(f"{mapped.place}: {mapped.fault}")
        elif split is not None and mapped.split not in (None, split):
            self.elsewhere += 1
        elif mapped.problem.id in self.chosen:
            # the first of rows with one id stays; the file's order decides
            self.repeated += 1
        else:
            self.chosen[mapped.problem.id] = mapped.problem


def from_table(query: Query) -> Iterator[Problem]:
    """The rows of the split in the order of the seed, no id twice.

    Raises InputError, which names the first bad rows, unless the query skips them.
    """
    counts = _Counts()
    for mapped in mapped_rows(query.source, query.domain, query.reading):
        counts.add(mapped, query.split)
    tally = counts.tally(query.source)
    if counts.bad and not query.reading.skip:
        raise InputError(_refusal(tally))
    query.tell(tally)
    # a sample of all is a shuffle that leaves the list as it is
    yield from query.rng().sample(list(counts.chosen.values()), len(counts.chosen))


def tally_of(source: str, mapped: Iterable[Mapped]) -> Tally:
    """The counts of rows of all splits together."""
    counts = _Counts()
    for row in mapped:
        counts.add(row, None)
    return counts.tally(source)


def _refusal(tally: Tally) -> str:
    """The first bad rows of a table, a line each, and how many there are."""
    count = f"{tally.bad} of {tally.read} rows are bad: mend them, or bad_rows: skip leaves them out"
    return "\n".join([*tally.places, count])


def mapped_rows(source: str, domain: Domain, reading: Reading) -> Iterator[Mapped]:
    """Every row of a table, in the order of its files, as a problem of the domain or with the reason why not.

    Raises InputError when there is no such file or map, or a file can't be read to its end.
    """
    scheme, _, pattern = source.partition(":")
    found = files(pattern)
    convert = map_of(reading.map)
    names = labels(found)
    for path in found:
        try:
            for row in rows(scheme, path):
                if row.value is None:
                    yield Mapped(row.place, None, fault=_form(row.fault, reading))
                else:
                    yield _mapped(row.place, row.value, convert, domain, names[path], reading)
        except InputError as error:
            raise InputError(f"{domain.name}: {error}") from None


def labels(paths: list[Path]) -> dict[Path, str]:
    """A name for each file that stays when all move: the file's own, with folders where two are alike."""
    if len({path.name for path in paths}) == len(paths):
        return {path: path.name for path in paths}
    shared = os.path.commonpath([path.parent for path in paths])
    return {path: path.relative_to(shared).as_posix() for path in paths}


def _form(fault: str, reading: Reading) -> str:
    return f"want {FORM}: {fault}" if reading.map is None else fault


def _mapped(
    place: str,
    row: Mapping[str, Any],
    convert: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    domain: Domain,
    label: str,
    reading: Reading,
) -> Mapped:
    try:
        made = convert(row)
        problem = problem_of(made, domain, label)
        return Mapped(place, row, problem, _split(row, made, problem, reading.split))
    except AnswerError as error:
        return Mapped(place, row, fault=f"answer: {error}")
    except RowError as error:
        return Mapped(place, row, fault=_form(str(error), reading))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        return Mapped(place, row, fault=_form(repr(error), reading))


def _split(
    row: Mapping[str, Any], made: Mapping[str, Any], problem: Problem, asked: str | None
) -> Split | None:
    """The split of a row: its map's word, else that of the column, else a hash of its prompt."""
    if asked == "all":
        return None
    if asked in ("hash", "hash-rl"):
        found = split_of(problem.prompt_text)
        # where no SFT stage asks the file, its half would lie idle
        return Split.RL if asked == "hash-rl" and found is Split.SFT else found
    name = asked or "split"
    if asked and asked not in row:
        raise RowError(f"split: no column {asked!r}; it takes all, hash, hash-rl or the name of a column")
    said = row.get(name) if asked or made.get("split") in (None, "") else made["split"]
    if said is None or said == "":
        return split_of(problem.prompt_text)
    if said not in tuple(Split):
        known = ", ".join(Split)
        raise RowError(
            f"split: {shown(said)} is none of {known}; say split: hash or all, or let a map choose "
            f"({{column: {name}, choice: {{train: rl, test: heldout}}}})"
        )
    return Split(said)
