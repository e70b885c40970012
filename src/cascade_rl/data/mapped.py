"""All rows of a table of a user's own through their map, in memory."""

from __future__ import annotations

from typing import TypeVar

from cascade_rl.recipe.tables import BadRows
from cascade_rl.sources.own_rows import Counts, Made, own_rows, refuse_bad
from cascade_rl.types import Tally

T = TypeVar("T")


def mapped(source: str, one: Made[T], bad_rows: BadRows) -> tuple[list[T], Tally]:
    """What the map makes of the rows of a source, in their order, and what became of all of them."""
    counts = Counts[T]()
    made = [counts.add(row) for row in own_rows(source, one)]
    tally = counts.tally(source)
    refuse_bad(tally, bad_rows)
    return [item for item in made if item is not None], tally
