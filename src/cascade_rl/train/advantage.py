"""Rewards to advantages, group by group (GRPO, arXiv 2402.03300; settings of arXiv 2512.13607)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from cascade_rl.grading.learned import unanswered
from cascade_rl.types import Group, Outcome, Rollout, Stop, Verdict

EPSILON = 1e-6  # added to the deviation: verl's; TRL's is 1e-4, which lowers advantages of small spreads


def z_scores(rewards: Sequence[float]) -> list[float]:
    """(r - mean) / (std + 1e-6), std with n - 1 as in verl; zeros without spread."""
    # Compared, not computed: the mean of equal rewards may be off by a rounding (0.1 three times), and
    # whatever is not exactly 0 counts as signal.
    if len(rewards) < 2 or max(rewards) == min(rewards):
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    std = math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1))
    return [(r - mean) / (std + EPSILON) for r in rewards]


def centred(rewards: Sequence[float]) -> list[float]:
    """r - mean: a deviation would weigh easy and hard prompts more (Dr. GRPO, arXiv 2503.20783)."""
    if len(rewards) < 2 or max(rewards) == min(rewards):
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    return [r - mean for r in rewards]


def group_advantage(
    rewards: Sequence[float | None], shaping: str = "none", advantage: str = "grpo"
) -> list[float | None]:
    """The advantage of each member; None for a member without reward, which enters neither baseline nor loss.

    With `tanh` the reward becomes tanh(z) before it is normalised again: bounded, so that no single reply of
    a weak reward model dominates. `advantage` is `grpo` (z-scores) or `dr_grpo` (centred only).
    """
    known = [r for r in rewards if r is not None]
    scores = z_scores(known) if advantage == "grpo" else centred(known)
    if shaping == "tanh":  # of z-scores: the recipe refuses it beside dr_grpo, which has none
        scores = z_scores([math.tanh(z) for z in scores])
    found = iter(scores)
    return [None if r is None else next(found) for r in rewards]


def overlong_penalty(length: int, limit: int, buffer: int) -> float:
    """0 up to limit - buffer tokens, then falling to -1 at the limit (DAPO, arXiv 2503.14476, eq. 13)."""
    return -min(1.0, max(0, length - (limit - buffer)) / buffer)


def as_graded(group: Group, rewards: Sequence[float | None]) -> list[float | None]:
    """The rewards as the verdicts have them."""
    return [*rewards]


def final_rewards(
    groups: Sequence[Group],
    overlong: str,
    code_switch: Sequence[str | float],
    foreign: Callable[[str, str], bool],
    limit: int = 0,
    buffer: int = 0,
    score: Callable[[Group, Sequence[float | None]], list[float | None]] = as_graded,
) -> list[list[float | None]]:
    """What each rollout earns in RL: the verdict's reward, then the rules for length and for foreign script.

    Where a reward model judges, a reply without an answer in its mode earns the lowest of its group by them.

    overlong     `mask`: a reply that hit the limit has no reward (it is not scored); `zero`: 0; `score`: as
                 graded; `penalty`: as graded, less what `overlong_penalty` says for `limit` and `buffer`
    code_switch  for each group `off`, a reward, or `batch_min_minus_10` (the lowest reward of the batch minus
                 10)
    foreign      (prompt, text) -> whether an English prompt got a reply in foreign script
    score        (group, rewards) -> the rewards with what else counts, before anything is taken off them
    """
    rewards = [[_reward(r, v, overlong) for r, v in zip(g.rollouts, g.verdicts, strict=True)] for g in groups]
    rewards = [score(group, row) for group, row in zip(groups, rewards, strict=True)]
    if overlong == "penalty":
        rewards = [
            [_shortened(r, rollout, limit, buffer) for r, rollout in zip(row, g.rollouts, strict=True)]
            for row, g in zip(rewards, groups, strict=True)
        ]
    # over the whole batch and after the length's rules: 10 below it is below every honest reply
    lowest = min((r for row in rewards for r in row if r is not None), default=0.0)
    for group, row, rule in zip(groups, rewards, code_switch, strict=True):
        if rule == "off":
            continue
        penalty = lowest - 10 if rule == "batch_min_minus_10" else float(rule)
        for index, rollout in enumerate(group.rollouts):
            # replaces the reward, never the None of a reply that was not graded or is masked
            if row[index] is not None and foreign(group.problem.prompt_text, rollout.text):
                row[index] = penalty
    return [_at_most_lowest(row, group) for row, group in zip(rewards, groups, strict=True)]


def _at_most_lowest(row: Sequence[float | None], group: Group) -> list[float | None]:
    """A group's rewards; where a reward model judges, a text without an answer in its mode earns the lowest.

    The report scores such a text whole and finds that it scores low. A small model found that it scores high:
    it left its reasoning out, in every reply of thinking mode.
    """
    lowest = min((r for r in row if r is not None), default=None)
    return [
        lowest if r is not None and unanswered(verdict) else r
        for r, verdict in zip(row, group.verdicts, strict=True)
    ]


def _shortened(reward: float | None, rollout: Rollout, limit: int, buffer: int) -> float | None:
    """A reward less the penalty for length; a reply of unknown length can't be told to be too long."""
    if reward is None or rollout.tokens is None:
        return reward
    return reward + overlong_penalty(rollout.tokens, limit, buffer)


def _reward(rollout: Rollout, verdict: Verdict, overlong: str) -> float | None:
    if verdict.outcome is Outcome.GRADER_ERROR:  # before the length: a fault of ours earns no 0 either
        return None
    if rollout.stop is Stop.LENGTH and overlong in ("mask", "zero"):
        return None if overlong == "mask" else 0.0
    return verdict.reward
