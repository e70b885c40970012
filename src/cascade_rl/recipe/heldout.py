"""What is held out of training to see on the way whether a stage learns what carries over."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cascade_rl.recipe.base import Positive, Strict
from cascade_rl.recipe.tables import BadRows, MapKey, is_none, one_of, table_only


class HeldoutRows(Strict):
    """Replies whose loss SFT measures: a `share` of its samples, by a hash of their prompts, or others.

    A share is by conversation: all that begins with the same user turn is on one side. At most `most` replies
    are measured, and no more are held out; before the first step, every `every` steps, and after the last.
    """

    share: Annotated[float, Field(gt=0, le=0.5)] | None = None
    source: Annotated[str, AfterValidator(table_only)] | None = None
    map: Annotated[MapKey, BeforeValidator(one_of("openai-chat", "sharegpt", "nemotron-sft", None))] = None
    bad_rows: BadRows = None
    # 256 replies of 500 tokens: the loss to about 2 %, in some seconds on a GPU
    most: Positive = 256
    every: Positive = 20

    @model_validator(mode="after")
    def _one_of(self) -> HeldoutRows:
        if (self.share is None) == (self.source is None):
            raise ValueError("give a share of the samples, or a source with its map")
        if self.source is None and (self.map or self.bad_rows):
            raise ValueError("map and bad_rows have no effect without a source; remove them")
        if self.source is not None and self.map is None:
            raise ValueError("a source needs a map, which says what its columns mean")
        return self


class HeldoutPairs(Strict):
    """How often a reward model's loss on its held-out pairs is measured: as the loss of SFT."""

    every: Positive = 20


def _short(raw: object) -> object:
    """`heldout: 0.02` is short for a share."""
    return {"share": raw} if isinstance(raw, int | float) and not isinstance(raw, bool) else raw


# left out of the record where it is not given, so that it is no change of older runs
RowsKey = Annotated[HeldoutRows | None, BeforeValidator(_short), Field(exclude_if=is_none)]
PairsKey = Annotated[HeldoutPairs | None, Field(exclude_if=is_none)]
