"""How much stronger one player is than another: Bradley-Terry by maximum likelihood, with covariates.

The chance to win a game is the logistic of a sum: a strength, and what else is told of the game (which answer
stood first, how the two differ in style), each with a coefficient (Bradley and Terry 1952; as a logistic
regression: arXiv 2403.04132, section 4). A tie is half a win. With the strength alone its logistic is the
share of wins. Strengths are in logits; 400 log10 of the odds are Elo points.

Games of one prompt are not independent, so intervals come from a bootstrap over prompts: a prompt is drawn
with all of its games. They are 95 % intervals between percentiles.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_rl.scores.statistics import wilson

Floats = NDArray[np.float64]

RESAMPLES = 1000
CHUNK = 100  # resamples that are fitted at once: 1,500 games of each are 1.2 MB an array
# What keeps coefficients finite where games are won by a covariate alone: a normal prior of standard
# deviation 10 logits; it moves an estimate by a thousandth of its own error. The strength has one of 1000.
PRIOR, STRENGTH_PRIOR = 1e-2, 1e-6
MOST_STEPS = 200  # of Newton; some eight are needed
CLOSE = 1e-10  # logits


@dataclass(frozen=True, slots=True)
class Games:
    """Games of one player against another.

    prompt  [N] the number of each game's prompt, from 0
    won     [N] 1, 0, or a half for a tie
    weight  [N] how many times each game counts
    """

    prompt: NDArray[np.int64]
    won: Floats
    weight: Floats

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return int(self.prompt.max()) + 1


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """To six digits after the point: more depend on the order of additions."""
        return {"mean": round(self.mean, 6), "low": round(self.low, 6), "high": round(self.high, 6)}


def resampled(prompts: int, seed: Sequence[int | str], resamples: int = RESAMPLES) -> Floats:
    """[R, P] how often each resample draws each prompt; the same for the same seed and number."""
    digest = hashlib.blake2b(json.dumps([*seed, prompts]).encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    drawn_RP = rng.integers(0, prompts, size=(resamples, prompts))
    return np.stack([np.bincount(row, minlength=prompts) for row in drawn_RP]).astype(np.float64)


def interval(value: float, resamples: Floats) -> Estimate:
    """The value between the 2.5 % and 97.5 % percentiles of what resamples gave."""
    low, high = np.quantile(resamples, [0.025, 0.975])
    # percentiles of few prompts may lie on one side of what all of them give
    return Estimate(value, min(float(low), value), max(float(high), value))


def win_rate(games: Games, drawn_RP: Floats) -> Estimate:
    """The weighted share of wins, which is what Bradley-Terry says of two players without covariates."""
    won_P = np.bincount(games.prompt, games.weight * games.won, games.prompts)
    played_P = np.bincount(games.prompt, games.weight, games.prompts)
    rate = float(won_P.sum() / played_P.sum())
    if np.ptp(won_P / played_P) == 0:
        # all prompts alike: a resample is like any other and knows nothing of what so few leave open
        return Estimate(rate, *wilson(rate * games.prompts, games.prompts))
    return interval(rate, drawn_RP @ won_P / (drawn_RP @ played_P))


def fit(design_NC: Floats, won_N: Floats, weight_BN: Floats) -> Floats:
    """[B, C] coefficients of largest likelihood, one row for each row of weights; column 0 is the strength.

    Newton's method with halved steps; the weak priors of this module keep it finite.
    """
    columns = design_NC.shape[1]
    prior_C = np.array([STRENGTH_PRIOR] + [PRIOR] * (columns - 1))
    products_NCC = design_NC[:, :, None] * design_NC[:, None, :]
    coefs_BC = np.zeros((len(weight_BN), columns))
    loss_B = _loss(coefs_BC, design_NC, won_N, weight_BN, prior_C)
    for _ in range(MOST_STEPS):
        chance_BN = _logistic(coefs_BC @ design_NC.T)
        slope_BC = (weight_BN * (chance_BN - won_N)) @ design_NC + prior_C * coefs_BC
        curve_BCC = np.tensordot(weight_BN * chance_BN * (1 - chance_BN), products_NCC, axes=1)
        step_BC = np.linalg.solve(curve_BCC + np.diag(prior_C), slope_BC[:, :, None])[:, :, 0]
        if np.abs(step_BC).max() < CLOSE:
            return coefs_BC
        for _ in range(MOST_STEPS):
            tried_B = _loss(coefs_BC - step_BC, design_NC, won_N, weight_BN, prior_C)
            # a loss that rounding alone lets rise is as small as it gets
            worse_B = tried_B > loss_B + 1e-9 * (1 + np.abs(loss_B))
            if not worse_B.any():
                break
            step_BC[worse_B] /= 2
        coefs_BC, loss_B = coefs_BC - step_BC, tried_B
    raise ArithmeticError(f"Bradley-Terry did not converge in {MOST_STEPS} steps")


def fitted(games: Games, design_NC: Floats, drawn_RP: Floats) -> tuple[Floats, Floats]:
    """[C] coefficients of all games and [R, C] those of each resample."""
    best_C = fit(design_NC, games.won, games.weight[None])[0]
    chunks = [
        fit(design_NC, games.won, games.weight * drawn_RP[at : at + CHUNK][:, games.prompt])
        for at in range(0, len(drawn_RP), CHUNK)
    ]
    return best_C, np.concatenate(chunks)


def at_equality(best_C: Floats, resamples_RC: Floats) -> Estimate:
    """The win rate where all covariates are 0: the logistic of the strength."""
    return interval(float(_logistic(best_C[0])), _logistic(resamples_RC[:, 0]))


def elo(rate: float) -> float | None:
    """Elo points above the other player; None where all games were won or lost."""
    return 400 * math.log10(rate / (1 - rate)) if 0 < rate < 1 else None


def _logistic(logits: Any) -> Any:
    # by tanh: no overflow, and 1/2 exactly at 0
    return 0.5 + 0.5 * np.tanh(0.5 * logits)


def _loss(coefs_BC: Floats, design_NC: Floats, won_N: Floats, weight_BN: Floats, prior_C: Floats) -> Floats:
    logits_BN = coefs_BC @ design_NC.T
    likelihood_B = (weight_BN * (won_N * logits_BN - np.logaddexp(0, logits_BN))).sum(axis=1)
    loss_B: Floats = 0.5 * (coefs_BC**2 @ prior_C) - likelihood_B
    return loss_B
