"""Advantages of a batch, group by group, from what each reply earned: the rules of this package's own engine.

Written without torch or verl, so that a test holds it against `train/advantage.py`. verl's own estimator
gives a reply whose siblings all failed its bare reward as advantage, and lets replies that don't count move
their siblings' baseline.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

EPSILON = 1e-6  # added to the deviation, as in verl's own
ROUNDING = 1e-3
# how far under the batch's lowest reward a reply in foreign script comes (RLHF, arXiv 2512.13607)
BELOW = 10.0
UNDER_BATCH, LOWEST = 1, 2  # as `earned.py` says it of a reply


def z_scores(rewards: Sequence[float]) -> list[float]:
    """(r - mean) / (std + 1e-6), std with n - 1; zeros without spread, and of a single reply."""
    if len(rewards) < 2 or max(rewards) == min(rewards):
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    std = math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1))
    return [(r - mean) / (std + EPSILON) for r in rewards]


def centred(rewards: Sequence[float]) -> list[float]:
    """r - mean (Dr. GRPO, arXiv 2503.20783); zeros without spread."""
    if len(rewards) < 2 or max(rewards) == min(rewards):
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    return [r - mean for r in rewards]


def batch_advantages(
    rewards: Sequence[float | None],
    groups: Sequence[Hashable],
    below: Sequence[int],
    scores: Sequence[float | None],
    *,
    advantage: str = "grpo",
    shaping: str = "none",
) -> list[float]:
    """The advantage of each reply of a batch.

    rewards   None: without a verdict, or masked; such a reply moves no baseline, and its advantage is 0
    groups    what replies to one prompt have in common
    below     what replies earn instead of it, see `fallen`
    scores    a reward model's, where they count beside the reward, see `joined`
    """
    earned = fallen(joined(rewards, groups, scores), groups, below)
    members: dict[Hashable, list[int]] = defaultdict(list)
    for row, (group, reward) in enumerate(zip(groups, earned, strict=True)):
        if reward is not None:
            members[group].append(row)
    found = [0.0] * len(rewards)
    for rows in members.values():
        known = [r for r in (earned[row] for row in rows) if r is not None]
        scores = z_scores(known) if advantage == "grpo" else centred(known)
        if shaping == "tanh":
            scores = z_scores([math.tanh(z) for z in scores])
        for row, score in zip(rows, scores, strict=True):
            found[row] = score
    return found


def joined(
    rewards: Sequence[float | None], groups: Sequence[Hashable], scores: Sequence[float | None]
) -> list[float | None]:
    """In groups with scores R + sigmoid(z) if R is 1, else 0; z is the score normalised over the group.

    Source: arXiv 2512.13607, section 4.3. Only replies with a reward make the group; without a score z is 0.
    """
    found = [*rewards]
    members: dict[Hashable, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        if rewards[row] is not None:
            members[group].append(row)
    for rows in members.values():
        known = [(row, score) for row in rows if (score := scores[row]) is not None]
        if not known:
            continue
        z = dict(zip((row for row, _ in known), z_scores([score for _, score in known]), strict=True))
        for row in rows:
            # through verl the reward comes in fp32, with a score added and taken off again
            right = abs((rewards[row] or 0.0) - 1.0) < ROUNDING
            found[row] = 1.0 + 1.0 / (1.0 + math.exp(-z.get(row, 0.0))) if right else 0.0
    return found


def fallen(
    rewards: Sequence[float | None], groups: Sequence[Hashable], below: Sequence[int]
) -> list[float | None]:
    """The rewards of a batch; where `below` is 1 `BELOW` less than its lowest, where 2 its group's lowest.

    In this order: a group's lowest may be one of the first kind. What has no reward gets none.
    """
    lowest = min((r for r in rewards if r is not None), default=0.0)
    found = [
        lowest - BELOW if r is not None and how == UNDER_BATCH else r
        for r, how in zip(rewards, below, strict=True)
    ]
    least: dict[Hashable, float] = {}
    for group, r in zip(groups, found, strict=True):
        if r is not None:
            least[group] = min(r, least.get(group, r))
    return [
        least[group] if r is not None and how == LOWEST else r
        for group, r, how in zip(groups, found, below, strict=True)
    ]


def has_signal(rewards: Sequence[float | None]) -> bool:
    """Whether a group's rewards differ; those that don't count are no difference."""
    known = [r for r in rewards if r is not None]
    return len(known) > 1 and max(known) > min(known)


def weight(rows: int, scored: int, aggregation: str) -> float:
    """What all advantages are multiplied with, so that only replies that count are divided by.

    verl divides by all replies of a batch where each weighs the same (`sequence`, `constant`), by tokens that
    count where tokens do.
    """
    return 1.0 if aggregation == "token" or not scored else rows / scored
