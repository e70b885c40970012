"""The parameters that a worker steps, and how: AdamW and Muon, their state, and how far a step moved weights.

Each worker owns a part of the parameters: it takes the sum of their gradients over the workers and steps its
own optimiser. AdamW is torch's; with `muon` torch's Muon (arXiv 2502.16982) takes the matrices. Over GPUs a
part is a shard of each parameter; for what needs whole matrices (Muon, LoRA) it is whole parameters, as on
every CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cascade_rl.model.weights import Model
from cascade_rl.model.worker import Worker
from cascade_rl.recipe import Training
from cascade_rl.train.lora import Adapted
from cascade_rl.train.owner import Owner, Squares, adamw, owner_of, squares

# On a GPU a call costs more than most parameters' step, and kernels for lists take hundreds in one. What the
# parameters of a call were is there meanwhile: so many bytes, or one parameter that is larger.
TOGETHER = 1 << 28


def together(parameters: Mapping[str, Tensor], names: Sequence[str]) -> list[list[str]]:
    """The names in parts that step in one call; one by one on a CPU, which gains nothing by more memory."""
    parts: list[list[str]] = []
    room = 0
    for name in names:
        size = parameters[name].nbytes
        if not parts or size > room or not parameters[name].is_cuda:
            parts.append([])
            room = TOGETHER
        parts[-1].append(name)
        room -= size
    return parts


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
    """Steps the `parameters` themselves, some at a time (`together`).

    What they were is held beside them while they step, so that their change is known.
    """

    def __init__(self, model: Model, parameters: Mapping[str, Tensor], spec: Training) -> None:
        super().__init__()
        self.model, self.parameters = model, parameters
        self.parts: list[tuple[torch.optim.Optimizer, list[str]]] = []
        matrices = [n for n in parameters if model.config.is_matrix(n)]
        others = [n for n in parameters if n not in matrices]
        if spec.muon_lr is None:  # without Muon; this order stays, since saved states go by it
            matrices, others = [], matrices + others
        elif matrices:
            chosen = [parameters[n] for n in matrices]
            muon = torch.optim.Muon(chosen, lr=spec.muon_lr, weight_decay=spec.weight_decay)
            self._add(muon, spec.muon_lr, matrices)
        if others:
            self._add(adamw([parameters[n] for n in others], spec), spec.lr, others)

    def _add(self, optimizer: torch.optim.Optimizer, lr: float, names: Sequence[str]) -> None:
        self.optimizers.append((optimizer, lr))
        self.parts += [(optimizer, part) for part in together(self.parameters, names)]

    def reduce(self) -> dict[str, float]:
        """The gradients are summed over the workers here."""
        for name, parameter in self.parameters.items():
            parameter.grad = self.model.gradient(name)
        if not self.parameters:
            return {}
        # in double: millions of squares, added up over parameters and workers
        norms = torch._foreach_norm([_grad(p) for p in self.parameters.values()], 2, dtype=torch.float64)
        # asked for together: a GPU is waited for once, not for each parameter
        found = torch.stack(norms).tolist()
        return {name: norm**2 for name, norm in zip(self.parameters, found, strict=True)}

    def step(self, scale: float, lr_factor: float) -> Squares:
        """No optimiser here looks at other parameters than the one it steps: parts change no bits."""
        gradients = {name: _grad(parameter) for name, parameter in self.parameters.items()}
        self.let_go()  # an optimiser steps every parameter of its own that has one
        self.set_rates(lr_factor)
        found: list[Tensor] = []
        for optimizer, names in self.parts:
            parameters = [self.parameters[name] for name in names]
            taken = [gradients[name] for name in names]
            torch._foreach_mul_(taken, scale)
            for parameter, gradient in zip(parameters, taken, strict=True):
                parameter.grad = gradient
            before = [*torch._foreach_mul(parameters, 1.0)]  # copies: torch 2.11 clones no lists
            weights = torch._foreach_norm(before)
            optimizer.step()
            self.let_go(names)
            torch._foreach_sub_(before, parameters)
            changes = torch._foreach_norm(before)
            found += [norm for both in zip(changes, weights, strict=True) for norm in both]
            del before  # or it would be there beside the next part's
        return squares([name for _, names in self.parts for name in names], found)

    def let_go(self, names: Iterable[str] | None = None) -> None:
        """Of what is gathered for whole parameters nothing else is left; other gradients are the model's."""
        for name in self.parameters if names is None else names:
            self.parameters[name].grad = None

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


def skip(worker: Worker, name: str) -> None:
    """Runs in a worker: the gradients that `reduce` took are not applied."""
    owner_of(worker, name).let_go()


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
