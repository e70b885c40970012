"""Comparisons by their numbers: against enumeration, closed testing, simulation, and laws that must hold.

About 15 s on one core.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.errors import InputError
from cascade_rl.scores.compare import DECISIVE, Answer, Compared, Result, compare_things, farthest
from cascade_rl.scores.families import ALPHA, POWER, holm, needed_apart, needed_paired
from cascade_rl.scores.statistics import independent_change, score, sign_flip_p
from cascade_rl.types import BenchmarkScore, Mode, ModeScore

Rows = Mapping[str, Sequence[float]]


def mode_score(rows: Rows, *, known: bool = True) -> ModeScore:
    means = {name: math.fsum(values) / len(values) for name, values in rows.items()}
    return ModeScore(score(rows), None, 0.0, 0.0, 10.0, means if known else {})


def result(
    rows: Rows, *, known: bool = True, mode: Mode = Mode.THINKING, prompts: Mapping[str, str] = {}, **stated
):
    return Result(BenchmarkScore(mode, {mode: mode_score(rows, known=known)}), stated, prompts)


def rows_of(values: Sequence[float], prefix: str = "p") -> dict[str, list[float]]:
    return {f"{prefix}{i}": [float(value)] for i, value in enumerate(values)}


def drawn(rng: random.Random, n: int, k: int, *levels: float) -> list[dict[str, list[float]]]:
    """One thing for each level, over the same problems, of which some are harder than others."""
    hard = [rng.gauss(0, 0.25) for _ in range(n)]
    return [
        {f"p{i}": [float(rng.random() < level - hard[i]) for _ in range(k)] for i in range(n)}
        for level in levels
    ]


def one(found: Compared):
    (only,) = found.comparisons
    return only


# ---------------------------------------------------------------- the correction


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.012, 0.02, 0.049, 0.3, 1.0]), max_size=7))
def test_holm_is_the_closed_test_of_bonferroni(ps: list[float]) -> None:
    """By the closure principle (Marcus, Peritz and Gabriel 1976): the worst of all intersections it is part of."""
    for i, adjusted in enumerate(holm(ps)):
        others = [j for j in range(len(ps)) if j != i]
        subsets = [(i, *s) for size in range(len(ps)) for s in itertools.combinations(others, size)]
        worst = max(min(1.0, len(s) * min(ps[j] for j in s)) for s in subsets)
        assert adjusted == pytest.approx(worst)


# ---------------------------------------------------------------- one comparison


@pytest.mark.parametrize("seed", range(12))
def test_the_p_value_is_that_of_all_sign_flips(seed: int) -> None:
    rng = random.Random(seed)
    k = rng.choice([1, 3, 4])
    before, after = drawn(rng, rng.randint(2, 11), k, 0.4, 0.7)
    found = one(compare_things({"a": {"x": result(before)}, "b": {"x": result(after)}}))
    # in whole samples, so that equal sums are equal
    d = [round(sum(after[name]) - sum(before[name])) for name in before]
    flips = [
        abs(sum(s * x for s, x in zip(signs, d, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(d))
    ]
    share = sum(total >= abs(sum(d)) for total in flips) / len(flips)
    assert found.change is not None and found.change.p == pytest.approx(share)
    assert found.change.change == pytest.approx(sum(d) / k / len(d))
    assert found.common == len(d) and found.only == (0, 0)


def test_better_and_worse_are_said_beyond_noise_only() -> None:
    low, high = rows_of([0] * 40 + [1] * 60), rows_of([1] * 100)
    slightly = rows_of([0] * 37 + [1] * 63)
    things = {"a": {"x": result(low)}, "b": {"x": result(high)}, "c": {"x": result(slightly)}}
    told = {c.other: c for c in compare_things(things).comparisons}
    assert told["b"].answer is Answer.BETTER and told["b"].needed is None
    assert told["c"].answer is Answer.OPEN and told["c"].needed is not None and told["c"].needed > 100
    back = compare_things({"b": things["b"], "a": things["a"]})
    assert one(back).answer is Answer.WORSE


def test_a_difference_that_holds_alone_is_not_told_among_many() -> None:
    """Eight problems rise, one falls: p = 0.039 of one comparison, 0.78 of twenty."""
    before, after = rows_of([0] * 8 + [1] + [1] * 51), rows_of([1] * 8 + [0] + [1] * 51)
    alone = compare_things({"a": {"x": result(before)}, "b": {"x": result(after)}})
    assert one(alone).answer is Answer.BETTER and one(alone).adjusted == pytest.approx(20 / 512)
    same = {f"y{i}": result(before) for i in range(19)}
    among = compare_things({"a": {"x": result(before)} | same, "b": {"x": result(after)} | same})
    found = among.at("x", "b")
    assert among.size == 20 and found is not None
    assert found.answer is Answer.OPEN and found.adjusted == pytest.approx(20 * 20 / 512)
    assert found.needed is not None and found.needed > 60


# ---------------------------------------------------------------- problems that are not the same


def test_paired_over_the_problems_that_both_have() -> None:
    before, after = rows_of([0] * 30 + [1] * 30), rows_of([1] * 50)
    after = {name: values for name, values in after.items() if name != "p0"} | {"new": [1.0]}
    found = one(compare_things({"a": {"x": result(before)}, "b": {"x": result(after)}}))
    assert (found.common, found.only) == (49, (11, 1))
    assert found.change is not None and found.change.paired
    assert found.change.change == pytest.approx(29 / 49)


@pytest.mark.parametrize("known", [True, False])
def test_unpaired_where_no_problem_is_shared_or_none_is_known(known: bool) -> None:
    before, after = rows_of([0] * 30 + [1] * 30), rows_of([0] * 20 + [1] * 40, "q" if known else "p")
    sides = {"a": {"x": result(before)}, "b": {"x": result(after, known=known)}}
    found = one(compare_things(sides))
    wanted = independent_change(score(before), score(after))
    assert found.change == wanted and not wanted.paired and found.common == 0
    assert found.needed is not None and found.needed > 60


def test_what_one_side_has_not_measured_is_named_and_not_counted() -> None:
    x, y = result(rows_of([0, 1])), result(rows_of([1, 1]))
    found = compare_things({"a": {"x": x, "y": y}, "b": {"x": x}})
    gone = found.at("y", "b")
    assert gone is not None and gone.answer is Answer.MISSING and "b has not measured it" in gone.missing
    assert found.size == 1
    with pytest.raises(InputError, match="no benchmark is shared with a: a has x; b has y"):
        compare_things({"a": {"x": x}, "b": {"y": y}})
    with pytest.raises(InputError, match="two things or more"):
        compare_things({"a": {"x": x}})


def test_a_mode_that_is_missing() -> None:
    thinking, instruct = result(rows_of([0, 1])), result(rows_of([0, 1]), mode=Mode.INSTRUCT)
    found = compare_things({"a": {"x": thinking}, "b": {"x": instruct}}, Mode.THINKING)
    assert one(found).missing == "b has not measured it in thinking mode"


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("name", [key for key in DECISIVE if key not in ("mode", "k", "prompts")])
def test_another_setting_that_decides_is_named_and_refused(name: str) -> None:
    low, high = rows_of([0] * 50), rows_of([1] * 50)
    sides = {"a": {"x": result(low, **{name: 1})}, "b": {"x": result(high, **{name: 2})}}
    found = compare_things(sides)
    assert one(found).answer is Answer.OTHER and found.size == 0 and one(found).adjusted is None
    assert [(d.name, d.reference, d.other) for d in one(found).differing] == [(name, 1, 2)]
    across = compare_things(sides, across=[name])
    assert one(across).answer is Answer.BETTER and [d.name for d in one(across).across] == [name]


def test_mode_and_k_are_those_of_the_scores() -> None:
    low, high = rows_of([0] * 50), {f"p{i}": [1.0, 1.0] for i in range(50)}
    found = one(compare_things({"a": {"x": result(low)}, "b": {"x": result(high, mode=Mode.INSTRUCT)}}))
    assert [(d.name, d.reference, d.other) for d in found.differing] == [
        ("mode", "thinking", "instruct"),
        ("k", 1, 2),
    ]


def test_prompts_that_were_changed_under_their_ids_are_seen() -> None:
    rows = rows_of([0] * 5)
    a, b = {"p0": "1", "p1": "2", "p2": "3"}, {"p0": "1", "p1": "x", "p9": "y"}
    found = one(compare_things({"a": {"x": result(rows, prompts=a)}, "b": {"x": result(rows, prompts=b)}}))
    assert found.answer is Answer.OTHER and found.differing[0].reference == "1 of 2"


def test_other_settings_are_told_and_do_not_decide() -> None:
    rows = rows_of([0] * 5)
    sides = {"a": {"x": result(rows, dtype="bf16", yarn=2.0)}, "b": {"x": result(rows, dtype="fp32")}}
    found = one(compare_things(sides))
    assert found.answer is Answer.OPEN and [d.name for d in found.beside] == ["dtype"]
    assert found.unstated == ("yarn",)


def test_across_names_settings() -> None:
    x = result(rows_of([0, 1]))
    with pytest.raises(InputError, match="temprature is no setting; did you mean temperature"):
        compare_things({"a": {"x": x}, "b": {"x": x}}, across=["temprature"])


# ---------------------------------------------------------------- simulation


@pytest.mark.parametrize("k", [1, 4])
def test_at_most_one_in_twenty_families_tells_anything_where_nothing_is(k: int) -> None:
    """Five benchmarks of two things that are as able as the reference: 10 comparisons a family."""
    rng, repetitions, told = random.Random(k), 300, 0
    for _ in range(repetitions):
        things: dict[str, dict[str, Result]] = {"a": {}, "b": {}, "c": {}}
        for name in "vwxyz":
            for label, rows in zip(things, drawn(rng, 40, k, 0.5, 0.5, 0.5), strict=True):
                things[label][name] = result(rows)
        answers = {c.answer for c in compare_things(things).comparisons}
        told += bool(answers & {Answer.BETTER, Answer.WORSE})
    assert told / repetitions <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / repetitions)


# of 100 pairs of problems: how many fell and rose by how much
PILOTS = [
    {-1.0: 10, 1.0: 20},  # k = 1: ten points
    {-1.0: 2, 1.0: 9},
    {1.0: 40},  # nothing fell: the exact test needs whole problems
    {-0.5: 15, -0.25: 20, 0.25: 25, 0.5: 10, 0.75: 10},  # k = 4
]


@pytest.mark.parametrize("pilot", PILOTS, ids=str)
@pytest.mark.parametrize("level", [0.05, 0.05 / 15])
def test_so_many_problems_do_tell_with_the_power_that_is_claimed(
    pilot: dict[float, int], level: float
) -> None:
    """Drawn anew from the differences that were seen, and judged by the exact test."""
    seen = [d for d, count in pilot.items() for _ in range(count)]
    seen += [0.0] * (100 - len(seen))
    n = needed_paired(seen, level)
    assert n is not None
    rng, repetitions = random.Random(7), 500

    def power(size: int) -> float:
        return sum(sign_flip_p(rng.choices(seen, k=size)) <= level for _ in range(repetitions)) / repetitions

    error = math.sqrt(POWER * (1 - POWER) / repetitions)
    # 0.02: the variance of 100 stands for all. Three quarters of the problems would not do
    assert power(n) >= POWER - 3 * error - 0.02
    assert power(3 * n // 4) <= POWER + error


def test_so_many_problems_on_each_side_tell_where_they_are_not_the_same() -> None:
    before, after = score(rows_of([0] * 60 + [1] * 40)), score(rows_of([0] * 50 + [1] * 50))
    n = needed_apart(before, after, 0.05)
    assert n is not None
    rng, repetitions = random.Random(3), 300
    told = 0
    for _ in range(repetitions):
        sides = [score(rows_of([rng.random() < level for _ in range(n)])) for level in (0.4, 0.5)]
        told += independent_change(*sides).p <= 0.05
    error = math.sqrt(POWER * (1 - POWER) / repetitions)
    assert abs(told / repetitions - POWER) <= 3 * error + 0.02


def test_connors_formula_where_the_correction_for_continuity_does_not_count() -> None:
    """McNemar's test: n = (z_a sqrt(p_d) + z_b sqrt(p_d - d^2))^2 / d^2 (Connor 1987), worked by hand."""
    # 5,000 pairs: 11 % rose, 9 % fell
    seen = [1.0] * 550 + [-1.0] * 450 + [0.0] * 4000
    bare = (1.959964 * math.sqrt(0.2) + 0.841621 * math.sqrt(0.2 - 0.0004)) ** 2 / 0.0004
    # 3,922, and the correction for continuity adds about 2 / |d|
    assert bare == pytest.approx(3922, abs=2)
    assert needed_paired(seen, 0.05) == pytest.approx(bare + 100, abs=3)


def test_nothing_is_needed_where_no_difference_was_seen() -> None:
    assert needed_paired([1.0, -1.0], 0.05) is None
    assert needed_paired([0.5], 0.05) is None
    same = score(rows_of([0, 1]))
    assert needed_apart(same, same, 0.05) is None


# ---------------------------------------------------------------- laws

cells = st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from([0, 1, 2])), min_size=1, max_size=30)
families = st.dictionaries(st.sampled_from(["x", "y", "z"]), cells, min_size=1)
MIRROR = {Answer.BETTER: Answer.WORSE, Answer.WORSE: Answer.BETTER}


def sides_of(family: Mapping[str, list[tuple[int, int]]], order: Sequence[int] | None = None):
    """Two things at k = 2 from how many of the two samples are right on either side."""

    def made(side: int) -> dict[str, Result]:
        found = {}
        for name, pairs in family.items():
            rows = {f"p{i}": [float(pair[side] > 0), float(pair[side] > 1)] for i, pair in enumerate(pairs)}
            keys = (
                sorted(rows, key=lambda key: random.Random(f"{key}{order}").random()) if order else list(rows)
            )
            found[name] = result({key: rows[key] for key in keys})
        return found

    return made(0), made(1)


@given(families)
@settings(max_examples=80, deadline=None)
def test_exchanged_sides_mirror_everything(family: dict[str, list[tuple[int, int]]]) -> None:
    a, b = sides_of(family)
    there, back = compare_things({"a": a, "b": b}), compare_things({"b": b, "a": a})
    for name in family:
        one, two = there.at(name, "b"), back.at(name, "a")
        assert one and two and one.change and two.change
        assert two.answer is MIRROR.get(one.answer, one.answer)
        assert (two.change.change, two.change.low, two.change.high) == pytest.approx(
            (-one.change.change, -one.change.high, -one.change.low), abs=1e-12
        )
        assert (two.change.p, two.adjusted, two.needed) == (one.change.p, one.adjusted, one.needed)


@given(families)
@settings(max_examples=80, deadline=None)
def test_an_identical_third_changes_the_correction_alone(family: dict[str, list[tuple[int, int]]]) -> None:
    a, b = sides_of(family)
    two, three = compare_things({"a": a, "b": b}), compare_things({"a": a, "b": b, "c": dict(a)})
    assert (two.size, three.size) == (len(family), 2 * len(family))
    for name in family:
        one, other, third = two.at(name, "b"), three.at(name, "b"), three.at(name, "c")
        assert one and other and third and third.change
        assert one.change == other.change
        assert one.adjusted is not None and other.adjusted is not None and other.adjusted >= one.adjusted
        assert other.answer in (one.answer, Answer.OPEN)
        assert (third.answer, third.change.change, third.adjusted, third.needed) == (
            Answer.OPEN,
            0.0,
            1.0,
            None,
        )


@given(families, st.integers(1, 99))
@settings(max_examples=40, deadline=None)
def test_the_order_of_problems_is_irrelevant(family: dict[str, list[tuple[int, int]]], seed: int) -> None:
    a, b = sides_of(family)
    c, d = sides_of(family, [seed])
    assert compare_things({"a": a, "b": b}) == compare_things({"a": c, "b": d})


# ---------------------------------------------------------------- the farthest


def test_the_problems_that_differ_most_come_first_in_both_directions() -> None:
    before = mode_score({"a": [0, 0], "b": [1, 1], "c": [1, 0], "d": [0, 0], "e": [1, 1], "f": [1, 1]})
    after = mode_score({"a": [1, 1], "b": [0, 0], "c": [1, 0], "d": [1, 0], "e": [1, 0], "g": [1, 1]})
    found = farthest(before, after, 2)
    assert found.better == (("a", 0.0, 1.0), ("d", 0.0, 0.5))
    assert found.worse == (("b", 1.0, 0.0), ("e", 1.0, 0.5))
    assert farthest(before, after, 1).worse == (("b", 1.0, 0.0),)
