"""What a policy is trained for, and the log-probabilities that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cascade_rl.model.decoder import truncate
from cascade_rl.model.network import Network
from cascade_rl.protocols import WHOLE, SamplingRule
from cascade_rl.train.batch import Batch
from cascade_rl.train.loss import Surrogate

HEAD_CHUNK = 1 << 25  # logits held at once when the distribution is truncated, in numbers: 128 MiB of fp32
GPU_HEAD_CHUNK = 1 << 27  # the same on a GPU, where few rows at once are many launches: 883 of 152,000 logits


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


def head_chunk(vocab: int, on_gpu: bool) -> int:
    """How many rows of logits a truncated distribution makes at once."""
    return max(1, (GPU_HEAD_CHUNK if on_gpu else HEAD_CHUNK) // vocab)


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
    if not rule.truncates(config.vocab):  # the usual case: a gradient of its own, and no sorting
        return config.logprobs(weights, scored, batch.targets, rule.temperature)
    size = head_chunk(config.vocab, scored.is_cuda)

    def score(part: Tensor, targets: Tensor) -> Tensor:
        # sampled ids stay in the kept set whatever the rounding: outside, log p would be -inf
        logprobs = truncate(config.logits(weights, part), rule, targets)
        return logprobs.gather(-1, targets[:, None])[:, 0]

    if len(scored) <= size:
        return score(scored, batch.targets)
    # logits are made again in the backward pass, so that one chunk's are alive at a time
    parts = zip(torch.split(scored, size), torch.split(batch.targets, size), strict=True)
    return torch.cat([checkpoint(score, part, targets, use_reentrant=False) for part, targets in parts])
