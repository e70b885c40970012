"""Every instruction with a reply that follows it and one that doesn't; malformed rows never pass."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.verify.instructions import INSTRUCTIONS, InstructionError, check, check_all, describe

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["stone", "sea"]}, "Stone by the SEA", "Stone alone"),
    ("keywords:frequency", {"keyword": "a", "frequency": 2, "relation": "at least"}, "a, a", "a b"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "concatenate", "a Cat."),
    ("keywords:letter_frequency", {"letter": "z", "let_frequency": 2, "let_relation": "less than"}, "Zoo", "Pizza"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "two words", "now three words"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two!", "One 1.5 two."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n***\n***\nb"),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "So"},
     "a\n\n“so it is", "So\n\nit is"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] at [place]", "[name]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP.S. Write!", "Bye."),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a*"),
    ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2},
     "Part 1 a\nPart 2 b", "Part 1"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "no"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<Rain>>\nfalls", "<<>> falls"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Say it. It.", "It."),
    ("startend:end_checker", {"end_phrase": "The end!"}, 'So. the end!"', "The end! So."),
    ("startend:quotation", {}, ' "so" ', '"so'),
    ("change_case:english_capital", {}, "ALL UP", "All up"),
    ("change_case:english_lowercase", {}, "all low", "All low"),
    ("change_case:capital_word_frequency", {"capital_frequency": 1, "capital_relation": "at least"},
     "a BIG one", "a Big one"),
    ("punctuation:no_comma", {}, "so it is", "so, it is"),
    ("cascade:different_words", {"least": 3, "most": 3}, "rock, sand sea!", "rock rock rock"),
    ("cascade:first_word", {"word": "so"}, '"So it is', "is it so"),
    ("cascade:last_word", {"word": "so"}, 'is it so?"', "so it is"),
    ("cascade:comma_separated", {}, '"a, b, c!"', "a, b c"),
    ("cascade:on_topic", {"topic_words": ["sea", "sand"], "least": 2}, "Sand, sea", "seas and sand sand"),
]  # fmt: skip


@pytest.mark.parametrize(("ident", "kwargs", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_followed_and_not(ident: str, kwargs: dict[str, Any], good: str, bad: str) -> None:
    assert check(ident, kwargs, good)
    assert not check(ident, kwargs, bad)
    assert not check(ident, kwargs, " \n")
    assert describe(ident, kwargs)


def test_every_instruction_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(INSTRUCTIONS)


def test_rows_padded_with_nulls_are_judged() -> None:
    row = {"instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
           "kwargs": [{"num_words": None, "keywords": None}, {"keywords": ["sea"], "relation": None}]}  # fmt: skip
    assert check_all(row, "the sea") == {"punctuation:no_comma": True, "keywords:existence": True}


def test_a_repeated_id_keeps_both_results() -> None:
    row = {"instruction_id_list": ["cascade:first_word"] * 2, "kwargs": [{"word": "a"}, {"word": "b"}]}
    assert check_all(row, "a c") == {"cascade:first_word": True, "cascade:first_word#2": False}


@pytest.mark.parametrize(
    "row",
    [
        None, {}, "text", {"instruction_id_list": [], "kwargs": []}, {"instruction_id_list": [1], "kwargs": [{}]},
        {"instruction_id_list": ["punctuation:no_comma"], "kwargs": []},
        {"instruction_id_list": ["language:response_language"], "kwargs": [{"language": "de"}]},
        {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"extra": 1}]},
        {"instruction_id_list": ["keywords:existence"], "kwargs": [{}]},
        {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": []}]},
        {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": "sea"}]},
        {"instruction_id_list": ["keywords:existence"], "kwargs": [["sea"]]},
        {"instruction_id_list": ["startend:end_checker"], "kwargs": [{"end_phrase": " "}]},
        {"instruction_id_list": ["length_constraints:number_words"], "kwargs": [{"num_words": 3, "relation": "about"}]},
        {"instruction_id_list": ["length_constraints:number_words"],
         "kwargs": [{"num_words": "3", "relation": "at least"}]},
    ],
)  # fmt: skip
def test_what_cannot_be_judged_never_passes(row: Any) -> None:
    with pytest.raises(InstructionError):
        check_all(row, "the sea")


@given(st.text(max_size=60), st.sampled_from(CASES))
def test_any_reply_can_be_judged(reply: str, case: tuple[str, dict[str, Any], str, str]) -> None:
    assert check(case[0], case[1], reply) in (True, False)


@pytest.mark.parametrize(
    "junk", ["[" * 20_000, "<<" * 10_000, "\n" * 20_000, "*" * 20_000, " *a" * 7_000, "[" * 20_000 + "]"]
)
def test_long_junk_is_judged_in_time(junk: str) -> None:
    for ident, kwargs, _, _ in CASES:
        check(ident, kwargs, junk)
