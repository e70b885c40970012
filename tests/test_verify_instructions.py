"""Every instruction with replies that follow it and ones that don't, in both scorings; malformed rows never pass."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_cases import CASES, Case

from cascade_rl.verify.instructions import (
    IFBENCH,
    IFEVAL,
    INSTRUCTIONS,
    InstructionError,
    check,
    check_all,
    describe,
)


def scores(case: Case, reply: str) -> tuple[bool, bool]:
    """(as the reference, strictly)."""
    return check(case.id, case.kwargs, reply), check(case.id, case.kwargs, reply, strict=True)


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_followed_and_not(case: Case) -> None:
    assert scores(case, case.good) == (True, True)
    assert scores(case, case.bad) == (False, False)
    assert scores(case, " \n") == (False, False)
    assert {trick: scores(case, trick) for trick in case.tricks} == dict.fromkeys(case.tricks, (True, False))
    assert {rescue: scores(case, rescue) for rescue in case.rescues} == dict.fromkeys(
        case.rescues, (False, True)
    )
    assert describe(case.id, case.kwargs)


def test_every_instruction_has_a_case() -> None:
    assert {case.id for case in CASES} == set(INSTRUCTIONS)
    assert (len(IFEVAL), len(IFBENCH)) == (25, 58)


def test_whatever_strict_claims_to_change_is_shown() -> None:
    shown = {case.id for case in CASES if case.tricks or case.rescues}
    assert shown == {ident for ident, instruction in INSTRUCTIONS.items() if instruction.strictly}
    assert shown == {ident for ident, one in INSTRUCTIONS.items() if one.also or one.instead}


def test_every_checker_describes_itself_in_a_line() -> None:
    for instruction in INSTRUCTIONS.values():
        for checker in (instruction.check, instruction.also, instruction.instead):
            assert checker is None or len(checker.__doc__.splitlines()) == 1


PIECES = ["so", "It is.", "Is it?", "Ha!", ",", "* a", "- b", "\n", "\n\n", "***", "******", '"', "'", "[x]", "<<t>>", "<i>a</i>",
          "P.S.", "A", "1,000", "Part 1", "🙂", "日本", "{", "}", "(", ")", "_", " ", "My answer is no.", "İ", "ǆ", "½", "\x1c",
          "<stop>", "Question 1.", "a)", "\t", "\x00", "\ud800", "```json", "5", "%s"]  # fmt: skip
NOISE = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
                  st.lists(st.sampled_from(PIECES), max_size=20).map(" ".join))  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(NOISE, st.sampled_from(CASES))
def test_any_reply_can_be_judged_and_strict_is_never_easier(reply: str, case: Case) -> None:
    loose, strict = scores(case, reply)
    if INSTRUCTIONS[case.id].instead is None:
        assert loose or not strict
    assert scores(case, reply) == (loose, strict)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(CASES), st.sampled_from(CASES), st.booleans())
def test_a_row_is_judged_part_by_part(one: Case, other: Case, strict: bool) -> None:
    row = {"instruction_id_list": [one.id, other.id], "kwargs": [one.kwargs, other.kwargs]}
    parts = check_all(row, one.good, strict=strict)
    assert list(parts.values()) == [True, check(other.id, other.kwargs, one.good, strict=strict)]


def test_rows_padded_with_nulls_are_judged() -> None:
    row = {"instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
           "kwargs": [{"num_words": None, "keywords": None}, {"keywords": ["sea"], "relation": None}]}  # fmt: skip
    assert check_all(row, "the sea") == {"punctuation:no_comma": True, "keywords:existence": True}


@pytest.mark.parametrize(
    "row",
    [
        None, {}, "text", {"instruction_id_list": [], "kwargs": []}, {"instruction_id_list": [1], "kwargs": [{}]},
        {"instruction_id_list": ["punctuation:no_comma"], "kwargs": []},
        {"instruction_id_list": ["language:response_language"], "kwargs": [{"language": "tlh"}]},
        {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"extra": 1}]},
        {"instruction_id_list": ["keywords:existence"], "kwargs": [{}]},
        {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": []}]},
        {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": "sea"}]},
        {"instruction_id_list": ["keywords:existence"], "kwargs": [["sea"]]},
        {"instruction_id_list": ["startend:end_checker"], "kwargs": [{"end_phrase": " "}]},
        {"instruction_id_list": ["length_constraints:number_words"], "kwargs": [{"num_words": 3, "relation": "about"}]},
        {"instruction_id_list": ["length_constraints:number_words"],
         "kwargs": [{"num_words": "3", "relation": "at least"}]},
        {"instruction_id_list": ["length_constraints:number_words"],
         "kwargs": [{"num_words": -1, "relation": "at least"}]},
        {"instruction_id_list": ["sentence:keyword"], "kwargs": [{"word": "sea", "N": 0}]},
        {"instruction_id_list": ["count:words_japanese"], "kwargs": [{"N": 2.5}]},
        {"instruction_id_list": ["count:numbers"], "kwargs": [{"N": True}]},
        {"instruction_id_list": ["keywords:letter_frequency"],
         "kwargs": [{"letter": "ab", "let_frequency": 1, "let_relation": "at least"}]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("reply", ["the sea", ""])
def test_what_cannot_be_judged_never_passes(row: Any, reply: str) -> None:
    with pytest.raises(InstructionError):
        check_all(row, reply)


@pytest.mark.parametrize(
    "junk", ["[" * 20_000, "<<" * 10_000, "\n" * 20_000, "*" * 20_000, " *a" * 7_000, "[" * 20_000 + "]", "- " * 9_000,
             "a." * 9_000, "!?" * 9_000, '"' * 9_001, "{" * 9_000, "Question 1" * 2_000, " " * 20_000 + "a", "\t-" * 9_000]
)  # fmt: skip
def test_long_junk_is_judged(junk: str) -> None:
    """Within the time of the whole suite: a checker with a quadratic pattern would need minutes."""
    for case in CASES:
        scores(case, junk)


@pytest.mark.parametrize(
    "text", ["a _war_ here", "a __war__ here", "w\u200bar", "wa\u00adr", "w\u2060ar", "War."]
)
def test_a_forbidden_word_is_found_in_emphasis_and_with_unseen_signs_inside(text):
    row = {"instruction_id_list": ["keywords:forbidden_words"], "kwargs": [{"forbidden_words": ["war"]}]}
    assert check_all(row, text, strict=True) == {"keywords:forbidden_words": False}
    assert check_all(row, "wars go forward", strict=True) == {"keywords:forbidden_words": True}
