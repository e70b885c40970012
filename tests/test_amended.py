"""Replies amended by rule: the checkers, which are held against the authors' elsewhere, say whether it helped."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.domains import load_domain
from cascade_rl.sources.constraints.amended import amended
from cascade_rl.types import Split
from cascade_rl.verify.instructions import check_all

TEXTS = (
    "The harbour wakes before the town does. Men with nets walk along the wall and talk of the weather, the price of "
    "fish and their children. By noon all of them are home again. I would go early, bring a warm coat, and ask the old "
    "captain about his boat. He likes to talk.",
    "Here's a plan for you!\n\n1. **Pack** light, and leave on Friday.\n2. Eat at the station: \"soup\", bread, tea.\n"
    "3. Walk to the river. Stay as long as you like! Then take the last train back home, tired and content.",
    "My neighbour keeps bees. My neighbour keeps bees. My neighbour keeps bees. Each spring she gives us a jar of honey "
    "with a note on it. My neighbour keeps bees. She says that bees are kinder than people and",
)  # fmt: skip
# kinds that a rule keeps whatever the text says; others hang on what there is to work on
SURE = {
    "punctuation:no_comma", "change_case:english_lowercase", "change_case:english_capital", "startend:quotation",
    "startend:end_checker", "detectable_format:title", "detectable_content:postscript", "combination:repeat_prompt",
    "combination:two_responses", "detectable_format:number_bullet_lists", "length_constraints:number_paragraphs",
    "detectable_format:constrained_response", "keywords:existence", "keywords:frequency",
    "detectable_format:multiple_sections", "detectable_content:number_placeholders", "detectable_format:json_format",
    "length_constraints:nth_paragraph_first_word",
}  # fmt: skip


def asked(source: str, count: int):
    return islice(load_domain("following").problems(source, Split.SFT, 11), count)


def tried(answer, text):
    found = amended(text, answer["instruction_id_list"], answer["kwargs"])
    return found, check_all(answer, found, strict=True)


@pytest.mark.parametrize("text", TEXTS, ids=["prose", "marks", "repeats"])
def test_one_constraint_is_kept_by_rule(text):
    seen = Counter()
    for problem in asked("ifeval-train:1-1", 500):
        [kind] = problem.answer["instruction_id_list"]
        seen[kind] += 1
        found, met = tried(problem.answer, text)
        if kind in SURE:
            assert met == {kind: True}, (kind, problem.answer["kwargs"], found)
    assert set(seen) >= SURE


def test_most_prompts_of_up_to_three_are_kept():
    right = Counter()
    for number, problem in enumerate(asked("ifeval-train:1-3", 300)):
        text = TEXTS[number % 2]
        right["before"] += all(check_all(problem.answer, text, strict=True).values())
        right["after"] += all(tried(problem.answer, text)[1].values())
    assert right["before"] < 75 and right["after"] > 200, right


PROMPTS = tuple(asked("ifeval-train:1-3", 60))


@settings(max_examples=200)
@given(st.text(max_size=200), st.sampled_from(PROMPTS))
def test_any_text_comes_through(text, problem):
    """Whatever a policy says: text comes back, and what holds no sentence is left alone."""
    found = amended(text, problem.answer["instruction_id_list"], problem.answer["kwargs"])
    assert isinstance(found, str)
    if not re.search(r"[.!?]", text):
        assert found == text


def test_what_it_says_stays():
    """The sentences of the reply, in order, without marks and repetitions; a cut-off end goes."""
    found = amended(TEXTS[2], ["detectable_format:number_bullet_lists"], [{"num_bullets": 2}])
    assert found == "* My neighbour keeps bees.\n* Each spring she gives us a jar of honey with a note on it."
