"""How an RL stage turns rewards into an update: advantage, loss, aggregation, corrections.

Formulas and sources stand in docs/algorithms.md. Each key is one choice. A value that would have no effect
beside the others, or that would change what another one means, is an error that says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cascade_rl.recipe.base import Positive, Strict

# clip_low and clip_high of each loss, if the recipe gives none: DAPO (arXiv 2503.14476, clip-higher); no
# lower bound and ratios up to 5 (ScaleRL, arXiv 2510.13786); GSPO (arXiv 2507.18071, section 5).
CLIPS = {"ppo_clip": (0.2, 0.28), "cispo": (1.0, 4.0), "gspo": (3e-4, 4e-4)}
# The bounds of each correction of rollout against trainer; IcePop's are its paper's (arXiv 2510.18855).
BOUNDS = {"tis": {"tis_cap": 2.0}, "icepop": {"icepop_low": 0.5, "icepop_high": 5.0}}


class Algorithm(Strict):
    """The RL keys that decide the gradient.

    `advantage: dr_grpo` leaves the standard deviation out. `aggregation`: `token` all tokens weigh the same,
    `sequence` all replies do, `constant` divides by replies x max_response_tokens (Dr. GRPO). With
    `updates_per_batch` above 1 the batch is split by prompts into as many parts, an update each, and `loss`
    says how the ratio to the policy that sampled is bounded. `rollout_correction` reweighs tokens whose
    probability differs between sampler and trainer. `kl_coefficient` weighs a k3 term against the stage's
    first weights. `reward_shaping: tanh` squashes z-scores inside the group.
    """

    # These five are the report's objective in every stage: one update a batch, z-scores, token mean, no KL.
    advantage: Literal["grpo", "dr_grpo"] = "grpo"
    loss: Literal["policy_gradient", "ppo_clip", "cispo", "gspo"] = "policy_gradient"
    clip_low: Annotated[float, Field(gt=0, le=1)] | None = None
    clip_high: Annotated[float, Field(gt=0)] | None = None
    updates_per_batch: Positive = 1
    aggregation: Literal["token", "sequence", "constant"] = "token"
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.0
    reward_shaping: Literal["none", "tanh"] = "none"
    rollout_correction: Literal["none", "tis", "icepop"] = "none"
    # None where a correction or a loss does not ask for it: a recipe then shows no bound that does nothing
    tis_cap: Annotated[float, Field(ge=1)] | None = None
    icepop_low: Annotated[float, Field(ge=0, lt=1)] | None = None
    icepop_high: Annotated[float, Field(gt=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_bounds(cls, raw: object) -> object:
        if not isinstance(raw, Mapping):
            return raw
        # Before validation, so that the resolved recipe shows the bounds, and its hash holds them.
        low, high = CLIPS.get(str(raw.get("loss")), (None, None))
        filled = {"clip_low": low, "clip_high": high} | BOUNDS.get(str(raw.get("rollout_correction")), {})
        return {**raw, **{k: v for k, v in filled.items() if v is not None and raw.get(k) is None}}

    @model_validator(mode="after")
    def _ratio(self) -> Algorithm:
        plain, once = self.loss == "policy_gradient", self.updates_per_batch == 1
        if plain and (extra := [k for k in ("clip_low", "clip_high") if getattr(self, k) is not None]):
            raise ValueError(
                f"{', '.join(extra)}: no effect with loss policy_gradient, which clips nothing; remove it"
            )
        if once and not plain:
            raise ValueError(
                f"loss {self.loss} has no effect with updates_per_batch 1: the ratio is 1 by construction, "
                "so that nothing is clipped; remove it or ask for more updates"
            )
        if plain and not once:
            raise ValueError(
                f"updates_per_batch {self.updates_per_batch} needs a loss that bounds the ratio to the "
                "policy that sampled: ppo_clip, cispo or gspo"
            )
        if self.loss == "gspo" and self.aggregation != "sequence":
            raise ValueError(
                "loss gspo has one ratio a reply, so that replies weigh the same: set aggregation: sequence"
            )
        return self

    @model_validator(mode="after")
    def _rewards(self) -> Algorithm:
        if self.advantage == "dr_grpo" and self.reward_shaping == "tanh":
            raise ValueError(
                "reward_shaping tanh squashes z-scores, but advantage dr_grpo has no standard deviation to "
                "make them with; use one of the two"
            )
        return self

    @model_validator(mode="after")
    def _correction(self) -> Algorithm:
        keys = [key for bounds in BOUNDS.values() for key in bounds]
        wanted = BOUNDS.get(self.rollout_correction, {})
        if extra := [key for key in keys if getattr(self, key) is not None and key not in wanted]:
            raise ValueError(
                f"{', '.join(extra)}: no effect with rollout_correction {self.rollout_correction}; remove it"
            )
        if self.rollout_correction != "none" and self.updates_per_batch > 1:
            raise ValueError(
                f"rollout_correction {self.rollout_correction} would count the difference twice: with "
                "more than one update the ratio is already taken against the rollout's log-probabilities"
            )
        return self
