"""The head with its gradient written out: logits, and log-probabilities of targets, whole or truncated.

A large vocabulary's logits would take more than all layers do. They are made a few tokens at a time, and one
number an id is kept for the gradient, in the dtype of the weight.

Shapes: M tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cascade_rl.model.fused import apply, settle
from cascade_rl.model.products import read_out_linear
from cascade_rl.model.truncated import truncate
from cascade_rl.protocols import SamplingRule

HEAD_ROWS = 1 << 23  # logits made at once, in numbers (32 MiB): what the caches hold between two passes
HEAD_KEPT = 1 << 28  # bytes of probabilities (256 MiB) that a micro-batch may keep for its gradient
# On a GPU: no cache holds them, each part costs some fifteen launches, and a product wants thousands of rows.
GPU_HEAD_ROWS = 1 << 28  # 1 GiB: 1,766 rows of 152,000 logits
GPU_HEAD_KEPT = 1 << 32  # 4 GiB: 14,000 such rows in bf16
# A truncated distribution may have to sort whole rows, which takes some 40 bytes a number.
GPU_TRUNCATED_ROWS = 1 << 27


def head_sizes(on_gpu: bool, truncated: bool = False) -> tuple[int, int]:
    """(logits made at once, in numbers; bytes of probabilities that a micro-batch may keep)."""
    if not on_gpu:
        return HEAD_ROWS, HEAD_KEPT
    return GPU_TRUNCATED_ROWS if truncated else GPU_HEAD_ROWS, GPU_HEAD_KEPT


class _ReadOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(hidden)
        ctx.weight = weight
        return read_out_linear(hidden, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (hidden,), weight = ctx.saved_tensors, ctx.weight
        low = grad.to(weight.dtype)
        return (low @ weight).float(), settle(weight, low.t() @ hidden.to(weight.dtype))


def read_out(hidden: Tensor, weight: Tensor) -> Tensor:
    """Linear in fp32 of hidden states [M, H] by a weight [V, H]: its fp32 `master` if it has one."""
    if not torch.is_grad_enabled():
        return read_out_linear(hidden, weight)
    return apply(_ReadOut, hidden, weight)


class _TargetLogprob(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, rule: SamplingRule) -> Tensor:
        found, kept = hidden.new_empty(len(hidden)), None
        # bytes of the probabilities [M, V] in the weight's dtype
        size = hidden.shape[0] * weight.numel() // hidden.shape[1] * weight.itemsize
        if ctx.needs_input_grad[1] and size <= head_sizes(hidden.is_cuda)[1]:
            kept = weight.new_empty(len(hidden), len(weight))
        for part in _head_parts(hidden, weight, rule):
            errors = _head_errors(hidden[part], weight, targets[part], rule, found[part])
            if kept is not None:
                kept[part] = errors
        ctx.save_for_backward(hidden, targets, *(() if kept is None else (kept,)))
        ctx.weight, ctx.rule = weight, rule
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, targets, *kept = ctx.saved_tensors
        weight, rule = ctx.weight, ctx.rule
        # d log p / d logits = (1 at the target - softmax) / temperature: minus the errors that were kept
        scale = (grad / -rule.temperature)[:, None]
        by_hidden = torch.empty_like(hidden)
        by_weight: Tensor | None = None
        # scales go to the narrow side [M, H], so that the errors [M, V] are read and never written again
        scaled = (hidden * scale).to(weight.dtype)
        rows = max(1, head_sizes(hidden.is_cuda)[1] // weight.itemsize // len(weight))
        for part in [slice(None)] if kept else _slices(len(hidden), rows):
            errors = kept[0] if kept else _head_again(hidden[part], weight, targets[part], rule)
            torch.mul(errors @ weight, scale[part], out=by_hidden[part])
            found = settle(weight, errors.t() @ scaled[part])
            by_weight = found if by_weight is None or found is None else by_weight + found
        return by_hidden, by_weight, None, None


def _head_parts(hidden: Tensor, weight: Tensor, rule: SamplingRule) -> list[slice]:
    """Slices of the rows, so many that their logits stay in a CPU's caches, or fill a GPU."""
    at_once, _ = head_sizes(hidden.is_cuda, rule.truncates(len(weight)))
    return _slices(len(hidden), max(1, at_once // len(weight)))


def _slices(length: int, rows: int) -> list[slice]:
    return [slice(start, start + rows) for start in range(0, length, rows)]


def _head_errors(
    hidden: Tensor, weight: Tensor, targets: Tensor, rule: SamplingRule, found: Tensor
) -> Tensor:
    """The probabilities of a rule less 1 at the targets [m, V]; log-probabilities go to `found` [m]."""
    logits, places = read_out_linear(hidden, weight), targets[:, None]
    if rule.truncates(len(weight)):
        # who is left is looked up and has no gradient, so that it is that of a whole distribution over these
        errors = _truncated(logits, targets, rule, found).exp_()
    else:
        if rule.temperature != 1:
            logits.div_(rule.temperature)
        most, at = logits.max(-1, keepdim=True)
        chosen = logits.gather(-1, places)
        errors = logits.softmax(-1)
        # log-sum-exp is the largest logit less its log-probability: no pass of its own, and finite where the
        # target's probability underflows, since the largest is 1 / V at least
        found.copy_((chosen - most + errors.gather(-1, at).log())[:, 0])
    return errors.scatter_add_(-1, places, errors.new_full((1, 1), -1.0).expand(len(targets), 1))


def _truncated(logits: Tensor, targets: Tensor, rule: SamplingRule, found: Tensor) -> Tensor:
    """The log-probabilities of all ids [m, V], -inf of those left out; the targets' go to `found` [m]."""
    # sampled ids stay in the kept set whatever the rounding: outside, log p would be -inf
    logprobs = truncate(logits, rule, targets)
    found.copy_(logprobs.gather(-1, targets[:, None])[:, 0])
    return logprobs


def _head_again(hidden: Tensor, weight: Tensor, targets: Tensor, rule: SamplingRule) -> Tensor:
    """`_head_errors` in the weight's dtype, made anew."""
    errors = weight.new_empty(len(hidden), len(weight))
    for part in _head_parts(hidden, weight, rule):
        unused = hidden.new_empty(len(hidden[part]))
        errors[part] = _head_errors(hidden[part], weight, targets[part], rule, unused)
    return errors


def target_logprobs(hidden: Tensor, weight: Tensor, targets: Tensor, rule: SamplingRule) -> Tensor:
    """log p of the targets [M] under a rule, in fp32, a few tokens' logits at a time.

    For the gradient the probabilities are kept in the weight's dtype, up to the bytes that `head_sizes` says;
    beyond that they are made again (arXiv 2411.09009).
    """
    if torch.is_grad_enabled():
        return apply(_TargetLogprob, hidden, weight, targets, rule)
    found = hidden.new_empty(len(hidden))
    for part in _head_parts(hidden, weight, rule):
        logits = read_out_linear(hidden[part], weight)
        if rule.truncates(len(weight)):
            _truncated(logits, targets[part], rule, found[part])
            continue
        if rule.temperature != 1:
            logits.div_(rule.temperature)
        found[part] = logits.gather(-1, targets[part, None])[:, 0] - logits.logsumexp(-1)
    return found
