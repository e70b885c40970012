"""A model spread over several workers by torch's FSDP2: a GPU each, or gloo on a CPU, where it is tested.

Masters, gradients and moments are sharded by rows; each layer is whole only while it computes (ZeRO-3, arXiv 1910.02054).
The matrices of a layer travel in the dtype of the products, everything else (embedding, head, norms, biases) in fp32,
so that numbers are those of one process but for the order of sums. Gradients are summed, not averaged: weights of rows
are global. Each worker also has whole copies for sampling and scoring.

Every worker must enter the same collectives: those with fewer micro-batches go through empty ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from cascade_rl.model.decoder import DecoderConfig, flat_size, packed_states, views
from cascade_rl.model.packed import Tree, pack

if TYPE_CHECKING:
    from cascade_rl.model.replicas import Worker

TIMEOUT = timedelta(minutes=10)  # of one collective; a worker that dies is noticed at once
READS_OUT = ("head", "score")


def touch(worker: Worker) -> None:
    """Start the device, so that a faulty one is told before others wait for it."""
    if worker.device.type == "cuda":
        torch.cuda.set_device(worker.device)
        torch.zeros(1, device=worker.device)


def join(worker: Worker, store: str) -> None:
    """Enter the process group of the workers; `store` is a file that does not exist yet."""
    if worker.device.type == "cuda":
        place = {"backend": "nccl", "device_id": worker.device}
    else:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine: the host's name need not resolve
        place = {"backend": "gloo"}
    dist.init_process_group(
        init_method=f"file://{store}", rank=worker.rank, world_size=worker.size, timeout=TIMEOUT, **place
    )


def leave(worker: Worker) -> None:
    """Leave the group, when all do."""
    worker.models.clear()
    if dist.is_initialized():
        dist.destroy_process_group()


def give_up() -> None:
    """End the collectives under way, from another thread: a kernel of NCCL would wait for a dead worker for ever."""
    if dist.is_initialized() and dist.get_backend() == "nccl":
        dist.group.WORLD.abort()


def add(worker: Worker, name: str, *arguments: Any) -> None:
    """Give a worker a model; see `Sharded`."""
    worker.models[name] = Sharded(worker.device, *arguments)


def flat(worker: Worker, name: str) -> Tensor | None:
    """Its fp32 weights as one vector on the CPU, from worker 0; None from others."""
    return worker.models[name].flat()


def load(worker: Worker, name: str, flat: Tensor) -> None:
    """Give it other weights."""
    worker.models[name].load(flat)


class _Lower(torch.autograd.Function):
    """fp32 parameters in the dtype of the products; their gradients are what `settle` has added up in fp32."""

    @staticmethod
    def forward(
        ctx: Any, grads: Sequence[Tensor], dtype: torch.dtype, *masters: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.grads = grads
        ctx.set_materialize_grads(False)
        return tuple(m.view_as(m) if m.dtype is dtype else m.to(dtype) for m in masters)

    @staticmethod
    def backward(ctx: Any, *_: None):
        return None, None, *ctx.grads


class _Weights(dict[str, Tensor]):
    """The parameters by name, as a forward pass sees them: those of a layer only while `enter` runs it."""

    def __init__(self, found: Mapping[str, Tensor], layers: nn.ModuleList) -> None:
        super().__init__(found)
        self.layers = layers

    def enter(self, i: int, h: Tensor, run: Callable[[int, Tensor, Mapping[str, Tensor]], Tensor]) -> Tensor:
        return self.layers[i](h, lambda x, own: run(i, x, self | own))


class _Layer(nn.Module):
    """What is gathered together: parameters by name (a module's own names may hold no dots)."""

    def __init__(self, whole: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = list(whole)
        for name, tensor in whole.items():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(tensor))

    def held(self) -> dict[str, Tensor]:
        return {name: getattr(self, name.replace(".", "_")) for name in self.names}

    def forward(self, h: Tensor, run: Callable[[Tensor, dict[str, Tensor]], Tensor]) -> Tensor:
        return run(h, self.held())


class _Root(_Layer):
    """All layers, and the parameters outside of them."""

    def __init__(self, whole: Mapping[str, Tensor], layers: int, dtype: torch.dtype) -> None:
        inner = {n for n, w in whole.items() if "." in n and w.dim() == 2}
        super().__init__({n: w for n, w in whole.items() if n not in inner})
        self.dtype = dtype
        self.layers = nn.ModuleList(
            _Layer({n: whole[n] for n in whole if n in inner and n.startswith(f"{i}.")})
            for i in range(layers)
        )

    def forward(self, run: Callable[[Mapping[str, Tensor]], Tensor]) -> Tensor:
        held = self.held()
        grads = [torch.zeros_like(master) for master in held.values()]
        found = dict(zip(held, _Lower.apply(grads, self.dtype, *held.values()), strict=True))
        for (name, weight), grad in zip(found.items(), grads, strict=True):
            weight.main_grad, weight.master = grad, held[name]
        return run(_Weights(found, self.layers)).clone()  # a view would lose FSDP's hook


def _spread(root: _Root, device: torch.device, dtype: torch.dtype) -> None:
    """Shard the root and each layer by rows, with sums in fp32."""
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for unit in (*root.layers, root):
        param = None if unit is root or dtype is torch.float32 else dtype
        policy = MixedPrecisionPolicy(
            param_dtype=param, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        fully_shard(unit, mesh=mesh, mp_policy=policy)
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)  # gloo knows no other


class Sharded:
    """A decoder's weights in one of several workers: whole copies that compute, and with `train` this worker's shards.

    Does what `Model` does; all methods but `run` outside of training are collective.
    """

    def __init__(
        self,
        device: torch.device,
        config: DecoderConfig,
        flat: Tensor,
        train: bool,
        dtype: torch.dtype,
        extra: dict,
    ) -> None:
        self.config, self.device, self.dtype, self.shapes = config, device, dtype, config.shapes() | extra
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.optimizer: Any = None
        self.weights = {}
        for name, master in views(flat, self.shapes).items():
            weight = self.weights[name] = master.to(device, dtype, copy=True)
            if dtype is not torch.float32 and name in (*READS_OUT, "embed" if config.tied else ""):
                weight.master = master.to(device, copy=True)
        self._owners: Sequence[Sequence[str]] = ()
        self._whole: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        if train:
            self.root = _Root(views(flat, self.shapes), config.layers, dtype)
            _spread(self.root, device, dtype)
            self.shards = {n: p for unit in (self.root, *self.root.layers) for n, p in unit.held().items()}

    def run(self, function: Callable, *arguments: Any) -> Tensor:
        """`function(weights, config, *arguments)` of weights that are gathered as they are needed, with gradient."""
        return self.root(lambda weights: function(weights, self.config, *arguments))

    def begin(self, count: int) -> None:
        """Before the first of this worker's `count` micro-batches of a step."""
        self._gradients.clear()
        for shard in self.shards.values():
            shard.grad = None
        most = torch.tensor(count, device=self.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        self._idle = int(most) - count

    def end(self) -> None:
        """After the last one: as many empty ones as other workers have more."""
        token = np.zeros(1, np.int64)
        for _ in range(self._idle):
            hidden = self.run(packed_states, pack([Tree(token, (token,))], self.device))
            hidden.backward(torch.zeros_like(hidden))

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the shards over into the whole copies."""
        for name, weight in self.weights.items():
            shard, master = self.shards[name].detach(), getattr(weight, "master", None)
            if master is None:
                weight.copy_(shard.to(self.dtype).full_tensor())
            else:
                weight.copy_(master.copy_(shard.full_tensor()))

    def owned(self, owners: Sequence[Sequence[str]], whole: bool) -> dict[str, Tensor]:
        """What this worker's optimiser steps: its shard of each parameter, or, if it needs matrices `whole`, its own."""
        if not whole:
            found = {name: shard.detach().to_local() for name, shard in self.shards.items()}
            return {name: shard for name, shard in found.items() if shard.numel()}
        self._owners = owners
        self._whole = self._gather(lambda shard: shard.detach())
        return self._whole

    def _gather(self, part: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """What a part of each shard is as a whole, for the parameters that this worker owns."""
        found = {}
        for rank, names in enumerate(self._owners):
            for name in names:
                whole = part(self.shards[name]).full_tensor().contiguous()  # broadcast and optimisers want it
                if rank == self.rank:
                    found[name] = whole
        return found

    def gather(self) -> None:
        """Before the optimisers look at gradients."""
        for shard in self.shards.values():
            if shard.grad is None:  # no worker had a row
                shard.grad = torch.zeros_like(shard)
        self._gradients = self._gather(lambda shard: shard.grad)

    def gradient(self, name: str, rows: slice = slice(None)) -> Tensor:
        """The summed gradient of what `owned` gave."""
        if self._owners:
            return self._gradients[name][rows]
        return self.shards[name].grad.to_local()[rows]

    def scatter(self) -> None:
        """After the optimisers' step: owners hand their parameters back to the shards."""
        for rank, names in enumerate(self._owners):
            for name in names:
                whole = self._whole.get(name)
                if whole is None:
                    whole = torch.empty(self.shapes[name], device=self.device)
                dist.broadcast(whole, rank)
                self._keep(name, whole)

    @torch.no_grad()
    def _keep(self, name: str, whole: Tensor) -> None:
        """Take this worker's shard out of a whole parameter."""
        pieces = whole.chunk(self.size)
        if self.rank < len(pieces):
            self.shards[name].detach().to_local().copy_(pieces[self.rank])

    @torch.no_grad()
    def load(self, flat: Tensor) -> None:
        """Take all weights from a flat vector on the CPU."""
        for name, whole in views(flat, self.shapes).items():
            self._keep(name, whole.to(self.device))
            if name in self._whole:
                self._whole[name].copy_(whole)
        self.refresh()

    @torch.no_grad()
    def flat(self) -> Tensor | None:
        """All fp32 weights as one vector on the CPU, for worker 0."""
        found = torch.empty(flat_size(self.shapes)) if self.rank == 0 else None
        into = {} if found is None else views(found, self.shapes)
        for name, shard in self.shards.items():
            whole = shard.detach().full_tensor()
            if into:
                into[name].copy_(whole)
        return found
