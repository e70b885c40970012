"""How much memory this process may still take: of machine or control group on a CPU, of the device on a GPU.

An estimate at one instant: other programs may take it meanwhile. Swap does not count.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from pathlib import Path

import torch

# Of control groups: where they lie, and the files of the limit, the use, and what of it is given up first.
VERSIONS = {
    2: ("", "memory.max", "memory.current", "inactive_file"),
    1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def shared_bytes(
    device: torch.device, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")
) -> float:
    """Bytes that nobody holds yet, for all processes of the run; infinite where the system doesn't say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    # the tightest counts: in a container the machine's own figure says nothing of the group's limit
    return min([_available(proc), *_group_rooms(proc, groups)])


def own_bytes(device: torch.device) -> float:
    """Bytes freed in this process but kept for it by the allocator (`worker.keep_memory`): its alone."""
    if device.type == "cuda":
        return float(torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):  # glibc before 2.33, or another C library
        return 0.0
    libc.mallinfo2.restype = _Mallinfo
    return float(libc.mallinfo2().fordblks)


def give_back(device: torch.device) -> bool:
    """Hand what this process keeps unused back to the system, if that is more than all that is left there.

    Blocks of ever other sizes leave gaps, so that a process which keeps what it freed grows over dozens of
    steps, until the kernel kills it. Where memory is plenty nothing is done: new pages take time. On a GPU,
    and without glibc, never. Whether it was done.
    """
    if device.type == "cuda" or own_bytes(device) <= shared_bytes(device):
        return False
    ctypes.CDLL(None).malloc_trim(0)
    return True


# The numbers that glibc's mallinfo2 gives, in its order.
MALLINFO2 = (
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "uordblks",
    "fordblks",
    "keepcost",
)


class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO2]


def _available(proc: Path) -> float:
    file = proc / "meminfo"
    lines = file.read_text().splitlines() if file.is_file() else []
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024.0 if found else math.inf


def _group_rooms(proc: Path, groups: Path) -> Iterator[float]:
    """What is left in each control group that this process is in, and in those above it."""
    file = proc / "self" / "cgroup"
    for line in file.read_text().splitlines() if file.is_file() else []:
        number, controllers, path = line.split(":", 2)
        version = 2 if number == "0" else 1
        if version == 1 and "memory" not in controllers.split(","):
            continue
        base, limit, use, spare = VERSIONS[version]
        root = groups / base
        folder = root / path.lstrip("/")
        # every group above has a limit of its own, up to the root, and any of them may be the tightest
        for place in (folder, *folder.parents):
            if (place / limit).is_file() and (place / use).is_file():
                yield _room(place, limit, use, spare)
            if place == root:
                break


def _room(place: Path, limit: str, use: str, spare: str) -> float:
    most = (place / limit).read_text().strip()
    if most == "max":
        return math.inf
    stat = place / "memory.stat"
    lines = stat.read_text().splitlines() if stat.is_file() else []
    # file pages that were not read lately count as used, but go as soon as memory is asked for
    given_up = sum(int(line.split()[1]) for line in lines if line.startswith(f"{spare} "))
    return max(0.0, float(int(most) - int((place / use).read_text()) + given_up))
