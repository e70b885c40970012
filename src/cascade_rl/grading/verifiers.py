"""Verifiers in killable processes: the `Verifiers` that a run uses.

A verifier of mathematics can't be trusted to end: one power tower keeps a computer algebra system busy for
ever, alarms don't interrupt big-number code, and threads can't be killed. So each function runs in a worker
process and gets SIGKILL at its deadline. Workers are forked by a zygote of one thread that was freshly
executed, never by the process that holds torch; everything crosses as JSON. A thread per busy worker waits
for it: `call` works from any event loop and any thread, and nothing starts before the first call.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from cascade_rl.grading.verifier_worker import COMMAND, HEADER, LONGEST_REPLY
from cascade_rl.protocols import Judgement

START_S = 60.0  # to import what verifiers need, on a busy machine
REAP_S = 10.0  # for a fork or a kill, which take milliseconds; a zygote that needs longer is lost
ATTEMPTS = 2  # a call whose worker dies is made once more, on a fresh one
# The zygote imports sympy and its parser once (0.5 to 1 s with its own start); workers inherit them.
PRELOAD = ("cascade_rl.verify.maths.algebra:warm",)
# sys.path is handed over, so that a function that this process can import is found there, too.
CODE = (
    "import json, sys; path, *rest = json.loads(sys.argv[1]); sys.path[:] = path\n"
    "from cascade_rl.grading.verifier_worker import main; main(*rest)"
)


class _DiedError(Exception):
    """A process ended, or can't be started; the text says what is known."""


class _Zygote:
    """The process that forks workers; used by one thread at a time."""

    def __init__(self, memory_bytes: int, preload: Sequence[str]) -> None:
        self.control, theirs = socket.socketpair()
        # a file, not a pipe: nobody reads it while the zygote works, and it must not fill up and block
        with theirs, tempfile.TemporaryFile() as stderr:
            arguments = [sys.path, theirs.fileno(), os.getpid(), memory_bytes, list(preload)]
            self.process = subprocess.Popen(
                [sys.executable, "-c", CODE, json.dumps(arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                # the seed decides in which order sets are walked, and equal calls must give equal verdicts
                env={**os.environ, "PYTHONHASHSEED": "0"},
                # Ctrl-C on the terminal reaches the trainer alone, which then stops after its step
                start_new_session=True,
            )
            theirs.close()
            try:
                self._receive(START_S)
            except _DiedError:
                self.stop()
                stderr.seek(0)
                said = stderr.read().decode(errors="replace").strip().splitlines()
                raise _DiedError(
                    f"the verifiers can't start: {' | '.join(said[-2:]) or 'no reason given'}"
                ) from None

    def _receive(self, limit_s: float) -> int:
        self.control.settimeout(limit_s)
        try:
            message = self.control.recv(COMMAND.size)
        except OSError as error:
            raise _DiedError(f"the zygote does not answer: {error}") from None
        if len(message) != COMMAND.size:
            raise _DiedError("the zygote ended")
        number: int = COMMAND.unpack(message)[1]
        return number

    def ask(self, verb: bytes, number: int, descriptors: Sequence[int] = ()) -> int:
        """The zygote's answer to one command."""
        try:
            socket.send_fds(self.control, [COMMAND.pack(verb, number)], descriptors)
        except OSError as error:
            raise _DiedError(f"the zygote ended: {error}") from None
        return self._receive(REAP_S)

    def stop(self) -> None:
        """Let it reap its workers and end; kill it if it does not."""
        self.control.close()
        try:
            self.process.wait(REAP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _Worker:
    """One worker process with its connection."""

    def __init__(self, zygote: _Zygote) -> None:
        self.zygote, self.calls = zygote, 0
        self.connection, theirs = socket.socketpair()
        with theirs:
            try:
                self.pid = zygote.ask(b"F", 0, [theirs.fileno()])
            except _DiedError:
                self.connection.close()
                raise

    def ask(self, request: bytes, deadline_s: float) -> dict[str, Any]:
        """The reply; raises TimeoutError at the deadline and _DiedError when the worker ends first."""
        self.calls += 1
        end = time.monotonic() + deadline_s
        try:
            self._remaining(end)
            self.connection.sendall(HEADER.pack(len(request)) + request)
            (size,) = HEADER.unpack(self._receive(HEADER.size, end))
            if size > LONGEST_REPLY:
                raise _DiedError("the worker answered nonsense")
            reply: dict[str, Any] = json.loads(self._receive(size, end))
            return reply
        except TimeoutError:
            raise
        except (OSError, ValueError) as error:
            raise _DiedError(f"the worker's connection broke: {error}") from None

    def _remaining(self, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)

    def _receive(self, size: int, end: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self._remaining(end)
            part = self.connection.recv(min(size - len(parts), 1 << 16))
            if not part:
                raise _DiedError("the worker ended")
            parts += part
        return bytes(parts)


class _Pool:
    """Zygote, idle workers and counters: what the threads share, so that none keeps the verifiers alive."""

    def __init__(self, calls_per_worker: int, memory_bytes: int, preload: Sequence[str]) -> None:
        self.calls_per_worker, self.memory_bytes, self.preload = calls_per_worker, memory_bytes, preload
        # held while a worker is forked or reaped: the zygote serves one thread at a time
        self.lock = threading.RLock()
        self.idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self.busy: set[_Worker] = set()
        self.zygote: _Zygote | None = None
        self.closed = False
        self.counts = Counter(calls=0, timeouts=0, crashes=0, retried=0, replaced=0)

    def call(self, request: bytes, deadline_s: float) -> Judgement:
        """One call, made again if its worker died."""
        note = "the verifiers are closed"
        for attempt in range(ATTEMPTS):
            if self.closed:
                break
            try:
                worker = self._take()
            except _DiedError as error:
                note = str(error)
                continue
            try:
                reply = worker.ask(request, deadline_s)
            except TimeoutError:
                self._retire(worker)
                self.count("timeouts")
                return Judgement(fault="timeout", note=f"no answer within {deadline_s:g} s")
            except _DiedError as error:
                note = self._retire(worker) or str(error)
                if attempt + 1 < ATTEMPTS:
                    self.count("retried")
                continue
            # Not tried again: the function raises for these arguments. The worker goes, since nothing is
            # known of the state that it left (a MemoryError half-way, a deep recursion).
            if "error" in reply:
                self._retire(worker)
                note = str(reply["error"])
                break
            self._put_back(worker)
            return Judgement(value=reply["value"])
        self.count("crashes")
        return Judgement(fault="crash", note=note)

    def count(self, name: str) -> None:
        with self.lock:
            self.counts[name] += 1

    def _take(self) -> _Worker:
        """An idle worker, or a fresh one; starts the zygote when there is none."""
        with self.lock:
            try:
                worker = self.idle.get_nowait()
            except queue.Empty:
                try:
                    self.zygote = self.zygote or _Zygote(self.memory_bytes, self.preload)
                    worker = _Worker(self.zygote)
                except _DiedError:
                    self._lose_zygote()
                    raise
            self.busy.add(worker)
            return worker

    def _lose_zygote(self) -> None:
        if self.zygote is not None:
            self.zygote.process.kill()
            self.zygote.stop()
            self.zygote = None

    def _put_back(self, worker: _Worker) -> None:
        if worker.calls >= self.calls_per_worker or self.closed:
            self._retire(worker)
            return
        with self.lock:
            self.busy.discard(worker)
            self.idle.put(worker)

    def _retire(self, worker: _Worker) -> str:
        """Kill and reap a worker; what is known of its end, when it ended by itself."""
        with self.lock:
            self.busy.discard(worker)
            self.counts["replaced"] += 1
            worker.connection.close()
            # its zygote was lost and took it along; the number may be another process's by now
            if worker.zygote is not self.zygote:
                return "the zygote ended"
            try:
                code = worker.zygote.ask(b"K", worker.pid)
            except _DiedError as error:
                self._lose_zygote()
                return str(error)
            return (
                f"the worker ended with {signal.Signals(-code).name}"
                if code < 0
                else f"it exited with code {code}"
            )

    def close(self) -> None:
        """End every process; calls under way end as crashes."""
        with self.lock:
            self.closed = True
            for worker in self.busy:
                # not close: a thread is reading from it, and wakes up with the end of the stream
                worker.connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Reap what is left, once no thread works any more."""
        with self.lock:
            while not self.idle.empty():
                self.idle.get_nowait().connection.close()
            if self.zygote is not None:
                self.zygote.stop()
                self.zygote = None


# No method: what `weakref.finalize` holds must not hold the verifiers themselves, or they would never end.
def _finish(pool: _Pool, threads: ThreadPoolExecutor) -> None:
    pool.close()
    threads.shutdown(wait=True, cancel_futures=True)
    pool.stop()


class ProcessVerifiers:
    """A `Verifiers` of `workers` processes (default: one a core), which start at the first call.

    calls_per_worker   after so many calls a worker is replaced, whatever it may have leaked
    memory_gb          address space that a worker may use
    preload            modules, or functions as `module:name`, that are imported or called before workers are
                       forked, so that no call's deadline pays for them
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        calls_per_worker: int = 2000,
        memory_gb: float = 4.0,
        preload: Sequence[str] = PRELOAD,
    ) -> None:
        self._pool = _Pool(calls_per_worker, int(memory_gb * 2**30), preload)
        self._threads = ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="verifier")
        self._end = weakref.finalize(self, _finish, self._pool, self._threads)

    async def call(self, function: str, *arguments: Any, deadline_s: float = 3.0) -> Judgement:
        """What `module:name` returns for JSON arguments; the deadline runs from when a worker takes the call.

        A worker that ends during the call is replaced and the call made once more. A function that raises is
        a crash with the exception as its note.
        """
        self._pool.count("calls")
        request = json.dumps([function, arguments]).encode()
        return await asyncio.wrap_future(self._threads.submit(self._pool.call, request, deadline_s))

    @property
    def counts(self) -> Mapping[str, int]:
        """Calls, those that ended as timeouts or crashes or were retried, and workers replaced."""
        with self._pool.lock:
            return dict(self._pool.counts)

    def pids(self) -> list[int]:
        """The worker processes that are alive now."""
        with self._pool.lock:
            return [worker.pid for worker in (*self._pool.idle.queue, *self._pool.busy)]

    def close(self) -> None:
        """End all processes; calls under way end as crashes."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
