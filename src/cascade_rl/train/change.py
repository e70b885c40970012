"""How far an update moves the weights: the norm of their change over their own, both over all that is trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

Squares = dict[str, tuple[float, float]]  # by parameter: squared norms of its change, and of what it was


def squares(names: Iterable[str], norms: Sequence[Tensor]) -> Squares:
    """From two norms a name, one of the change and one of the weights; a name that comes again adds to itself."""
    found: Squares = {}
    values = torch.stack(list(norms)).double().square().view(-1, 2).tolist() if norms else []
    for name, (change, weights) in zip(names, values, strict=True):
        before = found.get(name, (0.0, 0.0))
        found[name] = (before[0] + change, before[1] + weights)
    return found


def update_ratio(names: Sequence[str], parts: Sequence[Mapping[str, tuple[float, float]]]) -> float:
    """|change| / |weights| from what the workers found of their parameters or of their shards; 0 where nothing is trained."""
    change, weights = (
        math.fsum(part[name][i] for name in names for part in parts if name in part) for i in (0, 1)
    )
    return math.sqrt(change / weights) if weights else 0.0
