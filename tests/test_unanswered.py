"""A reward model that likes replies without reasoning teaches no policy to leave it out in thinking mode."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import toy_problem

from cascade_rl.domain import Services
from cascade_rl.grading import learned
from cascade_rl.testing import text_rollout
from cascade_rl.train.advantage import final_rewards, group_advantage
from cascade_rl.types import Group, Mode, Verdict

ANSWERED = {Mode.THINKING: "<think>\nso.\n</think>\n\nYes {}.", Mode.INSTRUCT: "Yes {}."}
UNANSWERED = {Mode.THINKING: ["Yes {}.", "<think>\nso. Yes {}."], Mode.INSTRUCT: ["<think>\nso. Yes {}."]}


class Asked:
    """A reward model that scores a text by the number in it, whatever else it says."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = scores

    async def score(self, messages, text: str) -> float:
        return self.scores[int(text.split("Yes ")[1].rstrip("."))]


def graded(mode: Mode, texts: list[str], scores: list[float]) -> Group:
    """The replies to one prompt, with what the grader says of them."""
    problem = replace(toy_problem(0), mode=mode)
    rollouts = tuple(text_rollout(text.format(place)) for place, text in enumerate(texts))
    services = Services(reward_model=Asked(scores))
    verdicts = tuple(asyncio.run(learned.grade(problem, rollout, services)) for rollout in rollouts)
    return Group(problem, rollouts, verdicts)


def earned(group: Group) -> list[float | None]:
    [row] = final_rewards([group], "score", ["off"], lambda prompt, text: False)
    return row


@given(data=st.data(), mode=st.sampled_from([*ANSWERED]), count=st.integers(2, 8))
def test_what_has_no_answer_in_its_mode_is_never_reinforced(data, mode, count):
    scores = data.draw(st.lists(st.floats(-20, 20), min_size=count, max_size=count))
    kept = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    texts = [ANSWERED[mode] if answer else data.draw(st.sampled_from(UNANSWERED[mode])) for answer in kept]
    rewards = earned(graded(mode, texts, scores))
    assert rewards == [s if answer else min(scores) for s, answer in zip(scores, kept, strict=True)]
    for advantage, answer in zip(group_advantage(rewards), kept, strict=True):
        assert answer or advantage is None or advantage <= 0


def test_where_all_lack_an_answer_nothing_is_learnt():
    group = graded(Mode.THINKING, ["Yes {}."] * 4, [1.0, 5.0, 3.0, 7.0])
    assert group_advantage(earned(group)) == [0.0] * 4


def test_a_reply_that_was_not_scored_is_no_lowest():
    group = graded(
        Mode.THINKING, [ANSWERED[Mode.THINKING], "Yes {}.", ANSWERED[Mode.THINKING]], [2.0, 9.0, 1.0]
    )
    lost = replace(group, verdicts=(*group.verdicts[:2], Verdict.failed("no score")))
    assert earned(lost) == [2.0, 2.0, None]


def test_foreign_script_comes_lower_still():
    group = graded(Mode.THINKING, ["Yes {}.", ANSWERED[Mode.THINKING]], [9.0, 1.0])
    [row] = final_rewards(
        [group], "score", ["batch_min_minus_10"], lambda prompt, text: "<think>" not in text
    )
    assert row == [pytest.approx(-9.0), 1.0]
