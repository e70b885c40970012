"""How many bytes attention keeps for its gradient, by the way it goes; `activations` adds the rest.

What is counted is what `attention` and `gpu_attention` save; tests/test_activations.py compares it with what
autograd holds, on a GPU's ways on the shadow device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from cascade_rl.model import kernels
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.packed import Pack


class AttentionBytes(Protocol):
    """The bytes of one pack's attention in a model; products take `element` bytes a number."""

    def tables(self) -> int:
        """Where rows lie, once for all layers."""
        ...

    def kept(self, last: bool = False) -> int:
        """What a layer saves, what `o` reads included; of the `last` one queries are of branches only."""
        ...

    def at_work(self) -> int:
        """What a layer's backward pass needs beside it."""
        ...


def attention_bytes(config: DecoderConfig, packed: Pack, element: int) -> AttentionBytes:
    """Of the way that `gpu_attention.attention` takes."""
    if not packed.ids.is_cuda:
        return _Scores(config, packed, element)
    return _Segments(config, packed, element) if element < 4 else _Blocks(config, packed, element)


def compiled(packed: Pack, element: int) -> bool:
    """Whether the library of `kernels` computes what lies between the products."""
    return kernels.usable(packed.ids.device, torch.bfloat16 if element < 4 else torch.float32)


@dataclass(frozen=True, slots=True)
class _Way:
    config: DecoderConfig
    packed: Pack
    element: int

    @property
    def row(self) -> int:
        """Numbers of a token's query, over all heads."""
        return self.config.heads * self.config.head_dim

    @property
    def key_row(self) -> int:
        """Numbers of a token's key, over all heads."""
        return self.config.kv_heads * self.config.head_dim

    def asking(self, last: bool) -> int:
        """Tokens that attend."""
        return len(self.packed.ids) - (self.packed.prefixes if last else 0)


class _Scores(_Way):
    """`attention.Attention`: padded, with the weights of each head."""

    def tables(self) -> int:
        # int64, to the padded tables and back: of the inputs N + 2 K rows a token, of the outputs N
        padded, _ = self._sizes(last=False)
        return 16 * (len(self.packed.ids) + padded) * (self.config.heads + self.config.kv_heads)

    def kept(self, last: bool = False) -> int:
        # q, k, v and outputs padded, N + 2 K and N rows a token; the weights; and outputs as they are read
        padded, scores = self._sizes(last)
        rows = padded * 2 * (self.row + self.key_row) + self.asking(last) * self.row
        return self.element * (rows + scores * self.config.heads)

    def at_work(self) -> int:
        padded, scores = self._sizes(last=False)
        products = (
            0 if compiled(self.packed, self.element) else 8
        )  # of gradient and outputs, and the latter in fp32
        rows = padded * (self.row * (products + 2 * self.element) + 2 * self.key_row * self.element)
        return rows + self.element * scores * self.config.heads

    def _sizes(self, last: bool) -> tuple[int, int]:
        """Padded tokens of all blocks, and how many scores of a head are kept."""
        # By torch's operators a branch's scores of its prefix twice: as a copy, and in the rows that the view
        # of its own holds.
        times = 1 if compiled(self.packed, self.element) else 2
        padded, scores = 0, 0
        for block in self.packed.blocks:
            trees, branches, width = block.branch.shape
            long = block.prefix.shape[1]
            padded += trees * (long + branches * width)
            scores += trees * (branches * width * (times * long + width) + (0 if last else long * long))
        return padded, scores


class _Segments(_Way):
    """`gpu_attention.BySegments`: no scores and no padding, but a prompt's keys again for each branch."""

    def tables(self) -> int:
        # int64 of all and of the branches' columns and ends, then the ends in int32
        prefixes, branches = len(self.packed.trees), len(self.packed.lengths)
        return 8 * (self._columns(False) + self._columns(True)) + 24 * (prefixes + 2 * branches + 2)

    def kept(self, last: bool = False) -> int:
        # queries and outputs, which `o` reads where they lie; keys and values; fp32 log-sum-exp of each head
        rows = 2 * (self.asking(last) * self.row + self._columns(last) * self.key_row)
        return self.element * rows + 4 * self.asking(last) * self.config.heads

    def at_work(self) -> int:
        # As in flash-attention's backward: gradients of outputs, queries, keys and values, the queries' once
        # more in fp32, keys' and values' once more for each head that shares them; then all side by side.
        asking, columns = self.asking(False), self._columns(False)
        shared = 2 * columns * self.row if self.row != self.key_row else 0
        rows = 3 * asking * self.row + 2 * (columns + asking) * self.key_row + shared
        return self.element * rows + 4 * asking * (self.row + self.config.heads)

    def _columns(self, last: bool) -> int:
        """Keys that are looked up, over all segments."""
        before = sum(long * count for long, count in self.packed.trees)
        return before + sum(self.packed.lengths) + (0 if last else self.packed.prefixes)


class _Blocks(_Way):
    """`gpu_attention.ByBlocks`: padded, keys and values for each head, a mask in fp32 a layer, no scores."""

    def tables(self) -> int:
        # int64 places of padded queries and columns, and of real tokens among them; masks of a byte a place
        queries, columns, masked = self._sizes(last=False)
        return 8 * (queries + columns + len(self.packed.ids)) + masked

    def kept(self, last: bool = False) -> int:
        # The masks as numbers: kernels add them. (A GPU's kernel rounds their columns up to 16.)
        queries, columns, masked = self._sizes(last)
        rows = (2 * (queries + columns) + self.asking(last)) * self.row
        return self.element * rows + 4 * (queries * self.config.heads + masked)

    def at_work(self) -> int:
        # gradients of all four, then of keys and values as they were before each head got its own
        queries, columns, _ = self._sizes(last=False)
        rows = 2 * (queries + columns) * self.row + 2 * columns * self.key_row
        return self.element * (rows + len(self.packed.ids) * (self.row + 2 * self.key_row))

    def _sizes(self, last: bool) -> tuple[int, int, int]:
        """Padded queries and columns of all blocks, and places of masks."""
        queries, columns, masked = 0, 0, 0
        for block in self.packed.blocks:
            trees, branches, width = block.branch.shape
            long = block.prefix.shape[1]
            rows = trees * branches * width
            queries += rows
            columns += trees * branches * (long + width)
            masked += rows * (long + width)
            if not last:
                queries += trees * long
                columns += trees * long
                masked += long * long if self.config.window is not None else 0
        return queries, columns, masked
