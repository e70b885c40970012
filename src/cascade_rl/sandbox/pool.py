"""The sandbox: a pool of zygotes, one for each core, that run untrusted programs; answers never go near them.

Three processes, never two: this one compares and holds the expected results; a zygote, freshly executed,
holds nothing; a candidate, forked from the zygote for one program, reads its job from a sealed memory file. A
candidate forked from here would carry the answers in its memory. See docs/sandbox.md for the layers and what
they leave open.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import queue
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import lru_cache, partial
from pathlib import PurePosixPath
from typing import Any

from cascade_rl.errors import SandboxUnavailable
from cascade_rl.protocols import Execution, Program, Standing
from cascade_rl.sandbox.levels import ISOLATING, LEVELS, refusal, standing_at
from cascade_rl.sandbox.link import Ending, Starved, Zygote, ZygoteFault, encode, pack, package_entries
from cascade_rl.sandbox.turns import tick_s

# bytes, of standard output and of standard errors each
OUTPUT_CAP = 12 << 20
# most results that are kept for equal programs, and most characters of their outputs
KEPT_RESULTS, KEPT_BYTES = 20_000, 256 << 20
MEGABYTE = 1 << 20

# wall = factor * timeout + extra: the processor time is what counts, the clock only ends what sleeps
PROFILES: dict[str, dict[str, Any]] = {
    "code": {
        # a tmpfs is memory, and RLIMIT_AS does not count it
        "disk_mb": 16,
        "inodes": 1024,
        "descriptors": 64,
        "processes": 64,  # RLIMIT_NPROC counts threads, too
        "wall": (3.0, 1.0),
        "file": OUTPUT_CAP,  # bytes of the largest file; outputs are files, too
    },
    "tests": {
        # a repository with its tests, and what a compiler leaves
        "disk_mb": 256,
        "inodes": 16384,
        "descriptors": 256,
        "processes": 64,
        "wall": (2.0, 2.0),
        "file": 64 * MEGABYTE,
    },
}
PROBE_S = 10.0  # seconds for an empty program at a level that is tried
PATIENCE = 4.0  # how much more wall time a second try gets: the first may have had no processor
CLOSED = Execution("", "", -1, error="the sandbox was closed")
INTERPRETER_BYTES = 256 * MEGABYTE  # of address space that the interpreter has mapped or may need for itself


class ZygoteSandbox:
    """A `Sandbox` of `workers` zygotes at the best level that works here, or at the level asked for.

    Raises SandboxUnavailable at the start when nothing isolates, unless `unsafe`. Equal programs run once and
    share the result, unless it depended on the clock. Use it as a context manager or close it; what is not
    closed ends with the process, however that ends.
    """

    def __init__(self, workers: int | None = None, level: str | None = None, unsafe: bool = False) -> None:
        if level is not None and level not in LEVELS:
            raise ValueError(f"no sandbox level {level!r}; there are {', '.join(LEVELS)}")
        if level is not None and level not in ISOLATING and not unsafe:
            raise ValueError(f"the sandbox level {level} isolates nothing; it needs unsafe=True")
        self._count = workers or len(os.sched_getaffinity(0))
        self._asked, self._unsafe = level, unsafe
        self._lock = threading.Lock()
        self._alone = threading.Lock()  # held by a program that runs a second time, with no new one beside it
        self._jobs: queue.SimpleQueue[tuple[Program, Future[Execution]] | None] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._results: dict[bytes, Future[Execution]] = {}
        self._kept_bytes = 0
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._standing: Standing | None = None
        self._closing = False

    def start(self) -> Standing:
        """Find the level by trying and start the first zygote; later calls only tell the level."""
        with self._lock:
            if self._standing is None:
                found: Future[Standing] = Future()
                self._workers = [_Worker(self, found)]
                # the first worker probes the levels; the others must not begin before one is chosen
                self._standing = found.result()
                self._closing = False
                self._workers += [_Worker(self, None) for _ in range(self._count - 1)]
            return self._standing

    def standing(self) -> Standing:
        """The level in force, found by trying if it is not known yet."""
        return self.start()

    @property
    def counters(self) -> dict[str, int]:
        """Programs run, answered from memory, over a limit, retried, failed by us, and zygotes replaced."""
        names = ("runs", "shared", "timeouts", "retries", "infra_faults", "respawns")
        return {name: self._counts[name] for name in names}

    async def run(self, program: Program) -> Execution:
        """Run to the end or to a limit; never raises for what the program does."""
        key = _key(program)
        future = self._results.get(key)
        if future is None:
            self.start()
            future = self._submit(key, program)
        else:
            self._add("shared")
        if future.done():
            return future.result()
        # a waiter that gives up must not cancel the run that others wait for
        return await asyncio.shield(asyncio.wrap_future(future))

    def close(self) -> None:
        """End all zygotes at once; what runs or waits fails."""
        with self._lock:
            self._closing = True
            for worker in self._workers:
                # first: a worker that waits for its zygote would not see the end of the queue
                worker.interrupt()
                self._jobs.put(None)
            for worker in self._workers:
                worker.thread.join()
            self._workers, self._standing = [], None
            while not self._jobs.empty():
                job = self._jobs.get()
                if job:
                    job[1].set_result(CLOSED)

    def __enter__(self) -> ZygoteSandbox:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, key: bytes, program: Program) -> Future[Execution]:
        # all at once, which needs no order; a program that still runs is merely not shared any more
        if len(self._results) > KEPT_RESULTS or self._kept_bytes > KEPT_BYTES:
            self._results.clear()
            self._kept_bytes = 0
        future: Future[Execution] = Future()
        self._results[key] = future
        future.add_done_callback(lambda done: self._settle(key, done))
        self._jobs.put((program, future))
        return future

    def _add(self, name: str) -> None:
        with self._counting:
            self._counts[name] += 1

    def _settle(self, key: bytes, done: Future[Execution]) -> None:
        """Keep a result for the next time only if it is the program's own."""
        execution = None if done.exception() else done.result()
        # what the clock or the sandbox did may not happen again; the program deserves another run
        if execution is None or execution.timed_out or execution.error:
            self._results.pop(key, None)
        else:
            self._kept_bytes += len(execution.stdout) + len(execution.stderr)

    def _levels(self) -> Iterable[str]:
        if self._asked:
            return (self._asked,)
        return LEVELS if self._unsafe else ISOLATING


class _Worker:
    """A thread with its own zygotes: one for each profile that it has met."""

    def __init__(self, sandbox: ZygoteSandbox, found: Future[Standing] | None) -> None:
        self._sandbox = sandbox
        self._zygotes: dict[str, Zygote] = {}
        self.thread = threading.Thread(target=self._work, args=(found,), name="sandbox", daemon=True)
        self.thread.start()

    def interrupt(self) -> None:
        """End the zygotes under the thread's hands: it sees their sockets close."""
        for zygote in list(self._zygotes.values()):
            zygote.kill()

    def _work(self, found: Future[Standing] | None) -> None:
        """Find the level, if that is asked, then serve until told to end."""
        try:
            if found is not None and not _answer(found, self._find_level):
                return
            while job := self._sandbox._jobs.get():
                program, future = job
                _answer(future, partial(self._execute, program))
        finally:
            for zygote in self._zygotes.values():
                zygote.close()

    def _find_level(self) -> Standing:
        failures: dict[str, str] = {}
        probe = Program({"probe.py": ""}, "probe.py")
        for level in self._sandbox._levels():
            try:
                # making the zygote is not enough: some walls are first put up by a candidate
                zygote = self._zygotes["code"] = Zygote(level, "code")
                zygote.run(pack(probe), b"", limits_of(probe), PROBE_S, OUTPUT_CAP)
            except ZygoteFault as fault:
                failures[level] = str(fault)
                if failed := self._zygotes.pop("code", None):
                    failed.close()
            else:
                return standing_at(level, zygote.landlock, failures)
        raise refusal(failures)

    def _execute(self, program: Program) -> Execution:
        sandbox = self._sandbox
        try:
            check(program)
        except ValueError as error:
            # the program's own fault, with an exit code: an error of the sandbox would spare it its reward
            return Execution("", f"ValueError: {error}\n", 1)
        # its programs may fork and exec: only a pid namespace ends all of them, only own files keep them in
        standing = sandbox._standing
        if standing is None or sandbox._closing:
            return CLOSED  # and no `start`: who closes holds the lock, and waits for this thread
        if program.profile == "tests" and standing.level != "full":
            return Execution(
                "", "", -1, error="a repository's tests need the sandbox level full; see `cascade doctor`"
            )
        with sandbox._alone:  # wait while another program has its second try
            pass
        sandbox._add("runs")
        execution = self._try(program)
        if execution.error and sandbox._closing:
            return CLOSED
        if execution.error:
            sandbox._add("retries")
            # a failure may be the machine's, out of memory or of time: once more, with no new one beside it
            with sandbox._alone:
                execution = self._try(program, PATIENCE)
        if execution.error:
            sandbox._add("infra_faults")
        if execution.timed_out:
            sandbox._add("timeouts")
        return execution

    def _try(self, program: Program, patience: float = 1.0) -> Execution:
        sandbox, standing = self._sandbox, self._sandbox._standing
        if standing is None or sandbox._closing:
            return CLOSED
        try:
            zygote = self._zygotes.get(program.profile)
            if zygote is None:
                zygote = self._zygotes[program.profile] = Zygote(standing.level, program.profile)
            factor, extra = PROFILES[program.profile]["wall"]
            wall_s = (factor * program.timeout_s + extra) * patience
            turns = program.turns
            stall_s = (factor * turns.each_s + extra) * patience if turns else 0.0
            job, stdin = pack(program), encode(program.stdin)
            ending = zygote.run(job, stdin, limits_of(program), wall_s, OUTPUT_CAP, turns, stall_s)
            return read(program, ending)
        # the zygote has answered, so it is well: no reason to replace it
        except Starved as fault:
            return Execution("", "", -1, error=str(fault))
        except ZygoteFault as fault:
            sandbox._add("respawns")
            if failed := self._zygotes.pop(program.profile, None):
                failed.close()
            return Execution("", "", -1, error=str(fault))


def _answer(future: Future[Any], work: Callable[[], Any]) -> bool:
    """Give a future what the work returns or raises; whether it returned."""
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
        return False
    return True


def limits_of(program: Program) -> dict[str, Any]:
    """What the zygote is told of a program: numbers, never its text."""
    profile = PROFILES[program.profile]
    limits = {k: profile[k] for k in ("disk_mb", "inodes", "descriptors", "processes", "file")}
    limits |= {
        # RLIMIT_CPU takes whole seconds; the zygote keeps the exact time, this is for what it can't watch
        "cpu_s": int(program.timeout_s) + 1,
        "budget_s": program.timeout_s,
        "packages": [],
        # bytes of address space, since that is what RLIMIT_AS counts; for each process by itself
        "memory": program.memory_mb * MEGABYTE + INTERPRETER_BYTES,
    }
    if program.turns:
        limits["tick_s"] = tick_s(program.turns)
    if program.profile == "tests":
        limits["packages"] = package_entries(program.packages)
        # of pages in use, by all its processes
        limits["together"] = program.memory_mb * MEGABYTE
    return limits


def check(program: Program) -> None:
    """Refuse what can't be laid out in a scratch directory; raises ValueError."""
    profile = PROFILES.get(program.profile)
    if profile is None:
        raise ValueError(f"no profile {program.profile!r}; there are {', '.join(PROFILES)}")
    if program.entry not in program.files:
        raise ValueError(f"the entry {program.entry!r} is none of the files")
    folders: set[str] = set()
    for name in (*program.files, *program.collect):
        name.encode()  # no lone surrogates
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
            raise ValueError(f"file name {name!r} leaves the scratch directory")
        # 255 and 1024 bytes: what a file system takes as a name, and well below its longest path
        if str(path) != name or max(map(len, map(encode, path.parts))) > 255 or len(encode(name)) > 1024:
            raise ValueError(f"file name {name[:80]!r} is no plain relative path")
        folders.update(str(parent) for parent in path.parents)
    if clash := folders & set(program.files):
        raise ValueError(f"{sorted(clash)[0]!r} is a file and a folder")
    # half of the scratch is left for what the program writes
    size = sum(len(encode(text)) for text in program.files.values() if not text.startswith("\x7fELF"))
    if (
        size > profile["disk_mb"] * MEGABYTE // 2
        or len(program.files) + len(folders) > profile["inodes"] // 2
    ):
        raise ValueError(f"{len(program.files)} files of {size} bytes are too much for the scratch directory")


def read(program: Program, ending: Ending) -> Execution:
    """An ending as an execution: what limit was met, if any, and what was left behind."""
    status, files = ending.status, {}
    if program.profile == "tests" and ending.collected:
        # process 1 writes it after every process of the program has ended, to a file that none of them had
        left = json.loads(ending.collected)  # written by our own process 1
        status = left["status"]
        files = {n: base64.b64decode(t).decode("utf-8", "surrogateescape") for n, t in left["files"].items()}
    code = os.waitstatus_to_exitcode(status)
    stderr = ending.stderr.decode("utf-8", "replace")
    # whichever sees it first: the zygote's watch, the time told at the end, or the kernel's own limit
    over_cpu = ending.killed == "cpu" or ending.cpu_s > program.timeout_s or code == -signal.SIGXCPU
    limit = None
    if ending.killed == "memory":
        limit = "memory"
    elif over_cpu or ending.killed:
        limit = "cpu" if over_cpu else "wall"
    # asked after time, since a program may print for ever and be caught by either
    elif ending.full:
        limit = "output"
    # a MemoryError that was the program's end, or the kernel's killer, which takes zygotes' children first
    elif code and (
        "\nMemoryError" in stderr[-200:] or stderr.startswith("MemoryError") or code == -signal.SIGKILL
    ):
        limit = "memory"
    stdout = ending.stdout.decode("utf-8", "replace")
    return Execution(
        stdout, stderr, code, limit in ("cpu", "wall"), files=files, limit=limit, cpu_s=ending.cpu_s
    )


def _key(program: Program) -> bytes:
    # texts by their own digests: a compiled program is sent once for each of its tests
    rows = [
        sorted((name, _digest(text)) for name, text in program.files.items()),
        program.entry,
        _digest(program.stdin),
        program.timeout_s,
        program.memory_mb,
        program.profile,
        program.collect,
        program.packages,
        program.turns and (program.turns.mark, program.turns.count, program.turns.each_s),
    ]
    return hashlib.blake2b(json.dumps(rows).encode(), digest_size=20).digest()


@lru_cache(maxsize=64)
def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


__all__ = ["OUTPUT_CAP", "SandboxUnavailable", "ZygoteSandbox"]
