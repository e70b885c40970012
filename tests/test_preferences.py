"""Own pairs: their shapes and faults."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.errors import InputError
from cascade_rl.sources.preferences import PAIR_MAPS, helpsteer, hh_preference, trl_preference
from cascade_rl.types import Message

USER = {"role": "user", "content": "q"}
ASKED = (Message("user", "q"),)


def said(text):
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [USER], "chosen": [said("good")], "rejected": [said("bad")]},
        {"chosen": [USER, said("good")], "rejected": [USER, said("bad")]},
        {"prompt": "q", "chosen": [USER, said("good")], "rejected": [USER, said("bad")]},
        {"prompt": [USER], "chosen": [USER, said("good")], "rejected": [USER, said("bad")]},
        {"prompt": "q", "chosen": "<think>why</think>good", "rejected": "bad"},
    ],
)
def test_all_of_trls_shapes_are_one_pair(row):
    found = trl_preference(row)
    assert (found.messages, found.chosen, found.rejected) == (ASKED, "good", "bad")


def test_hh_dialogues_are_taken_apart():
    row = {
        "chosen": "\n\nHuman: q\n\nAssistant: a:\n\nb\n\nHuman: r\n\nAssistant: good",
        "rejected": "\n\nHuman: q\n\nAssistant: a:\n\nb\n\nHuman: r\n\nAssistant: bad",
    }
    found = hh_preference(row)
    assert [(m.role, m.content) for m in found.messages] == [
        ("user", "q"),
        ("assistant", "a:\n\nb"),
        ("user", "r"),
    ]
    assert (found.chosen, found.rejected) == ("good", "bad")


def test_helpsteers_numbers_say_who_is_better():
    second = {"prompt": "q", "response_1": "a", "response_2": "b", "preference_strength": 2}
    assert helpsteer(second).chosen == "b" and helpsteer(second | {"preference_strength": -1}).chosen == "a"
    assert helpsteer(second | {"preference_strength": 0}) is None
    third = {"context": [USER], "response1": "a", "response2": "b", "overall_preference": -3}
    assert helpsteer(third).chosen == "a" and helpsteer(third).messages == ASKED


HH = "\n\nHuman: q\n\nAssistant: "


@pytest.mark.parametrize(
    ("read", "row", "why"),
    [
        (trl_preference, {"prompt": "q", "chosen": "a", "rejected": "a"}, "both answers are the same"),
        (trl_preference, {"chosen": "a", "rejected": "b"}, "prompt: want a list of objects, got nothing"),
        (trl_preference, {"prompt": "q", "chosen": "a", "rejected": " "}, "rejected: the reply is empty"),
        (trl_preference, {"prompt": "q", "chosen": "a"}, "chosen: want a list of objects, got 'a'"),
        (trl_preference, {"chosen": [USER, said("a")], "rejected": [said("b")]}, "prompt: want"),
        (trl_preference, {"chosen": [USER], "rejected": [USER]}, "chosen ends with a turn of 'user'"),
        (
            trl_preference,
            {"chosen": [USER, said("a")], "rejected": [{"role": "user", "content": "r"}, said("b")]},
            "differ before the last answer",
        ),
        (
            trl_preference,
            {"prompt": "other", "chosen": [USER, said("a")], "rejected": [USER, said("b")]},
            "the prompt is not in chosen",
        ),
        (
            hh_preference,
            {"chosen": HH + "a", "rejected": "b"},
            "rejected: does not begin with a turn of Human",
        ),
        (hh_preference, {"chosen": HH + "a", "rejected": 7}, "rejected: want a text"),
        (hh_preference, {"chosen": HH + "a", "rejected": HH.replace("q", "r") + "b"}, "differ before"),
        (
            helpsteer,
            {"prompt": "q", "response_1": "a", "response_2": "b"},
            "the preference is no number: None",
        ),
    ],
)
def test_a_wrong_row_says_why(read, row, why):
    with pytest.raises(InputError, match=why):
        read(row)


VALUES = st.recursive(
    st.none()
    | st.integers(-1, 1)
    | st.sampled_from(
        ["user", "assistant", "a", HH + "a", "[", "[{}]", "[" * 10**5, '[{"role": "\\ud800"}]']
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": inner})
    ),
    max_leaves=8,
)
COLUMNS = (
    "prompt", "chosen", "rejected", "context", "response_1", "response_2", "response1", "response2",
    "preference_strength", "overall_preference",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=5))
def test_no_row_is_a_crash(row):
    for read in PAIR_MAPS.values():
        try:
            read(row)
        except InputError:
            pass
