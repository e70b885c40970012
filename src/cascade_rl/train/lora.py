"""Low-rank adapters (LoRA, arXiv 2106.09685, section 4.1): W = W0 + (alpha / rank) B A; A and B are trained.

Departs from module wrappers: the engine keeps one merged matrix, which sampling, scoring and export see as
any other, and computes its whole gradient G. Those of the factors follow by the chain rule, dL/dB = s G A^T
and dL/dA = s B^T G with s = alpha / rank, and each step adds the change of s B A to W. What is saved against
full fine-tuning is the optimiser's state; the adapter itself is written in PEFT's format.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from cascade_rl.model.checkpoint import DTYPES
from cascade_rl.model.export import write_adapter
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.weights import Model
from cascade_rl.model.worker import Worker
from cascade_rl.recipe import Training
from cascade_rl.recipe.lora import LoRA
from cascade_rl.train.owner import Owner, Squares, adamw, owner_of, squares

HEAD = "score"  # the reward model's head is new and small: it is trained whole


class Adapter:
    """The factors of one projection, A [rank, in] and B [out, rank], both fp32; B starts at 0, so W at W0.

    full    the projection's Hugging Face name
    name    our parameter that holds it, in its `rows` (q, k and v are one parameter here)
    weight  those rows of the fp32 master, as a view: what is added to it is added to the model
    turned  it is stored [in, out]: `weight` is the transposed view
    """

    def __init__(
        self, full: str, name: str, rows: slice, master: Tensor, turned: bool, lora: LoRA, seed: str
    ) -> None:
        self.full, self.name, self.rows, self.turned = full, name, rows, turned
        weight = self.weight = master[rows].T if turned else master[rows]
        self.scale = lora.alpha / lora.rank
        # by name, so that the start does not depend on who owns what; manual_seed takes 64 bits at most
        digest = hashlib.blake2b(f"{seed}/{full}".encode(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        bound = 1 / math.sqrt(weight.shape[1])  # Kaiming's uniform with a = sqrt(5), as in PEFT
        # drawn on the CPU: the same start on every device
        a = torch.empty(lora.rank, weight.shape[1]).uniform_(-bound, bound, generator=generator)
        self.a = a.to(weight.device)
        self.b = torch.zeros(weight.shape[0], lora.rank, device=weight.device)

    def take(self, gradient: Tensor) -> Tensor:
        """Set the factors' gradients from the matrix' own, stored as it is; their squared norm, in double."""
        gradient = gradient.T if self.turned else gradient
        by_b = self.scale * gradient @ self.a.T
        by_a = self.scale * self.b.T @ gradient
        self.a.grad, self.b.grad = by_a, by_b
        return by_a.double().square().sum() + by_b.double().square().sum()


class Adapted(Owner):
    """A worker's share of the adapters and their optimiser; `masters` are the parameters that it owns.

    W0 is not kept: the masters hold W, and what changes of s B A is added to them.
    """

    def __init__(
        self, model: Model, masters: Mapping[str, Tensor], spec: Training, lora: LoRA, seed: str
    ) -> None:
        super().__init__()
        self.model, parts = model, model.config.names()
        targets = set(model.config.adapted(lora.targets))
        self.adapters: list[Adapter] = []
        for name, master in masters.items():
            start = 0  # the first row of the projection in our parameter
            for full, count in parts.get(name, []):
                rows, start = slice(start, start + count), start + count
                if full in targets:
                    turned = model.config.turned(name)
                    self.adapters.append(Adapter(full, name, rows, master, turned, lora, seed))
        self.heads = {name: master for name, master in masters.items() if name == HEAD}
        factors = [t for adapter in self.adapters for t in (adapter.a, adapter.b)]
        self.parameters = [*factors, *self.heads.values()]
        if self.parameters:  # a worker may own nothing that is adapted, and AdamW refuses an empty list
            self.optimizers.append((adamw(self.parameters, spec), spec.lr))

    def reduce(self) -> dict[str, float]:
        """Take the gradients and pass them on to the factors; their squared norms by parameter."""
        found = [
            (adapter.name, adapter.take(self.model.gradient(adapter.name, adapter.rows)))
            for adapter in self.adapters
        ]
        for name, head in self.heads.items():
            gradient = head.grad = self.model.gradient(name)
            found.append((name, gradient.double().square().sum()))
        norms: dict[str, float] = {}
        # asked for together: a GPU is waited for once, not for each matrix
        values = torch.stack([square for _, square in found]).tolist() if found else []
        for (name, _), square in zip(found, values, strict=True):
            norms[name] = norms.get(name, 0.0) + square
        return norms

    def step(self, scale: float, lr_factor: float) -> Squares:
        """The matrices take over what changed; squares are of these changes and matrices, and the head's."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(scale)
        before = [adapter.b @ adapter.a for adapter in self.adapters]
        heads = [head.clone() for head in self.heads.values()]
        self.set_rates(lr_factor)
        for optimizer, _ in self.optimizers:
            optimizer.step()
        norm = torch.linalg.vector_norm
        found: list[Tensor] = []
        for adapter, old in zip(self.adapters, before, strict=True):
            change = adapter.b @ adapter.a - old
            # |W| before the change, of the adapted rows alone: the others do not move
            found += [adapter.scale * norm(change), norm(adapter.weight)]
            adapter.weight.add_(change, alpha=adapter.scale)
        for head, was in zip(self.heads.values(), heads, strict=True):
            found += [norm(head - was), norm(was)]
        self.let_go()
        return squares([*(adapter.name for adapter in self.adapters), *self.heads], found)

    def let_go(self) -> None:
        """The factors' own, and the head's."""
        for parameter in self.parameters:
            parameter.grad = None

    def extra_state(self) -> dict[str, Tensor]:
        """The factors, by name."""
        return {f"{a.full}/{side}": t for a in self.adapters for side, t in (("a", a.a), ("b", a.b))}

    def load_extra(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `extra_state` gave."""
        for key, tensor in self.extra_state().items():
            tensor.copy_(state[key])

    def peft_state(self) -> dict[str, Tensor]:
        """Factors and head under PEFT's names."""
        # copies on the CPU: they go through a pipe, and training goes on
        found = {f"base_model.model.{name}.weight": head.cpu().clone() for name, head in self.heads.items()}
        for a in self.adapters:
            stem = f"base_model.model.{a.full.removesuffix('.weight')}"
            found |= {f"{stem}.lora_A.weight": a.a.cpu().clone(), f"{stem}.lora_B.weight": a.b.cpu().clone()}
        return found


def _peft_state(worker: Worker, name: str) -> dict[str, Tensor]:
    """Runs in a worker: its part of the adapter; raises TypeError of a model that has none."""
    owner = owner_of(worker, name)
    if not isinstance(owner, Adapted):
        raise TypeError(f"{name} is trained without an adapter")
    return owner.peft_state()


def save_adapter(folder: Path, replicas: Replicas, name: str, lora: LoRA, base: Path, dtype: str) -> None:
    """Write the adapter of a model as it is now, for the model at `base`, in fp32 or bf16."""
    state: dict[str, Tensor] = {}
    for part in replicas.all(_peft_state, name):
        state |= {full: tensor.to(DTYPES[dtype]) for full, tensor in part.items()}
    config = replicas.local.models[name].config
    names = config.adapted(lora.targets)
    # PEFT wants one answer for all; no family mixes the two
    modules = list(dict.fromkeys(full.split(".")[-2] for full in names))
    write_adapter(folder, state, lora, base, modules, config.turned(names[0]))
