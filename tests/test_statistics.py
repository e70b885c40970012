"""Intervals: closed forms and tables, coverage by simulation, and laws that must hold for any scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.scores.statistics import (
    Direction,
    ProblemMismatchError,
    clustered_interval,
    compare,
    independent_change,
    paired_change,
    published_score,
    score,
    sign_flip_p,
    student_quantile,
    wilson,
)
from cascade_rl.types import ModeScore, Score

LENIENT = settings(max_examples=150, deadline=None)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_wilson_agrees_with_the_published_table(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_wilson_bounds_solve_the_equation_that_defines_them() -> None:
    n, p = 57, 40 / 57
    for bound in wilson(40, 57):
        assert abs(p - bound) / math.sqrt(bound * (1 - bound) / n) == pytest.approx(1.959964, abs=1e-5)


@pytest.mark.parametrize(("right", "n"), [(-1, 5), (6, 5), (0, 0), (math.nan, 5)])
def test_wilson_refuses_what_is_no_share(right: float, n: int) -> None:
    with pytest.raises(ValueError, match="not a share"):
        wilson(right, n)


@pytest.mark.parametrize(
    ("df", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (29, 2.0452), (239, 1.9699)],
)
def test_student_quantile_agrees_with_the_table(df: int, quantile: float) -> None:
    assert student_quantile(df) == pytest.approx(quantile, rel=2e-3)


def test_student_quantile_needs_a_degree_of_freedom() -> None:
    with pytest.raises(ValueError, match="two values"):
        student_quantile(0)


def test_one_sample_a_problem_is_wilson_exactly() -> None:
    found = score({f"p{i}": [float(i < 13)] for i in range(40)})
    assert (found.mean, found.n, found.k) == (0.325, 40, 1)
    assert (found.low, found.high) == pytest.approx(wilson(13, 40))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_alike_is_wilson_on_problems_not_on_samples(value: float) -> None:
    found = score({f"p{i}": [value] * 8 for i in range(30)})
    assert (found.low, found.high) == pytest.approx(wilson(30 * value, 30))
    assert found.high - found.low > 0.1


def test_samples_that_agree_within_problems_count_as_one() -> None:
    together = score({f"p{i}": [float(i % 2)] * 8 for i in range(40)})
    apart = score({f"p{i}": [0.0, 1.0] * 4 for i in range(40)})
    single = wilson(20, 40)
    assert together.high - together.low == pytest.approx(single[1] - single[0], rel=0.05)
    assert apart.high - apart.low < 0.5 * (together.high - together.low)


@pytest.mark.parametrize(
    "per_problem", [{}, {"a": []}, {"a": [1.0], "b": [1.0, 0.0]}, {"a": [1.5]}, {"a": [math.nan]}]
)
def test_score_refuses_what_it_can_not_average(per_problem: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match=r"problem|samples"):
        score(per_problem)


@pytest.mark.parametrize(
    ("n", "k", "a", "b"), [(30, 64, 2, 1), (30, 8, 5, 0.3), (60, 4, 1, 1), (240, 4, 20, 0.4), (40, 1, 1, 2)]
)
def test_coverage_of_a_score(n: int, k: int, a: float, b: float) -> None:
    rng = np.random.default_rng(7)
    means = rng.binomial(k, rng.beta(a, b, (1500, n))) / k
    inside = [low <= a / (a + b) <= high for low, high in (clustered_interval(list(row), k) for row in means)]
    assert np.mean(inside) >= 0.92


@pytest.mark.parametrize(("n", "k"), [(12, 4), (30, 1), (120, 4)])
def test_coverage_of_a_paired_change(n: int, k: int) -> None:
    rng = np.random.default_rng(11)
    inside = []
    for _ in range(800):
        ability = rng.beta(1, 1, n)
        before, after = rng.binomial(k, ability) / k, rng.binomial(k, 0.9 * ability) / k
        found = paired_change(dict(enumerate(before)), dict(enumerate(after)), k=k)
        inside.append(found.low <= -0.05 <= found.high)
    assert np.mean(inside) >= 0.92


@pytest.mark.parametrize("k", [1, 4])
def test_no_change_is_rarely_called_one(k: int) -> None:
    rng = np.random.default_rng(13)
    ability = rng.beta(0.7, 0.7, (800, 60))
    before, after = rng.binomial(k, ability) / k, rng.binomial(k, ability) / k
    found = [
        paired_change(dict(enumerate(x)), dict(enumerate(y)), k=k) for x, y in zip(before, after, strict=True)
    ]
    assert np.mean([c.verdict is not Direction.SAME for c in found]) <= 0.08
    assert np.mean([c.p <= 0.05 for c in found]) <= 0.065  # binomial noise of 800 draws above 0.05


def test_pairing_narrows_the_interval_when_problems_correlate() -> None:
    rng = np.random.default_rng(3)
    ability = rng.beta(0.5, 0.5, 200)
    samples = [
        {f"p{i}": list(rng.binomial(1, q, 4).astype(float)) for i, q in enumerate(ability)} for _ in range(2)
    ]
    scores = [score(s) for s in samples]
    means = [{name: sum(v) / 4 for name, v in s.items()} for s in samples]
    paired, apart = paired_change(*means, k=4), independent_change(*scores)
    assert paired.change == pytest.approx(apart.change)
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)


def test_mc_nemar_exact() -> None:
    gained, lost = 3, 12
    differences = [1.0] * gained + [-1.0] * lost + [0.0] * 40
    expected = 2 * sum(math.comb(15, i) for i in range(gained + 1)) / 2**15
    assert sign_flip_p(differences) == pytest.approx(expected, rel=1e-9)


def test_sign_flip_agrees_with_enumeration() -> None:
    differences = [0.25, -0.5, 0.75, 0.75, 0.25, 0.5, -0.25, 1.0]
    observed = abs(sum(differences))
    flips = [sum(d if bits >> i & 1 else -d for i, d in enumerate(differences)) for bits in range(2**8)]
    assert sign_flip_p(differences) == pytest.approx(np.mean([abs(s) >= observed - 1e-9 for s in flips]))


def test_sign_flip_of_rewards_off_any_grid_is_close_to_enumeration() -> None:
    differences = [0.1234567, -0.31415926, 0.2718281, 0.5772156, 0.0314159, 0.1618033]
    observed = abs(sum(differences))
    flips = [sum(d if bits >> i & 1 else -d for i, d in enumerate(differences)) for bits in range(2**6)]
    assert sign_flip_p(differences) == pytest.approx(
        np.mean([abs(s) >= observed - 1e-9 for s in flips]), abs=0.04
    )


def test_sign_flip_of_a_large_benchmark_takes_the_normal_limit_smoothly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    differences = [1.0] * 640 + [-1.0] * 720
    exact = sign_flip_p(differences)
    monkeypatch.setattr("cascade_rl.scores.statistics.EXACT_SIGN_FLIP_LIMIT", 0)
    assert sign_flip_p(differences) == pytest.approx(exact, abs=0.003)


def test_equal_scores_leave_room_for_doubt() -> None:
    same = {f"p{i}": 1.0 for i in range(30)}
    found = paired_change(same, same)
    assert (found.change, found.verdict, found.p) == (0.0, Direction.SAME, 1.0)
    assert found.low < -0.02 and found.high > 0.02


def test_bonett_and_price_closed_form() -> None:
    n, gained, lost = 50, 3, 9
    after = {f"p{i}": float(i < gained) for i in range(n)}
    before = {f"p{i}": float(gained <= i < gained + lost) for i in range(n)}
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = student_quantile(n + 1) * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    found = paired_change(before, after)
    assert (found.low, found.high) == pytest.approx((up - down - half, up - down + half))


def test_band_turns_small_changes_into_none() -> None:
    before = {f"p{i}": float(i < 600) for i in range(1000)}
    after = {f"p{i}": float(i < 570) for i in range(1000)}
    assert paired_change(before, after).verdict is Direction.LOSS
    assert paired_change(after, before).verdict is Direction.GAIN
    assert paired_change(before, after, band=0.04).verdict is Direction.SAME


def test_unequal_problems_are_counted_on_both_sides() -> None:
    before, after = {"a": 1.0, "b": 0.0, "c": 0.0}, {"a": 1.0, "d": 0.0}
    with pytest.raises(
        ProblemMismatchError, match=r"2 of 3 are missing after, 1 of 2 are missing before .*example b"
    ):
        paired_change(before, after)
    with pytest.raises(ProblemMismatchError, match="at least one problem"):
        paired_change({}, {})


def test_newcombe_agrees_with_the_published_example() -> None:
    # Newcombe 1998 (difference of independent proportions), table II, example a, method 10: 56/70 - 48/80
    found = independent_change(published_score(48 / 80, 80), published_score(56 / 70, 70))
    assert (found.change, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=6e-5)
    assert not found.paired


def test_p_of_published_scores_fits_their_interval() -> None:
    for after in (0.70, 0.65, 0.60, 0.59, 0.55):
        found = independent_change(published_score(0.7, 300), published_score(after, 300))
        assert (found.p < 0.05) == (found.verdict is not Direction.SAME)


def test_compare_pairs_only_where_both_sides_know_their_problems() -> None:
    average = Score(0.5, 0.4, 0.6, 2, 1)
    known = ModeScore(average, average, 0.0, 0.0, 1.0, {"a": 1.0, "b": 0.0})
    blind = ModeScore(average, average, 0.0, 0.0, 1.0, {})
    assert compare(known, known).paired
    assert not compare(known, blind).paired and not compare(blind, known).paired


SHARES = st.integers(0, 4).map(lambda right: right / 4)
TABLES = st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=40)
SAMPLES = st.integers(1, 5).flatmap(
    lambda k: st.lists(
        st.lists(st.sampled_from([0.0, 1.0, 0.5]), min_size=k, max_size=k), min_size=1, max_size=30
    )
)


@given(SAMPLES)
@LENIENT
def test_a_score_lies_within_its_bounds_and_they_are_apart(samples: list[list[float]]) -> None:
    found = score({f"p{i}": row for i, row in enumerate(samples)})
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.high - found.low > 0.001


@given(SAMPLES, st.randoms())
@LENIENT
def test_the_order_of_problems_does_not_matter(samples: list[list[float]], rng) -> None:
    rows = [(f"p{i}", row) for i, row in enumerate(samples)]
    shuffled = rng.sample(rows, len(rows))
    assert score(dict(rows)) == score(dict(shuffled))


@given(TABLES, st.sampled_from([1, 4]))
@LENIENT
def test_a_change_lies_within_its_bounds_and_they_are_apart(table: list[tuple[float, float]], k: int) -> None:
    found = paired_change(
        {i: b for i, (b, _) in enumerate(table)}, {i: a for i, (_, a) in enumerate(table)}, k=k
    )
    assert -1 <= found.low <= found.change <= found.high <= 1
    assert found.high - found.low > 0.001
    assert 0 < found.p <= 1


@given(TABLES)
@LENIENT
def test_turning_time_round_turns_the_sign(table: list[tuple[float, float]]) -> None:
    before, after = {i: b for i, (b, _) in enumerate(table)}, {i: a for i, (_, a) in enumerate(table)}
    there, back = paired_change(before, after), paired_change(after, before)
    assert (there.change, there.low, there.high) == (-back.change, -back.high, -back.low)
    assert there.p == pytest.approx(back.p)
    assert {there.verdict, back.verdict} in ({Direction.SAME}, {Direction.GAIN, Direction.LOSS})


@given(st.floats(0, 1), st.floats(0, 1), st.integers(5, 5000), st.integers(5, 5000))
@LENIENT
def test_published_changes_obey_the_same_laws(p: float, q: float, n: int, m: int) -> None:
    there, back = (
        independent_change(published_score(p, n), published_score(q, m)),
        independent_change(published_score(q, m), published_score(p, n)),
    )
    assert there.low <= there.change <= there.high
    assert (there.change, there.low, there.high) == pytest.approx((-back.change, -back.high, -back.low))
    assert 0 <= there.p <= 1
