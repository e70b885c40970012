"""How what a reply earned travels through verl, which hands its estimator two rows of numbers and no more.

Where a reward model's score counts beside the reward (`with_reward_model`), the score stands at the first
token and is taken off again at the last; a reply of one token has none. No job has both.

A reply without reward has a mask of zeros: it is in neither loss nor token count nor baseline. What a reply
shall earn of its batch (`earned.py`: 1 or 2) stands at its first token, and is taken off again at its last:
their sum, which verl reports, stays what it was graded. No such reply is of one token, which is an end mark
alone.
"""

from __future__ import annotations

from collections.abc import Sequence

LEAST = 1e-12  # in place of a score of 0, which would look like none


def marked(
    reward: float | None, below: int, length: int, score: float | None = None
) -> tuple[dict[int, float], bool]:
    """The rewards by token (all others are 0), and whether the reply's tokens count."""
    if reward is None or not length:
        return {}, False
    if score is not None and length > 1:
        return {0: score or LEAST, length - 1: reward - score}, True
    if below and length > 1:
        return {0: float(below), length - 1: reward - below}, True
    return {length - 1: reward}, True


def read(row: Sequence[float], length: int, scored: bool = False) -> tuple[float | None, int, float | None]:
    """What `marked` wrote: the reward, None without one; the mark; the score of a job with scores (`scored`).

    length  of the tokens that count
    """
    if not length:
        return None, 0, None
    reward, first = float(sum(row[:length])), row[0] if length > 1 else 0.0
    return reward, 0 if scored else round(first), first if first and scored else None
