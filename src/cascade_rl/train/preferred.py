"""A verifiable reward with a reward model's score beside it, for entries `with_reward_model`.

A right reply then earns 1 to 2, the better the more, and a wrong one nothing however well it reads
(arXiv 2512.13607, section 4.3: a rule alone ruined the replies of the thinking models).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from cascade_rl.domain import Services
from cascade_rl.grading import learned
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.train.advantage import z_scores
from cascade_rl.types import Group, Verdict

# Parts of a verdict: the verifier's reward and the reward model's score, on its own scale.
VERIFIED, SCORE = "verified", "reward_model"


def with_scores(groups: Sequence[Group], ids: Collection[str], services: Services) -> list[Group]:
    """The groups; of those of the problems `ids` each verdict has both parts of its reward.

    The reward stays the verifier's, by which filters go. A reply that either could not judge has none.
    """
    asked = [group for group in groups if group.problem.id in ids]
    pairs = [(group.problem, rollout) for group in asked for rollout in group.rollouts]
    # in this thread and as one batch, as RLHF's: see `rollout/collect.py`
    scores = iter(grade_all(learned.grade, pairs, services, learned=True) if pairs else ())
    return [
        replace(group, verdicts=tuple(_beside(verdict, next(scores)) for verdict in group.verdicts))
        if group.problem.id in ids
        else group
        for group in groups
    ]


def _beside(verdict: Verdict, score: Verdict) -> Verdict:
    if verdict.reward is None:
        return verdict
    if score.reward is None:
        return Verdict.failed(score.note)
    return replace(verdict, parts={**verdict.parts, VERIFIED: verdict.reward, SCORE: score.reward})


def joined(rewards: Sequence[float | None], verdicts: Sequence[Verdict]) -> list[float | None]:
    """R + sigmoid(z) where R is 1, else 0; z is the score normalised over the group, as advantages are.

    Only replies with a reward make the group: one that is masked or was not graded is as if never sampled.
    Without spread z is 0, so that each right reply earns 1.5 and the group has a signal by R alone.
    """
    scores = [v.parts[SCORE] for v, r in zip(verdicts, rewards, strict=True) if r is not None]
    z = iter(z_scores(scores))
    return [None if r is None else _sum(r, next(z)) for r in rewards]


def _sum(reward: float, z: float) -> float:
    return reward + 1 / (1 + math.exp(-z)) if reward == 1 else 0.0
