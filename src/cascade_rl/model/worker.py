"""A worker: what a function that runs in one sees, and the loop of a worker's own process."""

from __future__ import annotations

import ctypes
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from cascade_rl.model.free_memory import give_back
from cascade_rl.model.weights import Model

T = TypeVar("T")


def _unheard(part: Any) -> None:
    """What a worker reports while nobody listens."""


class Worker:
    """What a function that runs in a worker sees: its rank, the device and the models by name.

    `report(part)` hands a part of the result to the driver before the whole is done.
    """

    def __init__(
        self, rank: int, size: int, device: torch.device, report: Callable[[Any], None] = _unheard
    ) -> None:
        self.rank, self.size, self.device, self.report = rank, size, device, report
        self.models: dict[str, Model] = {}

    def heard_by(self, listener: Callable[[Any], None] | None) -> None:
        """From now on `report` goes to `listener`; to nobody if that is None."""
        self.report = listener or _unheard


def keep_memory() -> None:
    """Tell glibc to keep freed memory and to grow by much at once: new pages take up to a third of a step."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD, 1 GiB: what is mapped goes back as soon as it is freed
        libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD: never
        libc.mallopt(-2, 1 << 28)  # M_TOP_PAD: 256 MiB more at each growth


def work(worker: Worker, function: Callable[..., T], arguments: Sequence[Any]) -> T:
    """What a function says in a worker; afterwards memory that the machine lacks is given back."""
    try:
        return function(worker, *arguments)
    finally:
        give_back(worker.device)


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def serve(
    pipe: Connection, rank: int, size: int, threads: int, parent: int, device: str, ends_on_fault: bool
) -> None:
    """The life of a worker process: run each (function, arguments) that the pipe brings, until it is closed.

    Answers are (kind, value): any number of `part`s, then one `result` or `error`. With `ends_on_fault` the
    process ends after an error, since others may wait in a collective that it left: its end tells them.
    """
    _die_with_parent(parent)  # also by SIGKILL: a worker left behind would hold memory and cores for ever
    if device == "cpu":
        keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    torch.set_num_threads(threads)
    worker = Worker(rank, size, torch.device(device), lambda part: pipe.send(("part", part)))
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("result", work(worker, function, arguments)))
        except Exception:  # its traceback goes to the driver, which raises WorkerError
            pipe.send(("error", traceback.format_exc()))
            if ends_on_fault:
                os._exit(1)
