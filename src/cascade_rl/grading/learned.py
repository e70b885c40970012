"""A learned reward: the reward model's score of an answer, RLHF's reward or beside a verifier's.

The score is of the answer without its reasoning; when the reasoning never ends, the whole text is scored
(arXiv 2512.13607, section 4.2). In RL such a text earns the lowest of its group, see `train/advantage.py`.
"""

from __future__ import annotations

import math

from cascade_rl.chat import split_reply
from cascade_rl.domain import Services
from cascade_rl.types import Outcome, Problem, Rollout, Verdict

CLOSED = "closed"  # part of a verdict: 1 where there is an answer outside of the reasoning, else 0


def unanswered(verdict: Verdict) -> bool:
    """Whether a reward model's verdict is of a text without an answer: its reasoning never came, or ended."""
    return verdict.parts == {CLOSED: 0.0}


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """The reward model's score, on its own scale; unfinished reasoning is scored as it stands."""
    if services.reward_model is None:
        raise ValueError(
            f"{problem.domain} is graded by a reward model: add a reward_model stage before this one"
        )
    answer = split_reply(rollout.text, problem.mode).answer
    # pairs hold answers without reasoning: that is what a reward model has learnt to score
    value = float(
        await services.reward_model.score(problem.messages, rollout.text if answer is None else answer)
    )
    # a NaN would spread from one reply to the advantages of its whole group
    if not math.isfinite(value):
        return Verdict.failed(f"the reward model gave {value}")
    # never `right`: a score on an open scale says nothing of that
    return Verdict(value, Outcome.PARTIAL, {CLOSED: float(answer is not None)})
