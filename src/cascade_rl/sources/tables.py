"""Problems from tables: files of rows, of packages, sets on a hub (see `parts`), in every domain.

Each row of every split is read, mapped and checked, and each is counted: in its split, in another, bad, or
left out by its map, or
with an id that came before. Files come from outside, so bad rows are named by place and reason; they refuse
the whole table unless `bad_rows: skip` was said, and also where they are too many for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cascade_rl.domain import Domain, Query
from cascade_rl.errors import AnswerError, InputError
from cascade_rl.recipe.tables import Reading, refusal
from cascade_rl.sources.columns import LeftOut, RowError, shown
from cascade_rl.sources.maps import map_of
from cascade_rl.sources.parts import parts
from cascade_rl.sources.rows import FORM, problem_of
from cascade_rl.sources.splits import split_said
from cascade_rl.types import Problem, Split, Tally

MOST_NAMED = 3  # bad rows; a file in the wrong format is wrong in all of them


@dataclass(frozen=True, slots=True)
class Mapped:
    """A row before and after: without a problem `fault` says why. `split` None is every split.

    A row that is `left_out` is not bad: its map is for rows of another kind.
    """

    place: str
    row: Mapping[str, Any] | None
    problem: Problem | None = None
    split: Split | None = None
    fault: str = ""
    left_out: bool = False


@dataclass(slots=True)
class _Counts:
    """What is known of a table while it is read."""

    read: int = 0
    bad: int = 0
    places: list[str] = field(default_factory=list)
    repeated: int = 0
    elsewhere: int = 0
    left_out: int = 0
    chosen: dict[str, Problem] = field(default_factory=dict)

    def tally(self, source: str) -> Tally:
        kept, places = len(self.chosen), tuple(self.places)
        empty = self.left_out
        return Tally(source, self.read, self.bad, places, self.repeated, self.elsewhere, kept, empty=empty)

    def add(self, mapped: Mapped, split: Split | None) -> None:
        """Count a row; `split` is the one that is asked for, None for all."""
        self.read += 1
        if mapped.left_out:
            self.left_out += 1
        elif mapped.problem is None:
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

    Raises InputError, which names the first bad rows, unless the query skips as many.
    """
    counts = _Counts()
    for mapped in mapped_rows(query.source, query.domain, query.reading):
        counts.add(mapped, query.split)
    tally = counts.tally(query.source)
    if refused := refusal(counts.bad, counts.read, query.reading.bad_rows):
        raise InputError("\n".join([*tally.places, refused]))
    query.tell(tally)
    # a sample of all is a shuffle that leaves the list as it is
    yield from query.rng().sample(list(counts.chosen.values()), len(counts.chosen))


def tally_of(source: str, mapped: Iterable[Mapped]) -> Tally:
    """The counts of rows of all splits together."""
    counts = _Counts()
    for row in mapped:
        counts.add(row, None)
    return counts.tally(source)


def mapped_rows(source: str, domain: Domain, reading: Reading) -> Iterator[Mapped]:
    """Every row of a table, in the order of its files, as a problem of the domain or with the reason why not.

    Raises InputError when there is no such file or map, or a file can't be read to its end.
    """
    convert = map_of(reading.map)
    for part in parts(source):
        try:
            for row in part.rows():
                if row.value is None:
                    yield Mapped(row.place, None, fault=_form(row.fault, reading))
                else:
                    yield _mapped(row.place, row.value, convert, domain, part.label, reading)
        except InputError as error:
            raise InputError(f"{domain.name}: {error}") from None


def _form(fault: str, reading: Reading) -> str:
    return f"want {FORM}: {fault}" if reading.map is None else fault


def _hashed(made: Mapping[str, Any], problem: Problem) -> str:
    """The text whose hash decides the split: what the row or its map names, or the prompt."""
    said = made.get("split_by")
    if said is None or said == "":
        return problem.prompt_text
    if not isinstance(said, str):
        raise RowError(f"split_by: want a text, not {shown(said)}")
    return said


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
        # as it is, a row may name its split itself
        named = made["split"] if made.get("split") not in (None, "") else row.get("split")
        split = split_said(row, reading.split, named, lambda: _hashed(made, problem))
        return Mapped(place, row, problem, split)
    except LeftOut as error:
        return Mapped(place, row, fault=str(error), left_out=True)
    except AnswerError as error:
        return Mapped(place, row, fault=f"answer: {error}")
    except InputError as error:
        return Mapped(place, row, fault=_form(str(error), reading))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        return Mapped(place, row, fault=_form(repr(error), reading))
