"""The kinds of answers: values that say how an answer is built from texts of single expressions."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Words:
    """Text that is no mathematics, case and spacing folded."""

    text: str


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day; `half` is am, pm or empty where that isn't said."""

    hour: int
    minute: int
    half: str = ""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One expression; `unit` is folded text."""

    text: str
    unit: str = ""
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Based:
    """A numeral in a base that it names."""

    value: int
    base: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """`a:b` or `a:b:c`; `spoken` if it is `a to b`, which may mean a range as well."""

    items: tuple[str, ...]
    spoken: bool = False


@dataclass(frozen=True, slots=True)
class Many:
    """Alternatives or a set, without order; `braced` when it is a set, `joins` what stands between."""

    items: tuple[Answer, ...]
    braced: bool = False
    joins: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Row:
    """Items in brackets: a point, a vector or an interval."""

    opening: str
    items: tuple[Answer, ...]
    closing: str


@dataclass(frozen=True, slots=True)
class Named:
    """Values by name, as in `x=1, y=2` or, then a `row`, `(x,y)=(1,2)`."""

    names: tuple[str, ...]
    values: tuple[str, ...]
    row: bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of a matrix; `kind` tells determinants from matrices."""

    kind: str
    rows: tuple[tuple[Answer, ...], ...]


@dataclass(frozen=True, slots=True)
class Sets:
    """Intervals and sets joined by `sign`: ∪, ∩ or ∖, the last from left to right."""

    sign: str
    items: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Builder:
    """All `name` for which `condition` holds; `text` is the whole."""

    text: str
    name: str
    condition: Answer


@dataclass(frozen=True, slots=True)
class Chain:
    """Sides of equations or inequalities and the signs between them."""

    sides: tuple[str, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Over:
    """An answer for all `names` in a set of numbers such as Z."""

    answer: Answer
    names: str
    numbers: str


@dataclass(frozen=True, slots=True)
class Pieces:
    """Values under conditions."""

    pieces: tuple[tuple[Answer, Answer], ...]


Answer = (
    Words
    | Clock
    | Scalar
    | Based
    | Ratio
    | Many
    | Row
    | Named
    | Matrix
    | Sets
    | Builder
    | Chain
    | Over
    | Pieces
)
