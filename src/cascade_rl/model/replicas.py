"""Worker processes that hold the same models over shared memory: one process a core beats two threads.

The driver is worker 0; with one worker there is no other process. A model is a flat fp32 weight vector that all
workers see, and a flat gradient a worker. `map` runs a function in every worker, each on its own shard; sums over
workers are taken in the order of their ranks, so the same number of workers gives the same bits.
"""

from __future__ import annotations

import ctypes
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor

from cascade_rl.model.decoder import DecoderConfig, flat_size, views
from cascade_rl.model.limits import Work


class WorkerError(RuntimeError):
    """A worker failed or died; the message holds its traceback or its signal."""


class Model:
    """A decoder's weights in one worker: the shared master copy, the copy that computes, and the gradient.

    Each weight knows its fp32 original (`master`) and the place of its gradient (`main_grad`): see `fused`.
    """

    def __init__(
        self, config: DecoderConfig, flat: Tensor, grads: Sequence[Tensor], rank: int, dtype: torch.dtype, extra: dict
    ) -> None:
        self.config, self.flat, self.grads, self.dtype = config, flat, grads, dtype
        self.shapes = config.shapes() | extra
        self.grad = grads[rank] if grads else None
        self._compute = flat if dtype is torch.float32 else flat.to(dtype)
        self.weights = {name: w.requires_grad_(bool(grads)) for name, w in views(self._compute, self.shapes).items()}
        self.optimizer: Any = None
        for name, master in views(flat, self.shapes).items():
            self.weights[name].master = master
        if grads:
            for name, view in views(self.grad, self.shapes).items():
                self.weights[name].main_grad = view

    def refresh(self) -> None:
        """Take the master weights over into the copy that computes."""
        if self._compute is not self.flat:
            with torch.no_grad():
                self._compute.copy_(self.flat)

    def zero_grad(self) -> None:
        """Before the first micro-batch of a step."""
        self.grad.zero_()


class Worker:
    """What a function that runs in a worker sees: its rank, the device and the models by name.

    `report(part)` hands a part of the result to the driver before the whole is done.
    """

    def __init__(
        self, rank: int, size: int, device: torch.device, report: Callable[[Any], None] = lambda part: None
    ) -> None:
        self.rank, self.size, self.device, self.report = rank, size, device, report
        self.models: dict[str, Model] = {}


def _add_model(worker: Worker, name, config, flat, grads, dtype, extra) -> None:
    worker.models[name] = Model(config, flat, grads, worker.rank, dtype, extra)


def _refresh(worker: Worker, name: str) -> None:
    worker.models[name].refresh()


def _drop_model(worker: Worker, name: str) -> None:
    worker.models.pop(name, None)


def _keep_memory() -> None:
    """Tell glibc to keep freed memory and to grow by much at once: new pages cost a training step up to a third."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-2, 1 << 28)  # M_TOP_PAD


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _serve(pipe: Connection, rank: int, size: int, threads: int, parent: int) -> None:
    _die_with_parent(parent)
    _keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    torch.set_num_threads(threads)
    worker = Worker(rank, size, torch.device("cpu"), lambda part: pipe.send(("part", part)))
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("result", function(worker, *arguments)))
        except Exception:  # its traceback goes to the driver, which raises WorkerError
            pipe.send(("error", traceback.format_exc()))


class Replicas:
    """`size` workers on a CPU, or one on a GPU; `worked` counts what they did, by phase, until somebody clears it."""

    def __init__(self, size: int = 1, device: str = "cpu", precision: str = "fp32") -> None:
        self.device = torch.device(device)
        if self.device.type != "cpu" and size != 1:
            raise ValueError(f"workers: {size} works on the CPU only; set workers: 1 for {device}")
        self.size = size
        self.precision = precision
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        threads = max(1, len(os.sched_getaffinity(0)) // size) if size == 1 else 1
        torch.set_num_threads(threads)
        if self.device.type == "cpu":
            _keep_memory()
        self.local = Worker(0, size, self.device)
        self.worked: dict[str, Work] = {}
        context = mp.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        self._readers = ThreadPoolExecutor(max(1, size - 1), "replicas")
        for rank in range(1, size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, rank, size, threads, os.getpid()), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def map(self, function: Callable, shards: Sequence[tuple], heard: Callable[[int, Any], None] | None = None) -> list:
        """`function(worker, *shards[rank])` in every worker; the results in the order of ranks.

        `heard(rank, part)` gets what the workers report on their way, each in the thread that reads its pipe.
        """
        for pipe, shard in zip(self._pipes, shards[1:], strict=True):
            pipe.send((function, shard))
        others = range(1, self.size)
        if heard is None:
            return [function(self.local, *shards[0])] + [self._receive(rank) for rank in others]
        early = [self._readers.submit(self._receive, rank, heard) for rank in others]
        self.local.report = partial(heard, 0)
        return [function(self.local, *shards[0])] + [result.result() for result in early]

    def all(self, function: Callable, *arguments: Any) -> list:
        """The same call in every worker."""
        return self.map(function, [arguments] * self.size)

    def count(self, phase: str, work: Work) -> None:
        """Add to what was done in a phase."""
        self.worked[phase] = self.worked.get(phase, Work()) + work

    def _receive(self, rank: int, heard: Callable[[int, Any], None] | None = None) -> Any:
        try:
            while (message := self._pipes[rank - 1].recv())[0] == "part":
                if heard:
                    heard(rank, message[1])
        except (EOFError, ConnectionResetError):
            process = self._processes[rank - 1]
            process.join(5)
            raise WorkerError(
                f"worker {rank} died (exit code {process.exitcode}; -9 is often the kernel, out of memory: "
                "lower tokens_per_microbatch or workers)"
            ) from None
        kind, value = message
        if kind == "error":
            raise WorkerError(f"worker {rank} failed:\n{value}")
        return value

    def add_model(
        self, name: str, config: DecoderConfig, flat: Tensor, *, train: bool, extra: dict | None = None
    ) -> Model:
        """Give every worker a model over `flat` (fp32); with `train`, a gradient each. Returns the driver's."""
        flat = flat.to(self.device)
        grads = [torch.zeros_like(flat) for _ in range(self.size)] if train else []
        if self.device.type == "cpu":
            for tensor in (flat, *grads):
                tensor.share_memory_()
        self.all(_add_model, name, config, flat, grads, self.dtype, extra or {})
        return self.local.models[name]

    def refresh(self, name: str) -> None:
        """After the master weights changed."""
        if self.dtype is not torch.float32:
            self.all(_refresh, name)

    def drop_model(self, name: str) -> None:
        """Free a model everywhere."""
        self.all(_drop_model, name)

    def close(self) -> None:
        """End the worker processes."""
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
