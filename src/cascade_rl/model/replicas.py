"""Workers that hold the same models: over shared memory, one process a core, or sharded over GPUs.

`map` runs a function in every worker, each on its own shard. On a CPU (one process a core beats two threads)
a model is a flat fp32 weight vector that all workers see, and a flat gradient a worker; sums over workers are
taken in the order of their ranks, so the same number of workers gives the same bits. `sharding` is the way
over several GPUs.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from cascade_rl.errors import InputError
from cascade_rl.model.cost import Work
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.group import Group
from cascade_rl.model.network import Network, Shapes
from cascade_rl.model.processes import Arguments, Heard, Processes, T
from cascade_rl.model.weights import Model, Shared
from cascade_rl.model.worker import Worker


class Replicas:
    """`size` workers on a CPU over shared memory, or a GPU each; `sharded` runs the latter's path on a CPU.

    `worked` counts what they did, by phase, until somebody clears it.
    """

    def __init__(
        self, size: int = 1, device: str = "cpu", precision: str = "fp32", sharded: bool = False
    ) -> None:
        self.device, self.size, self.precision = torch.device(device), size, precision
        # one GPU needs no sharding: it goes the way of one worker over shared weights
        on_gpus = size > 1 and self.device.type == "cuda"
        gpus = torch.cuda.device_count() if on_gpus else size
        if size > gpus:
            raise InputError(
                f"workers: {size} with device: {device}, but there are {gpus} GPUs here, and each worker "
                f"needs its own; set workers: {max(1, gpus)}, or device: cpu"
            )
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.sharded = sharded or on_gpus
        own = self.sharded and self.device.type == "cuda"  # a GPU for each
        places = [f"cuda:{rank}" if own else device for rank in range(size)]
        self.processes = Group(places) if self.sharded else Processes(places)
        self.local = self.processes.local
        self.worked: dict[str, Work] = {}

    def map(
        self, function: Callable[..., T], shards: Sequence[Arguments], heard: Heard | None = None
    ) -> list[T]:
        """`function(worker, *shards[rank])` in every worker; the results in the order of ranks.

        `heard(rank, part)` gets what the workers report on their way, each in the thread that reads its pipe.
        """
        return self.processes.map(function, shards, heard)

    def all(self, function: Callable[..., T], *arguments: Any) -> list[T]:
        """The same call in every worker."""
        return self.map(function, [arguments] * self.size)

    def count(self, phase: str, work: Work) -> None:
        """Add to what was done in a phase."""
        self.worked[phase] = self.worked.get(phase, Work()) + work

    def add_model(
        self, name: str, config: Network, flat: Tensor, *, train: bool, extra: Shapes | None = None
    ) -> Model:
        """Give every worker a model over `flat` (fp32); with `train`, a gradient each. Returns the driver's.

        `extra` are the shapes of parameters that follow the decoder's own in `flat`.
        """
        shapes = config.shapes() | dict(extra or {})
        if self.sharded:
            if not isinstance(config, DecoderConfig):
                raise InputError(
                    f"workers: {self.size} over GPUs: a model by {config.BY} can't be spread over several; "
                    "set workers: 1"
                )
            # here, and nowhere above: importing FSDP takes half a second, which most runs need not wait for
            from cascade_rl.model import sharding

            self.all(sharding.add, name, config, shapes, flat.detach().cpu(), train, self.dtype)
            return self.local.models[name]
        flat = flat.to(self.device)
        # a gradient a worker: they add to it all the time, and are summed in a fixed order afterwards
        grads = [torch.zeros_like(flat) for _ in range(self.size)] if train else []
        if self.device.type == "cpu":
            for tensor in (flat, *grads):  # before they go through a pipe, which then passes handles alone
                tensor.share_memory_()  # type: ignore[no-untyped-call]  # torch gives it no types
        self.all(_add_shared, name, config, shapes, flat, grads, self.dtype)
        return self.local.models[name]

    def refresh(self, name: str) -> None:
        """After the master weights changed."""
        if self.sharded or self.dtype is not torch.float32:  # shared fp32 masters compute themselves
            self.all(_refresh, name)

    def flat(self, name: str) -> Tensor:
        """The fp32 weights of a model that is trained, as one vector; not to be written to."""
        model = self.local.models[name]
        if isinstance(model, Shared):
            return model.flat
        from cascade_rl.model import sharding

        return next(whole for whole in self.all(sharding.whole, name) if whole is not None)

    def load(self, name: str, flat: Tensor) -> None:
        """Give a model that is trained other weights."""
        model = self.local.models[name]
        if isinstance(model, Shared):
            with torch.no_grad():
                model.flat.copy_(flat)
            self.refresh(name)
            return
        from cascade_rl.model import sharding

        self.all(sharding.load, name, flat)

    def drop_model(self, name: str) -> None:
        """Free a model everywhere."""
        self.all(_drop_model, name)

    def close(self) -> None:
        """End the worker processes."""
        self.processes.close()

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _add_shared(
    worker: Worker,
    name: str,
    config: Network,
    shapes: Shapes,
    flat: Tensor,
    grads: Sequence[Tensor],
    dtype: torch.dtype,
) -> None:
    worker.models[name] = Shared(config, shapes, flat, grads, worker.rank, dtype)


def _refresh(worker: Worker, name: str) -> None:
    worker.models[name].refresh()


def _drop_model(worker: Worker, name: str) -> None:
    worker.models.pop(name, None)
    if worker.device.type == "cuda":
        gc.collect()  # FSDP's modules refer to themselves, and would keep their memory


def deal(items: Sequence[int], costs: Sequence[float], size: int) -> list[list[int]]:
    """Split item numbers over `size` workers: the dearest first, each to the least loaded."""
    # ties go to the lower number and rank, so that the same items are dealt alike: bits rest on who has what
    shards: list[list[int]] = [[] for _ in range(size)]
    loads = [0.0] * size
    for item in sorted(items, key=lambda i: (-costs[i], i)):
        rank = loads.index(min(loads))
        shards[rank].append(item)
        loads[rank] += costs[item]
    return [sorted(shard) for shard in shards]
