"""The kinds of stages that a recipe may have: a new one is named here, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import Field

from cascade_rl.recipe.base import tag_of
from cascade_rl.recipe.reward_model import RewardModelStage
from cascade_rl.recipe.rl import RLStage
from cascade_rl.recipe.sft import SFTStage
from cascade_rl.recipe.stage import StageSpec

# the tag of a kind is the Literal of its field `kind`; code for it is in `cascade/stage.py`
AnyStage = SFTStage | RewardModelStage | RLStage
Stage = Annotated[AnyStage, Field(discriminator="kind")]
STAGE_KINDS: dict[str, type[StageSpec]] = {tag_of(block): block for block in get_args(AnyStage)}


def kind_of(raw: Mapping[str, object]) -> type[StageSpec] | None:
    """The kind of a raw stage, or None if it names none that there is."""
    kind = raw.get("kind")
    return STAGE_KINDS.get(kind) if isinstance(kind, str) else None
