"""What a policy is trained for, and the log-probabilities that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from cascade_rl.model.network import Network
from cascade_rl.protocols import WHOLE, SamplingRule
from cascade_rl.train.batch import Batch
from cascade_rl.train.loss import Surrogate


@dataclass(frozen=True, slots=True)
class Teacher:
    """A penalty on being far from another model: `coefficient` times KL(policy || teacher), by k3.

    `model` is its name among the models of the workers. Its vocabulary must be the policy's; its shape is
    taken for the policy's where work is counted (`cost.update_work`).
    """

    model: str
    coefficient: float


@dataclass(frozen=True, slots=True)
class Objective:
    """Which loss, on which distribution, near which teachers.

    surrogate  of a policy's; None is the plain likelihood of the rows (SFT), which looks at no advantage
    rule       what the log-probabilities follow: that which the rows were sampled by
    teachers   each adds its KL term, under the same rule
    """

    surrogate: Surrogate | None
    rule: SamplingRule = WHOLE
    teachers: tuple[Teacher, ...] = ()


LIKELIHOOD = Objective(surrogate=None)


def token_logprobs(
    weights: Mapping[str, Tensor],
    config: Network,
    batch: Batch,
    rule: SamplingRule,
    recompute: bool = False,
) -> Tensor:
    """Log-probabilities [N] of the targets, fp32, under the distribution they were sampled from.

    With `recompute` the layers run again in the backward pass.
    """
    scored = config.scored(weights, batch.packed, recompute)
    return config.logprobs(weights, scored, batch.targets, rule)
