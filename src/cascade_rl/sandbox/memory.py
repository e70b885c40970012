"""How much memory the processes of a program hold together, as the supervisor sees it from outside.

RLIMIT_AS binds each process by itself, and a memory cgroup needs a delegation that few users have; so the sum
is watched. A look is due before what is left could be filled: the machine can't hand out pages faster.
"""

from __future__ import annotations

import os
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
FILL = 6 << 30  # bytes a second that one core can be handed as new pages; 1 to 4 GB/s were seen
LEAST_PAUSE_S, MOST_PAUSE_S = 0.002, 0.1


def pause_s(spare: int) -> float:
    """Seconds until the next look, when `spare` bytes are left: half of what all cores need to fill them."""
    cores = len(os.sched_getaffinity(0))
    return min(max(spare / (2 * FILL * cores), LEAST_PAUSE_S), MOST_PAUSE_S)


def held_below(pid: int, limit: int) -> int:
    """Bytes of memory that all descendants of a process hold; exact only where it could be over `limit`."""
    # twice: a process whose parent has just ended stands below process 1, which was looked at before
    found = _descendants(pid) | _descendants(pid)
    resident = sum(map(_resident, found))
    # cheap, and too much: what a fork shares counts in both; asked page by page only where it matters
    return resident if resident <= limit else sum(map(_share, found))


def _descendants(pid: int) -> set[int]:
    found, rest = set[int](), [pid]
    while rest:
        parent = rest.pop()
        try:
            # each thread has the children that it forked
            for thread in Path(f"/proc/{parent}/task").iterdir():
                children = [int(child) for child in (thread / "children").read_text().split()]
                rest += children
                found |= set(children)
        except (OSError, ValueError):
            continue  # it has ended meanwhile
    return found


def _resident(pid: int, private: bool = False) -> int:
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared * private) * PAGE


def _share(pid: int) -> int:
    """A process's own pages and its share of those that others have, too (Pss of proc_pid_smaps(5))."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().split("\n")
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) << 10
    # ended, or kept from this user: then what a fork shares counts in full
    except (OSError, ValueError, IndexError, StopIteration):
        return _resident(pid, private=True)
