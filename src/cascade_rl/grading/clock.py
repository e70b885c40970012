"""The deadline of a verdict, which stands still while a reply's program waits for its turn and runs.

Programs have limits of their own, and how long they wait is a matter of the machine: 64 replies that each use
all the time they may would else be null for the last of them, by their own making.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

MOST_S = 3600.0  # that it stands still: a backstop again, for a service that hangs


class Clock:
    """A deadline that can stand still, for any number of programs at once."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self._standing, self._left_s = 0, 0.0
        self.over = False

    @contextmanager
    def standing(self) -> Iterator[None]:
        """While inside, no time passes; inside another it changes nothing."""
        self._standing += 1
        if self._standing == 1:
            self._left_s = (self._timeout.when() or 0.0) - asyncio.get_running_loop().time()
            self._move(MOST_S)
        try:
            yield
        finally:
            self._standing -= 1
            if not self._standing:
                self._move(self._left_s)

    def _move(self, seconds: float) -> None:
        # what a grader left running may come here after its verdict
        if not self.over and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time() + seconds)


_clock: ContextVar[Clock | None] = ContextVar("clock", default=None)


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError after these seconds, those inside `stopped` left out."""
    async with asyncio.timeout(seconds) as timeout:
        clock = Clock(timeout)
        token = _clock.set(clock)
        try:
            yield
        finally:
            clock.over = True
            _clock.reset(token)


@contextmanager
def stopped() -> Iterator[None]:
    """While inside, the deadline of the verdict under way stands still; without one nothing happens."""
    clock = _clock.get()
    if clock is None:
        yield
        return
    with clock.standing():
        yield
