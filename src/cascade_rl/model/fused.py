"""Building blocks with their gradients written out: fewer passes over memory than autograd's own.

On a CPU a small model spends half of its time outside matrix products; these take a good part of that.
Gradients of weights that have a `main_grad` (see `products.Weight`) are added there, so that they are summed
over micro-batches in fp32 whatever the products run in; other weights get them by autograd. Without gradients
each block takes the shortest way, since a decode step of a small model is mostly the calling of operators.

Shapes: M tokens, H hidden, N heads, K key-value heads, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cascade_rl.model import kernels
from cascade_rl.model.products import Weight, linear


def apply(block: type[torch.autograd.Function], *arguments: object) -> Tensor:
    """The result of a block with its own gradient."""
    found: Tensor = block.apply(*arguments)  # type: ignore[no-untyped-call]  # torch gives it no types
    return found


def settle(weight: Tensor, grad: Tensor) -> Tensor | None:
    """Add a weight's gradient to its `main_grad` if it has one (then autograd gets none)."""
    main = weight.main_grad if isinstance(weight, Weight) else None
    if main is None:
        return grad.to(weight.dtype)
    main.add_(grad)  # fp32 whatever `grad` is in: sums in bf16 lose what is small beside what is there
    return None


def _scale(x: Tensor, eps: float) -> Tensor:
    """1 / rms over the last dimension [.., 1]."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


def _norm_backward(grad: Tensor, x: Tensor, scale: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of x * scale(x) * weight by x [M, H] and by the weight [H], fp32."""
    if kernels.usable(x.device, grad.dtype):
        return kernels.norm_back(grad.contiguous(), x, scale, weight)
    grad, unit = grad.float(), x * scale
    product = grad * unit
    dot = (product @ weight.float()).div_(x.shape[-1]).unsqueeze(-1)
    return (grad * weight).addcmul_(unit, dot, value=-1).mul_(scale), product.sum(0)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = _scale(x, eps)
        ctx.save_for_backward(x, scale)
        ctx.weight = weight
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        by_x, by_weight = _norm_backward(grad, x, scale, ctx.weight)
        return by_x, settle(ctx.weight, by_weight), None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last dimension, in fp32 (arXiv 1910.07467): [M, H] to [M, H]."""
    if not torch.is_grad_enabled():
        if x.is_cuda:  # one kernel for six; on a CPU torch's own is put together of as many
            return torch.rms_norm(x, x.shape[-1:], weight.to(x.dtype), eps)
        return (x * _scale(x, eps)).mul_(weight)
    return apply(_RMSNorm, x, weight, eps)


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
        if kernels.usable(x.device, weight.dtype):
            normed, scale = kernels.norm(x, norm, eps, weight.dtype)
        else:
            scale = _scale(x, eps)
            normed = (x * scale).mul_(norm).to(weight.dtype)
        ctx.save_for_backward(x, scale, normed)
        ctx.weights = (norm, weight, bias)
        return F.linear(normed, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x, scale, normed), (norm, weight, bias) = ctx.saved_tensors, ctx.weights
        by_x, by_norm = _norm_backward(grad @ weight, x, scale, norm)
        by_bias = None if bias is None else settle(bias, grad.sum(0, dtype=torch.float32))
        return by_x, settle(norm, by_norm), settle(weight, grad.t() @ normed), by_bias, None


def norm_linear(x: Tensor, norm: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """linear(rms_norm(x)) of fp32 x [M, H], in the dtype of the weight."""
    if not torch.is_grad_enabled():
        return linear(rms_norm(x, norm, eps).to(weight.dtype), weight, bias)
    return apply(_NormLinear, x, norm, weight, bias, eps)


class _AddLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weights = (weight, bias)
        return residual + F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,), (weight, bias) = ctx.saved_tensors, ctx.weights
        low = grad.to(weight.dtype)
        by_bias = None if bias is None else settle(bias, grad.sum(0))
        return grad, low @ weight, settle(weight, low.t() @ x), by_bias


def add_linear(residual: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """residual + linear(x), the sum in fp32; without gradients it is written into the residual."""
    if not torch.is_grad_enabled():
        return residual.add_(linear(x, weight, bias))
    return apply(_AddLinear, residual, x, weight, bias)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        if kernels.usable(both.device, both.dtype):
            ctx.save_for_backward(both)
            return kernels.swiglu(both)
        gate, up = both.chunk(2, -1)
        silu = F.silu(gate)
        ctx.save_for_backward(both, silu)
        return silu * up

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        both, *kept = ctx.saved_tensors
        if not kept:
            return kernels.swiglu_back(grad.contiguous(), both)
        (silu,) = kept
        gate, up = both.chunk(2, -1)
        # both halves written where they belong: one new tensor instead of two and a copy
        found = torch.empty_like(both)
        by_gate, by_up = found.chunk(2, -1)
        torch.mul(grad, silu, out=by_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=by_gate)
        return found


def swiglu(both: Tensor) -> Tensor:
    """silu(gate) * up for gate and up side by side in the last dimension (arXiv 2002.05202)."""
    if not torch.is_grad_enabled():
        gate, up = both.chunk(2, -1)
        return F.silu(gate).mul_(up)
    return apply(_SwiGLU, both)


class _Embed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.table = table
        return table.index_select(0, ids).float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (ids,), table = ctx.saved_tensors, ctx.table
        main = table.main_grad if isinstance(table, Weight) else None
        if main is None:
            return None, torch.zeros_like(table, dtype=torch.float32).index_add_(0, ids, grad).to(table.dtype)
        main.index_add_(0, ids, grad)
        return None, None


def embed(ids: Tensor, table: Tensor) -> Tensor:
    """Rows of the table in fp32 [M, H]; the gradient touches these rows only, not the whole table."""
    if not torch.is_grad_enabled():
        return table.index_select(0, ids).float()
    return apply(_Embed, ids, table)


def _turn(x: Tensor, cos: Tensor, sin: Tensor, found: Tensor) -> None:
    """Rotate the halves of the last dimension by an angle, into `found`; with -sin, back."""
    (left, right), (first, second), half = x.chunk(2, -1), found.chunk(2, -1), x.shape[-1] // 2
    cos, sin = cos[..., half:], sin[..., half:]
    first.copy_((left * cos).addcmul_(right, sin, value=-1))
    second.copy_((right * cos).addcmul_(left, sin))


def _gain(qkv: Tensor, queries: int, norms: tuple[Tensor, ...]) -> Tensor:
    """What q and k heads are multiplied by [N + K, D or 1]: norms' weights, and q by the scores' scale."""
    normed, size = (qkv.shape[1] + queries) // 2, qkv.shape[2]
    gain = torch.ones(normed, 1, device=qkv.device)
    if norms:
        gain = torch.cat((norms[0].expand(queries, size), norms[1].expand(normed - queries, size))).float()
    gain[:queries] *= size**-0.5
    return gain


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, turn: tuple[Tensor, Tensor], queries: int, eps: float, *norms: Tensor
    ) -> Tensor:
        ctx.queries, ctx.norms, ctx.eps = queries, norms, eps
        ctx.by_kernels = qkv.shape[2] in kernels.HEAD_SIZES and kernels.usable(qkv.device, qkv.dtype)
        if ctx.by_kernels:
            # without norms the gradient asks nothing of them
            ctx.save_for_backward(*turn, *((qkv,) if norms else ()))
            return kernels.turn_heads(qkv, turn, queries, norms, eps)
        gain = _gain(qkv, queries, norms)
        normed = len(gain)
        x = qkv[:, :normed].to(torch.float32, copy=True)  # a copy also of fp32: it is multiplied in place
        rest: tuple[Tensor, ...] = ()
        if norms:
            scale = _scale(x, eps)
            rest = (x.mul_(scale), scale)
        found = torch.empty_like(qkv)
        _turn(x * gain, *turn, found[:, :normed])
        found[:, normed:].copy_(qkv[:, normed:])  # v: neither normed nor turned
        ctx.save_for_backward(gain, *turn, *rest)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.by_kernels:
            cos, sin, *kept = ctx.saved_tensors
            grad = grad.contiguous()
            known = (kept[0] if kept else grad, (cos, sin), ctx.queries, ctx.norms, ctx.eps)
            by_qkv, *found_norms = kernels.turn_heads_back(grad, *known)
            pairs = zip(ctx.norms, found_norms, strict=False)  # none where heads are not normed
            return by_qkv, None, None, None, *(settle(norm, by_norm) for norm, by_norm in pairs)
        gain, cos, sin, *rest = ctx.saved_tensors
        normed = len(gain)
        by_norms: tuple[Tensor | None, ...] = ()
        found = torch.empty_like(grad)
        low = grad[:, :normed].float()
        by_x = torch.empty_like(low)
        _turn(low, cos, -sin, by_x)
        if rest:
            (unit, scale), (q_norm, k_norm) = rest, ctx.norms
            product = by_x * unit
            by_gain = product.sum(0)
            # the scale of the scores is part of q's gain, and no part of the norm's weight
            by_queries = by_gain[: ctx.queries].sum(0).mul_(grad.shape[2] ** -0.5)
            by_norms = (settle(q_norm, by_queries), settle(k_norm, by_gain[ctx.queries :].sum(0)))
            dot = product.mul_(gain).mean(-1, keepdim=True)
            by_x.mul_(gain).addcmul_(unit, dot, value=-1).mul_(scale)
        else:
            by_x.mul_(gain)
        found[:, :normed].copy_(by_x)
        found[:, normed:].copy_(grad[:, normed:])
        return found, None, None, None, *by_norms


def turn_heads(
    qkv: Tensor, turn: tuple[Tensor, Tensor], queries: int, norms: tuple[Tensor, Tensor] | None, eps: float
) -> Tensor:
    """q, k and v side by side [M, N + 2 K, D], q and k normed per head if `norms`, then rotated.

    `queries` is N, `turn` are cosines and sines [M, 1, D] (`rotary`). q comes multiplied by D**-0.5, the
    scale of the scores, so that attention scales nothing.
    """
    if not torch.is_grad_enabled():
        both, (cos, sin) = qkv[:, : (qkv.shape[1] + queries) // 2], turn
        x = both.float()
        q = x[:, :queries]
        if norms:
            x.mul_(_scale(x, eps))
            x[:, queries:].mul_(norms[1])
            q.mul_(norms[0])
        q.mul_(qkv.shape[2] ** -0.5)
        # in place: `qkv` was made for this layer alone; rolling by half swaps the halves
        both.copy_(x.roll(qkv.shape[2] // 2, -1).mul_(sin).addcmul_(x, cos))
        return qkv
    return apply(_Heads, qkv, turn, queries, eps, *(norms or ()))
