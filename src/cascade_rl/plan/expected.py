"""What a plan assumes where no run has shown it: lengths of texts, rounds of sampling, times of verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from cascade_rl.recipe import RLStage

NORMAL = NormalDist()
SIGMA = 0.6  # of the logarithm of lengths: the longest of 1,024 is six times the median
HALF, THIRD = 0.5, 0.33
PROMPTS = "a quarter of what their limit and the model leave, at most 1,024 tokens (assumed)"
SIGNAL = 0.6  # share of groups whose replies differ in reward; the rest is drawn anew by filter `batch`
ROUNDS = f"filter batch; {SIGNAL:.0%} of the groups carry signal (assumed)"
# seconds of one processor for a verdict: of symbols, of a script, of a program's tests, of a repository's
VERDICTS = {"maths": 0.02, "coding": 0.5, "swe": 0.1}
QUICK = 0.005


@dataclass(frozen=True, slots=True)
class Spread:
    """Lengths around a median, cut at a limit; `said` tells where they are from."""

    median: float
    limit: int
    said: str

    @property
    def mean(self) -> float:
        """Of 1,000 even quantiles."""
        found = self.lengths(1000)
        return sum(found) / len(found)

    def lengths(self, n: int) -> list[int]:
        """`n` even quantiles of a lognormal, ascending."""
        return [
            min(self.limit, max(1, round(self.median * math.exp(SIGMA * NORMAL.inv_cdf((i + 0.5) / n)))))
            for i in range(n)
        ]


def replies(domain: str, limit: int, first: int = 0, end: int = 1) -> Spread:
    """The replies of a domain under a limit."""
    return Spread(HALF * limit, limit, f"lognormal around {HALF * limit:.0f} of {limit} tokens (assumed)")


def samples(limit: int) -> Spread:
    """Samples of SFT and answers of pairs, prompts included."""
    return Spread(THIRD * limit, limit, f"lognormal around {THIRD * limit:.0f} of {limit} tokens (assumed)")


def prompt(limit: int, reply: int, positions: int) -> int:
    """Tokens of a prompt under a limit, which leaves room for a reply in a model of so many positions."""
    return max(1, min(1024, min(limit, positions - reply) // 4))


def rounds(stage: RLStage) -> float:
    """How often as many replies are sampled as are trained on."""
    return min(stage.filter.max_rounds, 1 / SIGNAL) if stage.filter.kind == "batch" else 1.0


def verdict_seconds(domains: Sequence[str]) -> float:
    """Seconds of one processor for the verdict on a reply, in the mean over the domains."""
    return sum(VERDICTS.get(name, QUICK) for name in domains) / len(domains) if domains else QUICK
