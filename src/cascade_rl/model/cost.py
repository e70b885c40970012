"""The cost model: what a step must compute and move, from shapes and lengths alone, and how long at least.

It counts products and bytes only (no norms, no sampling, no optimiser, no Python), so that what is measured
can come near it but not below. A token costs 2 operations a number in the matrices that it passes, and 4 a
layer, head, place of a head and column that it sees; a gradient costs twice as much again. Decoding reads all
weights once a step, and each row's keys and values. What a trainer's fraction of the peak (MFU) and a
decoder's of the bandwidth (MBU) rest on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.model.network import Sized

Lengths = tuple[int, Sequence[int]]  # of a tree: tokens of its prefix, and of each branch


@dataclass(frozen=True, slots=True)
class Peaks:
    """Operations a second of the blocks' products and of the fp32 head, bytes a second: of all workers.

    `cache` are the bytes that a worker's part of the last cache before the memory holds.
    """

    flops: float
    head_flops: float
    bytes: float
    workers: int = 1
    cache: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What has to be done for `tokens`: operations at the blocks' rate and at the fp32 head's, and bytes.

    The bytes are read in so many `passes`, each of which may find a cache full of what the last one read.
    """

    tokens: int = 0
    flops: int = 0
    head_flops: int = 0
    bytes: int = 0
    passes: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.tokens + other.tokens,
            self.flops + other.flops,
            self.head_flops + other.head_flops,
            self.bytes + other.bytes,
            self.passes + other.passes,
        )

    def seconds(self, peaks: Peaks) -> float:
        """The least time: products and transfers at their peaks, side by side."""
        # what stays in a cache needs no memory: all of a tiny model may
        moved = max(0, self.bytes - self.passes * peaks.cache)
        return max(self.flops / peaks.flops + self.head_flops / peaks.head_flops, moved / peaks.bytes)


def matrix_parameters(config: Sized) -> tuple[int, int]:
    """Numbers in the matrices of the layers, and in the head."""
    size = config.size()
    return size.matrices, size.head


def _forward(config: Sized, trees: Sequence[Lengths]) -> int:
    """Operations of the blocks; in the last layer a prefix needs queries, keys and values alone."""
    size = config.size()
    # P + sum of R over a tree, not P + R a row: that is what sharing a prompt saves
    shared, own = sum(p for p, _ in trees), sum(sum(branches) for _, branches in trees)
    # columns that tokens see: the t-th of a branch its prefix and t of its own; the causal half alone counts
    seen = sum(r * p + r * (r + 1) // 2 for p, branches in trees for r in branches)
    seen_by_prefixes = sum(p * (p + 1) // 2 for p, _ in trees)
    products = 2 * (size.matrices * (shared + own) - size.beyond * shared)
    return products + 4 * size.width * (size.layers * seen + max(0, size.layers - 1) * seen_by_prefixes)


def update_work(config: Sized, trees: Sequence[Lengths], *, scored: bool = True, teachers: int = 0) -> Work:
    """The gradient of trees, whose prefixes are computed once for all branches.

    `scored`: every token of a branch goes through the head. `teachers`: as many other models of this shape
    score them, forward only.
    """
    own = sum(sum(branches) for _, branches in trees)
    body, head = _forward(config, trees), 2 * matrix_parameters(config)[1] * own * scored
    tokens = own + sum(p for p, _ in trees)
    # backward twice the forward; the head's in the dtype of the products, so at the blocks' rate
    return Work(tokens, (3 + teachers) * body + 2 * head, (1 + teachers) * head)


def prefill_work(config: Sized, prompts: Sequence[int], element: int) -> Work:
    """Prompts, each once: weights are read once, `element` bytes a number; the head reads the last tokens."""
    layers, head = matrix_parameters(config)
    flops = _forward(config, [(p - 1, (1,)) for p in prompts])
    return Work(sum(prompts), flops, 2 * head * len(prompts), layers * element + head * 4, 1)


def decode_work(
    config: Sized, prompts: Sequence[int], replies: Sequence[int], slots: int, element: int
) -> Work:
    """A worker's replies, one a prompt, in so many slots; `element` bytes a number of weights and cache.

    The first token of a reply comes from the prefill. Steps are as few as lengths and slots allow.
    """
    size, head = config.size(), config.size().head
    later = [r - 1 for r in replies]
    columns = sum(n * p + n * (n + 1) // 2 for p, n in zip(prompts, later, strict=True))
    # as many as the longest reply needs, or as all take when every slot is always busy
    steps = max(max(later), -(-sum(later) // slots))
    flops = 2 * size.matrices * sum(later) + 4 * size.layers * size.width * columns
    # all weights once a step however many rows share it, and each row's own keys and values
    moved = steps * (size.matrices * element + head * 4) + 2 * size.layers * size.cached * element * columns
    return Work(sum(replies), flops, 2 * head * sum(later), moved, steps)
