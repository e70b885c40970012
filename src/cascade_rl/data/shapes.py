"""What the rows of a table are: every named map is tried on them, and the domain's check of answers.

Looked at are the first rows; how many fit is told for each map, the best first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from cascade_rl.data.own_shapes import own_chat_maps, own_maps, own_pair_maps
from cascade_rl.domain import Domain
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.sources.maps import map_of
from cascade_rl.sources.own_maps import chat_map, pair_map
from cascade_rl.sources.parts import parts
from cascade_rl.sources.rows import problem_of

Kind = Literal["chats", "pairs", "problems"]
KINDS: tuple[Kind, ...] = ("chats", "pairs", "problems")
Row = Mapping[str, Any]

LOOKED_AT = 1000  # rows of a source
# of them, for maps that may fit none: a file of another shape is wrong in all of them
FIRST = 40
# Maps by what they need, the more particular first: of two that fit as many rows the earlier is meant.
CHATS = ("nemotron-sft", "openai-chat", "sharegpt")
PAIRS = ("helpsteer", "trl-preference", "hh-preference")
PROBLEMS = (
    ("gsm8k", "maths"),
    ("math", "maths"),
    ("asdiv", "maths"),
    ("nemotron-math", "maths"),
    ("livecodebench", "coding"),
    ("apps", "coding"),
    ("ifeval", "following"),
    ("nemotron-if", "following"),
    ("if-rlvr", "following"),
    ("multiple-choice", "multiple_choice"),
    ("nemotron-swe", "swe"),
    ("swe-bench", "swe"),
    ("xlam", "tools"),
)
# rows of our own form or of verl's may be of any domain: the one that asks most of an answer first
STRICTEST = ("swe", "tools", "coding", "following", "multiple_choice", "maths", "alignment")


@dataclass(frozen=True, slots=True)
class Fit:
    """How many of the rows a map makes something of; `fault` is why the first other row does not fit.

    `map` is a name, an own mapping, or None for rows that are problems as they stand; `domain` is None
    for chats and pairs.
    """

    kind: Kind
    map: str | Mapping[str, Any] | None
    domain: str | None
    rows: int
    of: int
    fault: str = ""

    def named(self) -> str:
        """The map and its domain, for people."""
        name = "own map" if isinstance(self.map, Mapping) else self.map or "rows as they are"
        return f"{name} ({self.domain})" if self.domain else name


@dataclass(frozen=True, slots=True)
class Shape:
    """The first rows of a source, how many of them are broken, and what they fit, the best first."""

    source: str
    rows: tuple[Row, ...]
    broken: int
    fits: tuple[Fit, ...]

    @property
    def looked(self) -> int:
        """How many rows were looked at."""
        return len(self.rows) + self.broken

    def best(self, kinds: Collection[Kind] = KINDS) -> Fit | None:
        """What most rows fit of these kinds, if half of them do: less is chance."""
        fits = [fit for fit in self.fits if fit.kind in kinds and 2 * fit.rows >= self.looked]
        return fits[0] if fits else None

    def columns(self) -> list[str]:
        """The names of all columns, in the order in which they come."""
        return list(dict.fromkeys(str(name) for row in self.rows for name in row))


def shape_of(source: str, domain: str | None = None) -> Shape:
    """What the first rows of a source fit; with a `domain` problems are looked for in that one alone.

    Raises InputError when the source can't be read.
    """
    read = list(islice((row for part in parts(source) for row in part.rows()), LOOKED_AT))
    values = tuple(row.value for row in read if row.value is not None)
    broken = len(read) - len(values)
    if not values:
        why = f": {read[0].place}: {read[0].fault}" if read else ""
        raise InputError(f"{source} has no row that can be read{why}")
    fits = [fit for fit in _named(values, len(read), domain) if fit.rows]
    if not any(2 * fit.rows >= len(read) for fit in fits):
        fits += [fit for fit in _own(values, len(read), domain) if fit.rows]
    # a stable sort: of those that fit as many rows the more particular comes first
    return Shape(source, values, broken, tuple(sorted(fits, key=lambda fit: -fit.rows)))


def _named(values: Sequence[Row], of: int, domain: str | None) -> Iterator[Fit]:
    if domain is None:
        for name in CHATS:
            yield _fit("chats", name, None, chat_map(name), values, of)
        for name in PAIRS:
            yield _fit("pairs", name, None, pair_map(name), values, of)
    for name, home in PROBLEMS:
        if domain in (None, home):
            yield _fit("problems", name, home, _maker(name, load_domain(home)), values, of)
    for said in (None, "verl"):
        for home in (domain,) if domain else STRICTEST:
            yield _fit("problems", said, home, _maker(said, load_domain(home)), values, of)


def _own(values: Sequence[Row], of: int, domain: str | None) -> Iterator[Fit]:
    """Maps of own operations that the names of columns suggest, of each kind the one that fits most rows."""
    tried: list[list[Fit]] = []
    for home in (domain,) if domain else ("multiple_choice", "maths"):
        made = own_maps(values, home)
        tried.append([_fit("problems", m, home, _maker(m, load_domain(home)), values, of) for m in made])
    if domain is None:
        tried.append([_fit("pairs", m, None, pair_map(m), values, of) for m in own_pair_maps(values)])
        tried.append([_fit("chats", m, None, chat_map(m), values, of) for m in own_chat_maps(values)])
    for fits in tried:
        yield from sorted(fits, key=lambda fit: -fit.rows)[:1]


def _maker(said: str | Mapping[str, Any] | None, domain: Domain) -> Callable[[Row], object]:
    convert = map_of(said)
    return lambda row: problem_of(convert(row), domain, "row")


def _fit(
    kind: Kind,
    said: str | Mapping[str, Any] | None,
    domain: str | None,
    make: Callable[[Row], object],
    values: Sequence[Row],
    of: int,
) -> Fit:
    fitting, fault = 0, ""
    for number, row in enumerate(values):
        # no use in going on through a file of another shape
        if number == FIRST and not fitting:
            break
        try:
            make(row)
            fitting += 1
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            fault = fault or (str(error) if isinstance(error, InputError) else repr(error))
    return Fit(kind, said, domain, fitting, of, fault)
