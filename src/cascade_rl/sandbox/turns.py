"""The time of each part of a program, kept from outside by what has appeared on its standard output.

The zygote tells how much processor time a candidate has used, a tick at a time; whether a turn has ended
meanwhile is looked up here, in the trainer, since a zygote must not hold what programs print. So a turn may
run over its time by a tick before it is ended, and nothing in the candidate's process can put that off.
"""

from __future__ import annotations

import os

from cascade_rl.protocols import Turns

TICKS = 16  # a turn: by how much of its time it may run over
CHUNK = 1 << 20  # bytes that are looked at together


def tick_s(turns: Turns) -> float:
    """Processor time between two looks."""
    return turns.each_s / TICKS


class Watch:
    """How far a candidate's turns have come."""

    def __init__(self, turns: Turns, output: int) -> None:
        """output: the descriptor of its standard output."""
        self._turns, self._output = turns, output
        self._turn, self._open = -1, False
        # a turn's line begins where a line begins, which the file's beginning does, too
        self._read, self._rest = 0, b"\n"
        self._begun_s, self._moved = 0.0, False

    def moved(self) -> bool:
        """Whether a turn has ended since the last look; its time begins with the next tick."""
        before = self._turn
        while self._turn < self._turns.count:
            text = os.pread(self._output, CHUNK, self._read)
            if not text:
                break
            self._read += len(text)
            self._look(self._rest + text)
        self._moved = self._moved or self._turn > before
        return self._turn > before

    def over(self, used_s: float) -> bool:
        """Whether the turn under way has used up its time; used_s: the candidate's processor time so far."""
        self.moved()
        if self._moved:
            self._begun_s, self._moved = used_s, False
        return used_s - self._begun_s >= self._turns.each_s

    def _look(self, text: bytes) -> None:
        place = 0
        while self._turn < self._turns.count:
            if not self._open:
                start = f"\n{self._turns.mark} {self._turn} ".encode()
                begin = text.find(start, place)
                if begin < 0:
                    # a beginning of it may stand at the end
                    self._rest = text[max(place, len(text) - len(start) + 1) :]
                    return
                self._open, place = True, begin + len(start)
            end = text.find(b"\n", place)
            if end < 0:
                self._rest = b""
                return
            # this line end begins the next line
            self._open, place = False, end
            self._turn += 1
