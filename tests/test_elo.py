"""Bradley-Terry against closed forms, a search that knows only the likelihood, and simulations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.scores.elo import (
    Games,
    at_equality,
    elo,
    fit,
    fitted,
    interval,
    resampled,
    win_rate,
)
from cascade_rl.scores.statistics import wilson


def logit(share):
    return math.log(share / (1 - share))


def games(prompt, won, weight=None):
    weight = [1.0] * len(won) if weight is None else weight
    return Games(np.array(prompt), np.array(won, float), np.array(weight, float))


results = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([1.0, 3.0])), min_size=2, max_size=40
)


@given(results)
def test_two_players_are_the_weighted_share_of_wins(played):
    won, weight = zip(*played, strict=True)
    share = sum(w * x for x, w in played) / sum(weight)
    rate = win_rate(games(range(len(won)), won, weight), resampled(len(won), ("t",), 50))
    assert rate.mean == pytest.approx(share, abs=1e-12)
    assert 0 <= rate.low <= rate.mean <= rate.high <= 1
    if 0 < share < 1:
        # the regression with nothing but the strength finds the same number by another way
        strength = fit(np.ones((len(won), 1)), np.array(won), np.array([weight]))[0, 0]
        assert strength == pytest.approx(logit(share), abs=1e-4)


def test_elo_points_are_those_of_the_odds():
    assert elo(0.5) == 0
    assert elo(10 / 11) == pytest.approx(400)
    assert elo(1 / 11) == pytest.approx(-400)
    assert elo(1.0) is None and elo(0.0) is None


@pytest.mark.parametrize(("first", "second"), [(0.9, 0.4), (0.55, 0.5), (0.2, 0.7), (0.75, 0.25)])
def test_two_players_and_a_place_have_a_closed_form(first, second):
    # as many coefficients as kinds of game: each kind's share is met, so the strength is the mean of logits
    design = np.array([[1.0, 1.0], [1.0, -1.0]] * 400)
    won = np.array([[k < round(400 * first), k < round(400 * second)] for k in range(400)], float).ravel()
    strength, place = fit(design, won, np.ones((1, 800)))[0]
    assert strength == pytest.approx((logit(first) + logit(second)) / 2, abs=1e-3)
    assert place == pytest.approx((logit(first) - logit(second)) / 2, abs=1e-3)


def likelihood(coefs, rows):
    total = 0.0
    for features, won, weight in rows:
        chance = 1 / (1 + math.exp(-sum(c * x for c, x in zip(coefs, features, strict=True))))
        total += weight * (won * math.log(chance) + (1 - won) * math.log(1 - chance))
    return total


@pytest.mark.parametrize("seed", range(3))
def test_a_search_over_a_grid_finds_the_same_coefficients(seed):
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(60), rng.normal(size=(60, 1))])
    won = rng.choice([0.0, 0.5, 1.0], 60)
    weight = rng.choice([1.0, 3.0], 60)
    rows = list(zip(design.tolist(), won.tolist(), weight.tolist(), strict=True))
    best, width = (0.0, 0.0), 4.0
    while width > 1e-4:
        around = [
            (best[0] + width * i / 4, best[1] + width * j / 4) for i in range(-4, 5) for j in range(-4, 5)
        ]
        best, width = max(around, key=lambda coefs: likelihood(coefs, rows)), width / 2
    assert fit(design, won, weight[None])[0] == pytest.approx(best, abs=2e-3)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_what_is_left_over_is_orthogonal_to_each_feature(seed, columns):
    # the equations that define the largest likelihood, with the priors that the module tells of
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(300), rng.normal(size=(300, columns - 1))])
    won, weight = rng.choice([0.0, 0.5, 1.0], 300), rng.choice([1.0, 3.0], (2, 300))
    for coefs, each in zip(fit(design, won, weight), weight, strict=True):
        left = each * (won - 1 / (1 + np.exp(-design @ coefs)))
        prior = np.array([1e-6] + [1e-2] * (columns - 1)) * coefs
        assert design.T @ left == pytest.approx(prior, abs=1e-6)


def test_games_that_a_feature_decides_alone_leave_finite_numbers():
    place = np.array([[1.0, 1.0], [1.0, -1.0]] * 50)
    # whoever stands first wins: nothing is known of the strength
    strength, first = fit(place, np.array([1.0, 0.0] * 50), np.ones((1, 100)))[0]
    assert strength == pytest.approx(0, abs=1e-9) and 3 < first < 50
    strength, first = fit(place, np.ones(100), np.ones((1, 100)))[0]
    assert 8 < strength < 50 and first == pytest.approx(0, abs=1e-6)


def test_players_change_places_and_the_result_is_mirrored():
    rng = np.random.default_rng(7)
    design = np.column_stack([np.ones(200), rng.normal(size=(200, 3))])
    won, prompt = rng.choice([0.0, 0.5, 1.0], 200), np.repeat(range(100), 2)
    drawn = resampled(100, ("mirror",), 200)
    mine = at_equality(*fitted(games(prompt, won), design, drawn))
    swapped = design * [1, -1, -1, -1]
    theirs = at_equality(*fitted(games(prompt, 1 - won), swapped, drawn))
    assert (mine.mean, mine.low, mine.high) == pytest.approx(
        (1 - theirs.mean, 1 - theirs.high, 1 - theirs.low)
    )
    mine, theirs = win_rate(games(prompt, won), drawn), win_rate(games(prompt, 1 - won), drawn)
    assert (mine.mean, mine.low, mine.high) == pytest.approx(
        (1 - theirs.mean, 1 - theirs.high, 1 - theirs.low)
    )


def test_games_of_a_prompt_stay_together():
    rng = np.random.default_rng(1)
    won = rng.choice([0.0, 1.0], 80)
    drawn = resampled(80, ("together",), 500)
    once = win_rate(games(range(80), won), drawn)
    # ten games that all say the same know no more than one
    often = win_rate(games(np.repeat(range(80), 10), np.repeat(won, 10)), drawn)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    assert once.high - once.low > 0.15


def test_intervals_hold_the_truth_as_often_as_they_say():
    # prompts differ (sd 1.5 logits), and a prompt's two games share that: plain binomial intervals would miss
    rng = np.random.default_rng(11)
    strengths = 0.4 + 1.5 * rng.normal(size=200_000)
    truth = float(np.mean(1 / (1 + np.exp(-strengths))))
    held = 0
    for run in range(300):
        chance = 1 / (1 + np.exp(-(0.4 + 1.5 * rng.normal(size=120))))
        won = (rng.random((120, 2)) < chance[:, None]).astype(float).ravel()
        found = win_rate(games(np.repeat(range(120), 2), won), resampled(120, (run,), 300))
        held += found.low <= truth <= found.high
    # 95 % of 300 are 285; 270 is four standard deviations below
    assert 270 <= held <= 299


def test_prompts_that_are_all_alike_leave_wilson_not_nothing():
    drawn = resampled(20, ("alike",), 100)
    rate = win_rate(games(np.repeat(range(20), 2), [1.0] * 40), drawn)
    assert (rate.mean, rate.low, rate.high) == (1.0, *wilson(20, 20))
    split = win_rate(games(np.repeat(range(20), 2), [1.0, 0.0] * 20), drawn)
    assert split.mean == 0.5 and split.low == pytest.approx(wilson(10, 20)[0])


def test_the_same_seed_draws_the_same_and_another_another():
    assert np.array_equal(resampled(30, ("a", 1), 20), resampled(30, ("a", 1), 20))
    assert not np.array_equal(resampled(30, ("a", 1), 20), resampled(30, ("a", 2), 20))
    drawn = resampled(30, ("a", 1), 20)
    assert drawn.shape == (20, 30) and (drawn.sum(axis=1) == 30).all() and drawn.max() > 1


def test_an_interval_holds_what_it_is_of():
    assert interval(0.9, np.array([0.1, 0.2])).high == 0.9
