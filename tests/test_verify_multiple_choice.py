r"""The letter that a reply states last; articles, pronouns and letters that are no option are none."""

import asyncio
import json
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.domain import Services
from cascade_rl.domains import multiple_choice
from cascade_rl.errors import AnswerError
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Split
from cascade_rl.verify.choice.letters import options, stated


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (r"\boxed{C}", "C"), (r"\boxed{\text{D}}", "D"), (r"\boxed{D: because}", "D"), (r"\boxed{(B)}", "B"),
        (r"\boxed{\textbf{(C) }12}", "C"), (r"$\boxed{\mathrm{B}}$", "B"), (r"The answer is $\boxed{C}$.", "C"),
        ("Answer: D", "D"), ("**Answer:** D", "D"), ("**Answer: D**", "D"), ("Answer: **D**", "D"), ("ANSWER: C", "C"),
        (r"Answer: \(B\)", "B"), ("Answer: $B$", "B"), ("Answer:\nC", "C"), ("Hence the answer is:\n\n**C**", "C"),
        ("(B)", "B"), ("B", "B"), ("b", "B"), ("B.", "B"), ("(B) Paris", "B"), ("Correct answer: A", "A"),
        ("The answer is C because I think so", "C"), ("answer is C because I...", "C"), ("The answer is a.", "A"),
        ("The answer is (a)", "A"), ("The correct answer is option B.", "B"), ("The answer is A because it is", "A"),
        ("A is correct.", "A"), ("Option C is correct", "C"), ("I choose B", "B"), ("I would go with D.", "D"),
        ("The best choice is D.", "D"), ("The final answer is B) 12", "B"), ("The answer is **A**", "A"),
        ("Answer: A\nNo wait.\nAnswer: B", "B"), ("The answer is D, since A is wrong", "D"),
        ("Answer: A, because B is wrong", "A"), ("The answer is C.\n\nAre you happy?", "C"),
        ("\\boxed{\\langle H\\rangle \\ll \\Delta E}\nAnswer: D", "D"),
    ],
)  # fmt: skip
def test_the_last_statement_wins(text, letter):
    assert stated(text, "ABCD") == letter


@pytest.mark.parametrize(
    "text",
    [
        "", r"\boxed{31}", r"\boxed{\text{E}}", "Answer: Z", "Answer: B, Answer: Z", "Answer: A or B", "Answer: A and C",
        "Answer: A (or C)", "(A) or (C)",
        r"\boxed{A, B}", "The answer is a dog", "I think a dog is nice", "A) x\nB) y\nC) z", "The answer is not A",
        "Answer: Cats", "I don't know.", "The answer is I am not sure", "The answer is A dog", "E",
    ],
)  # fmt: skip
def test_no_statement_or_two_is_none(text):
    assert stated(text, "ABCD") is None


def test_each_reply_of_the_table_states_what_a_reader_would_say():
    rows = [
        json.loads(line)
        for line in (Path(__file__).parent / "cases/choice.jsonl").read_text("utf-8").splitlines()
    ]
    read = [row | {"letter": stated(row["reply"], "ABCD")} for row in rows]
    assert len(rows) > 350 and [row for row, want in zip(read, rows, strict=True) if row != want] == []


def test_letters_beyond_j_are_options_where_they_are_told():
    assert stated("Answer: K", options(11)) == "K" and stated("Answer: K", options(None)) is None
    assert stated("Answer: K", options(None, "K")) == "K"
    assert stated("The answer is I because A is bad", options(9)) == "I"
    assert stated(r"\boxed{\text{E}}", options(5)) == "E"


@given(
    st.sampled_from("ABCD"),
    st.text(max_size=60),
    st.sampled_from([r"\boxed{{{}}}", "\nAnswer: {}", "the answer is ({})"]),
)
def test_a_statement_at_the_end_is_found_behind_any_text(letter, text, form):
    # on a line of its own: what stands before it in its sentence may deny it, an open quotation mark quote it
    assert stated(text + "\n\n" + form.format(letter), "ABCD") == letter


@given(st.text(max_size=200))
def test_no_text_upsets_it(text):
    assert stated(text, "ABCD") in (None, "A", "B", "C", "D")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "answer is " * 20_000,
        "\\boxed{" * 20_000,
        "(" * 100_000,
        "A " * 100_000,
        "\n" * 100_000,
        "answer" + "=" * 100_000 + "!",
    ],
)
def test_huge_text_is_read_to_the_end(text):
    stated(text, "ABCD")


def grade(answer, reply):
    problem = Problem("p", "multiple_choice", (Message("user", "?"),), answer, Mode.INSTRUCT)
    return asyncio.run(multiple_choice.grade(problem, Rollout.of_text(reply), Services()))


def test_the_answer_may_be_a_letter_or_say_how_many_choices_there_are():
    assert grade("C", "Answer: C").reward == grade({"answer": "c", "choices": 4}, "Answer: C").reward == 1.0
    assert grade("C", "Answer: E").outcome is Outcome.WRONG
    assert grade({"answer": "C", "choices": 4}, "Answer: E").outcome is Outcome.UNPARSEABLE


@pytest.mark.parametrize(
    "gold", ["(B)", "B.", "B)", "b", " B ", "**B**", "\\boxed{B}", "$B$", "Ｂ", "(B).", '"B"']
)
def test_golds_are_taken_as_data_sets_write_them(gold):
    multiple_choice.check_answer(gold)
    multiple_choice.check_answer({"answer": gold, "choices": 4})
    assert grade(gold, "Answer: B").reward == 1.0 and grade(gold, "Answer: C").reward == 0.0


BAD_GOLDS = (
    {"answer": "F", "choices": 4}, "42", "", {"answer": "?"}, {}, None, 3, ["B"], {"answer": None}, {"choices": 4},
    "B or C", "BC",
    {"answer": "B", "choices": 0}, {"answer": "B", "choices": 27}, {"answer": "B", "choices": "4"},
    {"answer": "B", "choices": True},
    {"answer": "A", "choices": 1}, {"answer": "B", "choices": 4.0},
)  # fmt: skip


@pytest.mark.parametrize("answer", BAD_GOLDS)
def test_a_gold_that_names_no_choice_is_refused_where_it_is_read(answer):
    with pytest.raises(AnswerError):
        multiple_choice.check_answer(answer)


@pytest.mark.parametrize("answer", BAD_GOLDS)
def test_a_gold_that_is_no_option_gives_no_verdict(answer):
    assert grade(answer, "Answer: C").outcome is Outcome.GRADER_ERROR


def test_no_position_pays_and_the_right_option_is_where_it_says():
    problems = list(islice(multiple_choice.DOMAIN.problems("builtin", Split.RL, 0), 1000))
    counts = Counter(p.answer["answer"] for p in problems)
    assert all(200 < counts[letter] < 300 for letter in "ABCD")
    for problem in problems:
        listed = dict(line.split(") ") for line in problem.prompt_text.split("\n")[1:])
        assert listed[problem.answer["answer"]] == problem.meta["right"] and len(set(listed.values())) == 4
