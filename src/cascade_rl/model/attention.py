"""How the tokens of a pack attend: causally in their prefix, and in their branch with its prefix before it.

The gradient is written out, by row sums of dO * O (arXiv 2205.14135). A GPU takes torch's fused kernels, see
`gpu_attention`.

Shapes: M tokens, T trees of a block, G branches a tree, P prefix and R branch tokens (padded), N heads, K
key-value heads, g = N / K, D head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cascade_rl.model import kernels
from cascade_rl.model.fused import apply
from cascade_rl.model.packed import Block, Pack


@dataclass(frozen=True, slots=True)
class _Shape:
    """The sizes of a block and where its parts lie in the padded tables of `Attention`.

    causal, branch_causal  [P, P] and [R, R], fp32, added to scores: -inf above the diagonal and, with a
                           sliding window, where a column lies too far back
    hidden                 [T, 1, 1 or R, P], the same for the padding of prefixes and what the window leaves
                           out of them; None without any
    """

    trees: int
    branches: int
    long: int  # P
    width: int  # R
    causal: Tensor
    branch_causal: Tensor
    hidden: Tensor | None
    rows: tuple[slice, ...]  # of q, k, v of the prefixes, then of the branches, in the table of inputs
    outs: tuple[slice, slice]  # of the prefixes and of the branches in the table of outputs


class Attention:
    """How the tokens of one pack attend; made once for all layers of a micro-batch.

    All heads of all tokens are rows of one table [M (N + 2 K), D]. `gather` lays them out padded, block by
    block, with the heads that share keys side by side: [T, K, G, g, L]; one lookup replaces many
    transpositions. `outputs` and `inputs` lead back.
    """

    def __init__(self, packed: Pack, heads: int, kv_heads: int, window: int | None = None) -> None:
        self.pack, self.heads, self.kv_heads, self.group = packed, heads, kv_heads, heads // kv_heads
        per = heads + 2 * kv_heads
        at, out_at = 0, 0
        gather: list[Tensor] = []
        grads: list[Tensor] = []
        self.shapes: list[_Shape] = []
        for block in packed.blocks:
            rows: list[slice] = []
            outs: list[slice] = []
            tables = (block.prefix[:, None], block.prefix_back), (block.branch, block.branch_back)
            for places, back in ((torch.from_numpy(a), torch.from_numpy(b)) for a, b in tables):
                # padding is numbered behind the last token, so that `_inverse` can tell it from token 0
                padded = torch.full_like(places, len(packed.ids))
                padded.view(-1)[back] = places.flatten()[back]
                grads.append(self._spread(padded, heads, 0, heads))
                outs.append(slice(out_at, out_at := out_at + len(grads[-1])))
                for first, count in ((0, heads), (heads, kv_heads), (heads + kv_heads, kv_heads)):
                    gather.append(self._spread(padded, per, first, count))
                    rows.append(slice(at, at := at + len(gather[-1])))
            self.shapes.append(_shape(block, tuple(rows), (outs[0], outs[1]), window))
        self.gather, self.grads = torch.cat(gather), torch.cat(grads)
        self.inputs = _inverse(self.gather, len(packed.ids) * per)
        self.outputs = _inverse(self.grads, len(packed.ids) * heads)
        self.gather.masked_fill_(self.gather >= len(packed.ids) * per, 0)  # padding reads anything finite

    def _spread(self, places: Tensor, per: int, first: int, count: int) -> Tensor:
        """[T, G, L] places of tokens to rows of heads first .. first + count, as [T, K, G, g, L], flat."""
        head = torch.arange(count, device=places.device).view(1, self.kv_heads, 1, -1, 1) + first
        return (places[:, None, :, None] * per + head).flatten()

    def __call__(self, layer: int, qkv: Tensor, last: bool) -> Tensor:
        """[M, N + 2 K, D] to [M, N D]; after the `last` layer branches only."""
        if not torch.is_grad_enabled():
            return _attend(qkv, self, last)[0]
        return apply(_Attend, qkv, self, last)


def _shape(block: Block, rows: tuple[slice, ...], outs: tuple[slice, slice], window: int | None) -> _Shape:
    trees, branches, width = block.branch.shape
    long = block.prefix.shape[1]
    causal, branch_causal = (torch.full((n, n), -torch.inf).triu_(1) for n in (long, width))
    unseen = None if block.hidden is None else block.hidden[:, None]
    if window is not None:
        for mask in (causal, branch_causal):
            mask.masked_fill_(torch.ones_like(mask, dtype=torch.bool).tril_(-window), -torch.inf)
        unseen = out_of_reach(block, window)
    hidden = None
    if unseen is not None:
        hidden = torch.zeros(unseen.shape).masked_fill_(torch.from_numpy(unseen), -torch.inf)[:, None]
    return _Shape(trees, branches, long, width, causal, branch_causal, hidden, rows, outs)


def out_of_reach(block: Block, window: int) -> np.ndarray:
    """Which tokens of its prefix a branch's token does not see [T, R, P]: padding, and beyond the window."""
    long, width = block.prefix.shape[1], block.branch.shape[2]
    padding = np.zeros(block.prefix.shape, bool) if block.hidden is None else block.hidden
    # the r-th token of a branch stands r places behind the end of its own prefix, without padding
    end = long - padding.sum(1)
    at = end[:, None] + np.arange(width)
    back = at[:, :, None] - np.arange(long)
    found: np.ndarray = padding[:, None] | (back >= window)
    return found


def _inverse(places: Tensor, count: int) -> Tensor:
    """Where each of `count` rows stands in `places`; padding, beyond them, is left out."""
    found = torch.empty(count, dtype=torch.long, device=places.device)
    real = (places < count).nonzero()[:, 0]
    found[places[real]] = real
    return found


def _prefix_weights(s: _Shape, q: Tensor, k: Tensor) -> Tensor:
    """Attention within prefixes [T K, g P, P]."""
    # padding lies behind the real tokens, so that causality hides it from them
    scores = torch.bmm(q, k.transpose(1, 2)).view(-1, s.long, s.long)
    if kernels.usable(q.device, q.dtype):
        kernels.weigh(None, scores, None, s.causal, s.trees)
        return scores.view(len(q), -1, s.long)
    return (scores + s.causal).softmax(-1).to(q.dtype).view(len(q), -1, s.long)


def _branch_weights(s: _Shape, q: Tensor, prefix_k: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Attention of branches to their prefix [T K, G g R, P] and within themselves [T K G, g R, R]."""
    size, trees = q.shape[-1], len(prefix_k)  # T K
    if kernels.usable(q.device, q.dtype):
        found = torch.bmm(q.view(trees, -1, size), prefix_k.transpose(1, 2))
        near = torch.bmm(q, k.transpose(1, 2))
        kernels.weigh(found, near, s.hidden, s.branch_causal, s.trees)
        return found, near
    # one table for both, so that one softmax spans them; in fp32 whatever the products run in
    rows = q.shape[0] * q.shape[1] // trees
    scores = q.new_empty(trees, rows, s.long + s.width, dtype=torch.float32)
    old, own = torch.split(scores, [s.long, s.width], -1)
    # the branches of a tree side by side: one product with the prefix that they share
    found = torch.bmm(q.view(trees, -1, size), prefix_k.transpose(1, 2))
    if s.hidden is None:
        old.copy_(found)
    else:
        shape = (s.trees, -1, s.width, s.long)
        torch.add(found.view(shape), s.hidden, out=old.view(shape))
    found = torch.bmm(q, k.transpose(1, 2)).view(trees, -1, s.width, s.width)
    torch.add(found, s.branch_causal, out=own.view(found.shape))
    old, own = torch.split(scores.softmax(-1).to(q.dtype), [s.long, s.width], -1)
    return old.contiguous(), own.reshape(len(q), -1, s.width)


def _parts(s: _Shape, kv_heads: int, table: Tensor) -> tuple[Tensor, ...]:
    """q [T K, g P, D], k, v [T K, P, D] of prefixes; q [T K G, g R, D], k, v [T K G, R, D] of branches."""
    trees = s.trees * kv_heads
    return tuple(
        table[part].view(trees * many, -1, table.shape[1])
        for part, many in zip(s.rows, (1, 1, 1, s.branches, s.branches, s.branches), strict=True)
    )


def _attend(qkv: Tensor, attention: Attention, last: bool) -> tuple[Tensor, list[Tensor | None]]:
    """The attended tokens [M, N D], and what the gradient needs.

    That is padded inputs and outputs, then of each block the weights of prefixes to themselves, of branches
    to their prefix, and of branches to themselves. The first are None after the `last` layer, where nobody
    asks what prefixes see.
    """
    size = qkv.shape[-1]
    table = qkv.view(-1, size).index_select(0, attention.gather)
    # after the last layer the rows of prefixes stay unwritten: neither `outputs` nor the gradient reads them
    out = table.new_empty(len(attention.grads), size)
    saved: list[Tensor | None] = [table, out]
    for s in attention.shapes:
        prefix_q, prefix_k, prefix_v, q, k, v = _parts(s, attention.kv_heads, table)
        weights = None
        if not last:
            weights = _prefix_weights(s, prefix_q, prefix_k)
            torch.bmm(weights, prefix_v, out=out[s.outs[0]].view(prefix_q.shape))
        old, own = _branch_weights(s, q, prefix_k, k)
        found = torch.bmm(own, v, out=out[s.outs[1]].view(q.shape))
        found.view(*old.shape[:2], size).baddbmm_(old, prefix_v)
        saved += [weights, old, own]
    back = attention.outputs[attention.pack.prefixes * attention.heads :] if last else attention.outputs
    return out.index_select(0, back).view(-1, attention.heads * size), saved


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, attention: Attention, last: bool) -> Tensor:
        found, saved = _attend(qkv, attention, last)
        ctx.attention, ctx.is_last = attention, last
        ctx.save_for_backward(*saved)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (table, out, *saved), attention = ctx.saved_tensors, ctx.attention
        size = table.shape[1]
        # zeros behind the last token: that is where padding looks its gradient up
        grad = torch.cat((grad.view(-1, size), grad.new_zeros(attention.heads, size)))
        places = attention.grads
        if ctx.is_last:
            # the gradient is of branches only; prefixes read whatever stands first, and nobody reads them
            places = (places - attention.pack.prefixes * attention.heads).clamp_(min=0)
        grad = grad.index_select(0, places)
        if kernels.usable(grad.device, grad.dtype):
            delta = kernels.row_dots(grad, out)
        else:
            delta = (grad * out.float()).sum(-1, keepdim=True)
        found = torch.empty_like(table)
        for number, s in enumerate(attention.shapes):
            weights = saved[3 * number : 3 * number + 3]
            _block_backward(s, attention.kv_heads, (table, found), (grad, delta), *weights)
        per = attention.heads + 2 * attention.kv_heads
        return found.index_select(0, attention.inputs).view(-1, per, size), None, None


def _weights_grad(grad: Tensor, value: Tensor, delta: Tensor, weights: Tensor) -> Tensor:
    """Gradient of the scores: weights * (dO V^T - rowsum(dO O))."""
    found = torch.bmm(grad, value.transpose(1, 2))
    if kernels.usable(found.device, found.dtype):
        return kernels.weigh_back(found, delta, weights)
    return found.sub_(delta).mul_(weights)


def _block_backward(
    s: _Shape,
    kv_heads: int,
    tables: tuple[Tensor, Tensor],
    outer: tuple[Tensor, Tensor],
    weights: Tensor | None,
    old: Tensor,
    own: Tensor,
) -> None:
    """Write the gradients of a block's q, k, v into the second of `tables`, which is laid out as the first.

    `outer` are the gradient of the outputs and the row sums of its product with them (`delta`); the rest are
    the weights that `_attend` kept.
    """
    prefix_q, prefix_k, prefix_v, q, k, v = _parts(s, kv_heads, tables[0])
    by_prefix_q, by_prefix_k, by_prefix_v, by_q, by_k, by_v = _parts(s, kv_heads, tables[1])
    g, d = (x[s.outs[1]].view(*q.shape[:2], -1) for x in outer)
    scores = _weights_grad(g, v, d, own)
    torch.bmm(scores, k, out=by_q)
    torch.bmm(scores.transpose(1, 2), q, out=by_k)
    torch.bmm(own.transpose(1, 2), g, out=by_v)
    # what the branches of a tree do to their prefix is summed by the product over all their rows
    g, d, q, by_q = (x.view(*old.shape[:2], -1) for x in (g, d, q, by_q))
    scores = _weights_grad(g, prefix_v, d, old)
    by_q.baddbmm_(scores, prefix_k)
    torch.bmm(scores.transpose(1, 2), q, out=by_prefix_k)
    torch.bmm(old.transpose(1, 2), g, out=by_prefix_v)
    if weights is None:  # the last layer: prefixes were keys and values there, but asked for nothing
        by_prefix_q.zero_()
        return
    g, d = (x[s.outs[0]].view(*prefix_q.shape[:2], -1) for x in outer)
    scores = _weights_grad(g, prefix_v, d, weights)
    torch.bmm(scores, prefix_k, out=by_prefix_q)
    by_prefix_k.baddbmm_(scores.transpose(1, 2), prefix_q)
    by_prefix_v.baddbmm_(weights.transpose(1, 2), g)
