"""What can't be done with the data that were made and the model at hand, once both are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade_rl.cascade.lengths import refuse_long
from cascade_rl.cascade.spoken import refuse_unspoken
from cascade_rl.data.gather import Materials
from cascade_rl.errors import InputError
from cascade_rl.model.network import Network
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import Recipe, RewardModelStage


def refuse_made(
    recipe: Recipe, materials: Materials, config: Network, raw: Mapping[str, Any], tokenizer: Tokenizer
) -> None:
    """Raise a Mendable error for what can't be done with the data that were made and the model at hand."""
    refuse_stages(recipe, config, raw)
    refuse_unspoken(recipe, materials, tokenizer)
    refuse_long(recipe, materials, config.max_positions, tokenizer)


def refuse_stages(recipe: Recipe, config: Network, raw: Mapping[str, Any]) -> None:
    """Raise InputError when a stage wants an adapter or a reward model that the family has no place for."""
    for stage in recipe.stages:
        try:
            if stage.lora:
                config.adapted(stage.lora.targets)
            if isinstance(stage, RewardModelStage):
                config.classifier(raw)
        except InputError as error:
            raise InputError(f"stages.{stage.name}{'.lora' if stage.lora else ''}: {error}") from None
