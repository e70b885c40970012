"""How what a reply earned travels through verl, which hands its estimator two rows of numbers and no more.

A reply without reward has a mask of zeros: it is in neither loss nor token count nor baseline. A reply that
shall come below the whole batch has `MARK` at its first token, taken off again at its last: their sum, which
verl reports, stays what it was graded. No such reply is of one token, which is an end mark alone.
"""

from __future__ import annotations

from collections.abc import Sequence

MARK = 1.0


def marked(reward: float | None, switched: bool, length: int) -> tuple[dict[int, float], bool]:
    """The rewards by token (all others are 0), and whether the reply's tokens count."""
    if reward is None or not length:
        return {}, False
    if switched and length > 1:
        return {0: MARK, length - 1: reward - MARK}, True
    return {length - 1: reward}, True


def read(row: Sequence[float], length: int) -> tuple[float | None, bool]:
    """What `marked` wrote: the reward, None without one, and the mark. `length` counts tokens that count."""
    if not length:
        return None, False
    return float(sum(row[:length])), length > 1 and row[0] != 0
