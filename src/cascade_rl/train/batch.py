"""Rows of token ids with weights, and how they are laid out in micro-batches.

How a batch is split over workers, trees and micro-batches changes its gradient by rounding only: all weights
are fixed before (`loss.token_weights`). Nothing here draws or depends on time: the same rows, the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cascade_rl.model.packed import Pack, Tree, pack, placed
from cascade_rl.model.replicas import deal


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt of `start` tokens and its response of R tokens: `ids` [start + R] int32.

    weight     of each response token in the loss, the same for all
    advantage  [R] float32, one a response token (of outcome rewards, all equal)
    old        [R] float32, the log-probabilities that the response was sampled with, zeros if it was not
    """

    ids: np.ndarray
    start: int
    weight: float
    advantage: np.ndarray
    old: np.ndarray

    @classmethod
    def of(
        cls,
        prompt: Sequence[int],
        response: Sequence[int],
        weight: float,
        advantage: float | Sequence[float] | np.ndarray = 1.0,
        old: Sequence[float] | np.ndarray | None = None,
    ) -> Row:
        """From two lists of ids; `advantage` is one for all response tokens or for each, `old` for each.

        Raises ValueError when there are not as many as response tokens.
        """
        ids = np.asarray([*prompt, *response], np.int32)
        gains = np.asarray(advantage, np.float32)
        gains = np.full(len(response), gains) if gains.ndim == 0 else gains
        known = np.zeros(len(response), np.float32) if old is None else np.asarray(old, np.float32)
        for name, values in (("advantages", gains), ("log-probabilities", known)):
            if values.shape != (len(response),):
                raise ValueError(f"{values.size} {name} for a response of {len(response)} tokens")
        return cls(ids, len(prompt), weight, gains, known)


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows and the places that are scored, in the order of the pack's branches.

    `rows` [N] is the row each of the `targets` [N] belongs to, both int64; `weight`, `advantage`, `old` [N]
    are float32. N counts the response tokens of this micro-batch.
    """

    packed: Pack
    rows: Tensor
    targets: Tensor
    weight: Tensor
    advantage: Tensor
    old: Tensor


def plant(rows: Sequence[Row]) -> list[tuple[Tree, list[int]]]:
    """Rows with equal prompts as one tree, with the numbers of its rows; rows without response are left out.

    What predicts the first response token is the prompt's last, so that each branch begins there; what comes
    after the last response token predicts nothing, so that it is left out.
    """
    groups: dict[bytes, list[int]] = {}  # by the prompt's bytes: all ids are int32
    for index, row in enumerate(rows):
        if len(row.ids) > row.start:
            groups.setdefault(row.ids[: row.start].tobytes(), []).append(index)
    found = []
    for group in groups.values():
        first = rows[group[0]]
        # needs a prompt of one token at least: with start 0 the slice would be empty, and nothing trained
        branches = tuple(rows[i].ids[rows[i].start - 1 : -1] for i in group)
        found.append((Tree(first.ids[: first.start - 1], branches), group))
    return found


def shares(rows: Sequence[Row], size: int) -> list[list[int]]:
    """Row numbers for `size` workers, alike in tokens; equal prompts stay together unless they are few."""
    trees = plant(rows)
    # Few trees can't be dealt evenly: then each is cut, and every worker computes its prompt again.
    parts = 1 if len(trees) >= 4 * size else size
    pieces = [group[k::parts] for _, group in trees for k in range(parts) if group[k::parts]]

    def tokens(piece: Sequence[int]) -> float:
        """What is computed: the prompt once, with the first row, and the responses of the others."""
        return float(len(rows[piece[0]].ids) + sum(len(rows[i].ids) - rows[i].start for i in piece[1:]))

    costs = [tokens(piece) for piece in pieces]
    return [[i for piece in shard for i in pieces[piece]] for shard in deal(range(len(pieces)), costs, size)]


def microbatches(rows: Sequence[Row], tokens: int, *, shared: bool = True) -> list[list[int]]:
    """Row numbers in groups that compute at most `tokens` tokens; a row that is longer stands alone.

    `shared`: rows compute the prompt that they share once.
    """
    if not shared:
        kept = [i for i, row in enumerate(rows) if len(row.ids) > row.start]
        return [[kept[i] for i in found] for found in fill([len(rows[i].ids) for i in kept], tokens)]
    pieces: list[tuple[int, list[int]]] = []  # tokens of a tree, or of a part with the prompt again; its rows
    for tree, group in plant(rows):
        begin, size = 0, len(tree.prefix)
        for place, branch in enumerate(tree.branches):
            if size + len(branch) > tokens and place > begin:
                pieces.append((size, group[begin:place]))
                begin, size = place, len(tree.prefix)
            size += len(branch)
        pieces.append((size, group[begin:]))
    return [
        [i for piece in found for i in pieces[piece][1]]
        for found in fill([size for size, _ in pieces], tokens)
    ]


def fill(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Item numbers in bins of at most `most`, the largest first; a larger one stands alone."""
    # Only the last bin is looked at (next fit): a few bins more, but what shares one is alike in size, so
    # that attention, which pads within blocks, pads little.
    bins: list[list[int]] = []
    left = 0
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        if not bins or sizes[index] > left:
            bins.append([])
            left = most
        bins[-1].append(index)
        left -= sizes[index]
    return bins


def pack_rows(rows: Sequence[Row], device: torch.device) -> Batch:
    """Lay rows out as trees; the token at t is predicted from t - 1, and only response tokens are scored."""
    trees = plant(rows)
    packed = pack([tree for tree, _ in trees], device)
    # the pack sorts trees by size: back from its branches to row numbers
    order = [trees[tree][1][branch] for tree, branch in packed.order]
    counts = [len(rows[i].ids) - rows[i].start for i in order]
    targets = np.concatenate([rows[i].ids[rows[i].start :] for i in order]).astype(np.int64)
    weight = np.repeat([rows[i].weight for i in order], counts).astype(np.float32)
    advantage = np.concatenate([rows[i].advantage for i in order])
    old = np.concatenate([rows[i].old for i in order])

    # whole numbers and fractions in a copy each
    numbers = placed(np.stack((np.repeat(order, counts), targets)), device)
    factors = placed(np.stack((weight, advantage, old)).astype(np.float32), device)
    return Batch(packed, *numbers.unbind(), *factors.unbind())
