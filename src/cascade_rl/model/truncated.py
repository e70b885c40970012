"""What top-k, top-p and min-p leave of a distribution, for sampler and trainer alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cascade_rl.protocols import SamplingRule


def truncate(logits: Tensor, rule: SamplingRule, keep: Tensor | None = None) -> Tensor:
    """Log-probabilities [.., V] after temperature, top-k, top-p and min-p, renormalised over the kept set.

    `keep` [..] are ids that stay in the set whatever the rounding: the trainer passes the sampled ids, so
    that it scores the same truncated distribution that the sampler drew from.
    """
    # In the order of transformers; each filter sees what the ones before it left. Ids that tie with the k-th
    # all stay, while the sampler takes k of them: `keep` is what makes the two agree on sampled ids.
    logits = logits / rule.temperature
    if 0 < rule.top_k < logits.shape[-1]:
        least = logits.topk(rule.top_k, -1).values[..., -1:]
        logits = logits.masked_fill(_drop(logits < least, keep), -torch.inf)
    if rule.top_p < 1:
        logits = logits.masked_fill(_drop(_outside_nucleus(logits, rule.top_p), keep), -torch.inf)
    if rule.min_p > 0:
        share = (logits - logits.amax(-1, keepdim=True)).exp()
        logits = logits.masked_fill(_drop(share < rule.min_p, keep), -torch.inf)
    return logits.log_softmax(-1)


@torch.no_grad()
def _outside_nucleus(logits: Tensor, top_p: float, widths: Sequence[int] = (64, 1024)) -> Tensor:
    """Which tokens [.., V] are outside the smallest set whose mass reaches `top_p`; who crosses it is inside.

    The set is nearly always small, so that a few largest logits decide; rows that need more are looked at
    again with more, in the end with all.
    """
    rows, vocab = logits.reshape(-1, logits.shape[-1]), logits.shape[-1]
    total = rows.logsumexp(-1, keepdim=True)
    outside = torch.ones_like(rows, dtype=torch.bool)
    left = torch.arange(len(rows), device=rows.device)
    for width in (*(width for width in widths if width < vocab), vocab):
        seen = rows[left]
        # of all the order of equal ones is by id, whatever the machine
        ordered, index = (
            seen.topk(width, -1) if width < vocab else seen.sort(dim=-1, descending=True, stable=True)
        )
        mass = (ordered - total[left]).exp()
        running = mass.cumsum(-1)
        # without its own mass; what was not looked at is outside as well
        late = (running - mass) >= top_p
        outside[left] = torch.ones_like(seen, dtype=torch.bool).scatter(-1, index, late)
        if width == vocab:
            break  # nothing is left: a GPU need not be asked
        left = left[running[:, -1] < top_p]
        if not len(left):
            break
    return outside.view(logits.shape)


def _drop(mask: Tensor, keep: Tensor | None) -> Tensor:
    return mask if keep is None else mask.scatter(-1, keep[..., None], False)
