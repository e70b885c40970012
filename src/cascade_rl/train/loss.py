"""Objectives as small pure functions of log-probabilities; weights carry the aggregation.

Formulas with key, source and test of each: docs/algorithms.md. Values and gradients equal TRL's and verl's to
1e-5 (tests/conformance/test_oracles.py). There is no entropy term, and no value function.

N response tokens of a micro-batch, flat: `logprob` [N] of the policy that learns, `old` [N] the rollout's
own, both of the distribution that was sampled from; `row` [N] the reply that a token belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def policy_gradient_loss(logprob: Tensor, advantage: Tensor, weight: Tensor) -> Tensor:
    """- sum of weight * ratio * advantage, strictly on-policy (GRPO without KL of arXiv 2512.13607).

    One update a batch makes the importance ratio exactly 1: it is written as p / stop-gradient(p), whose
    gradient is that of the log-probability. The value is therefore minus the weighted mean advantage, often
    about 0; the gradient is not.
    """
    ratio = torch.exp(logprob - logprob.detach())
    return -(weight * ratio * advantage).sum()


def ppo_clip_loss(
    logprob: Tensor, old: Tensor, advantage: Tensor, weight: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """- sum of weight * min(r A, clip(r, 1 - low, 1 + high) A), r = p / p_old (PPO, arXiv 1707.06347, eq. 7).

    Two bounds of their own are clip-higher (DAPO, arXiv 2503.14476). Also returns which tokens [N] it
    clipped: these get no gradient.
    """
    ratio = torch.exp(logprob - old)
    # no dual clip for negative advantages, which verl always applies (c = 3)
    return _clipped(ratio, advantage, weight, low, high)


def gspo_loss(
    logprob: Tensor, old: Tensor, advantage: Tensor, weight: Tensor, row: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """PPO's clip on one ratio a reply, the geometric mean of its tokens' (GSPO, arXiv 2507.18071).

    `weight` spreads a reply's weight over its tokens, so that it counts once. Also says which tokens [N] were
    clipped: all of a reply, or none.
    """
    # Rows are numbered within the micro-batch, which holds a reply whole: else its mean would be of a part.
    # None is empty, so that there are no more than tokens; how many there are a GPU would have to be asked.
    sums = torch.zeros(len(row), dtype=logprob.dtype, device=row.device).index_add(0, row, logprob - old)
    sizes = torch.zeros_like(sums).index_add(0, row, torch.ones_like(logprob))
    ratio = torch.exp(sums / sizes.clamp(min=1))
    return _clipped(ratio[row], advantage, weight, low, high)


def _clipped(
    ratio: Tensor, advantage: Tensor, weight: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    # the smaller of the two: a bound binds only where the ratio went the way that the advantage pushes
    free, bounded = ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage
    return -(weight * torch.minimum(free, bounded)).sum(), bounded < free


def cispo_loss(
    logprob: Tensor, old: Tensor, advantage: Tensor, weight: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """- sum of weight * sg(clip(r, 1 - low, 1 + high)) * A * log p (CISPO, arXiv 2506.13585).

    The weight is bounded, not the gradient: no token drops out. Also returns whose weight [N] was.
    """
    ratio = torch.exp(logprob - old).detach()
    bounded = ratio.clamp(1 - low, 1 + high)
    return -(weight * bounded * advantage * logprob).sum(), bounded != ratio


def tis_weights(logprob: Tensor, rollout: Tensor, cap: float) -> Tensor:
    """min(p_trainer / p_rollout, cap), without gradient: token-level truncated importance sampling.

    Source: Yao et al., Your efficient RL framework secretly brings you off-policy RL training (2025).
    """
    return torch.exp(logprob.detach() - rollout).clamp(max=cap)


def icepop_weights(logprob: Tensor, rollout: Tensor, low: float, high: float) -> Tensor:
    """k = p_trainer / p_rollout where low <= k <= high, else 0, no gradient (IcePop, arXiv 2510.18855)."""
    k = torch.exp(logprob.detach() - rollout)
    return torch.where((k >= low) & (k <= high), k, torch.zeros_like(k))


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Which policy loss, with bounds; `correction` of rollout against trainer: `none`, `tis`, `icepop`."""

    loss: str = "policy_gradient"
    low: float = 0.0
    high: float = 0.0
    correction: str = "none"
    correction_low: float = 0.0
    correction_high: float = 0.0


ON_POLICY = Surrogate()


def policy_loss(
    surrogate: Surrogate, logprob: Tensor, old: Tensor, advantage: Tensor, weight: Tensor, row: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss of a micro-batch, and which tokens [N] were clipped, capped or masked."""
    bounds = (surrogate.low, surrogate.high)
    if surrogate.loss == "ppo_clip":
        return ppo_clip_loss(logprob, old, advantage, weight, *bounds)
    if surrogate.loss == "cispo":
        return cispo_loss(logprob, old, advantage, weight, *bounds)
    if surrogate.loss == "gspo":
        return gspo_loss(logprob, old, advantage, weight, row, *bounds)
    # only here: the ratio of the losses above is against the sampler already, and would count it twice
    touched = torch.zeros_like(logprob, dtype=torch.bool)
    if surrogate.correction == "tis":
        factor = tis_weights(logprob, old, surrogate.correction_high)
        weight, touched = weight * factor, factor >= surrogate.correction_high
    elif surrogate.correction == "icepop":
        factor = icepop_weights(logprob, old, surrogate.correction_low, surrogate.correction_high)
        weight, touched = weight * factor, factor == 0
    return policy_gradient_loss(logprob, advantage, weight), touched


def ratio_sums(logprob: Tensor, old: Tensor, touched: Tensor) -> dict[str, Tensor]:
    """Sums over tokens (and, in `..._max`, the largest) of how far the policy is from the one that sampled.

    `ratio_square` is that of the ratio's square; `mismatch` is |log p - log p_old|; `mismatch_kl` the k3
    estimate of KL(p_old || p), never negative. All are numbers of the device, fp64.
    """
    names = ("ratio", "ratio_square", "ratio_max", "mismatch", "mismatch_max", "mismatch_kl", "touched")
    d = (logprob.detach() - old).double()  # in double: sums of thousands
    if not len(logprob):
        return dict.fromkeys(names, d.sum())
    ratio, size = d.exp(), d.abs()
    far = (size.sum(), size.max(), (ratio - 1 - d).sum())
    values = (ratio.sum(), ratio.square().sum(), ratio.max(), *far, touched.sum().double())
    return dict(zip(names, values, strict=True))


def effective_share(total: float, squares: float, count: float) -> float:
    """Kish's effective sample size of importance weights, (sum w)^2 / sum w^2, over `count`; 1 when equal."""
    return total * total / (count * squares) if squares else 0.0


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


def token_weights(lengths: Sequence[int], aggregation: str, limit: int = 1) -> list[float]:
    """The weight of each token of each row, over the whole batch, before it is split into micro-batches.

    `token`: one over all response tokens. `sequence`: every row counts the same, whatever its length.
    `constant`: one over rows times `limit`, the longest reply allowed, so that no length changes another's
    weight (Dr. GRPO, arXiv 2503.20783).
    """
    # at least 1 below the line: all replies of a part may be masked, or empty
    rows, tokens = len(lengths), sum(lengths)
    if aggregation == "token":
        return [1.0 / max(1, tokens)] * rows
    if aggregation == "constant":
        return [1.0 / max(1, rows * limit)] * rows
    return [1.0 / (rows * max(1, n)) for n in lengths]
