"""Replies against the better answers of own pairs, as a reward model sees it: what a win rate is made of.

What is covered: whether the reward model scores a reply's answer above the chosen one; reasoning is not read,
a reply without an answer loses. What is not: whether the reward model is right. A policy that was trained
against it learns what pleases it (over-optimisation, arXiv 2210.10760), so that its win rate flatters.
"""

from __future__ import annotations

import math

from cascade_rl.chat import split_reply
from cascade_rl.domain import Domain, Services
from cascade_rl.types import Mode, Outcome, Problem, Rollout, Verdict


def against_chosen(source: str) -> Domain:
    """The domain of a benchmark on own pairs; a problem's answer is its [chosen, rejected] pairs."""
    return Domain(
        name=source,
        summary="own pairs: a reply against the chosen one, by a reward model",
        sources={},
        grade=grade,
        examples=list,
        gold=lambda problem: None,
        # what its pairs hold: answers without reasoning
        headline=Mode.INSTRUCT,
        needs=frozenset({"reward_model"}),
    )


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """1 if the answer scores higher than the chosen one, a half for a tie; of several the mean."""
    reward = services.reward_model
    if reward is None:
        raise ValueError("own pairs are judged by a reward model")
    answer = split_reply(rollout.text, problem.mode).answer
    if not answer:
        return Verdict(0.0, Outcome.UNPARSEABLE, {}, "no answer")
    # One after the other: each wait is a batch of all replies, and equal texts are scored once in it. Awaited
    # here and not gathered: a batch that takes long must not meet the deadline between its end and its use.
    against = [
        await reward.score(problem.messages, chosen)
        for chosen in dict.fromkeys(chosen for chosen, _ in problem.answer)
    ]
    own = await reward.score(problem.messages, answer)
    if not all(map(math.isfinite, [own, *against])):
        return Verdict.failed(f"the reward model gave {own} against {against}")
    won = sum(1.0 if own > other else 0.5 if own == other else 0.0 for other in against) / len(against)
    outcome = Outcome.RIGHT if won == 1 else Outcome.WRONG if won == 0 else Outcome.PARTIAL
    return Verdict(won, outcome, {"margin": own - max(against)})
