"""One zygote as the supervisor sees it: started, given a job at a time, replaced when it fails.

The job travels in sealed memory files, so neither a pipe can fill nor a file be left. PR_SET_PDEATHSIG fires
when the thread that started a process ends: a zygote is therefore started and driven by one thread that lives
as long as it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from cascade_rl.protocols import Program, Turns
from cascade_rl.sandbox.inside.jail import SITE
from cascade_rl.sandbox.memory import held_below, pause_s
from cascade_rl.sandbox.turns import TICKS, Watch

# unsealed, standard input would be a writable memory file, and RLIMIT_AS does not count those
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
# all that a zygote inherits: no token or path of the trainer's. Equal programs must give equal results, hence
# the fixed hash seed; a zygote may have one thread only, since it forks, hence the numbers for BLAS.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
BOOT = "import sys; sys.path.insert(0, {source!r}); from cascade_rl.sandbox.inside.serve import main; main()"
# seconds that a zygote may take to come up, and to tell of a candidate's end once it was killed
START_S, GRACE_S = 20.0, 5.0
LEAST_S = 0.001  # seconds to wait for a message: none at all would be another kind of socket
STARVED = 0.5  # of the wall time waiting for a processor: then the deadline was the machine's fault
# what is shown of this machine beside the interpreter: libraries; for `tests` also the shell and a compiler
TREE = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
CONTEST_PACKAGES = ("numpy", "sortedcontainers")
WHOLE_TREE = ("/usr", "/lib", "/lib64", "/bin", "/sbin")


class ZygoteFault(Exception):
    """A zygote did not start, died, stayed silent or set no candidate up: never a program's fault."""


class Starved(ZygoteFault):
    """The machine was too busy to give a program its time; the zygote is well."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a candidate ended; `killed` is `cpu`, `wall`, `memory` or empty."""

    status: int
    cpu_s: float
    killed: str
    stdout: bytes
    stderr: bytes
    collected: bytes
    full: bool


class Zygote:
    """A zygote process for one profile. Only the thread that made it may use it."""

    def __init__(self, level: str, profile: str) -> None:
        """Start it behind the walls of `level`; raises ZygoteFault with the step that failed."""
        # packets, not a stream: a message comes whole, and an empty one means that the other side is gone
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # what the zygote says when it dies; a memory file, since nobody reads beside it and a pipe could fill
        self._log, self._jobs = os.memfd_create("log", os.MFD_CLOEXEC), 0
        # the zygote compares `parent` with its own: a parent that died before sends no signal
        config = tree_of(profile) | {"level": level, "profile": profile, "parent": os.getpid()}
        boot = f"import os; os.dup2({theirs.fileno()}, 3); " + BOOT.format(source=config["source"])
        with theirs:
            # `-I` would also ignore PYTHONHASHSEED; the environment is ours, so `-s -P` isolate as well
            command = [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", "-c", boot, json.dumps(config)]
            try:
                self._process = subprocess.Popen(
                    command,
                    env=ENVIRONMENT,
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    # an interrupt typed at the terminal is for the trainer, which ends its zygotes
                    start_new_session=True,
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:
                self._socket.close()
                os.close(self._log)
                raise ZygoteFault(f"no process for a zygote: {error}") from None
        self.pid = self._process.pid
        try:
            hello = self._receive(START_S) or {"failed": "the zygote is silent"}
        except ConnectionError:
            hello = {"failed": f"the zygote did not start: {self._last_words()}"}
        if "failed" in hello:
            self.close()
            raise ZygoteFault(hello["failed"])
        self.landlock: int = hello["landlock"]

    def kill(self) -> None:
        """End it, and whatever it runs; any thread may call this."""
        self._process.kill()

    def close(self) -> None:
        """End it and free what it held."""
        self._socket.close()
        self.kill()
        self._process.wait()
        os.close(self._log)

    def _last_words(self) -> str:
        self._process.wait(GRACE_S)
        lines = os.pread(self._log, 1 << 16, 0).decode("utf-8", "replace").strip().split("\n")
        return lines[-1][-200:]

    def run(
        self,
        job: bytes,
        stdin: bytes,
        limits: Mapping[str, Any],
        wall_s: float,
        cap: int,
        turns: Turns | None = None,
        stall_s: float = 0.0,
    ) -> Ending:
        """Run one candidate to its end or its limits; raises ZygoteFault when the sandbox failed.

        stall_s: the most seconds that one of its turns may last by the clock.
        """
        self._jobs += 1
        files: list[int] = []
        try:
            # the order is the candidate's (`live`): job, standard input, output and errors, what is collected
            files += [sealed("job", job), sealed("stdin", stdin)]
            files += [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdout", "stderr", "collected")]
            # the zygote is sent descriptors and limits only: it is forked again, and must hold no job's bytes
            socket.send_fds(self._socket, [json.dumps({"job": self._jobs, "limits": limits}).encode()], files)
            watch = Watch(turns, files[2]) if turns else None
            reply = self._await_end(wall_s, watch, stall_s, limits.get("together", 0))
            if "setup" in reply:
                raise ZygoteFault(reply["setup"])
            # by place: the candidate shares the descriptor's offset, wherever it has moved that
            stdout, stderr = (os.pread(number, cap, 0) for number in files[2:4])
            # RLIMIT_FSIZE ends a file at the cap, so a full one has been cut off
            full = any(os.fstat(number).st_size >= cap for number in files[2:4])
            collected = os.pread(files[4], os.fstat(files[4]).st_size, 0)
        except OSError as error:
            raise ZygoteFault(f"the zygote is gone: {error}") from None
        finally:
            for number in files:
                os.close(number)
        return Ending(reply["status"], reply["cpu_s"], reply["killed"], stdout, stderr, collected, full)

    def _await_end(self, wall_s: float, watch: Watch | None, stall_s: float, together: int) -> dict[str, Any]:
        """Its end, by itself or by us: at a limit of time, or over `together` bytes of memory (0: any)."""
        begin = moved = time.monotonic()
        while True:
            ends = min(begin + wall_s, moved + stall_s) if watch else begin + wall_s
            left_s = ends - time.monotonic()
            if left_s <= 0:
                return self._end_for_the_clock(begin)
            # a turn's end is seen when it is looked for, so not only at the last moment
            wait_s = min(left_s, stall_s / TICKS) if watch else left_s
            if together:
                spare = together - held_below(self.pid, together)
                if spare <= 0:
                    self._socket.send(json.dumps({"kill": self._jobs, "why": "memory"}).encode())
                    return self._last_reply()
                wait_s = min(wait_s, pause_s(spare))
            reply = self._receive(max(wait_s, LEAST_S))
            if reply and "tick" not in reply:
                return reply
            if watch and watch.moved():
                moved = time.monotonic()
            if reply and watch and watch.over(reply["tick"]):
                self._socket.send(json.dumps({"kill": self._jobs, "why": "cpu"}).encode())
                return self._last_reply()

    def _end_for_the_clock(self, begin: float) -> dict[str, Any]:
        # asked before the kill, after which the candidate's /proc is gone; in profile `tests` the child is
        # process 1, which sleeps, so there a busy machine is not seen
        starved = waited_for_processor(self.pid) > STARVED * (time.monotonic() - begin)
        self._socket.send(json.dumps({"kill": self._jobs, "why": "wall"}).encode())
        # the program may have ended by itself just then; the zygote reports either end under this number
        reply = self._last_reply()
        if starved and reply.get("killed"):
            raise Starved("the machine was too busy to run the program before its deadline")
        return reply

    def _last_reply(self) -> dict[str, Any]:
        ends = time.monotonic() + GRACE_S
        while reply := self._receive(max(ends - time.monotonic(), LEAST_S)):
            if "tick" not in reply:
                return reply
        raise ZygoteFault("the zygote is silent")

    def _receive(self, timeout_s: float) -> dict[str, Any] | None:
        """The next message; None at the deadline or the end. A reply to an earlier job is dropped."""
        self._socket.settimeout(timeout_s)
        try:
            while text := self._socket.recv(1 << 16):
                message: dict[str, Any] = json.loads(text)
                if message.get("job", self._jobs) == self._jobs:
                    return message
        except TimeoutError:
            return None
        raise ConnectionResetError("it closed its socket")


def waited_for_processor(zygote: int) -> float:
    """Seconds that a zygote's candidate was ready to run and did not; 0 where the kernel does not tell."""
    try:
        # the second number of schedstat: nanoseconds that the task was ready and waited
        children = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
        return sum(int(Path(f"/proc/{c}/schedstat").read_text().split()[1]) for c in children) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def sealed(name: str, text: bytes) -> int:
    """A memory file that nobody can change any more, at its beginning."""
    number = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(number, rest) :]
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, SEALS)
    os.lseek(number, 0, os.SEEK_SET)
    return number


def pack(program: Program) -> bytes:
    """A program as its candidate reads it (see `inside.candidate`)."""
    files = [(name, encode(text)) for name, text in program.files.items()]
    header = {
        "entry": program.entry,
        "collect": list(program.collect),
        "files": [[n, len(t)] for n, t in files],
    }
    # four bytes of length, the header, then the files one after the other: see `candidate`
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "little") + text + b"".join(text for _, text in files)


def encode(text: str) -> bytes:
    """Text as bytes: escaped bytes as themselves (so binaries survive), other lone surrogates as they are."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


@lru_cache
def tree_of(profile: str) -> dict[str, Any]:
    """What a zygote shows its candidates of this machine's files."""
    stdlib = sysconfig.get_path("stdlib")
    packages = sysconfig.get_path("purelib") if profile == "tests" else ""
    root = Path(sysconfig.get_path("purelib"))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # installed packages, where the tree holds any: a benchmark's package holds its answers
    hidden = [
        f"{stdlib}/site-packages",
        f"{stdlib}/dist-packages",
        "/usr/lib/python3/dist-packages",
        f"/usr/local/lib/{version}/dist-packages",
        f"/usr/local/lib/{version}/site-packages",
    ]
    shown = [*WHOLE_TREE, sys.base_prefix] if profile == "tests" else [*TREE, stdlib]
    # a path below another one is seen through that one's bind
    inner = [p for p in shown if any(p != o and p.startswith(o.rstrip("/") + "/") for o in shown)]
    # in a virtual environment `sys.executable` is a link in a folder that is not shown
    interpreter = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    environment = {
        "PYTHONPATH": SITE,
        "PATH": f"{interpreter.parent}:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {
        "interpreter": str(interpreter),
        "environment": environment,
        "shown": [p for p in dict.fromkeys(shown) if p not in inner],
        "hidden": hidden,
        "stdlib": stdlib,
        "packages": packages,
        # profile `code`: the entries of the packages that contest judges have, as far as they are installed
        "extras": {}
        if profile == "tests"
        else {
            name: str(root / name)
            for name in package_entries(CONTEST_PACKAGES)
            # what only installers read: each bind costs every candidate, whose namespace copies it
            if not name.endswith(".dist-info")
        },
        # only until the zygote has imported its modules: it then takes the path off `sys.path`
        "source": str(Path(__file__).parents[2]),
    }


@lru_cache
def package_entries(names: Sequence[str]) -> list[str]:
    """The files and folders in site-packages of the named distributions and all that they require.

    Nothing else that is installed is shown: a repository under test may well be an installed package with its
    bug mended, and a benchmark's package holds its answers.
    """
    wanted, seen, found = list(names), set(), set()
    root = Path(sysconfig.get_path("purelib"))
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # a requirement of another platform
        found |= {path.parts[0] for path in distribution.files or () if ".." not in path.parts}
        for text in distribution.requires or ():
            if "extra ==" not in text:  # what an extra asks for is not installed with it
                wanted.append(_requirement_name(text))
    return sorted(entry for entry in found - {"__pycache__"} if (root / entry).exists())


def _requirement_name(text: str) -> str:
    end = next((i for i, c in enumerate(text) if not (c.isalnum() or c in "-_.")), len(text))
    return text[:end]
