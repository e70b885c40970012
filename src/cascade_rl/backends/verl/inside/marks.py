"""How what a reply earned travels through verl, which hands its estimator two rows of numbers and no more.

Where a reward model's score counts beside the reward (`with_reward_model`), the score stands at the first
token and is taken off again at the last; a reply of one token has none. No job has both.

A reply without reward has a mask of zeros: it is in neither loss nor token count nor baseline. A reply that
shall come below the whole batch has `MARK` at its first token, taken off again at its last: their sum, which
verl reports, stays what it was graded. No such reply is of one token, which is an end mark alone.
"""

from __future__ import annotations

from collections.abc import Sequence

MARK = 1.0
LEAST = 1e-12  # in place of a score of 0, which would look like none


def marked(
    reward: float | None, switched: bool, length: int, score: float | None = None
) -> tuple[dict[int, float], bool]:
    """The rewards by token (all others are 0), and whether the reply's tokens count."""
    if reward is None or not length:
        return {}, False
    if score is not None and length > 1:
        return {0: score or LEAST, length - 1: reward - score}, True
    if switched and length > 1:
        return {0: MARK, length - 1: reward - MARK}, True
    return {length - 1: reward}, True


def read(row: Sequence[float], length: int, scored: bool = False) -> tuple[float | None, bool, float | None]:
    """What `marked` wrote: the reward, None without one; the mark; the score of a job with scores (`scored`).

    length  of the tokens that count
    """
    if not length:
        return None, False, None
    reward, first = float(sum(row[:length])), row[0] if length > 1 else 0.0
    return reward, bool(first) and not scored, first if first and scored else None
