"""Rules across the blocks of a recipe that need no domain."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_rl.recipe.base import Problems
from cascade_rl.recipe.lora import ALL
from cascade_rl.recipe.prompts import FullPhase
from cascade_rl.recipe.recipe import Recipe
from cascade_rl.recipe.rl import RLStage
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.recipe.sft import SFTStage
from cascade_rl.recipe.tables import SCHEMES, of_a_table


def cross_problems(recipe: Recipe, whole: bool = True) -> Problems:
    """(path, what is wrong) for everything that one block says of another.

    Where the recipe is not `whole`, since wrong parts were left out, numbers are not held against each other.
    """
    problems = _name_problems(recipe) + _gate_problems(recipe) + _sampler_problems(recipe)
    problems += _table_problems(recipe) + _judge_problems(recipe) + _chain_problems(recipe)
    problems += _twice("track", [spec.to for spec in recipe.track])
    if not whole:
        return problems
    problems += _length_problems(recipe)
    shape = recipe.model.architecture
    # another model's sizes stand in its config.json, which `cascade/foresight` reads
    if shape is None:
        return problems
    problems += size_problems(recipe, shape.max_position_embeddings, shape.hidden_size)
    return problems + _target_problems(recipe)


def size_problems(recipe: Recipe, positions: int, width: int) -> Problems:
    """What a model with so many `positions` and a hidden state of `width` numbers can't do."""
    rules: list[tuple[str, BenchmarkSpec | FullPhase]] = []
    rules += [(f"benchmarks.{b.name}", b) for b in recipe.benchmarks]
    rules += [(f"stages.{stage.name}", rule) for stage in recipe.stages for rule in stage.sampled()]
    # Of the reply alone: how long prompts are is known when they are made. One token is left for a prompt.
    long = {path: rule.max_response_tokens for path, rule in rules if rule.max_response_tokens >= positions}
    problems: Problems = [
        (path, f"replies of {tokens} tokens go beyond the model's {positions} positions; shorten them")
        for path, tokens in long.items()
    ]
    for stage in recipe.stages:
        own = stage.own_replies if isinstance(stage, SFTStage) else None
        if own and own.max_tokens >= positions:
            text = f"no prompt has room beside {own.max_tokens} tokens in the model's {positions} positions"
            problems.append((f"stages.{stage.name}.own_replies.max_tokens", f"{text}; lower it"))
        if stage.lora and stage.lora.rank > width:
            problems.append(
                (
                    f"stages.{stage.name}.lora.rank",
                    f"{stage.lora.rank} is above the model's width of {width}: the factors would be larger "
                    "than the matrix; lower it",
                )
            )
    return problems


def _target_problems(recipe: Recipe) -> Problems:
    """Targets of adapters that a model from scratch has not."""
    return [
        (f"stages.{stage.name}.lora.targets", f"{target!r} is none of its projections: {', '.join(ALL)}")
        for stage in recipe.stages
        if stage.lora
        for target in stage.lora.targets
        if target not in ALL
    ]


def _length_problems(recipe: Recipe) -> Problems:
    """Lengths of a stage that miss each other."""
    problems: Problems = []
    for stage in recipe.stages:
        path = f"stages.{stage.name}"
        if stage.warmup_steps >= stage.planned_steps:
            text = (
                f"the stage has {stage.planned_steps} steps, so its learning rate never comes to lr; lower it"
            )
            problems.append((f"{path}.warmup_steps", text))
        if stage.schedule_steps is not None and stage.schedule_steps < stage.planned_steps:
            text = (
                f"the stage has {stage.planned_steps} steps, so its learning rate would be at its end for "
                "the last of them; raise it, or remove it"
            )
            problems.append((f"{path}.schedule_steps", text))
        key, size, items = stage.batch()
        if size > items:
            text = f"a batch of {size}, but the stage draws from {items}; lower it, or draw from more"
            problems.append((f"{path}.{key}", text))
    return problems


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
    problems = _idle_gate(recipe)
    for index, dip in enumerate(recipe.gate.dips):
        path = f"gate.dips.{index}"
        problems += [(path, _no_stage(s, order)) for s in (dip.at, dip.until) if s not in order]
        if dip.benchmark not in marks:
            problems.append((path, _no_benchmark(dip.benchmark, marks)))
        elif dip.at in order and dip.until in order and order.index(dip.until) <= order.index(dip.at):
            problems.append((path, f"until ({dip.until}) must come after at ({dip.at})"))
    for index, waiver in enumerate(recipe.gate.waivers):
        path = f"gate.waivers.{index}"
        if waiver.stage not in order:
            problems.append((path, _no_stage(waiver.stage, order)))
        if waiver.benchmark not in marks:
            problems.append((path, _no_benchmark(waiver.benchmark, marks)))
    return problems


def _judge_problems(recipe: Recipe) -> Problems:
    """Benchmarks of own pairs that nobody can judge."""
    trained = [stage.name for stage in recipe.stages if stage.trains == "reward_model"]
    problems: Problems = []
    for benchmark in recipe.benchmarks:
        path, judge = f"benchmarks.{benchmark.name}", recipe.judge_of(benchmark)
        if benchmark.domain is None and judge is None:
            text = "own pairs are judged by a reward model, and no stage trains one; add a reward_model stage"
            problems.append((path, text))
        elif judge is not None and judge not in trained:
            text = f"no reward_model stage {judge!r}; there are {', '.join(trained) or 'none'}"
            problems.append((f"{path}.reward_model", text))
    return problems


def _idle_gate(recipe: Recipe) -> Problems:
    if recipe.benchmarks or recipe.gate.policy == "warn":
        return []
    text = f"{recipe.gate.policy} goes by benchmarks, and the recipe has none; add one, or set policy: warn"
    return [("gate.policy", text)]


def _no_benchmark(name: str, marks: Sequence[str]) -> str:
    return f"no benchmark {name!r}; there are {', '.join(marks) or 'none'}"


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


def _chain_problems(recipe: Recipe) -> Problems:
    """What stages that verl trains ask and a chain of jobs can't do, see `cascade/chain`."""
    problems: Problems = []
    for stage in recipe.stages:
        if recipe.engine_of(stage) != "verl" or not isinstance(stage, RLStage):
            continue
        why = "a sub-stage" if len(stage.phases()) > 1 else ""
        why = why or ("an epoch of its filter" if stage.filter.kind == "epoch" else "")
        changing = stage.schedule != "constant" or stage.warmup_steps
        if why and changing:
            key = "schedule" if stage.schedule != "constant" else "warmup_steps"
            problems.append(
                (
                    f"stages.{stage.name}.{key}",
                    f"on verl each job, {why} here, begins its schedule anew; set schedule: constant and "
                    "warmup_steps: 0, or divide the stage",
                )
            )
    if recipe.gate.policy == "best" and any(recipe.engine_of(s) == "verl" for s in recipe.stages):
        problems.append(
            (
                "gate.policy",
                "best probes between the steps, which verl's jobs don't do; set policy: warn or stop",
            )
        )
    return problems
