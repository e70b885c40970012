"""Worker processes that hold the same models: over shared memory, one process a core, or sharded over GPUs.

The driver is worker 0; with one worker there is no other process. `map` runs a function in every worker, each on its
own shard. On a CPU (one process a core beats two threads) a model is a flat fp32 weight vector that all workers see,
and a flat gradient a worker; sums over workers are taken in the order of their ranks, so the same number of workers
gives the same bits. Over GPUs see `sharding`.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import tempfile
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from cascade_rl.errors import InputError, WorkerError
from cascade_rl.model.cost import Work
from cascade_rl.model.decoder import DecoderConfig, flat_size, views

if TYPE_CHECKING:
    from cascade_rl.model.sharding import Sharded

WAIT_FOR_CAUSE_S = 3  # what the others have to say once one has failed


class Model:
    """A decoder's weights in one worker: the shared master copy, the copy that computes, and the gradient.

    Each weight knows its fp32 original (`master`) and the place of its gradient (`main_grad`): see `fused`.
    """

    def __init__(
        self,
        config: DecoderConfig,
        flat: Tensor,
        grads: Sequence[Tensor],
        rank: int,
        dtype: torch.dtype,
        extra: dict,
    ) -> None:
        self.config, self.flat, self.grads, self.dtype, self.rank = config, flat, grads, dtype, rank
        self.shapes = config.shapes() | extra
        self.grad = grads[rank] if grads else None
        self._compute = flat if dtype is torch.float32 else flat.to(dtype)
        self.weights = {
            name: w.requires_grad_(bool(grads)) for name, w in views(self._compute, self.shapes).items()
        }
        self.optimizer: Any = None
        for name, master in views(flat, self.shapes).items():
            self.weights[name].master = master
        self._gradients = [views(each, self.shapes) for each in grads]
        if grads:
            for name, view in self._gradients[rank].items():
                self.weights[name].main_grad = view

    def refresh(self) -> None:
        """Take the master weights over into the copy that computes."""
        if self._compute is not self.flat:
            with torch.no_grad():
                self._compute.copy_(self.flat)

    def run(self, function: Callable, *arguments: Any) -> Tensor:
        """`function(weights, config, *arguments)`, with gradient."""
        return function(self.weights, self.config, *arguments)

    def begin(self, count: int) -> None:
        """Before the first of `count` micro-batches of a step."""
        self.grad.zero_()

    def end(self) -> None:
        """After the last one."""

    def owned(self, owners: Sequence[Sequence[str]], whole: bool) -> dict[str, Tensor]:
        """The fp32 parameters that this worker's optimiser steps; they are always `whole` here."""
        masters = views(self.flat, self.shapes)
        return {name: masters[name].detach() for name in owners[self.rank]}

    def gather(self) -> None:
        """Before the optimisers look at gradients: nothing to do, all workers see all of them."""

    def gradient(self, name: str, rows: slice = slice(None)) -> Tensor:
        """The gradient of a parameter, summed over the workers in rank order."""
        first, *others = (each[name][rows] for each in self._gradients)
        return sum(others, first.clone())

    def scatter(self) -> None:
        """After the optimisers' step: nothing to do, the masters are shared."""


class Worker:
    """What a function that runs in a worker sees: its rank, the device and the models by name.

    `report(part)` hands a part of the result to the driver before the whole is done.
    """

    def __init__(
        self, rank: int, size: int, device: torch.device, report: Callable[[Any], None] = lambda part: None
    ) -> None:
        self.rank, self.size, self.device, self.report = rank, size, device, report
        self.models: dict[str, Model | Sharded] = {}


def _add_model(worker: Worker, name, config, flat, grads, dtype, extra) -> None:
    worker.models[name] = Model(config, flat, grads, worker.rank, dtype, extra)


def _refresh(worker: Worker, name: str) -> None:
    worker.models[name].refresh()


def _drop_model(worker: Worker, name: str) -> None:
    worker.models.pop(name, None)
    if worker.device.type == "cuda":
        gc.collect()  # FSDP's modules refer to themselves, and would keep their memory


def _keep_memory() -> None:
    """Tell glibc to keep freed memory and to grow by much at once: new pages cost a training step up to a third."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD: never
        libc.mallopt(-2, 1 << 28)  # M_TOP_PAD


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _serve(
    pipe: Connection, rank: int, size: int, threads: int, parent: int, device: str, sharded: bool
) -> None:
    _die_with_parent(parent)
    if device == "cpu":
        _keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    torch.set_num_threads(threads)
    worker = Worker(rank, size, torch.device(device), lambda part: pipe.send(("part", part)))
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("result", function(worker, *arguments)))
        except Exception:  # its traceback goes to the driver, which raises WorkerError
            pipe.send(("error", traceback.format_exc()))
            if sharded:
                os._exit(1)  # others may wait in a collective that it left: its end tells them


class Replicas:
    """`size` workers on a CPU over shared memory, or a GPU each; `sharded` makes the latter's path run on a CPU.

    `worked` counts what they did, by phase, until somebody clears it.
    """

    def __init__(
        self, size: int = 1, device: str = "cpu", precision: str = "fp32", sharded: bool = False
    ) -> None:
        self.device = torch.device(device)
        gpus = torch.cuda.device_count() if self.device.type == "cuda" and size > 1 else size
        if size > gpus:
            raise InputError(f"workers: {size} with device: {device}, but there are {gpus} GPUs here, and each worker needs "
                             f"its own; set workers: {max(1, gpus)}, or device: cpu")  # fmt: skip
        self.size = size
        self.precision = precision
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.sharded = sharded or (size > 1 and self.device.type == "cuda")
        if self.sharded and dist.is_initialized():
            raise ValueError("a process can drive one set of sharded workers at a time; close those first")
        places = [
            f"cuda:{rank}" if self.sharded and self.device.type == "cuda" else device for rank in range(size)
        ]
        threads = max(1, len(os.sched_getaffinity(0)) // size) if size == 1 else 1
        torch.set_num_threads(threads)
        if self.device.type == "cpu":
            _keep_memory()
        self.local = Worker(0, size, torch.device(places[0]))
        self.worked: dict[str, Work] = {}
        context = mp.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        self._readers = ThreadPoolExecutor(max(1, size - 1), "replicas")
        self._torn = False  # a sharded call that did not end well: the workers' collectives can't go on
        for rank in range(1, size):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve,
                args=(theirs, rank, size, threads, os.getpid(), places[rank], self.sharded),
                daemon=True,
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        if self.sharded:
            from cascade_rl.model import sharding

            self._sharding = sharding
            self._meet()

    def _meet(self) -> None:
        """Make one process group of the workers."""
        try:
            self.all(self._sharding.touch)
            with tempfile.TemporaryDirectory(prefix="cascade-") as folder:
                self.all(self._sharding.join, str(Path(folder) / "store"))
        except RuntimeError:
            self.close()
            raise

    def map(
        self, function: Callable, shards: Sequence[tuple], heard: Callable[[int, Any], None] | None = None
    ) -> list:
        """`function(worker, *shards[rank])` in every worker; the results in the order of ranks.

        `heard(rank, part)` gets what the workers report on their way, each in the thread that reads its pipe.
        """
        for rank, shard in enumerate(shards[1:], 1):
            self._send(rank, (function, shard))
        others = range(1, self.size)
        if heard is None and not self.sharded:
            return [function(self.local, *shards[0])] + [self._receive(rank) for rank in others]
        early = [self._readers.submit(self._receive, rank, heard) for rank in others]
        self.local.report = partial(heard, 0) if heard else lambda part: None
        if self.sharded:
            return self._together(function, shards[0], early)
        return [function(self.local, *shards[0])] + [result.result() for result in early]

    def _together(self, function: Callable, shard: tuple, early: Sequence[Future]) -> list:
        """The driver's part and the others' of a call that may be collective: who fails ends it for all."""
        self._torn = True
        for result in early:
            result.add_done_callback(lambda result: self._sharding.give_up() if result.exception() else None)
        own, fault = None, None
        try:
            own = function(self.local, *shard)
        except RuntimeError as error:  # perhaps only since another worker failed, which says why
            fault = error
        wait(early, WAIT_FOR_CAUSE_S if fault else None, FIRST_EXCEPTION)
        if any(result.done() and result.exception() for result in early):
            failed = [
                str(result.exception()) for result in wait(early, WAIT_FOR_CAUSE_S).done if result.exception()
            ]
            raise WorkerError("\n".join(sorted(failed, key=lambda text: " died (" not in text))) from fault
        if fault:
            raise fault
        self._torn = False
        return [own] + [result.result() for result in early]

    def all(self, function: Callable, *arguments: Any) -> list:
        """The same call in every worker."""
        return self.map(function, [arguments] * self.size)

    def count(self, phase: str, work: Work) -> None:
        """Add to what was done in a phase."""
        self.worked[phase] = self.worked.get(phase, Work()) + work

    def _send(self, rank: int, message: tuple) -> None:
        if self._torn:
            raise WorkerError("a call failed before in these workers; start them again")
        try:
            self._pipes[rank - 1].send(message)
        except (BrokenPipeError, ConnectionResetError):
            self._torn = self.sharded
            raise self._died(rank) from None

    def _died(self, rank: int) -> WorkerError:
        process = self._processes[rank - 1]
        process.join(5)
        return WorkerError(
            f"worker {rank} died (exit code {process.exitcode}; -9 is often the kernel, out of memory: "
            "lower tokens_per_microbatch or workers)"
        )

    def _receive(self, rank: int, heard: Callable[[int, Any], None] | None = None) -> Any:
        try:
            while (message := self._pipes[rank - 1].recv())[0] == "part":
                if heard:
                    heard(rank, message[1])
        except (EOFError, ConnectionResetError):
            raise self._died(rank) from None
        kind, value = message
        if kind == "error":
            raise WorkerError(f"worker {rank} failed:\n{value}")
        return value

    def add_model(
        self, name: str, config: DecoderConfig, flat: Tensor, *, train: bool, extra: dict | None = None
    ) -> Model | Sharded:
        """Give every worker a model over `flat` (fp32); with `train`, a gradient each. Returns the driver's."""
        if self.sharded:
            self.all(self._sharding.add, name, config, flat.detach().cpu(), train, self.dtype, extra or {})
            return self.local.models[name]
        flat = flat.to(self.device)
        grads = [torch.zeros_like(flat) for _ in range(self.size)] if train else []
        if self.device.type == "cpu":
            for tensor in (flat, *grads):
                tensor.share_memory_()
        self.all(_add_model, name, config, flat, grads, self.dtype, extra or {})
        return self.local.models[name]

    def refresh(self, name: str) -> None:
        """After the master weights changed."""
        if self.sharded or self.dtype is not torch.float32:
            self.all(_refresh, name)

    def flat(self, name: str) -> Tensor:
        """The fp32 weights of a model that is trained, as one vector; not to be written to."""
        return self.all(self._sharding.flat, name)[0] if self.sharded else self.local.models[name].flat

    def load(self, name: str, flat: Tensor) -> None:
        """Give a model that is trained other weights."""
        if self.sharded:
            self.all(self._sharding.load, name, flat)
            return
        with torch.no_grad():
            self.local.models[name].flat.copy_(flat)
        self.refresh(name)

    def drop_model(self, name: str) -> None:
        """Free a model everywhere."""
        self.all(_drop_model, name)

    def close(self) -> None:
        """End the worker processes."""
        if self.sharded and self._torn:
            for process in self._processes:
                process.kill()
            self._sharding.leave(self.local)
        elif self.sharded:
            self.all(self._sharding.leave)
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def deal(items: Sequence[int], costs: Sequence[float], size: int) -> list[list[int]]:
    """Split item numbers over `size` workers: the dearest first, each to the least loaded; stable and deterministic."""
    shards: list[list[int]] = [[] for _ in range(size)]
    loads = [0.0] * size
    for item in sorted(items, key=lambda i: (-costs[i], i)):
        rank = loads.index(min(loads))
        shards[rank].append(item)
        loads[rank] += costs[item]
    return [sorted(shard) for shard in shards]


def parameter_count(config: DecoderConfig) -> int:
    """Trainable numbers of a decoder."""
    return flat_size(config.shapes())
