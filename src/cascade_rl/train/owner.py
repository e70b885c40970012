"""A worker's share of an optimiser: what the learner asks of it, whatever the parameters are.

What there is: `optimiser.Owned` and `lora.Adapted`. How far a step moves the weights is told by squared
norms, which add up over parameters, shards and workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from cascade_rl.model.worker import Worker
from cascade_rl.recipe import Training

Squares = dict[str, tuple[float, float]]  # by parameter: squared norms of its change, and of what it was


def squares(names: Iterable[str], norms: Sequence[Tensor]) -> Squares:
    """From two norms a name, of the change and of the weights; a name that comes again adds to itself."""
    found: Squares = {}
    # one transfer from the device for all, in double, where squares of small changes do not vanish
    values = torch.stack(list(norms)).double().square().view(-1, 2).tolist() if norms else []
    for name, (change, weights) in zip(names, values, strict=True):
        before = found.get(name, (0.0, 0.0))
        found[name] = (before[0] + change, before[1] + weights)
    return found


class Owner(ABC):
    """A worker's share of the optimiser. `optimizers` come with the peak learning rate of each."""

    def __init__(self) -> None:
        self.optimizers: list[tuple[torch.optim.Optimizer, float]] = []

    @abstractmethod
    def reduce(self) -> dict[str, float]:
        """Take the owned gradients; their squared norms by name."""

    @abstractmethod
    def step(self, scale: float, lr_factor: float) -> Squares:
        """One optimiser step, gradients times `scale`, learning rates times `lr_factor`; see `Squares`."""

    def set_rates(self, lr_factor: float) -> None:
        """Learning rates for the next step."""
        # from the peak each time, not from the last rate: a resume sets the same one
        for optimizer, lr in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * lr_factor

    @abstractmethod
    def let_go(self) -> None:
        """Hold no gradient any more: those that `reduce` took are applied, or never will be."""

    @abstractmethod
    def extra_state(self) -> dict[str, Tensor]:
        """What must be saved beside the optimisers' states and the weights."""

    @abstractmethod
    def load_extra(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `extra_state` gave."""


def owner_of(worker: Worker, name: str) -> Owner:
    """What steps this worker's share of a model; raises TypeError if nothing does."""
    owner = worker.models[name].optimizer
    if not isinstance(owner, Owner):
        raise TypeError(f"{name} is not trained")
    return owner


def adamw(parameters: Sequence[Tensor], spec: Training) -> torch.optim.AdamW:
    """AdamW with a stage's settings, its peak learning rate among them."""
    return torch.optim.AdamW(
        parameters, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay, fused=True
    )
