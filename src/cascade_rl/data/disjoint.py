"""The proof that no prompt has two uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cascade_rl.domain import Benchmark
from cascade_rl.errors import StageError
from cascade_rl.types import Problem, StageData

# Which uses may share prompts, with themselves or with another: SFT stages do, and the prompts of the report's RLHF are
# a subset of its reward model's (arXiv 2512.13607). Two RL stages may not, nor does any stage share with a benchmark.
MAY_SHARE = (frozenset({"sft"}), frozenset({"reward"}), frozenset({"reward", "rl"}))
BENCHMARK = "benchmark"


def normal(text: str) -> str:
    """A prompt as disjointness sees it: case and spaces don't count."""
    return " ".join(text.lower().split())


def prompts_of(problems: Iterable[Problem]) -> set[str]:
    """Their normalised prompts."""
    return {normal(problem.prompt_text) for problem in problems}


def stage_prompts(data: StageData) -> set[str]:
    """The normalised prompts of a stage's data."""
    return prompts_of(problem for pool in data.pools() for problem in pool)


def exclusive(data: StageData) -> set[str]:
    """The prompts that later stages of the same use must leave alone."""
    return set() if frozenset({data.use}) in MAY_SHARE else stage_prompts(data)


def check_disjoint(data: Mapping[str, StageData], benchmarks: Iterable[Benchmark]) -> None:
    """Raise StageError naming an example when two uses share a prompt that may not; `data` maps a stage to its own."""
    uses = [(f"stage {name}", made.use, stage_prompts(made)) for name, made in data.items()]
    uses += [(f"benchmark {b.name}", BENCHMARK, prompts_of(b.problems)) for b in benchmarks]
    for index, (name, use, prompts) in enumerate(uses):
        for other, other_use, others in uses[:index]:
            shared = prompts & others
            if shared and frozenset({use, other_use}) not in MAY_SHARE:
                raise StageError(
                    f"{name} and {other} share {len(shared)} prompts, such as {min(shared)!r}: they must be disjoint"
                )
