"""A model spread over several workers by torch's FSDP2: a GPU each, or gloo on a CPU, where it is tested.

Masters, gradients and moments are sharded by rows; each layer is whole only while it computes (ZeRO-3, arXiv
1910.02054). The matrices of a layer travel in the dtype of the products, everything else (embedding, head,
norms, biases) in fp32, so that numbers are those of one process but for the order of sums. Gradients are
summed, not averaged: weights of rows are global. Each worker also has whole copies for sampling and scoring.

Every worker must enter the same collectives: those with fewer micro-batches go through empty ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from cascade_rl.model.decoder import DecoderConfig, flat_size, views
from cascade_rl.model.network import Network, Shapes
from cascade_rl.model.packed import Pack, Tree, pack
from cascade_rl.model.products import Weight
from cascade_rl.model.weights import ALL, Model, P
from cascade_rl.model.worker import Worker

READS_OUT = ("head", "score")  # read in fp32, so that their masters are kept beside the bf16 copies


def add(worker: Worker, name: str, *arguments: Any) -> None:
    """Give a worker a model; see `Sharded`."""
    worker.models[name] = Sharded(worker.device, *arguments)


def whole(worker: Worker, name: str) -> Tensor | None:
    """Its fp32 weights as one vector on the CPU, from worker 0; None from others."""
    return _sharded(worker, name).whole()


def load(worker: Worker, name: str, flat: Tensor) -> None:
    """Give it other weights."""
    _sharded(worker, name).load(flat)


def _sharded(worker: Worker, name: str) -> Sharded:
    model = worker.models[name]
    if not isinstance(model, Sharded):
        raise TypeError(f"{name} is no sharded model")
    return model


def _states(weights: Mapping[str, Tensor], config: Network, packed: Pack) -> Tensor:
    return config.states(weights, packed)


class _Lower(torch.autograd.Function):
    """fp32 parameters in the dtype of the products; their gradients are what `settle` added up in fp32."""

    @staticmethod
    def forward(
        ctx: Any, grads: Sequence[Tensor], dtype: torch.dtype, *masters: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.grads = grads
        ctx.set_materialize_grads(False)  # none come: zeros would be made for every weight
        return tuple(m.view_as(m) if m.dtype is dtype else m.to(dtype) for m in masters)

    @staticmethod
    def backward(ctx: Any, *_: None) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.grads


def _lower(masters: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Weight]:
    """Weights that compute in `dtype`, with their masters and a place for their gradients."""
    grads = [torch.zeros_like(master) for master in masters.values()]
    whole = masters.values()
    lowered = _Lower.apply(grads, dtype, *whole)  # type: ignore[no-untyped-call]  # torch gives it no types
    parts = zip(masters.items(), lowered, grads, strict=True)
    return {name: Weight.of(low, master, grad) for (name, master), low, grad in parts}


class _Weights(dict[str, Tensor]):
    """The parameters by name, as a forward pass sees them: those of a layer only while `enter` runs it.

    `decoder.hidden_states` asks for `enter`.
    """

    def __init__(self, found: Mapping[str, Tensor], layers: nn.ModuleList) -> None:
        super().__init__(found)
        self.layers = layers

    def enter(self, i: int, h: Tensor, run: Callable[[int, Tensor, Mapping[str, Tensor]], Tensor]) -> Tensor:
        found: Tensor = self.layers[i](h, lambda x, own: run(i, x, self | own))
        return found


class _Gathered(nn.Module):
    """What is gathered together: parameters by name (a module's own names may hold no dots)."""

    def __init__(self, whole: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = list(whole)
        for name, tensor in whole.items():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(tensor))

    def held(self) -> dict[str, Tensor]:
        return {name: getattr(self, name.replace(".", "_")) for name in self.names}


class _Layer(_Gathered):
    """The matrices of a layer."""

    def forward(self, h: Tensor, run: Callable[[Tensor, dict[str, Tensor]], Tensor]) -> Tensor:
        return run(h, self.held())


class _Root(_Gathered):
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
        found = _lower(self.held(), self.dtype)
        return run(_Weights(found, self.layers)).clone()  # a view would lose FSDP's hook


def _spread(root: _Root, device: torch.device, dtype: torch.dtype) -> None:
    """Shard the root and each layer by rows, with sums in fp32."""
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for module in (*root.layers, root):  # the root last: it takes what no unit has yet
        param = None if module is root or dtype is torch.float32 else dtype
        policy = MixedPrecisionPolicy(
            param_dtype=param, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        unit: FSDPModule = fully_shard(module, mesh=mesh, mp_policy=policy)
        unit.set_gradient_divide_factor(1.0)  # sums: the weights of rows are global (`loss.token_weights`)
        unit.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def _full(shard: Tensor) -> Tensor:
    """The whole of what a shard is a part of; collective."""
    return cast(DTensor, shard).full_tensor()  # FSDP makes DTensors of all parameters, which their type hides


def _local(shard: Tensor) -> Tensor:
    """The rows of a shard that this worker holds, as a view."""
    return cast(DTensor, shard).to_local()  # as above


def _grad(shard: Tensor) -> Tensor:
    """The gradient of a shard, zeros if no worker had a row."""
    return torch.zeros_like(shard) if shard.grad is None else shard.grad


class Sharded(Model):
    """A decoder's weights in one of several workers: whole copies that compute, with `train` its shards, too.

    All methods but `run` outside of training are collective.
    """

    def __init__(
        self,
        device: torch.device,
        config: DecoderConfig,
        shapes: Shapes,
        flat: Tensor,
        train: bool,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(config, shapes, dtype, train)
        self.device, self.rank, self.size = device, dist.get_rank(), dist.get_world_size()
        keep = (*READS_OUT, "embed" if config.tied else "") if dtype is not torch.float32 else ()
        for name, master in views(flat, shapes).items():
            own = master.to(device, copy=True) if name in keep else None
            self.weights[name] = Weight.of(master.to(device, dtype, copy=True), own)
        # where whole parameters are stepped (Muon, LoRA): who owns which, and what is this worker's own
        self._owners: Sequence[Sequence[str]] = ()
        self._whole: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        self._idle = 0  # how many micro-batches other workers have more in this step
        self._root = _Root(views(flat, shapes), config.layers, dtype) if train else None
        self.shards: dict[str, Tensor] = {}
        if self._root:
            _spread(self._root, device, dtype)
            units = [self._root, *(layer for layer in self._root.layers if isinstance(layer, _Layer))]
            self.shards = {name: shard for unit in units for name, shard in unit.held().items()}

    def run(
        self,
        function: Callable[Concatenate[Mapping[str, Tensor], Network, P], Tensor],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> Tensor:
        """Of weights that are gathered as they are needed; only of a model that is trained."""
        if self._root is None:
            raise TypeError("this model is not trained: it has no shards")
        found: Tensor = self._root(lambda weights: function(weights, self.config, *arguments, **named))
        return found

    def begin(self, count: int) -> None:
        """The workers agree on how many micro-batches there are at most."""
        self._gradients.clear()
        for shard in self.shards.values():
            shard.grad = None
        most = torch.tensor(count, device=self.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        self._idle = int(most) - count

    def end(self) -> None:
        """As many empty micro-batches as other workers have more."""
        # one token, gradient 0: the collectives of a layer are entered by computing it
        token = np.zeros(1, np.int64)
        for _ in range(self._idle):
            hidden = self.run(_states, pack([Tree(token, (token,))], self.device))
            torch.autograd.backward(hidden, torch.zeros_like(hidden))

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the shards over into the whole copies."""
        for name, weight in self.weights.items():
            shard = self.shards[name].detach()
            if weight.master is None:  # lowered before it travels: half of the bytes
                weight.copy_(_full(shard.to(self.dtype)))
            else:
                weight.copy_(weight.master.copy_(_full(shard)))

    def owned(self, owners: Sequence[Sequence[str]], whole: bool) -> dict[str, Tensor]:
        """This worker's shard of each parameter, or, if matrices are needed `whole`, its own."""
        if not whole:
            found = {name: _local(shard.detach()) for name, shard in self.shards.items()}
            # a parameter of fewer rows than workers leaves some without any
            return {name: shard for name, shard in found.items() if shard.numel()}
        self._owners = owners
        self._whole = self._gather(lambda shard: shard.detach())
        return self._whole

    def _gather(self, part: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """What a part of each shard is as a whole, for the parameters that this worker owns."""
        found = {}
        for rank, names in enumerate(self._owners):
            for name in names:
                # collective, so that every worker gathers every one, and keeps its own
                whole = _full(part(self.shards[name])).contiguous()  # broadcast and optimisers want it
                if rank == self.rank:
                    found[name] = whole
        return found

    def gather(self) -> None:
        """Whole gradients go to the owners of whole parameters."""
        self._gradients = self._gather(_grad)

    def gradient(self, name: str, rows: slice = ALL) -> Tensor:
        """FSDP has summed it."""
        if self._owners:
            return self._gradients[name][rows]
        return _local(_grad(self.shards[name]))[rows]

    def scatter(self) -> None:
        """Owners hand their parameters back to the shards."""
        for rank, names in enumerate(self._owners):
            for name in names:
                whole = self._whole.get(name)
                if whole is None:
                    whole = torch.empty(self.shapes[name], device=self.device)
                dist.broadcast(whole, rank)
                self._keep(name, whole)
        self._gradients.clear()  # applied: 4 bytes a weight that the next micro-batches can use

    @torch.no_grad()
    def _keep(self, name: str, whole: Tensor) -> None:
        """Take this worker's shard out of a whole parameter."""
        pieces = whole.chunk(self.size)  # as FSDP2 cuts: the last worker may get fewer rows, or none
        if self.rank < len(pieces):
            _local(self.shards[name].detach()).copy_(pieces[self.rank])

    @torch.no_grad()
    def load(self, flat: Tensor) -> None:
        """Take all weights from a flat vector on the CPU."""
        for name, whole in views(flat, self.shapes).items():
            self._keep(name, whole.to(self.device))
            if name in self._whole:
                self._whole[name].copy_(whole)
        self.refresh()

    @torch.no_grad()
    def whole(self) -> Tensor | None:
        """All fp32 weights as one vector on the CPU, for worker 0."""
        found = torch.empty(flat_size(self.shapes)) if self.rank == 0 else None
        into = {} if found is None else views(found, self.shapes)
        for name, shard in self.shards.items():
            whole = _full(shard.detach())
            if into:
                into[name].copy_(whole)
        return found
