"""Workers in one process group: their calls may be collective, so that who fails ends the call for all.

NCCL between GPUs, gloo on a CPU, where it is tested.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from cascade_rl.errors import WorkerError
from cascade_rl.model.processes import Arguments, Heard, Processes, T
from cascade_rl.model.worker import Worker

TIMEOUT = timedelta(minutes=10)  # of one collective; a worker that dies is noticed at once
WAIT_FOR_CAUSE_S = 3  # what the others have to say once one has failed


class Group(Processes):
    """`Processes` that met in a process group; a call that did not end well is their last."""

    ends_on_fault = True

    def __init__(self, places: Sequence[str]) -> None:
        if dist.is_initialized():
            raise ValueError("a process can drive one set of sharded workers at a time; close those first")
        super().__init__(places)
        # It must outlive every group of the workers: NCCL opens communicators long after they met, and FSDP
        # asks for groups of its own; each waits for ten minutes for a store that is gone.
        self._folder = tempfile.TemporaryDirectory(prefix="cascade-")
        self._torn = False  # after a call that did not end well: the workers' collectives can't go on
        try:
            self.map(_touch, [()] * self.size)
            self.map(_join, [(str(Path(self._folder.name) / "store"),)] * self.size)
        except RuntimeError:
            self.close()
            raise

    def map(
        self, function: Callable[..., T], shards: Sequence[Arguments], heard: Heard | None = None
    ) -> list[T]:
        """As in `Processes`; a fault anywhere raises the WorkerError of who failed first, if known."""
        for rank, shard in enumerate(shards[1:], 1):
            self.send(rank, function, shard)
        # always in threads: the driver's own share may wait in a collective for a worker that is dead
        early = [self._readers.submit(self.receive, rank, heard) for rank in range(1, self.size)]
        self.local.heard_by(partial(heard, 0) if heard else None)
        self._torn = True  # until all have ended well: whatever is raised on the way, nobody may go on here
        for result in early:
            result.add_done_callback(_give_up_after_a_fault)
        own: list[T] = []
        fault: RuntimeError | None = None
        try:
            own.append(function(self.local, *shards[0]))
        except RuntimeError as error:  # perhaps only since another worker failed, which says why
            fault = error
        wait(early, WAIT_FOR_CAUSE_S if fault else None, FIRST_EXCEPTION)
        if any(result.done() and result.exception() for result in early):
            causes = [str(r.exception()) for r in wait(early, WAIT_FOR_CAUSE_S).done if r.exception()]
            # a death explains what the others say, so that it comes first
            raise WorkerError("\n".join(sorted(causes, key=lambda text: " died (" not in text))) from fault
        if fault:
            raise fault
        self._torn = False
        return own + [result.result() for result in early]

    def send(self, rank: int, function: Callable[..., object], arguments: Arguments) -> None:
        """Raises WorkerError after a call that did not end well."""
        if self._torn:
            raise WorkerError("a call failed before in these workers; start them again")
        try:
            super().send(rank, function, arguments)
        except WorkerError:
            self._torn = True
            raise

    def close(self) -> None:
        """Leave the group together; after a fault nobody can, and the processes are killed."""
        if self._torn:  # they may hang in a collective, and would not hear of the closed pipe
            for process in self._processes:
                process.kill()
            # The readers hear of it and wait for the same processes: a child that two threads wait for may
            # look alive to the one for a moment after the other has reaped it.
            self._readers.shutdown(wait=True)
            _leave(self.local)
        else:
            self.map(_leave, [()] * self.size)
        super().close()
        self._folder.cleanup()


def _touch(worker: Worker) -> None:
    """Start the device, so that a faulty one is told before others wait for it."""
    if worker.device.type == "cuda":
        torch.cuda.set_device(worker.device)
        torch.zeros(1, device=worker.device)


def _join(worker: Worker, store: str) -> None:
    """Enter the process group of the workers; `store` is a file that does not exist yet."""
    on_gpu = worker.device.type == "cuda"
    if not on_gpu:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine: the host's name need not resolve
    dist.init_process_group(
        backend="nccl" if on_gpu else "gloo",
        init_method=f"file://{store}",
        rank=worker.rank,
        world_size=worker.size,
        timeout=TIMEOUT,
        device_id=worker.device if on_gpu else None,
    )


def _leave(worker: Worker) -> None:
    """Leave the group, when all do."""
    worker.models.clear()
    if dist.is_initialized():
        dist.destroy_process_group()


def _give_up_after_a_fault(result: Future[Any]) -> None:
    """End the collectives under way, from another thread: NCCL would wait for a dead worker for ever."""
    if result.exception() and dist.is_initialized() and dist.get_backend() == "nccl":
        world = dist.group.WORLD
        if world is not None:
            world.abort()
