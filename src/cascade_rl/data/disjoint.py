"""The proof that no prompt has two uses.

Compared are whole prompts, but for case and spaces: neither paraphrases nor shared n-grams are found (arXiv
2512.13607 removes SFT samples that share a 9-gram with a test set; whoever makes a data file does that).
What a run is measured by on its way (probes, held-out pairs) is looked at in `measured`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cascade_rl.domain import Benchmark
from cascade_rl.errors import StageError
from cascade_rl.recipe import Stage
from cascade_rl.types import Problem, StageData


def normal(text: str) -> str:
    """A prompt as disjointness sees it: case and spaces don't count."""
    return " ".join(text.lower().split())


def prompts_of(problems: Iterable[Problem]) -> set[str]:
    """Their normalised prompts."""
    return {normal(problem.prompt_text) for problem in problems}


def stage_prompts(data: StageData) -> set[str]:
    """The normalised prompts of a stage's data."""
    return prompts_of(problem for pool in data.pools() for problem in pool)


def may_share(one: Stage, other: Stage) -> bool:
    """Whether a prompt may stand in both stages; it is enough if one of them allows it."""
    return one.may_share(other) or other.may_share(one)


def check_disjoint(
    stages: Sequence[Stage], data: Mapping[str, StageData], benchmarks: Iterable[Benchmark]
) -> None:
    """Raise StageError, which names an example, when two uses share a prompt that may not.

    `data` is by the stage's name. Benchmarks share with no stage, nor with each other.
    """
    # None instead of a stage: a benchmark, which no rule of sharing covers
    uses: list[tuple[str, Stage | None, set[str]]] = []
    uses += [(f"stage {stage.name}", stage, stage_prompts(data[stage.name])) for stage in stages]
    uses += [(f"benchmark {b.name}", None, prompts_of(b.problems)) for b in benchmarks]
    for index, (name, stage, prompts) in enumerate(uses):
        for other_name, other, others in uses[:index]:
            shared = prompts & others
            # min: the example is the same on every machine, which the order of a set is not
            if shared and not (stage and other and may_share(stage, other)):
                raise StageError(
                    f"{name} and {other_name} share {len(shared)} prompts, such as {min(shared)!r}: "
                    "they must be disjoint"
                )
