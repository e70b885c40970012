"""The recipe's block on low-rank adapters."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from cascade_rl.recipe.base import Positive, Strict

# of Llama and the families like it, and what a model from scratch has
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class LoRA(Strict):
    """Train low-rank factors of the `targets` instead of the weights (arXiv 2106.09685).

    Their product times alpha / rank is added to the weight. Sampling, evaluation and the exported checkpoint
    see the merged weights; the adapter is saved beside them.
    """

    # PEFT's custom: alpha is twice the rank. Every projection is a target, embeddings and norms never are.
    rank: Positive = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    # Another family's are called otherwise: `model/` knows them, and takes ALL for all that it has.
    targets: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] = ALL

    @field_validator("targets")
    @classmethod
    def _no_twins(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("the same target stands twice")
        return value
