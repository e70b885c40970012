"""Benchmarks with their held-out problems, and the small ones that are scored on the way."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from cascade_rl.data.pair_benchmark import pair_benchmark
from cascade_rl.data.suites import suite_heldout
from cascade_rl.domain import HeldOut
from cascade_rl.domains import load_domain
from cascade_rl.recipe import Recipe
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.recipe.tables import reading_of
from cascade_rl.types import Split, Tally


def gather_benchmarks(recipe: Recipe) -> tuple[HeldOut, ...]:
    """The benchmarks of a recipe with their held-out problems."""
    return tuple(_benchmark(spec, Split.HELDOUT) for spec in recipe.benchmarks)


def gather_probes(recipe: Recipe) -> tuple[HeldOut, ...]:
    """For each benchmark a cheap one on validation problems, for probed steps; none unless the gate asks.

    One sample a problem in the headline mode: probes choose a step, they are not reported.
    """
    count = recipe.gate.probe_problems
    if count is None:
        return ()
    cheap = {"problems": count, "k": 1, "k_other_mode": None, "both_modes": False}
    # not of published benchmarks: all their rows are held out, and to choose by them is to train on them
    specs = [spec.model_copy(update=cheap) for spec in recipe.benchmarks if spec.suite is None]
    return tuple(_benchmark(spec, Split.VALIDATION) for spec in specs)


def _benchmark(spec: BenchmarkSpec, split: Split) -> HeldOut:
    """Held-out problems do not depend on the run's seed, so that runs can be compared problem by problem."""
    if spec.suite is not None:
        return suite_heldout(spec)
    if spec.domain is None:
        return pair_benchmark(spec, split)
    domain, told = load_domain(spec.domain), list[Tally]()
    drawn = domain.problems(spec.source, split, 0, reading_of(spec), told.append)
    problems = tuple(islice(drawn, spec.problems))
    return HeldOut(spec, domain, problems, tuple(replace(tally, used=len(problems)) for tally in told))
