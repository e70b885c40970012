"""Rows of token ids with weights, and how they are laid out in micro-batches. The first type that knows torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt of `start` tokens and its response: `ids` [T] int32; `weight` and `advantage` hold for each response token."""

    ids: np.ndarray
    start: int
    weight: float
    advantage: float = 1.0

    @classmethod
    def of(cls, prompt: Sequence[int], response: Sequence[int], weight: float, advantage: float = 1.0) -> Row:
        """From two lists of ids."""
        return cls(np.asarray([*prompt, *response], np.int32), len(prompt), weight, advantage)


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded rows [B, T] and the places that are scored.

    `rows`, `columns` [N] are where the model stands when it predicts `targets` [N]; `weight`, `advantage` [N].
    """

    ids: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    weight: Tensor
    advantage: Tensor


def microbatches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Row numbers in groups of like length whose padded size stays within `tokens`; a longer row stands alone."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if groups and lengths[groups[-1][0]] * (len(groups[-1]) + 1) <= tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def pad(rows: Sequence[Row], device: torch.device) -> Batch:
    """Lay rows out; the token at t is predicted from t - 1, and only response tokens are scored."""
    width = max(len(row.ids) for row in rows)
    ids = np.zeros((len(rows), width), np.int64)
    places, columns, targets, weight, advantage = [], [], [], [], []
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = row.ids
        count = len(row.ids) - row.start
        places.append(np.full(count, index))
        columns.append(np.arange(row.start - 1, len(row.ids) - 1))
        targets.append(row.ids[row.start :].astype(np.int64))
        weight.append(np.full(count, row.weight, np.float32))
        advantage.append(np.full(count, row.advantage, np.float32))
    stacked = (np.concatenate(part) for part in (places, columns, targets, weight, advantage))
    return Batch(*(torch.from_numpy(array).to(device) for array in (ids, *stacked)))
