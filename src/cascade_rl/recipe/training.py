"""What all stages share: optimiser, schedule, batching, saving."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cascade_rl.recipe.base import NAME, Fraction, Positive, Strict
from cascade_rl.recipe.lora import LoRA
from cascade_rl.recipe.tables import is_none
from cascade_rl.recipe.verl import Engine


class Training(Strict):
    """Optimiser, batching, saving. Learning rates are per step; without `lora` all weights are trained.

    `tokens_per_microbatch` bounds memory only: the gradient of a step does not depend on it.
    """

    name: Annotated[str, Field(pattern=NAME)]
    # None: as the run says. Left out of the record then, so that it is no change of older runs.
    engine: Annotated[Engine | None, Field(exclude_if=is_none)] = None
    optimizer: Literal["adamw", "muon"] = "adamw"
    # 2e-6: reward model (section 4.2 of arXiv 2512.13607), RLHF, IF-RL, math RL of the 8B model (tables 15
    # to 17). Code RL has 4e-6 (table 19), SWE RL 2.5e-6 (table 20), SFT 5e-5 and 2e-5 (8B, table 14).
    lr: Annotated[float, Field(gt=0)] = 2e-6
    muon_lr: Annotated[float, Field(gt=0)] | None = None
    # AdamW's betas in every stage of the report
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    # SFT has 1e-4 (table 14); for RL the report names neither decay nor warm-up nor schedule
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    # the report names no bound; 1 is the custom of most trainers
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    lora: LoRA | None = None
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    final_lr_fraction: Fraction = 0.0
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    # The step at which the schedule ends: 100K for SFT stages of 20K to 41K (table 14). None: the stage's
    # own steps. Left out of the record then, so that it is no change of older runs.
    schedule_steps: Annotated[Positive | None, Field(exclude_if=is_none)] = None
    # padding does not count: rows are packed
    tokens_per_microbatch: Positive = 4096
    # steps: what SIGKILL costs at most
    save_every: Positive = 10

    @model_validator(mode="after")
    def _optimizer_keys(self) -> Training:
        if self.optimizer == "muon" and self.muon_lr is None:
            raise ValueError(
                "optimizer muon needs muon_lr (for the matrices; lr is for embeddings and norms)"
            )
        if self.optimizer != "muon" and self.muon_lr is not None:
            raise ValueError("muon_lr has no effect with optimizer adamw; remove it or set optimizer: muon")
        if self.optimizer == "muon" and self.lora is not None:
            raise ValueError(
                "muon orthogonalises whole matrices, lora trains thin factors: set optimizer: adamw"
            )
        if self.schedule == "constant" and self.final_lr_fraction:
            raise ValueError("final_lr_fraction has no effect with schedule constant")
        if self.schedule == "constant" and self.schedule_steps is not None:
            raise ValueError("schedule_steps has no effect with schedule constant; remove it")
        return self
