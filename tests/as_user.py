"""Run a command as an ordinary user: `python as_user.py COMMAND ...`, as root or as that user already.

The interpreter often lies in root's home. In a mount namespace of its own the folders on the way to it are replaced by
passable ones that hold nothing but what is needed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import cascade_rl

USER = 65534
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def barrier(path: Path) -> Path | None:
    """The outermost folder above `path` that others may not pass."""
    return next((p for p in reversed(path.parents) if not p.stat().st_mode & 0o001), None)


def reveal(paths: set[Path]) -> None:
    """Make the paths reachable for everyone, in this process's own view of the file system."""
    checked(libc.unshare(CLONE_NEWNS))
    checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    behind = {path: barrier(path) for path in paths if barrier(path)}
    handles = {path: os.open(path, os.O_PATH) for path in behind}
    for folder in set(behind.values()):
        checked(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"mode=755"))
    for path, handle in handles.items():
        path.mkdir(parents=True, exist_ok=True)
        checked(
            libc.mount(f"/proc/self/fd/{handle}".encode(), os.fsencode(path), None, MS_BIND | MS_REC, None)
        )
        os.close(handle)


if __name__ == "__main__":
    if os.getuid() == 0:
        source = Path(cascade_rl.__file__).parents[1]
        reveal({Path(p).resolve() for p in (sys.base_prefix, sys.prefix, source, Path(__file__).parent)})
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
    os.chdir("/")
    os.execv(sys.argv[1], sys.argv[1:])
