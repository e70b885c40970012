"""Several tests at once, and how many problems a test would need: what "can't tell" has to say beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from cascade_rl.scores.statistics import LEVEL, grid
from cascade_rl.types import Score

ALPHA = 0.05  # the chance of any false "better" or "worse" in a family, where nothing has changed
POWER = 0.8  # the chance that a true difference of the seen size is told


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number, in the same order: at most `ALPHA` is told, the others are not.

    The least is multiplied by m, the next by m - 1 and so on, none below the one before (Holm 1979). The
    chance of any false rejection is at most `ALPHA`, however the tests depend on each other.
    """
    adjusted, floor = [0.0] * len(ps), 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        floor = max(floor, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = floor
    return adjusted


def needed_paired(differences: Sequence[float], level: float) -> int | None:
    """How many problems like these would show a difference like theirs with `POWER` at a two-sided `level`.

    With d the mean of the differences, s^2 their variance, g the step of their grid (1 at k = 1), z_a and z_b
    the normal quantiles of 1 - level / 2 and `POWER`: the least n with

        n |d| - g >= sqrt(n) (z_a sqrt(s^2 + d^2) + z_b s)

    which for k = 1 is Connor's formula for McNemar's test (Biometrics 43, 1987) with the correction for
    continuity of the exact one: under the null the signs are coins, so that the spread of the sum is that
    about zero; under the alternative it is that about d. Of a few dozen problems it asks for some too many.
    None where no difference was seen, or of one problem.
    """
    n = len(differences)
    if n < 2:
        return None
    mean = math.fsum(differences) / n
    seen = [d for d in differences if abs(d) > 1e-12]
    if abs(mean) < 1e-12:
        return None
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1)
    normal = NormalDist()
    spread = normal.inv_cdf(1 - level / 2) * math.sqrt(variance + mean**2)
    spread += normal.inv_cdf(POWER) * math.sqrt(variance)
    # the root of a quadratic in sqrt(n)
    step = 1 / grid(seen)
    root = (spread + math.sqrt(spread**2 + 4 * abs(mean) * step)) / (2 * abs(mean))
    return math.ceil(root**2 - 1e-9)


def needed_apart(before: Score, after: Score, level: float) -> int | None:
    """How many problems a side would show this difference with `POWER`, where the two sides have other ones.

    n = (z_a + z_b)^2 (s_1^2 + s_2^2) / d^2, with s^2 the variance of a problem's mean, read back from the
    width of the score's interval: n (high - low)^2 / (2 z)^2. None where no difference was seen.
    """
    change = after.mean - before.mean
    if abs(change) < 1e-12:
        return None
    normal = NormalDist()
    width = 2 * normal.inv_cdf(0.5 + LEVEL / 2)
    variance = math.fsum(score.n * ((score.high - score.low) / width) ** 2 for score in (before, after))
    z = normal.inv_cdf(1 - level / 2) + normal.inv_cdf(POWER)
    return math.ceil(z**2 * variance / change**2 - 1e-9)
