"""Ctrl-C and SIGTERM as a request: what is at work ends where nothing is lost."""

from __future__ import annotations

import signal
import sys


class StopRequest:
    """The first Ctrl-C or SIGTERM asks to stop after the step; the second stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        # at once: the step is lost, and done again on resume
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        print("\nstopping after this step (once more: at once) ...", file=sys.stderr, flush=True)

    def asked(self) -> bool:
        """Whether anybody wants it to end."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """As a shell says it of a process that a signal ended."""
        return 128 + (self.signal or signal.SIGINT)
