"""Worked thoughts of reasoning-gym: each line of arithmetic is true, and the last one holds the answer."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from fractions import Fraction

import pytest

from cascade_rl.benchmarks import load_benchmark
from cascade_rl.domains import load_domain
from cascade_rl.sources.worked import MOST, SETS, pieces, thought
from cascade_rl.types import Split

reasoning_gym = pytest.importorskip("reasoning_gym")

# the least share of rows that must have a thought; what is left out is too long, or wrong in the package
SHARES = {
    "aiw": 0.5,  # a third asks of colleagues
    "basic_arithmetic": 0.7,
    "chain_sum": 1.0,
    "count_bits": 0.8,
    "decimal_chain_sum": 0.7,
    "gcd": 1.0,
    "gsm_symbolic": 0.55,
    "lcm": 1.0,
    "leg_counting": 0.6,
    "letter_counting": 1.0,
    "products": 0.7,
    "simple_equations": 0.97,
    "simple_geometry": 1.0,
}
NUMBER = r"\d+(?:\.\d+)?"


def rows(name: str):
    for seed in (3, 1_000_003, 77):
        yield from reasoning_gym.create_dataset(name, size=100, seed=seed)


def value(text: str, unknown: str) -> Fraction:
    """What Python makes of a side of an equation, exactly."""
    assert re.fullmatch(r"[\d.+*/() a-z-]+", text), text
    code = re.sub(r"[a-z]", f"({unknown})", text)
    return eval(re.sub(NUMBER, lambda found: f"Fraction('{found[0]}')", code), {"Fraction": Fraction})


def sums(line: str):
    """The equations of a line: before and behind what is counted, between commas."""
    for part in re.split(": |, ", line):
        if "=" in part:
            yield part.split("=")


def in_words(line: str):
    """Equations within a sentence of GSM-Symbolic, as far as this simple pattern sees them."""
    plain = re.sub(r"[$€£¥]|(?<=\d),(?=\d{3})", "", line).replace(" x ", " * ")
    for found in re.finditer(rf"({NUMBER}(?: ?[-+*/] ?{NUMBER})+) ?= ?({NUMBER})(?! ?[-+*/%\d])", plain):
        if not re.search(r"[-+*/x×÷(%\d.] ?$", plain[: found.start()]):
            yield found[1], found[2]


@pytest.mark.parametrize("name", SETS)
def test_each_line_is_true_and_the_last_holds_the_answer(name):
    found = [(row, thought(name, row)) for row in rows(name)]
    worked = [(row, text) for row, text in found if text is not None]
    assert len(worked) >= SHARES[name] * len(found)
    checked = 0
    for row, text in worked:
        lines = text.splitlines()
        gold = Fraction(row["answer"].replace(",", ""))
        assert Fraction(re.findall(NUMBER, lines[-1].replace(",", ""))[-1]) == abs(gold), text
        assert pieces(text) <= MOST
        for line in lines:
            for sides in in_words(line) if name == "gsm_symbolic" else sums(line):
                assert len({value(side, row["answer"]) for side in sides}) == 1, (line, row["question"])
                checked += 1
    assert checked >= (0 if name == "letter_counting" else len(worked))


@pytest.mark.parametrize("name", SETS)
def test_what_leads_to_another_answer_than_the_row_s_is_no_thought(name):
    for row in itertools.islice(rows(name), 60):
        assert thought(name, {**row, "answer": str(Fraction(row["answer"].replace(",", "")) + 1)}) is None


def test_letters_are_spelt_and_counted():
    for row in rows("letter_counting"):
        letter, span = row["metadata"]["target_letter"], row["metadata"]["span"]
        *words, last = thought("letter_counting", row).splitlines()
        marks = [int(mark) for line in words for mark in re.findall(rf"(?:^| ){letter}(\d+)", line)]
        spelt = ["".join(re.sub(rf"{letter}\d+", letter, line).split()) for line in words]
        assert spelt == [word.lower() for word in span]
        assert marks == list(range(1, "".join(span).lower().count(letter) + 1))
        assert last == f"{letter}: {len(marks)}"


@pytest.mark.parametrize(("name", "natural"), [("gcd", 0.25), ("letter_counting", 0.3), ("chain_sum", 0.0)])
def test_in_rl_no_answer_is_worth_guessing_and_benchmarks_are_as_the_package_has_them(name, natural):
    """A policy learnt to answer 1: of 40 held-out rows with that answer it solved 8 before, 29 after."""
    common = {}
    for split in (Split.RL, Split.HELDOUT):
        found = itertools.islice(load_domain("maths").problems(f"reasoning-gym:{name}", split, 5), 120)
        answers = Counter(str(problem.answer) for problem in found)
        assert answers.total() == 120
        common[split] = answers.most_common(1)[0][1] / 120, 2 / len(answers) + 1 / 120
    share, bound = common[Split.RL]
    assert share <= bound
    assert common[Split.HELDOUT][0] >= natural


def test_legs_are_those_that_the_package_counts():
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    from cascade_rl.sources.worked.counted import LEGS_OF

    assert LEGS_OF == ANIMALS


def test_bits_are_divided_until_nothing_is_left():
    for row in rows("count_bits"):
        text, left = thought("count_bits", row), row["metadata"]["number"]
        for line in (text or "").splitlines():
            before, over, by, rest, total = map(int, re.findall(r"\d+", line))
            assert (before, rest) == (left, left % by) and over == left // by
            left = over
            assert total == bin(row["metadata"]["number"]).count("1") - bin(left).count("1")
        assert text is None or left == 0


# by hand: large numbers by their places, the smaller from the larger, a product's parts, a quotient's
PAPER = {
    ("chain_sum", "859 + 467 =", "1326"): ["859+400=1259", "1259+60=1319", "1319+7=1326"],
    ("chain_sum", "5 - 38 + 40 =", "7"): ["5-38=-(38-5)=-33", "-33+40=40-33=7"],
    ("chain_sum", "205 - 838 =", "-633"): [
        "205-838=-(838-205)", "838-200=638", "638-5=633", "205-838=-633",
    ],
    ("decimal_chain_sum", "1.5 + 2.25 - 4.0 =", "-0.25"): [
        "1.5+2.25=1.50+2.25=3.75", "3.75-4.0=-(4.00-3.75)=-0.25",
    ],
    ("products", "205 * 38.", "7790"): ["205*30=6150", "205*8=1640", "6150+1640=7790"],
    ("basic_arithmetic", "( 6 - 18 ) / 4 - -( 2 * 3 ).", "3"): ["6-18=-(18-6)=-12", "-12/4=-3", "2*3=6", "-3+6=6-3=3"],
    ("basic_arithmetic", "-12 * 15.", "-180"): ["12*10=120", "12*5=60", "120+60=180", "-12*15=-180"],
    ("simple_equations", "for h: 64*h - 56 = 1416", "23"): [
        "64*h=1416+56", "1416+50=1466", "1466+6=1472", "64*20=1280, 1472-1280=192", "64*3=192", "1472/64=23",
        "h=23",
    ],
    ("simple_equations", "for h: 10 - h = 3", "7"): ["-h=3-10", "3-10=-(10-3)=-7", "h=7"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "asked", "answer"), PAPER, ids=str)
def test_on_paper(name, asked, answer):
    row = {"question": f"Solve {asked}", "answer": answer, "metadata": {}}
    assert (thought(name, row) or "").splitlines() == PAPER[name, asked, answer]


def test_every_set_of_the_benchmark_is_worked_out():
    from cascade_rl.benchmarks.reasoning_gym import SETS as MEASURED

    assert set(MEASURED) <= set(SETS) == set(SHARES) and load_benchmark("reasoning_gym").domain == "maths"


def test_sft_is_shown_rows_with_a_thought_and_all_rows_elsewhere():
    maths = load_domain("maths")

    def drawn(source: str, split: Split):
        return list(itertools.islice(maths.problems(f"reasoning-gym:{source}", split, 5), 60))

    assert all(p.meta["thought"] for p in drawn("products,leg_counting", Split.SFT))
    assert not all(p.meta["thought"] for p in drawn("products,leg_counting", Split.RL))
    # a set that nobody has worked out stays as it was
    assert not any(p.meta["thought"] for p in drawn("spell_backward", Split.SFT))


def test_an_unknown_form_of_a_question_has_no_thought():
    for name in SETS:
        for question in ("", "How many?", "Compute 2 + x.", "the number 0?", "of these numbers: 0, 4"):
            assert thought(name, {"question": question, "answer": "4", "metadata": {}}) is None
