"""The worker processes and the pipes to them; what models they hold is not known here.

The driver is worker 0; with one worker there is no other process. See `group` for workers whose calls are
collective, where a fault of one is a fault of all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

import torch
import torch.multiprocessing as mp

from cascade_rl.errors import WorkerError
from cascade_rl.model.worker import Worker, keep_memory, serve, work

T = TypeVar("T")
Heard = Callable[[int, Any], None]  # rank, and a part of a result
Arguments = tuple[Any, ...]  # what a function takes after its worker; it goes through a pipe


class Processes:
    """One worker for each of the devices `places`: `local`, this process, and a process each for the others.

    Calls come from one thread, one after the other: a pipe carries one question and its answer at a time.
    """

    ends_on_fault = False  # whether a worker that raises ends itself, too

    def __init__(self, places: Sequence[str]) -> None:
        self.size = len(places)
        # one thread each beside others: two processes of two threads on two cores took 12 s a step, not 0.3
        # (docs/LOG.md)
        threads = max(1, len(os.sched_getaffinity(0))) if self.size == 1 else 1
        torch.set_num_threads(threads)
        self.local = Worker(0, self.size, torch.device(places[0]))
        if self.local.device.type == "cpu":
            keep_memory()
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        self._readers = ThreadPoolExecutor(max(1, self.size - 1), "replicas")
        self._unread: set[int] = set()  # ranks that were asked and whose result was not taken yet
        self._late: list[Future[Any]] = []  # results that nobody waits for any more, after a fault
        # spawn: a fork would copy torch's threads and locks in whatever state they are, and CUDA forbids it
        context = mp.get_context("spawn")
        for rank in range(1, self.size):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=serve,
                args=(theirs, rank, self.size, threads, os.getpid(), places[rank], self.ends_on_fault),
                daemon=True,
            )
            process.start()
            theirs.close()  # our copy, or the end of the process would not be the end of the pipe
            self._pipes.append(ours)
            self._processes.append(process)

    def map(
        self, function: Callable[..., T], shards: Sequence[Arguments], heard: Heard | None = None
    ) -> list[T]:
        """`function(worker, *shards[rank])` in every worker; the results in the order of ranks.

        `heard(rank, part)` gets what the workers report on their way, each in the thread that reads its pipe.
        """
        # after a fault: an answer to the call before would pass for the answer to this one
        wait(self._late)
        early: list[Future[T]] = []
        others = range(1, self.size)
        try:
            # the others first: they work while this process does its own share below
            for rank, shard in enumerate(shards[1:], 1):
                self.send(rank, function, shard)
            self.local.heard_by(partial(heard, 0) if heard else None)
            if heard is None:  # no thread is needed: what comes early waits in its pipe
                return [work(self.local, function, shards[0])] + [self.receive(rank) for rank in others]
            early += [self._readers.submit(self.receive, rank, heard) for rank in others]
            return [work(self.local, function, shards[0])] + [result.result() for result in early]
        finally:
            # taken by nobody where a share failed; all were where the call ended well
            self._late = [*early] or [self._readers.submit(self.receive, rank) for rank in self._unread]

    def send(self, rank: int, function: Callable[..., object], arguments: Arguments) -> None:
        """Ask a worker; raises WorkerError if it is dead."""
        try:
            self._pipes[rank - 1].send((function, arguments))
            self._unread.add(rank)
        except (BrokenPipeError, ConnectionResetError):
            raise self._died(rank) from None

    def receive(self, rank: int, heard: Heard | None = None) -> Any:
        """The result of what was asked; raises WorkerError with the traceback or with how the worker died."""
        try:
            while (message := self._pipes[rank - 1].recv())[0] == "part":
                if heard:
                    heard(rank, message[1])
            self._unread.discard(rank)
        except (EOFError, ConnectionResetError):
            raise self._died(rank) from None
        kind, value = message
        if kind == "error":
            raise WorkerError(f"worker {rank} failed:\n{value}")
        return value

    def _died(self, rank: int) -> WorkerError:
        process = self._processes[rank - 1]
        process.join(5)  # seconds: the pipe closes a moment before there is an exit code
        return WorkerError(
            f"worker {rank} died (exit code {process.exitcode}; -9 is often the kernel, out of memory: "
            "lower tokens_per_microbatch or workers)"
        )

    def close(self) -> None:
        """End the processes; who does not follow is killed."""
        for pipe in self._pipes:
            pipe.close()  # which ends the loop of `worker.serve`
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
