"""The proof that no prompt has two uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cascade_rl.domain import Benchmark
from cascade_rl.errors import StageError
from cascade_rl.recipe import Recipe
from cascade_rl.types import Problem


def normal(text: str) -> str:
    """A prompt as disjointness sees it: case and spaces don't count."""
    return " ".join(text.lower().split())


def prompts_of(found: object) -> set[str]:
    """The normalised prompts of a stage's data."""
    problems = (item if isinstance(item, Problem) else item.problem for item in _flat(found))
    return {normal(p.prompt_text) for p in problems}


def _flat(found: object) -> Iterable[object]:
    for item in found:
        if isinstance(item, list):
            yield from item
        else:
            yield item


def check_disjoint(recipe: Recipe, data: Mapping[str, object], benchmarks: Iterable[Benchmark]) -> None:
    """Raise StageError naming an example when SFT, an RL stage or a benchmark share a prompt.

    SFT stages may share prompts with each other, as may a reward model and the RLHF that follows it (the report's
    RLHF prompts are a subset of the reward model's).
    """
    uses: list[tuple[str, str, set[str]]] = []
    for stage in recipe.stages:
        kind = "sft" if stage.kind == "sft" else "reward" if stage.kind == "reward_model" else stage.name
        found = data[stage.name]
        uses.append(
            (f"stage {stage.name}", kind, prompts_of(found[0] if stage.kind == "reward_model" else found))
        )
    uses += [
        (f"benchmark {b.name}", f"benchmark {b.name}", {normal(p.prompt_text) for p in b.problems})
        for b in benchmarks
    ]
    for index, (name, kind, prompts) in enumerate(uses):
        for other, other_kind, others in uses[:index]:
            shared = prompts & others
            if shared and kind != other_kind and not _reward_pair(recipe, kind, other_kind):
                raise StageError(
                    f"{name} and {other} share {len(shared)} prompts, such as {min(shared)!r}: they must be disjoint"
                )


def _reward_pair(recipe: Recipe, kind: str, other: str) -> bool:
    names = {s.name for s in recipe.stages if s.kind == "rl"}
    return "reward" in (kind, other) and bool({kind, other} & names)
