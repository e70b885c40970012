"""Objectives as small pure functions of log-probabilities; weights carry the aggregation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def policy_gradient_loss(logprob: Tensor, advantage: Tensor, weight: Tensor) -> Tensor:
    """- sum of weight * ratio * advantage, strictly on-policy (arXiv 2512.13607, equation of GRPO without KL).

    One update a batch makes the importance ratio exactly 1: it is written as p / stop-gradient(p), whose gradient is
    that of the log-probability. The value is therefore minus the weighted mean advantage, often about 0; the gradient
    is not.
    """
    ratio = torch.exp(logprob - logprob.detach())
    return -(weight * ratio * advantage).sum()


def nll_loss(logprob: Tensor, weight: Tensor) -> Tensor:
    """Negative log-likelihood, weighted."""
    return -(weight * logprob).sum()


def kl_k3(logprob: Tensor, reference: Tensor) -> Tensor:
    """exp(d) - d - 1 with d = reference - policy: Schulman's k3, never negative, each token [..]."""
    d = reference - logprob
    return torch.exp(d) - d - 1


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, weight: float) -> Tensor:
    """- weight * sum of log sigmoid(chosen - rejected) (Bradley and Terry, 1952)."""
    return -weight * F.logsigmoid(chosen - rejected).sum()


def token_weights(lengths: Sequence[int], aggregation: str) -> list[float]:
    """The weight of each token of each row, over the whole batch, before it is split into micro-batches.

    `token`: one over all response tokens. `sequence`: every row counts the same, whatever its length.
    """
    rows, tokens = len(lengths), sum(lengths)
    if aggregation == "token":
        return [1.0 / max(1, tokens)] * rows
    return [1.0 / (rows * max(1, n)) for n in lengths]
