"""Trees of tokens laid side by side: a shared prefix and the branches that continue it, without padding.

Rows of one group share their prompt; as one tree the prompt is computed once for all of them (the gradient is
exact: each branch adds its share to the prompt's keys and values). A row alone is a tree with one branch. All
tokens of a micro-batch lie side by side, prefixes first, then branches, so that linear layers see no padding
and the last layer can leave the prefixes out; only `attention` pads, within blocks of trees of like size.
Source: prefix sharing in training, verl pull request 4368.

Shapes: M tokens, T trees of a block, G branches a tree, P prefix and R branch tokens (padded).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LANES = 16  # fp32 numbers in a vector register of 512 bits
BLOCK_WASTE = 0.5  # share of padded scores above which a block is cut in two


@dataclass(frozen=True, slots=True)
class Tree:
    """Token ids of a prefix (may be empty) and of the branches that continue it (none is empty)."""

    prefix: np.ndarray
    branches: tuple[np.ndarray, ...]

    @property
    def tokens(self) -> int:
        """How many tokens are computed."""
        return len(self.prefix) + sum(len(b) for b in self.branches)

    @property
    def lengths(self) -> tuple[int, list[int]]:
        """Tokens of the prefix, and of each branch."""
        return len(self.prefix), [len(b) for b in self.branches]


@dataclass(frozen=True, slots=True)
class Block:
    """Where the tokens of trees with equally many branches lie in the pack, padded with 0.

    `prefix` is [T, P], `branch` [T, G, R], both of places in the pack.
    `prefix_back`, `branch_back` are the slots of the real tokens in those tables, in the pack's order;
    `hidden` [T, P] are the padded places of the prefixes, None if there are none. All lie on the host: who
    attends without padding never asks for them.
    """

    prefix: np.ndarray
    branch: np.ndarray
    prefix_back: np.ndarray
    branch_back: np.ndarray
    hidden: np.ndarray | None


@dataclass(frozen=True, slots=True)
class Pack:
    """A micro-batch of trees: ids [M] and positions [M], prefixes first (`prefixes` of them), and the blocks.

    `order` are (tree, branch) of the branches in the pack's order, `lengths` how long each is. `trees` are
    (tokens of the prefix, branches) of the trees in the pack's order.
    """

    ids: Tensor
    positions: Tensor
    prefixes: int
    blocks: tuple[Block, ...]
    order: tuple[tuple[int, int], ...]
    lengths: tuple[int, ...]
    trees: tuple[tuple[int, int], ...]

    def longest(self) -> int:
        """Tokens of the longest text; known to the host, so that no GPU has to be asked."""
        branches = iter(self.lengths)
        return max(long + max(next(branches) for _ in range(count)) for long, count in self.trees)


def _cost(trees: Sequence[Tree]) -> int:
    """Scores of a padded block: of prefixes to themselves, of branches to prefix and themselves."""
    # the masked half as well: it is computed
    p, r = max(len(t.prefix) for t in trees), max(len(b) for t in trees for b in t.branches)
    return len(trees) * (p * p + len(trees[0].branches) * r * (p + r))


def _blocks(trees: Sequence[Tree]) -> list[list[int]]:
    """Tree numbers in blocks of equally many branches and like size, cut where padding wastes too much."""
    # Many small blocks are no gain (docs/LOG.md): each is several calls of operators. So trees are taken in
    # as long as half of a block's scores are of real tokens.
    size = [(len(t.branches), max(len(b) for b in t.branches) + len(t.prefix) / 4) for t in trees]
    order = sorted(range(len(trees)), key=lambda i: (size[i], i))
    blocks: list[list[int]] = []
    real = 0  # scores of the last block's trees without padding
    for i in order:
        own = _cost([trees[i]])
        if blocks and len(trees[blocks[-1][0]].branches) == len(trees[i].branches):
            together = _cost([trees[j] for j in (*blocks[-1], i)])
            if real + own >= (1 - BLOCK_WASTE) * together:
                blocks[-1].append(i)
                real += own
                continue
        blocks.append([i])
        real = own
    return blocks


def _padded(length: int) -> int:
    """A width that vector units like, if it costs little."""
    round_up = -(-length // LANES) * LANES
    return round_up if round_up <= 1.2 * length else length


def _table(starts: Sequence[int], lengths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Places [rows, width] of runs of tokens, 0 where there is none, and which are real."""
    # one column at least, also where no tree has a prefix: no product is then of an empty matrix
    columns = np.arange(_padded(max(1, *lengths)))
    real = columns < np.asarray(lengths)[:, None]
    return np.where(real, np.asarray(starts)[:, None] + columns, 0), real


def pack(trees: Sequence[Tree], device: torch.device) -> Pack:
    """Lay trees out; raises ValueError for a tree without branches."""
    if any(not t.branches for t in trees):
        raise ValueError("a tree needs a branch: what would be predicted?")
    groups = _blocks(trees)
    prefixes = sum(len(t.prefix) for t in trees)
    at_prefix, at_branch = 0, prefixes  # where the next of each lies: all prefixes before all branches
    blocks: list[Block] = []
    order: list[tuple[int, int]] = []
    first: list[tuple[np.ndarray, int]] = []  # token ids and the position of the first, of prefixes
    second: list[tuple[np.ndarray, int]] = []  # and of branches
    for members in groups:
        starts, branch_starts = [], []
        for i in members:
            starts.append(at_prefix)
            at_prefix += len(trees[i].prefix)
            first.append((trees[i].prefix, 0))
            for j, ids in enumerate(trees[i].branches):
                branch_starts.append(at_branch)
                at_branch += len(ids)
                second.append((ids, len(trees[i].prefix)))  # positions go on where the prefix ends
                order.append((i, j))
        shape = (len(members), len(trees[members[0]].branches), -1)
        prefix, real = _table(starts, [len(trees[i].prefix) for i in members])
        branch, real_branch = _table(branch_starts, [len(b) for i in members for b in trees[i].branches])
        blocks.append(
            Block(
                prefix=prefix,
                branch=branch.reshape(shape),
                prefix_back=np.flatnonzero(real),
                branch_back=np.flatnonzero(real_branch),
                hidden=None if real.all() else ~real,
            )
        )
    runs = [*first, *second]
    ids = np.concatenate([run for run, _ in runs]).astype(np.int64)
    positions = np.concatenate([np.arange(start, start + len(run)) for run, start in runs])
    lengths = tuple(len(run) for run, _ in second)
    shapes = tuple((len(trees[i].prefix), len(trees[i].branches)) for members in groups for i in members)
    both, at = placed(np.stack((ids, positions)), device).unbind()
    return Pack(both, at, prefixes, tuple(blocks), tuple(order), lengths, shapes)


def placed(numbers: np.ndarray, device: torch.device) -> Tensor:
    """Numbers of the host on the device; on a CPU the same memory.

    A GPU takes them out of pinned memory in its turn: out of any other the host would wait until all that was
    asked of the device before is done.
    """
    here = torch.from_numpy(numbers)
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here.to(device)
