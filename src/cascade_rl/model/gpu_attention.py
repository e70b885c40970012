"""The attention of a pack by torch's fused kernels, which carry their own gradient: what a GPU takes.

In bf16 one call of the variable-length kernel does a layer: segments lie side by side as the pack has them,
without padding or masks. That kernel takes no fp32, where `ByBlocks` pads and masks.

Shapes: M tokens, S segments, N heads, K key-value heads, D head size; of a block T trees, G branches a tree,
P prefix and R branch tokens (padded).
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from cascade_rl.model.attention import Attention, out_of_reach
from cascade_rl.model.packed import Block, Pack, placed

# Without cuDNN's: it plans anew for each shape, half a second each way, and nearly every micro-batch is one.
KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
SHORT = (torch.bfloat16, torch.float16)  # what the variable-length kernel takes


class Attends(Protocol):
    """How the tokens of one pack attend, in any layer."""

    def __call__(self, layer: int, qkv: Tensor, last: bool) -> Tensor:
        """[M, N + 2 K, D] to [M, N D], q scaled already; after the `last` layer of the branches only."""
        ...


def attention(packed: Pack, heads: int, kv_heads: int, window: int | None) -> Attends:
    """The way that the device asks for, made once for all layers of a micro-batch."""
    if not packed.ids.is_cuda:  # with torch's kernel a CPU trained at half the rate (docs/LOG.md)
        return Attention(packed, heads, kv_heads, window)
    return _ByDtype(packed, heads, kv_heads, window)


class _ByDtype:
    """The way that the dtype of the products asks for, which the first layer tells."""

    def __init__(self, packed: Pack, heads: int, kv_heads: int, window: int | None) -> None:
        self.settings = (packed, heads, kv_heads, window)
        self.chosen: Attends | None = None

    def __call__(self, layer: int, qkv: Tensor, last: bool) -> Tensor:
        """As `Attends` says."""
        if self.chosen is None:
            self.chosen = (BySegments if qkv.dtype in SHORT else ByBlocks)(*self.settings)
        return self.chosen(layer, qkv, last)


class BySegments:
    """One call of the variable-length kernel a layer.

    A segment is a prefix, which attends to itself, or a branch, whose keys are its prefix and itself. Queries
    are as they lie in the pack; keys are looked up, so that those of a prefix are there for each branch. The
    kernel's causality is aligned at the end of the keys, which is where a branch stands.
    """

    def __init__(self, packed: Pack, heads: int, kv_heads: int, window: int | None) -> None:
        self.heads, self.kv_heads, self.prefixes = heads, kv_heads, packed.prefixes
        # (left, right): a token sees itself and `window` - 1 before it
        self.window = (-1 if window is None else window - 1, 0)
        queries, keys, columns = segments(packed)
        whole = len([count for count, _ in packed.trees if count])  # segments that are prefixes
        # the last layer's queries are of branches only
        parts = [columns, columns[packed.prefixes :]]
        for lengths in (queries, keys, queries[whole:], keys[whole:]):
            parts.append(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))
        flat = placed(np.concatenate(parts), packed.ids.device)  # one copy, cut up there
        every, late, *ends = torch.split(flat, [len(part) for part in parts])
        first, second, third, fourth = (end.to(torch.int32) for end in ends)
        self.all = (every, first, second, max(queries), max(keys))
        self.late = (late, third, fourth, max(queries[whole:]), max(keys[whole:]))

    def __call__(self, layer: int, qkv: Tensor, last: bool) -> Tensor:
        """As `Attends` says."""
        columns, q_ends, k_ends, longest_q, longest_k = self.late if last else self.all
        q, k, v = torch.split(qkv, [self.heads, self.kv_heads, self.kv_heads], 1)
        found = varlen(
            q[self.prefixes :] if last else q,
            k.index_select(0, columns),
            v.index_select(0, columns),
            (q_ends, k_ends),
            (longest_q, longest_k),
            self.window,
        )
        return found.flatten(1)


def segments(packed: Pack) -> tuple[list[int], list[int], np.ndarray]:
    """Tokens that ask and tokens that are seen, of each segment, and the places of the latter, one by one.

    Prefixes come first, in the pack's order, those without tokens left out; then the branches.
    """
    queries = [long for long, _ in packed.trees if long]
    keys, columns = list(queries), [np.arange(packed.prefixes)]
    start, at, branches = 0, packed.prefixes, iter(packed.lengths)
    for long, count in packed.trees:
        for length in (next(branches) for _ in range(count)):
            queries.append(length)
            keys.append(long + length)
            columns += [np.arange(start, start + long), np.arange(at, at + length)]
            at += length
        start += long
    return queries, keys, np.concatenate(columns)


def varlen(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ends: tuple[Tensor, Tensor],
    longest: tuple[int, int],
    window: tuple[int, int],
) -> Tensor:
    """torch's `varlen_attn` of scaled q [Q, N, D] and k, v [C, K, D] to [Q, N, D].

    `ends` are int32 [S + 1], cumulative lengths of queries and of keys.
    """
    from torch.nn.attention.varlen import varlen_attn

    named: dict[str, Any] = {"scale": 1.0, "window_size": window}
    if k.shape[1] != q.shape[1] and _takes_groups():
        named["enable_gqa"] = True
    found = varlen_attn(q.contiguous(), k, v, *ends, *longest, **named)
    assert isinstance(found, Tensor)  # nothing else was asked for
    return found


@cache
def _takes_groups() -> bool:
    """Whether this torch wants to be told of grouped heads (2.13 does, 2.11 finds out itself)."""
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in inspect.signature(varlen_attn).parameters


class ByBlocks:
    """`scaled_dot_product_attention`, block by block, padded and with masks."""

    def __init__(self, packed: Pack, heads: int, kv_heads: int, window: int | None) -> None:
        self.heads, self.kv_heads = heads, kv_heads
        self.blocks = [_laid(block, window, packed.ids.device) for block in packed.blocks]

    def __call__(self, layer: int, qkv: Tensor, last: bool) -> Tensor:
        """As `Attends` says."""
        q, k, v = torch.split(qkv, [self.heads, self.kv_heads, self.kv_heads], 1)
        first, second = [], []
        for block in self.blocks:
            if not last and block.prefix.shape[1]:
                at = block.prefix
                first.append(self._attend(q[at], k[at], v[at], block.near)[block.prefix_back])
            own = self._attend(q[block.branch], k[block.columns], v[block.columns], block.mask)
            second.append(own[block.branch_back])
        return torch.cat([*first, *second]).flatten(1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Rows [.., L, heads, D] to tokens [.. L, N, D]; causally where no `mask` says otherwise."""
        # keys laid out for each head: of the kernels that take a mask none takes grouped heads
        group = self.heads // self.kv_heads
        q, k, v = (
            x.transpose(1, 2) for x in (q, k.repeat_interleave(group, 2), v.repeat_interleave(group, 2))
        )
        with sdpa_kernel(KERNELS):
            found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=1.0)
        return found.transpose(1, 2).flatten(0, 1)


@dataclass(frozen=True, slots=True)
class _Laid:
    """A block's tables on the device.

    prefix, branch, columns   places [T, P], [T G, R], of the latter behind its prefix [T G, P + R]
    prefix_back, branch_back  where the real tokens stand in the first two
    near, mask                who sees whom in prefixes [P, P] (None: causally), in branches
                              [T G, 1, R, P + R]
    """

    prefix: Tensor
    branch: Tensor
    columns: Tensor
    prefix_back: Tensor
    branch_back: Tensor
    near: Tensor | None
    mask: Tensor


def _laid(block: Block, window: int | None, device: torch.device) -> _Laid:
    """The tables of a block, in which each token sees `window` tokens."""
    trees, branches, width = block.branch.shape
    long = block.prefix.shape[1]
    # the kernels know no shared prefix: its keys and values are laid out again for each branch
    before = np.broadcast_to(block.prefix[:, None], (trees, branches, long))
    columns = np.concatenate((before, block.branch), 2).reshape(-1, long + width)
    # without a window: one that no text is longer than
    visible = ~out_of_reach(block, window or long + width + 1).repeat(branches, 0)[:, None]
    visible = np.broadcast_to(visible, (trees * branches, 1, width, long))
    causal = np.broadcast_to(_near(width, window or width), (trees * branches, 1, width, width))

    return _Laid(
        placed(block.prefix, device),
        placed(block.branch.reshape(-1, width), device),
        placed(columns, device),
        placed(block.prefix_back, device),
        placed(block.branch_back, device),
        None if window is None else placed(_near(long, window), device),
        placed(np.concatenate((visible, causal), -1), device),
    )


def _near(size: int, window: int) -> np.ndarray:
    """Which columns a row sees [size, size]: itself and the `window` - 1 before it."""
    return np.triu(np.tril(np.ones((size, size), bool)), 1 - window)
