"""Lengths of replies: against integrals of the survival function, numpy's quantiles and the report's own figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.errors import InputError
from cascade_rl.plan.expected import ASSUMED
from cascade_rl.plan.lengths import (
    Lognormal,
    answered,
    cut_share,
    measured,
    near_mean,
    of_mean,
    stated,
    usual,
)


def mean_by_survival(limit: int, clipped: float, sigma: float) -> float:
    """E[min(X, limit)] as the integral of P(X > t), by the midpoint rule and the error function alone."""
    low, high = -9.0, 9.0
    for _ in range(200):  # the z at which `clipped` are above
        middle = (low + high) / 2
        above = math.erfc(middle / math.sqrt(2)) / 2
        low, high = (middle, high) if above > clipped else (low, middle)
    mu = math.log(limit) - sigma * low
    cells = 200_000
    times = ((np.arange(cells) + 0.5) * (limit / cells)).tolist()
    return sum(math.erfc((math.log(t) - mu) / sigma / math.sqrt(2)) / 2 for t in times) * limit / cells


@pytest.mark.parametrize(
    ("limit", "clipped", "sigma"), [(24576, 0.4, 0.42), (4096, 0.01, 0.7), (900, 0.8, 1.5)]
)
def test_the_mean_is_the_integral_of_the_survival_function(limit, clipped, sigma):
    assert Lognormal(limit, clipped, sigma, "").mean == pytest.approx(
        mean_by_survival(limit, clipped, sigma), rel=1e-5
    )


@given(
    st.integers(256, 100_000),
    st.floats(0.01, 0.9),
    st.floats(0.05, 1.5),
    st.integers(1, 600),
)
def test_quantiles_stand_for_the_distribution(limit, clipped, sigma, n):
    spread = Lognormal(limit, clipped, sigma, "")
    found = spread.lengths(n)
    assert len(found) == n and list(found) == sorted(found)
    assert min(found) >= 1 and max(found) <= limit
    # beside those that are cut, some may round up to the limit
    near = 1 / (2 * limit * sigma) * 1.5
    assert clipped - 1 / n <= found.count(limit) / n <= clipped + 1 / n + near
    # the midpoint rule of a rising curve is at most half its rise off, divided by the parts
    assert abs(np.mean(found) - spread.mean) <= limit / (2 * n) + 0.5


@given(st.integers(512, 60_000), st.floats(0.02, 0.5), st.floats(0.2, 0.9))
def test_a_mean_is_met_or_refused(limit, clipped, share):
    try:
        spread = of_mean(limit, share * limit, clipped, "")
    except ValueError as error:
        # all replies at the limit but for nothing is the most, the share that is cut the least
        assert share > 0.97 or share < clipped + 0.45, error
        return
    assert spread.mean == pytest.approx(share * limit, rel=1e-6)
    assert spread.clipped == clipped


@given(st.integers(64, 60_000), st.floats(0.003, 0.97), st.sampled_from([0.0, 0.02, 0.6]))
def test_any_mean_is_met_where_the_width_may_give_way(limit, share, cut):
    spread = near_mean(limit, share * limit, cut, "")
    assert spread.mean == pytest.approx(share * limit, rel=1e-4)
    assert max(spread.lengths(50)) <= limit


def test_no_mean_below_what_the_cut_replies_make_alone():
    with pytest.raises(ValueError, match="a mean of 100 tokens is not possible where 50% have 1000"):
        of_mean(1000, 100, 0.5, "")


def test_maths_is_cut_as_the_report_tells():
    # arXiv 2512.13607, section 4.5: 30 to 50 % at first, 15 % after about 100 steps, lengths near 16K at 24K
    assert 0.30 <= usual("maths", 24576, 0, 1).clipped <= 0.50
    settled = usual("maths", 24576, 100, 190)
    assert settled.clipped == pytest.approx(0.15)
    assert settled.mean == pytest.approx(16384)
    # the second limit begins at 5 to 10 %
    assert 0.05 <= usual("maths", 32768, 190, 430, first_limit=False).clipped <= 0.10


@given(st.integers(0, 150), st.integers(1, 200))
def test_the_cut_share_of_many_steps_is_the_mean_of_each(first, count):
    one_by_one = [cut_share(step, step + 1) for step in range(first, first + count)]
    assert cut_share(first, first + count) == pytest.approx(np.mean(one_by_one))


@given(st.sampled_from(["maths", "coding", "following"]), st.integers(25_000, 200_000))
def test_a_longer_limit_of_a_benchmark_cuts_fewer_and_makes_none_longer(domain, limit):
    """The same lognormal, cut later: by draws from the one that is known under the report's own limit."""
    known = usual(domain, 24576 if domain != "following" else 12288)
    found = answered(domain, limit)
    assert (found.mu, found.sigma) == pytest.approx((known.mu, known.sigma))
    draws = np.exp(known.mu + known.sigma * np.random.default_rng(0).standard_normal(100_000))
    assert found.mean == pytest.approx(np.minimum(draws, limit).mean(), rel=0.02)
    assert found.clipped == pytest.approx((draws > limit).mean(), abs=0.003)


def test_a_benchmark_under_a_limit_that_is_known_is_as_in_training():
    assert answered("maths", 24576) == usual("maths", 24576)
    assert answered("following", 4096) == usual("following", 4096)


def test_samples_of_sft_are_no_longer_than_cascade_2_packs():
    """64 rows of 262,144 tokens hold a step's 1,130 samples: 14,847 tokens each."""
    assert ASSUMED.samples("sft", 262144).mean == pytest.approx(14847, rel=1e-3)
    assert ASSUMED.samples("sft", 16384).mean < ASSUMED.samples("sft", 32768).mean < 14847


def test_other_domains_say_what_is_assumed_of_them():
    assert usual("alignment", 4096).mean == pytest.approx(1019)
    for domain in ("maths", "coding", "swe", "following", "somebody.elses"):
        assert usual(domain, 8192).said.startswith("assumed: ")


DRAWN = {
    "lognormal": lambda g: g.lognormal(6, 0.6, 1024),
    "gamma": lambda g: g.gamma(2, 200, 1024),
    "uniform": lambda g: g.uniform(1, 1500, 1024),
    "narrow": lambda g: g.normal(400, 40, 1024),
    "exponential": lambda g: g.exponential(300, 1024),
    "mostly cut": lambda g: g.uniform(700, 3000, 1024),
}


def metrics(tokens: np.ndarray, limit: int) -> dict[str, float]:
    """As a step's journal has them."""
    middle, late = np.quantile(tokens, (0.5, 0.95))
    return {
        "length": float(tokens.mean()),
        "length_p50": float(middle),
        "length_p95": float(late),
        "length_max": float(tokens.max()),
        "clipped": float((tokens == limit).mean()),
    }


@pytest.mark.parametrize("kind", DRAWN)
def test_measured_lengths_are_those_that_were_drawn(kind):
    tokens = DRAWN[kind](np.random.default_rng(7)).clip(1, 1000).astype(int)
    spread = measured([metrics(tokens, 1000)], 1000, "a run")
    found = np.array(spread.lengths(1024))
    assert spread.mean == tokens.mean()
    assert found.mean() == pytest.approx(tokens.mean(), rel=0.005)
    assert np.quantile(found, (0.5, 0.95)) == pytest.approx(np.quantile(tokens, (0.5, 0.95)), abs=1)
    assert found.max() == tokens.max()
    # what the cache is read by; a curve that is straight between the three places is 15 % off here
    assert (found**2).mean() == pytest.approx((tokens**2).mean(), rel=0.08)


@given(st.lists(st.integers(1, 400), min_size=2, max_size=60), st.integers(1, 300))
def test_measured_lengths_keep_order_and_bounds_whatever_was_drawn(drawn, n):
    tokens = np.array(drawn)
    found = measured([metrics(tokens, 400)], 400, "").lengths(n)
    assert len(found) == n and list(found) == sorted(found)
    assert min(found) >= 1 and max(found) <= tokens.max()
    assert n == 1 or max(found) == tokens.max()


def test_steps_that_say_nothing_of_lengths_are_no_measurement():
    assert measured([], 100, "") is None
    assert (
        measured([{"length": math.nan, "length_p50": 1.0, "length_p95": 1.0, "length_max": 1.0}], 100, "")
        is None
    )
    assert measured([{"reward": 1.0}], 100, "") is None


def test_what_a_user_says():
    assert stated("mean=3000, clipped=0.1", 8192).mean == pytest.approx(3000)
    assert stated("clipped=0.2", 8192).clipped == 0.2
    assert stated("mean=900", 8192).said == "stated: mean=900, at most 8192"


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("long", "mean=TOKENS or clipped=SHARE"),
        ("median=4", "only mean and clipped"),
        ("mean=9000", "not possible"),
        ("clipped=1.5", "no such lengths"),
        ("clipped=x", "mean=TOKENS"),
    ],
)
def test_what_a_user_can_not_say(text, mend):
    with pytest.raises(InputError, match=mend):
        stated(text, 8192)
