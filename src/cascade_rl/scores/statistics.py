"""Intervals for scores and changes: closed forms only, so the same numbers come out on every machine.

- One score, k = 1: Wilson's interval (Wilson 1927; Brown, Cai and DasGupta 2001).
- One score, k > 1: the problems are drawn, their samples are not independent. Wilson's interval at the
  effective sample size p(1-p)n/s^2, with s^2 the variance of the per-problem means, and with Student's
  quantile for the n - 1 degrees of freedom of s^2 (Korn and Graubard 1998). At k = 1 this is Wilson's
  interval exactly. When all problems are right or all wrong it is Wilson's interval on n problems: never of
  zero width.
- A change over the same problems: the adjusted paired interval of Bonett and Price (2012), which adds one
  pseudo-pair in each direction, here with Student's quantile and with pseudo-pairs of 1/sqrt(k), the scale on
  which averages over k samples differ. The p-value is that of the exact sign-flip test, by convolution; for k
  = 1 that is McNemar's exact test.
- A change between published scores, without problems: Newcombe's (1998, method 10) from the two intervals.

Two warnings that the gate takes to heart: the best of several noisy scores is flattered by its choice, and of
many 95 % intervals some miss.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np

from cascade_rl.errors import InputError
from cascade_rl.types import ModeScore, Score

LEVEL = 0.95
# Additions of the convolution, some 50 ms: 1,200 problems of k = 64 are below (MMLU, 14,000 of k = 1, is
# above). Beyond it the normal limit is as good.
EXACT_SIGN_FLIP_LIMIT = 100_000_000
MAX_DENOMINATOR = 64  # averages over up to 64 samples, the report's k for AIME, are recognised as fractions


class Direction(StrEnum):
    """What an interval says of a change."""

    GAIN = "gain"
    LOSS = "loss"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Change:
    """After minus before, in shares, with its 95 % interval; `p` is two-sided, against no change at all."""

    change: float
    low: float
    high: float
    p: float
    verdict: Direction
    n: int
    paired: bool


class ProblemMismatchError(InputError):
    """Two scores can't be paired: they were measured on different problems."""


def wilson(right: float, n: float, *, quantile: float | None = None) -> tuple[float, float]:
    """The 95 % interval of a share `right` of `n`; `n` may be an effective size, `quantile` replaces 1.96."""
    if not (n > 0 and 0 <= right <= n):
        raise ValueError(f"{right} right of {n} is not a share")
    z2 = (_normal_quantile() if quantile is None else quantile) ** 2
    share = right / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # the share itself counts among the bounds, since at 0 and 1 rounding would leave it a bit outside
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def clustered_interval(means: Sequence[float], k: int) -> tuple[float, float]:
    """The 95 % interval of the mean of per-problem means, each over `k` samples (see the module)."""
    n = len(means)
    mean = _mean(means)
    variance = _mean((x - mean) ** 2 for x in means)
    # all right or all wrong: s^2 is 0 and knows nothing of what n problems leave open
    if k == 1 or n == 1 or mean in (0.0, 1.0):
        return wilson(mean * n, n)
    most = n * k
    # More than n x k would say that samples of a problem repel each other: chance, not information.
    effective = min(most, mean * (1 - mean) * n / variance) if variance > 0 else most
    return wilson(mean * effective, effective, quantile=student_quantile(n - 1))


def score(per_problem: Mapping[str, Sequence[float]]) -> Score:
    """avg@k: the mean over problems of their mean over samples, with its interval.

    Every problem has the same number of samples, each in [0, 1]; ValueError otherwise.
    """
    if not per_problem:
        raise ValueError("no problems: a score needs at least one")
    sizes = {len(values) for values in per_problem.values()}
    if len(sizes) > 1 or 0 in sizes:
        raise ValueError(
            f"each problem needs the same number of samples, at least one; found {sorted(sizes)}"
        )
    for name, values in per_problem.items():
        if not all(0 <= value <= 1 for value in values):
            raise ValueError(f"{name}: samples must lie in [0, 1], found {list(values)}")
    k = sizes.pop()
    means = [_mean(values) for values in per_problem.values()]
    low, high = clustered_interval(means, k)
    return Score(_mean(means), low, high, len(means), k)


def published_score(mean: float, n: int, k: int = 1) -> Score:
    """A score with only the mean known: Wilson on `n` problems, as if all samples of one were alike."""
    low, high = wilson(mean * n, n)
    return Score(mean, low, high, n, k)


def paired_change(
    before: Mapping[str, float], after: Mapping[str, float], *, k: int = 1, band: float = 0.0
) -> Change:
    """After minus before over the same problems; `k` is the number of samples behind each value.

    The verdict is `same` unless the 95 % interval excludes zero and the change exceeds `band` (a share: 0.02
    is two points). Raises ProblemMismatchError when the ids differ.
    """
    _require_same_problems(before, after)
    differences = [after[name] - before[name] for name in before]
    change = _mean(differences)
    low, high = _paired_interval(differences, k)
    # the pseudo-pairs draw the centre towards 0, with few problems so far that the change lies outside
    low, high = min(low, change), max(high, change)
    return Change(
        change, low, high, sign_flip_p(differences), _direction(change, low, high, band), len(before), True
    )


def independent_change(before: Score, after: Score, *, band: float = 0.0) -> Change:
    """After minus before when only two scores are known: Newcombe's interval and the p-value that fits it."""
    change = after.mean - before.mean
    low = change - math.hypot(after.mean - after.low, before.high - before.mean)
    high = change + math.hypot(after.high - after.mean, before.mean - before.low)
    # of the two half-widths the one on the side of 0: then p < 0.05 just where the interval excludes it
    towards_zero = high - change if change < 0 else change - low
    spread = towards_zero / _normal_quantile()
    p = math.erfc(abs(change) / spread / math.sqrt(2)) if spread > 0 else float(change == 0)
    return Change(change, low, high, p, _direction(change, low, high, band), min(before.n, after.n), False)


def compare(before: ModeScore, after: ModeScore, *, band: float = 0.0) -> Change:
    """The change between two measurements: paired where both sides know the problems, else independent."""
    if before.per_problem and after.per_problem:
        k = min(before.average.k, after.average.k)
        return paired_change(before.per_problem, after.per_problem, k=k, band=band)
    return independent_change(before.average, after.average, band=band)


def sign_flip_p(differences: Sequence[float]) -> float:
    """The two-sided p-value that the signs of the differences are coin flips; McNemar's for differences of 1.

    The sum of the positive magnitudes is a sum of independent coins, so its law is a convolution over a grid:
    1/k where all differences are such fractions (k up to 64), else 1/1000. Beyond `EXACT_SIGN_FLIP_LIMIT`
    steps it is the normal limit.
    """
    # a difference of zero stays zero, whichever way its coin falls
    signed = np.asarray([d for d in differences if abs(d) > 1e-12])
    if signed.size == 0:
        return 1.0
    # [N] whole numbers of 1 / grid
    units = np.rint(signed * grid(signed)).astype(np.int64)
    observed, sizes = abs(int(units.sum())), np.sort(np.abs(units))
    total = int(sizes.sum())
    if len(sizes) * total > EXACT_SIGN_FLIP_LIMIT:
        return math.erfc(observed / math.sqrt(2.0 * float((sizes.astype(float) ** 2).sum())))
    law = _coin_sum_law(sizes, total)
    # heads minus tails is 2 T - total; at least as far from 0 as what was seen, on either side
    reached = np.abs(2 * np.arange(total + 1) - total) >= observed
    return min(1.0, float(law[reached].sum()))


def student_quantile(df: int) -> float:
    """The 97.5 % quantile of Student's t: exact for 1 and 2 degrees of freedom, from 3 on within 0.2 %.

    Source: the expansion of Abramowitz and Stegun 26.7.5.
    """
    if df < 1:
        raise ValueError(f"{df} degrees of freedom: two values are needed for a spread")
    tail = 0.5 + LEVEL / 2
    if df == 1:
        return math.tan(math.pi * (tail - 0.5))
    if df == 2:
        return (2 * tail - 1) * math.sqrt(2 / (4 * tail * (1 - tail)))
    z = _normal_quantile()
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    found: float = z + sum(term / df**power for power, term in enumerate(terms, start=1))
    return found


def _paired_interval(differences: Sequence[float], k: int) -> tuple[float, float]:
    """Bonett and Price: the usual interval after one pseudo-pair of +1/sqrt(k) and one of -1/sqrt(k)."""
    size = len(differences) + 2
    centre = math.fsum(differences) / size
    mean_square = math.fsum([d * d for d in differences] + [2.0 / k]) / size
    # size - 1: the pseudo-pairs count
    half = student_quantile(size - 1) * math.sqrt(max(0.0, mean_square - centre**2) / size)
    return max(-1.0, centre - half), min(1.0, centre + half)


def _coin_sum_law(sizes: np.ndarray, total: int) -> np.ndarray:
    """P(T = t) for t in 0..total, with T the sum over those `sizes` whose fair coin shows heads."""
    # [total + 1] float64; in place, from the smallest size on, so that only what is reached is touched
    law = np.zeros(total + 1)
    law[0] = 1.0
    top = 0
    for size in sizes:
        shifted = law[: top + 1] / 2
        law[: top + 1] = shifted
        top += int(size)
        law[size : top + 1] += shifted
    return law


def grid(differences: Sequence[float] | np.ndarray) -> int:
    """The smallest denominator of which all differences are multiples, else 1000."""
    differences = np.asarray(differences)
    for denominator in range(1, MAX_DENOMINATOR + 1):
        scaled = differences * denominator
        if np.all(np.abs(scaled - np.rint(scaled)) < 1e-6):
            return denominator
    return 1000


def _require_same_problems(before: Collection[str], after: Collection[str]) -> None:
    gone, new = set(before) - set(after), set(after) - set(before)
    if gone or new:
        example = min(gone or new)
        raise ProblemMismatchError(
            f"a paired change needs the same problems on both sides: {len(gone)} of {len(before)} are "
            f"missing after, {len(new)} of {len(after)} are missing before (for example {example}); measure "
            "both on one held-out set"
        )
    if not before:
        raise ProblemMismatchError("a paired change needs at least one problem")


def _direction(change: float, low: float, high: float, band: float) -> Direction:
    # an interval that ends at 0 exactly does not exclude it
    if abs(change) <= band or low <= 0 <= high:
        return Direction.SAME
    return Direction.GAIN if change > 0 else Direction.LOSS


def _mean(values: Iterable[float]) -> float:
    """The mean, exactly rounded in the sum: the order of the problems can't show."""
    listed = list(values)
    return math.fsum(listed) / len(listed)


def _normal_quantile() -> float:
    return NormalDist().inv_cdf(0.5 + LEVEL / 2)
