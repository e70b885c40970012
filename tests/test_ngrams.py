"""Runs of words that training prompts share with benchmarks, against a count by brute force."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.data.ngrams import FEW, FRAME, Content, grams, shared_runs, summary
from cascade_rl.types import Message, Mode, Pools, Problem

WORDS = ["sea", "Sand", "boat", "a", "7", "x_y", "don't", "—", "été"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), min_size=1, max_size=14)


def asked(texts):
    return tuple(
        Problem(f"p{i}", "following", (Message("user", text),), None, Mode.INSTRUCT)
        for i, text in enumerate(texts)
    )


def heldout(name, texts):
    return SimpleNamespace(name=name, problems=asked(texts))


def brute(trained, tested, n):
    """(prompts that share, the first shared run) by comparing every window with every window of each prompt."""

    def windows(text):
        flat = "".join(c if c.isalnum() else " " for c in text.lower()).split()
        return [flat[i : i + n] for i in range(len(flat)) if i + n <= len(flat)]

    tested = sorted(set(tested))
    hits = []
    for text in trained:
        for window in windows(text):
            inside = sum(window in windows(other) for other in tested)
            if inside and (inside <= FEW or inside <= FRAME * len(tested)):
                hits.append(" ".join(window))
                break
    return len(hits), (hits[0] if hits else None)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 4))
def test_the_count_is_that_of_brute_force(trained, tested, n):
    found = shared_runs({"rl": Pools((asked(trained),))}, [heldout("bench", tested)], n)
    count, example = brute(trained, tested, n)
    assert [(one.prompts, one.example, one.looked) for one in found] == (
        [(count, example, len(trained))] if count else []
    )


def test_case_marks_and_line_breaks_do_not_hide_nine_words():
    tested = "Why does the old clock in the hall stop at noon?"
    hidden = "Tell me: why DOES the old\nclock -- in the 'hall' STOP, please"
    assert grams("one two three", 4) == [] and len(grams(tested)) == 3
    (found,) = shared_runs(
        {"sft": Pools((asked([hidden, "why does the old clock"]),))}, [heldout("clocks", [tested])]
    )
    assert (found.prompts, found.looked) == (1, 2)
    assert found.line() == (
        "sft, following: 1 of 2 prompts share 9 words in a row with clocks, such as "
        "'why does the old clock in the hall stop'"
    )


def test_a_frame_is_no_content_and_three_prompts_are():
    frame = "Reason step by step and put the final answer in a box please."
    tested = [f"What is {i} apples and {i + 1} pears together on that table? {frame}" for i in range(100)]
    trained = [f"How far is {i} miles? {frame}" for i in range(50)]
    assert shared_runs({"rl": Pools((asked(trained),))}, [heldout("sums", tested)]) == []
    # a run of words that reaches from the frame into the question is content again
    (leak,) = shared_runs({"rl": Pools((asked([*trained, tested[41]]),))}, [heldout("sums", tested)])
    assert (leak.prompts, leak.looked) == (1, 51) and "41 apples" in leak.example
    few = [f"{i} {frame}" for i in range(FEW)]
    (found,) = shared_runs({"rl": Pools((asked(trained),))}, [heldout("few", few)])
    assert found.prompts == 50


def test_pools_and_benchmarks_are_told_apart_and_nothing_shared_is_nothing_said():
    text = "one two three four five six seven eight nine ten"
    data = {"a": Pools((asked([text]), asked(["nothing"]))), "b": Pools((asked([text + " eleven"]),))}
    benchmarks = [heldout("x", [text]), heldout("y", ["other words"]), heldout("z", [f"zero {text}"])]
    assert [(one.use, one.benchmark) for one in shared_runs(data, benchmarks)] == [
        ("a, following", "x"), ("a, following", "z"), ("b, following", "x"), ("b, following", "z"),
    ]  # fmt: skip
    assert shared_runs(data, []) == [] == summary([])
    # a prompt that two benchmarks hold is one prompt
    assert summary(shared_runs(data, benchmarks)) == [
        "2 training prompts or more share 9 words in a row with a benchmark; `cascade check` tells which"
    ]


@pytest.mark.parametrize("n", [1, 9])
def test_prompts_that_stand_twice_in_a_benchmark_are_one(n):
    """A benchmark at two lengths asks each prompt twice: that makes no frame of it."""
    text = "one two three four five six seven eight nine"
    content = Content.of(heldout("x", [text] * 9), n)
    assert content.runs == set(re.findall(r"\w+", text) if n == 1 else [text])
