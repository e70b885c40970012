"""Small holes and refusals of the maths grader, each found by trying what a reply or a data set might write."""

from __future__ import annotations

import pytest

from cascade_rl.verify.maths.algebra import judge
from cascade_rl.verify.maths.answers import final_answer, gold_text, implausible, quick


def right(gold: str, given: str) -> bool:
    known = quick(gold, given)
    return judge(gold, given)["outcome"] == "right" if known is None else known


@pytest.mark.parametrize(
    ("gold", "kept"),
    [
        (r"\(\boxed{C}\).", "C"), (r"x \in \boxed{[0,7)}.$", "[0,7)"), (r" So the answer is: \[ \boxed{32349} \]", "32349"),
        (r"\(\boxed{1}\) and \(\boxed{-2}\).", "1, -2"), (r"$\boxed{1}\boxed{2}$", "1, 2"), ("12", "12"),
        (r"\frac12", r"\frac12"), (r"\text{a box}", r"\text{a box}"),
    ],
)  # fmt: skip
def test_a_gold_may_keep_its_box(gold, kept):
    assert gold_text(gold) == kept
    assert implausible(gold) is None


def test_a_whole_solution_is_no_gold():
    solution = (
        "We add the numbers from one to seven, which gives twenty-eight. " * 4 + r"So it is \boxed{28}."
    )
    assert gold_text(solution) == solution
    assert implausible(solution)


@pytest.mark.parametrize("given", ["n^2=5", "10n=5", "2^n=5", "n^3 = 5"])
def test_a_power_or_multiple_of_a_letter_is_not_the_letter(given):
    assert not right("5", given)


@pytest.mark.parametrize("given", ["m+n=5", "100a+b = 5", r"\frac{a}{b}=5", "pq=5"])
def test_a_quantity_of_two_letters_may_be_asked_for(given):
    assert right("5", given)


@pytest.mark.parametrize(
    ("gold", "given"), [("11", "(11]"), ("x=11", "(11]"), ("11", "[11)"), ("10", r"1\$0")]
)
def test_half_an_interval_and_money_between_digits_are_no_number(gold, given):
    assert not right(gold, given)


@pytest.mark.parametrize("given", ["(11)", "{11}", "((11))", r"\left(11\right)"])
def test_needless_brackets_say_nothing(given):
    assert right("11", given)


@pytest.mark.parametrize(
    "reply",
    [
        "Answer $ 9 $",
        r"Answer \[ 9 \]",
        r"Answer \( 9 \)",
        "Final Answer: The largest $n$ is 9.",
        "Answer: their sum equals $9$.",
    ],
)
def test_what_follows_the_word_answer_is_stated(reply):
    found = final_answer(reply, bare=True)
    assert found is not None
    assert right("9", found.last)


@pytest.mark.parametrize(
    "reply",
    ["Final Answer: The largest $n$ is not 9.", "Answer: The number is 9 or 8.", "The answer $9$ is wrong."],
)
def test_a_sentence_that_denies_or_hedges_states_no_value(reply):
    found = final_answer(reply, bare=True)
    assert found is None or not right("9", found.last)


@pytest.mark.parametrize("given", ["28 pct", "28 percentage", r"28\text{ percent}", r"28\%"])
def test_percent_has_more_than_one_name(given):
    assert right(r"28\%", given)
    assert not right(r"29\%", given)
