"""How the stages of a run are trained on a cluster: the block `verl` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cascade_rl.recipe.base import Fraction, Positive, Strict

# What trains a stage: this package's own engine, or verl on Ray (docs/scale.md).
Engine = Literal["local", "verl"]


class Verl(Strict):
    """What verl is given to work with; where its Python or container lies is no matter of the recipe.

    nodes, gpus_per_node   the machines of one job; the gradient depends on their number by rounding only
    rollout                the engine that samples
    strategy               how weights, gradients and optimiser are spread over the GPUs
    tensor_parallel        GPUs that hold one copy of the sampler
    sequence_parallel      GPUs that share one row in training (Ulysses), for long replies
    memory                 share of a GPU's memory that the sampler may take
    offload                weights and optimiser wait in the machine's memory while the other side works
    attempts               how often a job is started before its stage fails
    reward_gpus            GPUs on one machine, beside all these, that hold the one copy of a reward model
                           where a stage asks one; no other stage takes them
    """

    # the version whose keys `backends/verl/keys.py` knows: another one silently ignores some of them
    version: Literal["0.9.1"] = "0.9.1"
    nodes: Positive = 1
    gpus_per_node: Positive = 8
    rollout: Literal["vllm", "sglang"] = "vllm"
    strategy: Literal["fsdp2", "megatron"] = "fsdp2"
    tensor_parallel: Positive = 1
    sequence_parallel: Positive = 1
    memory: Annotated[Fraction, Field(gt=0)] = 0.5
    offload: bool = True
    attempts: Positive = 3
    reward_gpus: Positive = 1

    @property
    def gpus(self) -> int:
        """All GPUs of a job."""
        return self.nodes * self.gpus_per_node

    @model_validator(mode="after")
    def _divides(self) -> Verl:
        for key in ("tensor_parallel", "sequence_parallel"):
            if self.gpus % getattr(self, key):
                raise ValueError(
                    f"{key} {getattr(self, key)} does not divide the {self.gpus} GPUs "
                    f"({self.nodes} nodes x {self.gpus_per_node}); change one of them"
                )
        return self
