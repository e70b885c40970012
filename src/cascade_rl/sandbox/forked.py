"""Run a program in a fresh process with limits, forked from a small interpreter that was started for nothing else.

The server (`python -I -S`, empty environment) holds no secret and no torch; for each program it forks a child, which
gets its own session, scratch directory, standard files and resource limits (CPU time, memory, file size, descriptors)
and runs the program as `__main__`. At the deadline the whole process group is killed. This keeps mistakes in; it does
not keep a determined attacker in: network and file system stay visible. The expected answer is compared by the
caller and never enters the child.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from cascade_rl.protocols import Execution, Program

OUTPUT_CAP = 64 * 1024
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
GRACE_S = 5.0

# One JSON line in (a job), one out (exit code, timed out). The child never returns into the loop.
SERVER = r"""
import atexit, json, os, resource as r, signal, sys, time, types
def limit(job):
    for what, most in ((r.RLIMIT_CPU, job["cpu"]), (r.RLIMIT_AS, job["memory"]), (r.RLIMIT_FSIZE, job["output"]),
                       (r.RLIMIT_NOFILE, 64), (r.RLIMIT_CORE, 0)):
        r.setrlimit(what, (most, most))
def become(job):
    os.setsid()
    os.chdir(job["folder"])
    for number, (name, flags) in enumerate((("/in", os.O_RDONLY), ("/out", os.O_WRONLY), ("/err", os.O_WRONLY))):
        handle = os.open(job["files"] + name, flags)
        os.dup2(handle, number)
    os.closerange(3, 256)
    sys.stdin, sys.stdout, sys.stderr = (open(n, m, encoding="utf-8", errors="surrogateescape", closefd=False)
                                         for n, m in ((0, "r"), (1, "w"), (2, "w")))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    entry = job["entry"]
    sys.argv[:] = [entry]
    sys.path.insert(0, "")
    limit(job)
    code = 0
    try:
        with open(entry, encoding="utf-8", errors="surrogatepass") as file:
            text = file.read()
        del job, file
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        main.__builtins__ = __builtins__
        exec(compile(text, entry, "exec"), main.__dict__)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # whatever the program raised is its own fault: traceback, exit code 1
        sys.excepthook(*sys.exc_info())
        code = 1
    return code
def leave(code, finish=atexit._run_exitfuncs, leave=os._exit, sys=sys):
    try:
        finish()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # likewise in its exit handlers
        code = 1
    leave(code & 255)
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        (lambda leave, become, job: leave(become(job)))(leave, become, job)
    end, late = time.monotonic() + job["timeout"], False
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        left = end - time.monotonic()
        if left <= 0:
            late = True
            break
        signal.sigtimedwait((signal.SIGCHLD,), left)
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    print(json.dumps({"code": code, "late": late}), flush=True)
"""


class ForkedSandbox:
    """A `Sandbox` of `workers` threads with a server each; equal programs run once and share the result."""

    def __init__(self, workers: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(workers or len(os.sched_getaffinity(0)), "sandbox")
        self._own = threading.local()
        self._results: dict[tuple, Future[Execution]] = {}

    async def run(self, program: Program) -> Execution:
        """Run to the end or to the deadline; a result that depends on the clock is not kept for the next time."""
        key = (tuple(sorted(program.files.items())), program.entry, program.stdin, program.timeout_s, program.memory_mb)
        if key not in self._results:
            if len(self._results) > 20_000:
                self._results.clear()
            self._results[key] = self._pool.submit(self._execute, program)
        execution = await asyncio.wrap_future(self._results[key])
        if execution.timed_out or execution.error:
            self._results.pop(key, None)
        return execution

    def close(self) -> None:
        """End the threads and with them their servers; waits for programs that run."""
        self._pool.shutdown(cancel_futures=True)

    def _execute(self, program: Program) -> Execution:
        """Runs in a thread, which keeps its server for the next program."""
        server = getattr(self._own, "server", None)
        if server is None or server.poll() is not None:
            server = self._own.server = _start()
        execution = _ask(server, program)
        if execution.error:
            server.kill()
            server.wait()
        return execution


def _start() -> subprocess.Popen[bytes]:
    """A server; it ends by itself when its standard input closes."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", SERVER],
        env=ENVIRONMENT, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
    )  # fmt: skip


def _lay_out(program: Program, root: Path) -> None:
    for name, text in program.files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"file name {name!r} leaves the scratch directory")
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", errors="surrogatepass")


def _ask(server: subprocess.Popen[bytes], program: Program) -> Execution:
    with tempfile.TemporaryDirectory(prefix="cascade-", ignore_cleanup_errors=True) as root:
        scratch, files = Path(root, "scratch"), Path(root, "files")
        scratch.mkdir()
        files.mkdir()
        try:
            _lay_out(program, scratch)
        except (ValueError, OSError, UnicodeError) as error:
            return Execution("", f"{type(error).__name__}: {error}", 1)
        (files / "in").write_bytes(program.stdin.encode("utf-8", "surrogatepass"))
        for name in ("out", "err"):
            (files / name).touch()
        job = {"folder": str(scratch), "files": str(files), "entry": program.entry, "timeout": program.timeout_s,
               "cpu": max(1, int(program.timeout_s) + 1), "memory": program.memory_mb << 20, "output": OUTPUT_CAP}  # fmt: skip
        try:
            server.stdin.write(json.dumps(job).encode() + b"\n")
            ready, _, _ = select.select([server.stdout], [], [], program.timeout_s + GRACE_S)
            done = json.loads(server.stdout.readline() if ready else b"")
        except (ConnectionError, json.JSONDecodeError) as error:
            return Execution("", "", -1, error=f"the sandbox server gave no result: {type(error).__name__}")
        stdout, stderr = (
            (files / name).read_bytes()[:OUTPUT_CAP].decode("utf-8", "replace") for name in ("out", "err")
        )
        return Execution(stdout, stderr, done["code"], done["late"])
