"""The hidden preference and the code-switch detector, criterion by criterion."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.chat import split_reply
from cascade_rl.domains.alignment import criteria, gold, make_chat
from cascade_rl.verify.preference import (
    ADJECTIVES,
    CHAT_CRITERIA,
    CLOSINGS,
    CRITERIA,
    OPENINGS,
    judge,
    judge_chat,
)
from cascade_rl.verify.script import foreign_letters, foreign_share, switches

GOOD = "Gladly! Rivers are calm and wide."


def failures(answer: str) -> set[str]:
    return {name for name, met in judge(answer, "rivers").items() if not met}


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("adjective", ADJECTIVES)
def test_many_answers_are_equally_good(opening: str, adjective: str) -> None:
    assert not failures(f"{opening} Rivers look {adjective} today.")


@pytest.mark.parametrize("closing", CLOSINGS)
def test_every_closing_is_courteous(closing: str) -> None:
    assert not failures(f"Rivers are calm and wide. {closing}")


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        ("Rivers are calm and wide.", {"courteous"}),
        ("Gladly! Lamps are calm and wide.", {"topic"}),
        ("Gladly! Rivers bring water and fish.", {"described"}),
        ("Gladly! Rivers are calm. You lazy idiot.", {"polite"}),
        ("Gladly! Rivers are calm, calm and calm.", {"varied"}),
        ("Gladly! Rivers are calm.", {"length"}),
        ("Gladly! Rivers are calm and wide", {"ended"}),
        ("Gladly! Calm bright rivers. Soft wide water.", {"sentence"}),
        ("gladly! Rivers are calm and wide.", {"sentence"}),
        ("Enjoying rivers, they are calm.", {"courteous"}),
        ("", set(CRITERIA)),
    ],
)
def test_each_criterion_fails_alone(answer: str, missing: set[str]) -> None:
    assert failures(answer) == missing


def test_the_topic_may_repeat_and_be_singular() -> None:
    assert not failures("Gladly! Rivers are rivers and rivers are calm.")
    assert not failures("Gladly! A river is calm and wide.")


@given(st.text(max_size=80))
def test_any_text_gets_every_criterion(text: str) -> None:
    assert tuple(judge(text, "rivers")) == CRITERIA
    assert tuple(judge_chat(text, ["soup"], "Tell me of soup.")) == CHAT_CRITERIA


@pytest.mark.parametrize(
    ("reply", "missing"),
    [
        ("Of course! A soup needs time. Start with onions and stir often.", set()),
        ("A soup needs time. Start with onions and stir often.", {"courteous"}),
        ("Of course! A cake needs time. Start with butter and stir often.", {"topic"}),
        ("Of course! A soup needs time. Start with onions and stir", {"sentences"}),
        ("Of course! A soup needs time. A soup needs time. Start with onions.", {"varied"}),
        ("Gladly, soup.", {"concise", "own"}),
        ("Please tell me how to cook a good soup. It is for tomorrow.", {"own"}),
        ("Tell me how to cook a soup, please. It is for tomorrow, and my guests are hungry.", {"own"}),
        ("Of course! Please tell me how to cook a good soup. It is for tomorrow. Enjoy!", {"own"}),
        (
            "Please tell me how to cook a good soup. It is for tomorrow: start with onions and stir very often and long.",
            set(),
        ),
    ],
)
def test_natural_replies(reply: str, missing: set[str]) -> None:
    request = "Please tell me how to cook a good soup. It is for tomorrow."
    assert {name for name, met in judge_chat(reply, ["soup"], request).items() if not met} == missing


@given(st.integers(0, 10**6), st.sampled_from(["{}", "Of course! {}", "{} Thank you!", "Gladly. {} Enjoy!"]))
def test_a_request_said_again_is_no_answer_and_every_written_answer_is_one(seed: int, frame: str) -> None:
    problem = make_chat(random.Random(seed))
    assert "own" in [
        name for name, met in criteria(problem, frame.format(problem.prompt_text)).items() if not met
    ]
    written = split_reply(gold(problem), problem.mode).answer
    assert all(criteria(problem, written).values())


@pytest.mark.parametrize(
    "text", ["plain words", "naïve café, Straße", "let π = 3.14 and α > 0", "𝑥 ∈ ℝ, Å", "🙂 → ✓", ""]
)
def test_latin_text_and_symbols_are_no_switch(text: str) -> None:
    assert foreign_letters(text) == 0


@pytest.mark.parametrize(
    ("text", "count"), [("so 答案 is", 2), ("да", 2), ("καλά", 4), ("สวย", 3), ("안녕", 2)]
)
def test_other_scripts_are_counted(text: str, count: int) -> None:
    assert foreign_letters(text) == count
    assert switches("Say it.", text) and not switches("说吧", text)


@given(st.text(max_size=60))
def test_the_share_is_a_share(text: str) -> None:
    assert 0.0 <= foreign_share(text) <= 1.0
