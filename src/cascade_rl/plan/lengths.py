"""How long a stage's replies are: from its limit alone, from what a user says, or from a run that was made.

Lengths decide what a step costs: all of them the tokens, their squares the cache, the longest the decoding.
Each distribution answers with even quantiles and not with draws, so that a plan says the same twice.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from cascade_rl.errors import InputError

NORMAL = NormalDist()
NARROW, WIDE = 0.01, 4.0  # of a lognormal's sigma: replies all alike, and some 50 times the median
# Maths of the report at its first limit (arXiv 2512.13607, section 4.5): of 24,576 tokens 40 % (30 to 50 %)
# of the replies are cut at first, 15 % after 100 steps, when their mean is near 16K. The later limits begin
# at 5 to 10 % and end as they begin.
FIRST_CUT, SETTLED_CUT, SETTLED_AFTER, LATER_CUT = 0.40, 0.15, 100, 0.075
LIMIT, MEAN = 24576, 16384
# NeMo-RL's Llama-3.1-8B: 1,019 tokens in the mean where prompt and reply have 4,096 (pages 0.4, 0.5)
SHORT = 1019 / 4096
# where replies can't be long: 0.24 to 0.42 of the limit, the tiny recipe's RL (docs/LOG.md, plan)
SPOKEN = 12288  # the report's longest limit outside of maths, code and repairs: RLHF's (table 15)
BRIEF, BRIEF_MEAN = 1024, 0.4
THINKING = (
    "maths",
    "coding",
    "swe",
)  # domains whose replies grow to their limit, as the report tells of them


class Spread(ABC):
    """A distribution of lengths in tokens, at most `limit`; `said` tells in words where it is from."""

    limit: int
    said: str

    @property
    @abstractmethod
    def mean(self) -> float:
        """Tokens a reply."""

    @abstractmethod
    def lengths(self, n: int) -> Sequence[int]:
        """`n` lengths in ascending order, at least 1 and at most the limit, that stand for all replies."""


@dataclass(frozen=True)
class Lognormal(Spread):
    """exp(mu + sigma z), all that is longer cut at the limit: the share `clipped` has just that length."""

    limit: int
    clipped: float
    sigma: float
    said: str

    def __post_init__(self) -> None:
        if not 0 < self.clipped < 1 or self.limit < 1 or self.sigma <= 0:
            raise ValueError(f"no such lengths: {self}")

    @property
    def mu(self) -> float:
        """So that P(longer than the limit) is `clipped`."""
        return math.log(self.limit) - self.sigma * NORMAL.inv_cdf(1 - self.clipped)

    @property
    def mean(self) -> float:
        """E[min(X, limit)], in closed form."""
        cut = NORMAL.inv_cdf(1 - self.clipped)
        below = math.exp(self.mu + self.sigma**2 / 2) * NORMAL.cdf(cut - self.sigma)
        return below + self.limit * self.clipped

    def lengths(self, n: int) -> Sequence[int]:
        """The middles of n equal parts."""
        mu, last = self.mu, n * (1 - self.clipped)
        return [
            self.limit
            if i + 0.5 >= last
            else _whole(math.exp(mu + self.sigma * NORMAL.inv_cdf((i + 0.5) / n)), self.limit)
            for i in range(n)
        ]


@dataclass(frozen=True)
class Measured(Spread):
    """Two halves of lognormals that meet at the measured median, none above the measured longest.

    The upper one passes through the 95th per cent (or the place where replies are cut, if that is lower), the
    lower one is as wide as the measured mean asks for.
    """

    limit: int
    measured: float
    median: float
    p95: float
    longest: float
    clipped: float
    said: str

    @property
    def mean(self) -> float:
        """As it was measured."""
        return self.measured

    @property
    def upper(self) -> float:
        """The sigma above the median."""
        share, at = (0.95, self.p95) if self.clipped < 0.05 else (1 - self.clipped, self.longest)
        if share <= 0.5 or at <= self.median:
            return 0.0
        return math.log(at / self.median) / NORMAL.inv_cdf(share)

    @property
    def lower(self) -> float:
        """The sigma below the median that leads to the mean, as near as half of all replies can."""
        wanted, low, high = self.measured - self._upper_part(), 0.0, WIDE
        for _ in range(60):
            middle = (low + high) / 2
            # the part falls while sigma grows
            low, high = (middle, high) if self._lower_part(middle) > wanted else (low, middle)
        return (low + high) / 2

    def lengths(self, n: int) -> Sequence[int]:
        """Both ends included, as quantiles of the replies of a step are counted."""
        lower, upper = self.lower, self.upper
        if n == 1:
            return [_whole(self.median, self.limit)]
        inner = [NORMAL.inv_cdf(i / (n - 1)) for i in range(1, n - 1)]
        middle = [self.median * math.exp((upper if z > 0 else lower) * z) for z in inner]
        found = [middle[0] if middle else self.median, *middle, self.longest]
        return [_whole(min(tokens, self.longest), self.limit) for tokens in found]

    def _lower_part(self, sigma: float) -> float:
        """E[X; z < 0]."""
        return self.median * math.exp(sigma**2 / 2) * NORMAL.cdf(-sigma)

    def _upper_part(self) -> float:
        """E[min(X, longest); z > 0]."""
        sigma = self.upper
        if not sigma:
            return min(self.median, self.longest) / 2
        cut = math.log(self.longest / self.median) / sigma
        below = math.exp(sigma**2 / 2) * (NORMAL.cdf(cut - sigma) - NORMAL.cdf(-sigma))
        return self.median * below + self.longest * (1 - NORMAL.cdf(cut))


def _whole(tokens: float, limit: int) -> int:
    return min(limit, max(1, round(tokens)))


def of_mean(limit: int, mean: float, clipped: float, said: str) -> Lognormal:
    """The lognormal cut at the limit with this mean; ValueError for a mean that the cut share does not allow.

    The mean falls from near the limit to its clipped share of it while sigma grows.
    """
    low, high = NARROW, WIDE
    widest, narrowest = (Lognormal(limit, clipped, s, said).mean for s in (high, low))
    if not widest <= mean <= narrowest:
        raise ValueError(
            f"a mean of {mean:g} tokens is not possible where {clipped:.0%} have {limit}: "
            f"{widest:.0f} to {narrowest:.0f} are"
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if Lognormal(limit, clipped, middle, said).mean > mean else (low, middle)
    return Lognormal(limit, clipped, (low + high) / 2, said)


def near_mean(limit: int, mean: float, cut: float, said: str) -> Lognormal:
    """The lognormal with this mean, and this share of cut replies where the two go together.

    Where they don't, or none is cut, as wide as `SIGMA` says.
    """
    mean = min(mean, 0.98 * limit)
    if cut > 0:
        try:
            return of_mean(limit, mean, min(cut, 0.99), said)
        except ValueError:
            pass
    # so far above the mean no reply of this width comes, and the limit would tell nothing of mu
    limit = min(limit, math.ceil(12 * mean))
    low, high = 1e-12, 1 - 1e-9
    for _ in range(100):
        middle = (low + high) / 2
        # the mean grows with what is cut
        low, high = (middle, high) if Lognormal(limit, middle, SIGMA, said).mean < mean else (low, middle)
    return Lognormal(limit, (low + high) / 2, SIGMA, said)


SIGMA = of_mean(LIMIT, MEAN, SETTLED_CUT, "").sigma  # of the report's maths once it has settled


def cut_share(first: int, end: int, *, first_limit: bool = True) -> float:
    """The mean share of maths replies that are cut in the steps from `first` to `end`, of the stage's own."""
    if not first_limit:
        return LATER_CUT

    def until(step: float) -> float:
        """The integral of a line from FIRST_CUT down to SETTLED_CUT, flat afterwards."""
        falling = min(step, SETTLED_AFTER)
        slope = (FIRST_CUT - SETTLED_CUT) / SETTLED_AFTER
        return FIRST_CUT * falling - slope * falling**2 / 2 + SETTLED_CUT * (step - falling)

    return (until(end) - until(first)) / (end - first)


def usual(domain: str, limit: int, first: int = 0, end: int = 1000, *, first_limit: bool = True) -> Lognormal:
    """What is assumed of a domain where nothing is measured or said, for its steps from `first` to `end`."""
    if limit <= BRIEF:
        said = f"assumed: a mean of {BRIEF_MEAN:.0%} of {limit}, as in our own small runs"
        return of_mean(limit, BRIEF_MEAN * limit, 0.01, said)
    if domain == "maths":
        cut = cut_share(first, end, first_limit=first_limit)
        return Lognormal(limit, cut, SIGMA, f"assumed: as the report's maths, {cut:.0%} cut at {limit}")
    if domain in THINKING:
        said = f"assumed: as the report's maths once settled, {SETTLED_CUT:.0%} cut at {limit}"
        return Lognormal(limit, SETTLED_CUT, SIGMA, said)
    # 1 %: what SIGMA makes of such a mean, so that a batch has a longest reply near the limit
    said = f"assumed: a mean of {SHORT:.0%} of {limit}, as NeMo-RL's 8B model"
    return of_mean(limit, SHORT * limit, 0.01, said)


def answered(domain: str, limit: int) -> Lognormal:
    """The replies to a benchmark: a limit beyond those of training cuts fewer, and makes none longer."""
    known = LIMIT if domain in THINKING else SPOKEN
    if limit <= known:
        return usual(domain, limit)
    found = usual(domain, known)
    cut = 1 - NORMAL.cdf((math.log(limit) - found.mu) / found.sigma)
    return Lognormal(limit, cut, found.sigma, f"{found.said}, and as long under {limit}")


def stated(text: str, limit: int) -> Lognormal:
    """What a user says: `mean=TOKENS`, `clipped=SHARE` or both with a comma; raises InputError."""
    said: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (each.strip() for each in part.partition("="))
        try:
            said[name] = float(value)
        except ValueError:
            raise InputError(f"lengths {text!r}: {part!r} is not mean=TOKENS or clipped=SHARE") from None
    if not said.keys() <= {"mean", "clipped"}:
        raise InputError(f"lengths {text!r}: only mean and clipped are known")
    words = f"stated: {text}, at most {limit}"
    try:
        if "mean" in said:
            return of_mean(limit, said["mean"], said.get("clipped", 0.01), words)
        return Lognormal(limit, said["clipped"], SIGMA, words)
    except ValueError as error:
        raise InputError(f"lengths {text!r}: {error}") from None


NEEDED = {"measured": "length", "median": "length_p50", "p95": "length_p95", "longest": "length_max"}


def measured(steps: Sequence[Mapping[str, float]], limit: int, said: str) -> Measured | None:
    """The mean over the steps of a journal (their metrics); None where no step says how long they are."""
    known = [step for step in steps if all(math.isfinite(step.get(key, math.nan)) for key in NEEDED.values())]
    if not known:
        return None
    means = {name: fmean(step[key] for step in known) for name, key in NEEDED.items()}
    return Measured(limit, clipped=fmean(step.get("clipped", 0.0) for step in known), said=said, **means)
