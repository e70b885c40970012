"""Rules across the blocks of a recipe that need no domain."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_rl.recipe.base import Problems
from cascade_rl.recipe.prompts import FullPhase
from cascade_rl.recipe.recipe import Recipe
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.recipe.tables import SCHEMES, of_a_table


def cross_problems(recipe: Recipe) -> Problems:
    """(path, what is wrong) for everything that one block says of another."""
    found = _name_problems(recipe) + _gate_problems(recipe) + _sampler_problems(recipe)
    return found + _table_problems(recipe)


def _name_problems(recipe: Recipe) -> Problems:
    order, marks = [s.name for s in recipe.stages], [b.name for b in recipe.benchmarks]
    problems = _twice("stages", order) + _twice("benchmarks", marks)
    for benchmark in recipe.benchmarks:
        if benchmark.own_stage and benchmark.own_stage not in order:
            problems.append((f"benchmarks.{benchmark.name}.own_stage", _no_stage(benchmark.own_stage, order)))
    for place, stage in enumerate(recipe.stages):
        problems += stage.dangling(recipe.stages[:place])
    return problems


def _twice(what: str, names: Sequence[str]) -> Problems:
    twins = sorted({name for name in names if names.count(name) > 1})
    return [(f"{what}.{name}", "the name stands twice") for name in twins]


def _no_stage(name: str, order: Sequence[str]) -> str:
    return f"no stage {name!r}; there are {', '.join(order)}"


def _gate_problems(recipe: Recipe) -> Problems:
    order, marks = [s.name for s in recipe.stages], [b.name for b in recipe.benchmarks]
    problems = []
    for index, dip in enumerate(recipe.gate.dips):
        path = f"gate.dips.{index}"
        problems += [(path, _no_stage(s, order)) for s in (dip.at, dip.until) if s not in order]
        if dip.benchmark not in marks:
            problems.append((path, f"no benchmark {dip.benchmark!r}; there are {', '.join(marks)}"))
        elif dip.at in order and dip.until in order and order.index(dip.until) <= order.index(dip.at):
            problems.append((path, f"until ({dip.until}) must come after at ({dip.at})"))
    for index, waiver in enumerate(recipe.gate.waivers):
        path = f"gate.waivers.{index}"
        if waiver.stage not in order:
            problems.append((path, _no_stage(waiver.stage, order)))
        if waiver.benchmark not in marks:
            problems.append((path, f"no benchmark {waiver.benchmark!r}; there are {', '.join(marks)}"))
    return problems


def _table_problems(recipe: Recipe) -> Problems:
    """Keys about rows where nothing has rows."""
    tables = ", ".join(f"{scheme}:" for scheme in SCHEMES)
    return [
        (
            entry.path,
            f"{', '.join(told)}: no effect on source {entry.source}; only tables have rows: {tables}",
        )
        for entry in recipe.entries()
        if (told := entry.reading.told()) and not of_a_table(entry.source)
    ]


def _sampler_problems(recipe: Recipe) -> Problems:
    """What vLLM can't do: run without a GPU, or keep the trainer's set of tokens under two filters."""
    if recipe.sampler != "vllm":
        return []
    wrong = {"device": recipe.device == "cpu", "workers": recipe.workers > 1}
    advice = "sampler vllm needs a CUDA device and one worker; set sampler: torch, or change this"
    problems = [(key, advice) for key, bad in wrong.items() if bad]
    rules: list[tuple[str, BenchmarkSpec | FullPhase]] = []
    rules += [(f"benchmarks.{b.name}", b) for b in recipe.benchmarks]
    rules += [(f"stages.{stage.name}", rule) for stage in recipe.stages for rule in stage.sampled()]
    both = dict.fromkeys(path for path, rule in rules if rule.min_p and rule.top_p < 1)
    return problems + [(f"{path}.min_p", _TWO_FILTERS) for path in both]


_TWO_FILTERS = (
    "with sampler vllm not beside top_p: vLLM applies min-p first, the trainer last, and their kept sets "
    "would differ; set top_p: 1 or min_p: 0"
)
