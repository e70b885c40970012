"""The parameters that a worker steps, and how: AdamW and Muon, their state, and how far a step moved weights.

Each worker owns a part of the parameters: it takes the sum of their gradients over the workers and steps its
own optimiser. AdamW is torch's; with `muon` torch's Muon (arXiv 2502.16982) takes the matrices. Over GPUs a
part is a shard of each parameter; for what needs whole matrices (Muon, LoRA) it is whole parameters, as on
every CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cascade_rl.model.weights import Model
from cascade_rl.model.worker import Worker
from cascade_rl.recipe import Training
from cascade_rl.train.lora import Adapted
from cascade_rl.train.owner import Owner, Squares, adamw, owner_of, squares


def update_ratio(names: Sequence[str], parts: Sequence[Mapping[str, tuple[float, float]]]) -> float:
    """|change| / |weights|, from the workers' squares of parameters or shards; 0 where nothing is trained."""
    change, weights = (
        math.fsum(part[name][i] for name in names for part in parts if name in part) for i in (0, 1)
    )
    return math.sqrt(change / weights) if weights else 0.0


def step_cost(model: Model, name: str, optimizer: str) -> float:
    """About how long a parameter's step takes: Muon's five iterations multiply it with its short side."""
    shape = model.shapes[name]
    numbers = float(math.prod(shape))
    return numbers * min(shape) if optimizer == "muon" and model.config.is_matrix(name) else numbers


class Owned(Owner):
    """Steps the `parameters` themselves, one after the other."""

    def __init__(self, model: Model, parameters: Mapping[str, Tensor], spec: Training) -> None:
        super().__init__()
        self.model, self.parameters = model, parameters
        self.stepped_by: dict[str, torch.optim.Optimizer] = {}
        matrices = [n for n in parameters if model.config.is_matrix(n)]
        others = [n for n in parameters if n not in matrices]
        if spec.muon_lr is None:  # without Muon; this order stays, since saved states go by it
            matrices, others = [], matrices + others
        elif matrices:
            chosen = [parameters[n] for n in matrices]
            muon = torch.optim.Muon(chosen, lr=spec.muon_lr, weight_decay=spec.weight_decay)
            self.optimizers.append((muon, spec.muon_lr))
            self.stepped_by |= dict.fromkeys(matrices, muon)
        if others:
            adam = adamw([parameters[n] for n in others], spec)
            self.optimizers.append((adam, spec.lr))
            self.stepped_by |= dict.fromkeys(others, adam)

    def reduce(self) -> dict[str, float]:
        """The gradients are summed over the workers here."""
        norms = []
        for name, parameter in self.parameters.items():
            parameter.grad = self.model.gradient(name)
            # in double: millions of squares, added up over parameters and workers
            norms.append(torch.linalg.vector_norm(parameter.grad, dtype=torch.float64))
        # asked for together: a GPU is waited for once, not for each parameter
        found = torch.stack(norms).tolist() if norms else []
        return {name: norm**2 for name, norm in zip(self.parameters, found, strict=True)}

    def step(self, scale: float, lr_factor: float) -> Squares:
        """The parameters go one by one, so that what they were is held of one at a time.

        No optimiser here looks at other parameters than the one it steps, so that the bits are the same.
        """
        gradients = {name: _grad(parameter).mul_(scale) for name, parameter in self.parameters.items()}
        for parameter in self.parameters.values():
            parameter.grad = None  # an optimiser steps every parameter of its own that has one
        self.set_rates(lr_factor)
        found: list[Tensor] = []
        for name, parameter in self.parameters.items():
            before = parameter.clone()
            parameter.grad = gradients[name]
            self.stepped_by[name].step()
            parameter.grad = None
            weights = torch.linalg.vector_norm(before)
            found += [torch.linalg.vector_norm(before.sub_(parameter)), weights]
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]  # left as they were applied, clipped, until the next `reduce`
        return squares(self.parameters, found)

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing: the weights themselves are saved by the loop."""
        return {}

    def load_extra(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take over."""


def _grad(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise RuntimeError("a step without gradients: `reduce` comes first")
    return parameter.grad


def own(worker: Worker, name: str, owners: Sequence[Sequence[str]], spec: Training, seed: str) -> None:
    """Runs in a worker: give it its share of a fresh optimiser; `owners` are names of parameters by rank."""
    model = worker.models[name]
    # Muon orthogonalises a matrix, and an adapter's factors span it: neither can work on a shard of rows
    parameters = model.owned(owners, whole=spec.optimizer == "muon" or spec.lora is not None)
    if spec.lora:
        model.optimizer = Adapted(model, parameters, spec, spec.lora, seed)
    else:
        model.optimizer = Owned(model, parameters, spec)


def reduce(worker: Worker, name: str) -> dict[str, float]:
    """Runs in a worker: the squared norms of the gradients it owns."""
    worker.models[name].gather()  # collective over several GPUs, as is `scatter`: every worker comes here
    return owner_of(worker, name).reduce()


def step(worker: Worker, name: str, scale: float, lr_factor: float) -> Squares:
    """Runs in a worker: a step of what it owns; see `Owner.step`."""
    found = owner_of(worker, name).step(scale, lr_factor)
    worker.models[name].scatter()
    return found


def save(worker: Worker, name: str, folder: str) -> None:
    """Runs in a worker: write its part of the optimiser's state."""
    owner = owner_of(worker, name)
    states = [optimizer.state_dict() for optimizer, _ in owner.optimizers]
    torch.save({"optimizers": states, "extra": owner.extra_state()}, _file(worker, folder))


def load(worker: Worker, name: str, folder: str) -> None:
    """Runs in a worker: read what `save` wrote."""
    owner = owner_of(worker, name)
    found = torch.load(_file(worker, folder), weights_only=True)  # tensors and numbers, no code
    for (optimizer, _), state in zip(owner.optimizers, found["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    owner.load_extra(found["extra"])


def _file(worker: Worker, folder: str) -> Path:
    return Path(folder) / f"optimizer-{worker.rank}.pt"
