"""What runs on the other side: one freshly executed process that forks workers, and the workers' loop.

The zygote imports what verifiers need once and forks from there, so a worker that was killed is replaced
within milliseconds. It has one thread and sees no job; the parent sends it only `F` (fork a worker on the
socket that comes along) and `K` (kill and reap a worker), each answered with one number. It ends when the
parent does: by the end of its control socket, or by a parent-death signal if a copy of that socket is still
open somewhere. Workers get SIGKILL when the zygote goes.

gmpy2 and python-flint are kept out: a computation inside such a library can't be bounded by memory limits
that raise, and results would depend on what happens to be installed.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

COMMAND = struct.Struct("!cq")  # a verb and a number: the same in both directions
HEADER = struct.Struct("!I")  # length of the JSON that follows
LONGEST_REPLY = 1 << 24  # bytes: a verdict is short, and the trainer holds it in memory
BLOCKED = ("gmpy2", "gmpy", "flint", "sage")
PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int) -> None:
    """Have the kernel send signal `number` when the parent ends; exit at once if it is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def receive(connection: socket.socket, size: int) -> bytes | None:
    """Exactly `size` bytes, or None at the end of the stream."""
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


@cache
def resolve(path: str) -> Callable[..., Any]:
    """The function that `package.module:name` names."""
    module, _, name = path.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def _answer(request: bytes) -> tuple[bytes, bool]:
    """The reply to a request, and whether the function returned."""
    function, arguments = json.loads(request)
    try:
        data, fine = json.dumps({"value": resolve(function)(*arguments)}).encode(), True
        if len(data) > LONGEST_REPLY:
            raise ValueError(f"a result of {len(data)} bytes")
    except Exception as error:
        data, fine = json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}).encode(), False
    return data, fine


def _work(connection: socket.socket, memory_bytes: int) -> None:
    """Answer requests until the parent closes the connection, or a function raised."""
    # Python raises MemoryError at it; a native library may abort, which the pool takes for a crash.
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (header := receive(connection, HEADER.size)) is not None:
        request = receive(connection, HEADER.unpack(header)[0])
        if request is None:
            return
        data, fine = _answer(request)
        connection.sendall(HEADER.pack(len(data)) + data)
        if not fine:
            return


def _fork(descriptor: int, control: socket.socket, memory_bytes: int) -> int:
    """Start a worker on a connection; the worker never returns."""
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    try:
        # not the zygote's handler, which kills all workers
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent(zygote, signal.SIGKILL)
        control.close()
        # what a library prints must reach neither the trainer's terminal nor its pipes
        silence = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(silence, standard)
        _work(socket.socket(fileno=descriptor), memory_bytes)
    finally:
        os._exit(0)


def _reap(pid: int) -> int:
    """Kill a worker and wait for it; its exit code, negative for the signal that ended it."""
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _prepare(preload: Sequence[str]) -> None:
    """Import the modules (`package.module`) and call the functions (`package.module:name`) named."""
    os.environ |= {"MPMATH_NOGMPY": "1", "MPMATH_NOSAGE": "1", "SYMPY_GROUND_TYPES": "python"}
    for name in BLOCKED:
        # None is how Python is told that there is no such module
        sys.modules[name] = None  # type: ignore[assignment]
    for path in preload:
        if ":" in path:
            resolve(path)()
        else:
            importlib.import_module(path)
    # The collector leaves alone what was there before the fork: marking would copy it into each worker.
    gc.collect()
    gc.freeze()


def main(descriptor: int, parent: int, memory_bytes: int, preload: Sequence[str]) -> None:
    """Serve the control socket until it ends, then kill what is left."""
    workers: set[int] = set()

    def stop(*_: object) -> None:
        for pid in workers:
            _reap(pid)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    die_with_parent(parent, signal.SIGTERM)
    _prepare(preload)
    control = socket.socket(fileno=descriptor)
    control.sendall(COMMAND.pack(b"R", os.getpid()))
    while True:
        # a closed socket gives an empty message: the trainer is gone
        message, descriptors, _, _ = socket.recv_fds(control, COMMAND.size, 1)
        if len(message) != COMMAND.size:
            stop()
        verb, number = COMMAND.unpack(message)
        if verb == b"F":
            number = _fork(descriptors[0], control, memory_bytes)
            workers.add(number)
        else:
            workers.discard(number)
            number = _reap(number)
        control.sendall(COMMAND.pack(verb, number))
