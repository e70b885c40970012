"""Which node makes which call: dealt by free capacity, taken back from a node that is lost. No Ray here.

A call is made again until a node answers, and answered once: what a node gives that it no longer holds is
dropped. Verifiers and programs are pure: a call that ran twice and is counted once is as one that ran once.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from cascade_rl.remote.ray_wire import KINDS

# What a node does in so many seconds lies ready on it, at least a call for each worker: that hides the way
# there and back, and short calls go many at a time.
AHEAD_S = 0.05
NEWER = 0.2  # what the latest answers count for in how fast a node is
# A call under which so many nodes were lost may be what loses them: it is given back without an answer.
MOST_LOSSES = 3


@dataclass(slots=True)
class Job:
    """A call or a program on its way; `losses` counts the nodes that were lost while they held it."""

    number: int
    kind: str
    blob: bytes
    losses: int = 0


@dataclass(slots=True, eq=False)
class Seat:
    """A node at work: its `workers` of each kind, and what it holds, in the order in which it was dealt.

    pace   answers a second, by kind, with the time of the last; from it follows how much lies ready there
    """

    name: str
    workers: int
    held: dict[int, Job] = field(default_factory=dict)
    busy: Counter[str] = field(default_factory=Counter)
    pace: dict[str, tuple[float, float]] = field(default_factory=dict)
    gone: bool = False

    def room(self, kind: str) -> int:
        """How many more of a kind it should hold."""
        ready = max(self.workers, math.ceil(self.pace.get(kind, (0.0, 0.0))[0] * AHEAD_S))
        return max(0, self.workers + ready - self.busy[kind])

    def answered(self, kinds: Counter[str], now: float) -> None:
        """Reckon with answers that came now."""
        for kind, count in kinds.items():
            self.busy[kind] -= count
            rate, before = self.pace.get(kind, (0.0, now))
            latest = count / (now - before) if now > before else rate
            self.pace[kind] = (rate + NEWER * (latest - rate), now)


class Deck:
    """The calls that wait and the nodes that take them; any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[Job]] = {kind: deque() for kind in KINDS}
        self._seats: list[Seat] = []

    def add(self, jobs: Iterable[Job]) -> None:
        """Put calls at the end of the line."""
        with self._changed:
            for job in jobs:
                self._waiting[job.kind].append(job)
            self._changed.notify_all()

    def sit(self, seat: Seat) -> None:
        """A node begins to take part."""
        with self._changed:
            self._seats.append(seat)
            self._changed.notify_all()

    @property
    def seats(self) -> Sequence[Seat]:
        """The nodes that take part now."""
        with self._changed:
            return tuple(self._seats)

    def take(self, seat: Seat) -> list[Job]:
        """What a node shall do next, waited for; empty once it is gone."""
        with self._changed:
            while not seat.gone:
                if jobs := self._share(seat):
                    return jobs
                self._changed.wait()
            return []

    def done(self, seat: Seat, numbers: Iterable[int]) -> list[int]:
        """Take calls off a node that has answered them; those that it held, each once."""
        with self._changed:
            held = [number for number in numbers if seat.held.get(number)]
            if held:
                seat.answered(Counter(seat.held.pop(number).kind for number in held), self._clock())
                self._changed.notify_all()
            return held

    def lose(self, seat: Seat) -> tuple[int, list[Job]]:
        """Take a node out: what it held is dealt again, first; how many, and those that are given up.

        A node that is out already held nothing.
        """
        with self._changed:
            if seat.gone:
                return 0, []
            seat.gone = True
            self._seats.remove(seat)
            held = list(seat.held.values())
            seat.held.clear()
            given_up = []
            for job in reversed(held):
                job.losses += 1
                if job.losses >= MOST_LOSSES:
                    given_up.append(job)
                else:
                    self._waiting[job.kind].appendleft(job)
            self._changed.notify_all()
            return len(held), given_up[::-1]

    def _share(self, seat: Seat) -> list[Job]:
        """A node's part of what waits: as its room to the room of all."""
        taken = []
        for kind, waiting in self._waiting.items():
            room = seat.room(kind)
            if not waiting or not room:
                continue
            of_all = sum(other.room(kind) for other in self._seats)
            # rounded up, so that the last call does not wait for a node that is free but asks later
            for _ in range(min(room, -(-len(waiting) * room // of_all), len(waiting))):
                job = waiting.popleft()
                seat.held[job.number] = job
                seat.busy[kind] += 1
                taken.append(job)
        return taken
