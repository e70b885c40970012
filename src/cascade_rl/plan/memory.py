"""The memory of a GPU (of a machine, on a CPU) while a phase works: named parts, and whether they fit.

Update and sampling take turns, so that what each needs beside what is always held is never there twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Of a GPU's memory: what the driver keeps, and what an allocator can't use for its gaps. On a machine other
# programs are left what they have: its memory is counted as it is free.
USABLE = {"cuda": 0.94, "cpu": 0.9}


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by name: `held` all the time, `update` and `rollout` beside it by turns, in a `room`.

    host   of a machine, beside its GPUs; `host_room` is what it has
    slots  replies that a GPU decodes at once
    again  whether layers are computed again in the backward pass, for want of room
    least  whether a micro-batch is one sequence, so that smaller ones are not possible
    """

    held: Mapping[str, float]
    update: Mapping[str, float]
    rollout: Mapping[str, float]
    room: float
    host: Mapping[str, float] = field(default_factory=dict)
    host_room: float = 0.0
    slots: int = 0
    again: bool = False
    least: bool = False

    @property
    def parts(self) -> dict[str, float]:
        """What is there at the fullest moment."""
        turn = max((self.update, self.rollout), key=lambda parts: sum(parts.values()))
        found = dict(self.held)
        for name, size in turn.items():
            found[name] = found.get(name, 0.0) + size
        return {name: size for name, size in found.items() if size}

    @property
    def named(self) -> dict[str, float]:
        """All parts of both turns, the larger where both have one."""
        found = dict(self.held)
        for name in {**self.update, **self.rollout}:
            own = max(self.update.get(name, 0.0), self.rollout.get(name, 0.0))
            found[name] = found.get(name, 0.0) + own
        return {name: size for name, size in found.items() if size}

    @property
    def states(self) -> float:
        """What is held all the time."""
        return sum(self.held.values())

    @property
    def peak(self) -> float:
        """Bytes at the fullest moment."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether all of it does, on the machine, too."""
        return self.peak <= self.room and sum(self.host.values()) <= self.host_room
