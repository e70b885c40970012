"""What a verdict on a reply costs: seconds of one processor, by domain and source, with where it is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Verdict:
    """Seconds of one processor, and where they are from in words."""

    seconds: float
    said: str


OURS = "measured on 2 cores of an EPYC, docs/LOG.md"
PROGRAM = Verdict(0.0033, f"a short program on a few inputs, {OURS}")
TESTS = Verdict(0.0047, f"a built-in repair by its tests, {OURS}")
# 64 processes: AceReason's pool, whose verifier the report took over (arXiv 2512.13607, section 4.6)
CORPUS = Verdict(
    1172.4 * 64 / 1024, "all tests of a contest's problem, 1,172 s for 1,024 replies on 64 processes"
)
SYMBOLS = Verdict(
    3.9 * 64 / 1024, "a symbolic comparison, 3.9 s for 1,024 answers on 64 processes (AceReason)"
)
NUMBERS = Verdict(0.0005, "equal numbers, which ask no verifier (assumed)")
# Domain and form of the source; "" stands for every other form. RL of swe compares patches and runs nothing.
KNOWN = {
    ("coding", "builtin"): PROGRAM,
    ("coding", "basics"): PROGRAM,
    ("coding", "packages"): PROGRAM,
    ("coding", "humaneval"): PROGRAM,
    ("coding", ""): CORPUS,
    ("maths", "builtin"): NUMBERS,
    ("maths", "stories"): NUMBERS,
    ("maths", "reasoning-gym"): NUMBERS,
    ("maths", ""): SYMBOLS,
    ("swe", ""): Verdict(0.001, f"the likeness of two patches, {OURS}"),
}
TESTED = {"builtin": TESTS, "": Verdict(0.5, f"the tests of a package, 508 ms, {OURS}")}  # benchmarks of swe
OTHER = Verdict(0.0005, "a rule, less than a millisecond (assumed)")


def verdict(domain: str, source: str, *, benchmark: bool = False) -> Verdict:
    """On a reply to a problem of a source, as RL or (where that differs) as the benchmark gives it."""
    form = source.partition(":")[0]
    if benchmark and domain == "swe":
        return TESTED.get(form, TESTED[""])
    return KNOWN.get((domain, form)) or KNOWN.get((domain, "")) or OTHER


def mean_seconds(verdicts: Sequence[Verdict]) -> float:
    """Over sources that are drawn from alike; 0 without any."""
    return fmean(one.seconds for one in verdicts) if verdicts else 0.0
