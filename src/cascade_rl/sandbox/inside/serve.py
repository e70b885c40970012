"""The zygote: a small, fresh interpreter that forks a candidate for each job and tells how it ended.

It sees limits and descriptors, never a job's bytes. It keeps the candidate's processor time; the wall clock
belongs to the supervisor, which asks for the end of a job by its number; replies carry it as well.
"""

from __future__ import annotations

import _socket
import array
import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from cascade_rl.sandbox.inside import calls, jail
from cascade_rl.sandbox.inside.candidate import STARTED, furnish, live

SOCKET = 3  # the descriptor to which the supervisor's command line moves it
LEAST_WAIT_S = 0.005  # seconds; the most that a single-threaded program runs over its time before it is seen
# what such programs import: forked, not imported, each time; fewer of them made candidates no faster
PRELOADED = (
    "bisect", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "io",
    "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "threading", "time",
    "traceback", "typing",
)  # fmt: skip


def main() -> None:
    """Build the jail, say so, serve until the supervisor closes its end."""
    # else a candidate could interrupt process 1 of its namespace
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    config = json.loads(sys.argv[1])
    # paths of this machine that a program need not see
    sys.argv[1:] = []
    supervisor = _socket.socket(fileno=SOCKET)
    if os.getppid() != config["parent"]:
        return  # orphaned before it could ask for the signal
    for name in PRELOADED:
        __import__(name)
    sys.path[:] = [path for path in sys.path if path != config["source"]]
    try:
        walls = jail.build(config)
    except OSError as error:
        supervisor.send(json.dumps({"failed": error.strerror or str(error)}).encode())
        return
    # the death signal was off for a moment while credentials changed
    if os.getppid() not in (config["parent"], 0):
        return
    supervisor.send(json.dumps({"landlock": walls.landlock}).encode())
    furnish(config)
    gc.collect()
    # else the collector of each candidate would touch all objects, and every page would be copied
    gc.freeze()
    while _serve(supervisor, walls):
        pass


def _serve(supervisor: Any, walls: jail.Jail) -> bool:
    """One message; False when the supervisor is gone."""
    # the limits, which are short but for the names of packages, and at most five descriptors
    text, ancillary, _, _ = supervisor.recvmsg(1 << 16, 4096)
    descriptors = array.array("i", b"".join(row[2] for row in ancillary)).tolist()
    if not text:
        return False
    job = json.loads(text)
    if "kill" in job:
        return True  # it has ended already
    # not blocking: by the time it is read the candidate is dead, and who still holds it is not waited for
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        pid, pidfd = calls.clone(walls.clone_flags)
    except OSError as error:
        pid, reply = -1, {"setup": error.strerror}
    if pid == 0:
        live(walls, job["limits"], descriptors, writer)
    # before waiting: the end of the pipe is seen only when this side is closed, too
    for number in (*descriptors, writer):
        os.close(number)
    if pid > 0:
        reply = _watch(supervisor, job, pid, pidfd, not walls.full)
        os.close(pidfd)
        note = _read(reader)
        if note != STARTED:
            reply["setup"] = note.decode("utf-8", "replace") or "the candidate died while it was set up"
    os.close(reader)
    supervisor.send(json.dumps(reply | {"job": job["job"]}).encode())
    return True


def _read(pipe: int) -> bytes:
    try:
        return os.read(pipe, 400)
    except BlockingIOError:  # profile `tests`: a process of the candidate's still holds the other end
        return b""


def _watch(supervisor: Any, job: Mapping[str, Any], pid: int, pidfd: int, bare: bool) -> dict[str, Any]:
    """Wait for the end; kill at the processor-time limit, or when the supervisor asks or is gone.

    bare: the candidate has no pid namespace that ends with it.
    """
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(SOCKET, select.POLLIN)
    # a process's clock by its number, as clock_getcpuclockid(3) makes it: all its threads, not its children
    budget_s, killed, clock = job["limits"]["budget_s"], "", (~pid << 3) | 2  # the clock of that process
    # a program of several turns: its time is told now and then to the supervisor, which knows how far it is
    tick_s = job["limits"].get("tick_s", budget_s)
    left_s = tick = tick_s
    while True:
        # half of what is left: one busy thread can't use up its time between two looks
        events = dict(poller.poll(max(left_s / 2, LEAST_WAIT_S) * 1000))
        if pidfd in events:
            break
        if SOCKET in events:
            request = json.loads(supervisor.recv(1 << 16) or b"{}")
            # for a job that has ended meanwhile
            if request and request.get("kill") != job["job"]:
                continue
            killed = request.get("why", "wall")
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if not request:  # the supervisor is gone: so must we be
                sys.exit()
            poller.unregister(SOCKET)
        elif not killed:
            used_s = time.clock_gettime(clock)
            if used_s >= tick < budget_s:
                supervisor.send(json.dumps({"job": job["job"], "tick": used_s}).encode())
                tick = used_s + tick_s
            left_s = min(budget_s, tick) - used_s
            if used_s >= budget_s:
                killed = "cpu"
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                left_s = budget_s  # the kill takes a moment: no need to look often
    if bare:
        _kill_group(pid)
    # only now does the number become free: the clock and the group above needed it
    _, status, usage = os.wait4(pid, 0)
    return {"status": status, "cpu_s": usage.ru_utime + usage.ru_stime, "killed": killed}


def _kill_group(pid: int) -> None:
    """Without a pid namespace, end what the candidate started; its zombie still holds the number."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
