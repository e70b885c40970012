"""Rules across the blocks of a recipe that need no domain."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_rl.recipe import Recipe


def cross_problems(recipe: Recipe) -> list[tuple[str, str]]:
    """(path, what is wrong) for everything that one block says of another."""
    return _name_problems(recipe) + _gate_problems(recipe) + _sampler_problems(recipe)


def _name_problems(recipe: Recipe) -> list[tuple[str, str]]:
    problems = []
    for what, names in (
        ("stages", [s.name for s in recipe.stages]),
        ("benchmarks", [b.name for b in recipe.benchmarks]),
    ):
        problems += [
            (f"{what}.{n}", "the name stands twice") for n in sorted({n for n in names if names.count(n) > 1})
        ]
    order = [s.name for s in recipe.stages]
    for benchmark in recipe.benchmarks:
        if benchmark.own_stage and benchmark.own_stage not in order:
            problems.append((f"benchmarks.{benchmark.name}.own_stage", _no_stage(benchmark.own_stage, order)))
    for index, stage in enumerate(recipe.stages):
        wanted = getattr(stage, "reward_model", None)
        if wanted and wanted not in [s.name for s in recipe.stages[:index] if s.kind == "reward_model"]:
            problems.append(
                (f"stages.{stage.name}.reward_model", f"no earlier reward_model stage {wanted!r}")
            )
    return problems


def _no_stage(name: str, order: Sequence[str]) -> str:
    return f"no stage {name!r}; there are {', '.join(order)}"


def _gate_problems(recipe: Recipe) -> list[tuple[str, str]]:
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
        if waiver.stage not in order:
            problems.append((f"gate.waivers.{index}", _no_stage(waiver.stage, order)))
        if waiver.benchmark not in marks:
            problems.append(
                (f"gate.waivers.{index}", f"no benchmark {waiver.benchmark!r}; there are {', '.join(marks)}")
            )
    return problems


def _sampler_problems(recipe: Recipe) -> list[tuple[str, str]]:
    """What vLLM can't do: run without a GPU, or keep the trainer's set of tokens under both of two filters."""
    if recipe.sampler != "vllm":
        return []
    problems = [(key, "sampler vllm needs a CUDA device and one worker; set sampler: torch, or change this")
                for key, bad in (("device", recipe.device == "cpu"), ("workers", recipe.workers > 1)) if bad]  # fmt: skip
    rules = [(f"benchmarks.{b.name}", b) for b in recipe.benchmarks]
    rules += [(f"stages.{s.name}", p) for s in recipe.stages if s.kind == "rl" for _, _, p in s.phases()]
    both = dict.fromkeys(path for path, rule in rules if rule.min_p and rule.top_p < 1)
    return problems + [
        (f"{path}.min_p", "with sampler vllm not beside top_p: vLLM applies min-p first, the trainer last, and their kept "
         "sets would differ; set top_p: 1 or min_p: 0") for path in both
    ]  # fmt: skip
