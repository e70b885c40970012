"""The processes of a started job: known again after a kill of ours, and ended to the last one.

verl's Ray starts dozens of processes, some in groups and sessions of their own. A variable that all of them
inherit names the attempt: whoever carries it belongs to it, also where its parent is gone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from cascade_rl.errors import StageError
from cascade_rl.run.files import read_record, write_json

MARK = "CASCADE_VERL_ATTEMPT"  # the attempt's folder, absolute
# a Python's own settings: those of this process would reach into verl's environment, which is another one
# and RAY_ADDRESS is given as such or not at all: a cluster must not be joined by accident.
OURS = ("RAY_ADDRESS", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


@dataclass(frozen=True, slots=True)
class Started:
    """What tells a started process from a later one with its number: host, pid, and when it was made.

    allocation  of Slurm: the machines of one that was queued again hold nothing of the time before
    """

    host: str
    pid: int
    created: float
    allocation: str = ""

    def write(self, path: Path, **more: Any) -> None:
        """As a whole file."""
        write_json(path, asdict(self) | more)

    @classmethod
    def read(cls, path: Path) -> Started | None:
        """From such a file; None where there is none."""
        record = read_record(path, "host", "pid", "created", "allocation")
        if record is None:
            return None
        return cls(record["host"], record["pid"], record["created"], record["allocation"])

    def process(self, path: Path) -> psutil.Process | None:
        """The process, if it still runs; None if it is gone.

        Raises StageError where it was started on a machine that can't be looked at from here.
        """
        if self.host != socket.gethostname():
            if self.allocation and self.allocation == _allocation():
                return None  # a batch job that runs again: nothing of its first try is left
            raise StageError(
                f"{path.parent} was started on {self.host} (process {self.pid}), which can't be looked at "
                "from "
                f"here: go on there, or remove {path} once it is certain that it no longer runs"
            )
        try:
            process = psutil.Process(self.pid)
            # another process may have the number by now; made at the same second it can't be
            same = abs(process.create_time() - self.created) < 1
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def inherited() -> dict[str, str]:
    """The variables of this process that one of verl's environment may have."""
    return {name: value for name, value in os.environ.items() if name not in OURS}


def start(
    words: Sequence[str], attempt: Path, environment: Mapping[str, str], folder: Path
) -> tuple[subprocess.Popen[bytes], Started]:
    """Start a job's program in a session of its own; what it prints goes to console.log of the attempt."""
    with (attempt / "console.log").open("ab") as console:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=inherited() | dict(environment) | {MARK: str(attempt.resolve())},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            # of its own: Ctrl-C on our terminal must reach verl through us, once the step is known
            start_new_session=True,
        )
    created = psutil.Process(process.pid).create_time()
    return process, Started(socket.gethostname(), process.pid, created, _allocation())


def carriers(attempt: Path) -> list[psutil.Process]:
    """All processes of this machine that belong to an attempt; without those that end at this moment."""
    found, mark = [], str(attempt.resolve())
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.pid != os.getpid():
                found.append(process)
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another user's, who did not start it
    return found


def stop(attempt: Path, grace_s: float, poll_s: float) -> int:
    """End all of an attempt: asked first, killed after `grace_s`; how many had to be killed."""
    for process in carriers(attempt):
        _signal(process, signal.SIGTERM)
    end = time.monotonic() + grace_s
    while (left := carriers(attempt)) and time.monotonic() < end:
        time.sleep(poll_s)
    killed = len(left)
    # again and again: one that is killed may have started another a moment before
    while left:
        for process in left:
            _signal(process, signal.SIGKILL)
        time.sleep(min(poll_s, 0.05))
        left = carriers(attempt)
    return killed


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass  # ended by itself meanwhile


def _allocation() -> str:
    return os.environ.get("SLURM_JOB_ID", "")  # it stays when a job is queued again
