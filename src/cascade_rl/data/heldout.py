"""Benchmarks with their held-out problems."""

from __future__ import annotations

from cascade_rl.domain import Benchmark, Domain
from cascade_rl.domains import load_domain
from cascade_rl.recipe import BenchmarkSpec, Recipe
from cascade_rl.types import Mode, Problem, Split


def gather_benchmarks(recipe: Recipe) -> tuple[Benchmark, ...]:
    """The benchmarks of a recipe with their held-out problems."""
    return tuple(
        _benchmark(spec, load_domain(spec.domain), Split.HELDOUT, spec.problems) for spec in recipe.benchmarks
    )


def gather_probes(recipe: Recipe) -> tuple[Benchmark, ...]:
    """What policy `best` looks at between steps: validation problems, which no benchmark uses; else nothing."""
    count = recipe.gate.probe_problems
    if recipe.gate.policy != "best" or count is None:
        return ()
    return tuple(
        _benchmark(spec, load_domain(spec.domain), Split.VALIDATION, count) for spec in recipe.benchmarks
    )


def _benchmark(spec: BenchmarkSpec, domain: Domain, split: Split, count: int) -> Benchmark:
    """Held-out problems do not depend on the run's seed, so that runs can be compared problem by problem."""
    problems: list[Problem] = []
    for problem in domain.problems(spec.source, split, 0):
        problems.append(problem)
        if len(problems) == count:
            break
    headline = spec.mode or domain.headline
    modes = tuple(Mode) if spec.both_modes else (headline,)
    if split is Split.VALIDATION:
        modes = (headline,)
    return Benchmark(
        spec.name, domain, tuple(problems), spec.k if split is Split.HELDOUT else 1, spec.k_other_mode, modes, headline,
        spec.temperature, spec.top_p, spec.min_p, spec.max_response_tokens, spec.max_prompt_tokens,
    )  # fmt: skip
