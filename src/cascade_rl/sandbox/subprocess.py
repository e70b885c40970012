"""Run a program in a fresh, isolated interpreter process with limits.

Each program gets its own scratch directory, process group and resource limits (CPU time, memory, file size,
processes, descriptors); output is capped while it is read and the whole group is killed at the deadline.
This keeps mistakes in; it does not keep a determined attacker in: network and file system stay visible.
The expected answer is compared by the caller and never enters the child.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path, PurePosixPath

from cascade_rl.protocols import Execution, Program

OUTPUT_CAP = 64 * 1024
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


class SubprocessSandbox:
    """A `Sandbox` of plain subprocesses, at most `workers` at once; equal programs run once and share the result."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self._cache: dict[tuple, Execution] = {}
        self._slots: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None

    def _semaphore(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._slots is None or self._slots[0] is not loop:
            self._slots = (loop, asyncio.Semaphore(self.workers))
        return self._slots[1]

    async def run(self, program: Program) -> Execution:
        """Run to the end or to the deadline; a result that depends on the clock is not kept for the next time."""
        key = (tuple(sorted(program.files.items())), program.entry, program.stdin, program.timeout_s, program.memory_mb)
        async with self._semaphore():
            if key not in self._cache:
                execution = await _execute(program)
                if execution.timed_out or execution.error:
                    return execution
                if len(self._cache) > 20_000:
                    self._cache.clear()
                self._cache[key] = execution
            return self._cache[key]


# Limits are set by the child itself before it becomes the program: a preexec_fn would force a full fork of the
# trainer, which costs tens of milliseconds once it holds a model.
BOOT = """\
import resource as r, sys
cpu, memory, entry = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for what, limit in ((r.RLIMIT_CPU, cpu), (r.RLIMIT_AS, memory), (r.RLIMIT_FSIZE, 1 << 20), (r.RLIMIT_NOFILE, 64),
                    (r.RLIMIT_CORE, 0)):
    r.setrlimit(what, (limit, limit))
sys.argv[:] = [entry]
sys.path.insert(0, "")
with open(entry, encoding="utf-8", errors="surrogatepass") as file:
    code = compile(file.read(), entry, "exec")
del r, what, limit, cpu, memory, entry, file
exec(code, {"__name__": "__main__", "__builtins__": __builtins__})
"""


def _lay_out(program: Program, root: Path) -> None:
    for name, text in program.files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"file name {name!r} leaves the scratch directory")
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", errors="surrogatepass")


async def _read_capped(stream: asyncio.StreamReader, kill) -> bytes:
    data = bytearray()
    while chunk := await stream.read(8192):
        data += chunk[: OUTPUT_CAP - len(data)]
        if len(data) >= OUTPUT_CAP:
            kill()  # and read on to the end, so that nothing is left in the pipe
    return bytes(data)


async def _execute(program: Program) -> Execution:
    with tempfile.TemporaryDirectory(prefix="cascade-", ignore_cleanup_errors=True) as scratch:
        try:
            _lay_out(program, Path(scratch))
        except (ValueError, OSError, UnicodeError) as error:
            return Execution("", f"{type(error).__name__}: {error}", 1)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-B", "-c", BOOT,
                str(max(1, int(program.timeout_s) + 1)), str(program.memory_mb << 20), program.entry,
                cwd=scratch, env=ENVIRONMENT, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            return Execution("", "", -1, error=f"could not start a process: {error}")
        return await _attend(process, program)


async def _attend(process: asyncio.subprocess.Process, program: Program) -> Execution:
    def kill() -> None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # the group is gone already: that is what we want

    async def feed() -> None:
        try:
            process.stdin.write(program.stdin.encode("utf-8", "surrogatepass"))
            await process.stdin.drain()
            process.stdin.close()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the program ended without reading its input, which is its right

    timed_out = False
    readers = [asyncio.ensure_future(_read_capped(s, kill)) for s in (process.stdout, process.stderr)]
    try:
        await asyncio.wait_for(asyncio.gather(feed(), process.wait()), program.timeout_s)
    except TimeoutError:
        timed_out = True
    finally:
        kill()  # also whatever it left behind in its group
        await process.wait()
    stdout, stderr = await asyncio.gather(*readers)
    return Execution(
        stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"), process.returncode, timed_out
    )
