"""What a model has no room for: adapters, and prompts and replies in its own tokens, once they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from cascade_rl.cascade.spoken import refuse_unspoken
from cascade_rl.data.gather import Materials
from cascade_rl.data.settle import fitting
from cascade_rl.domain import Benchmark
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.model.network import Network
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import Screen
from cascade_rl.recipe import Problems, Recipe, RewardModelStage
from cascade_rl.types import Problem


def refuse_made(
    recipe: Recipe, materials: Materials, config: Network, raw: Mapping[str, Any], tokenizer: Tokenizer
) -> None:
    """Raise a Mendable error for what can't be done with the data that were made and the model at hand."""
    refuse_stages(recipe, config, raw)
    refuse_unspoken(recipe, materials, tokenizer)
    refuse_long(recipe, materials, config.max_positions, tokenizer)


def refuse_stages(recipe: Recipe, config: Network, raw: Mapping[str, Any]) -> None:
    """Raise InputError when a stage wants an adapter or a reward model that the family has no place for."""
    for stage in recipe.stages:
        try:
            if stage.lora:
                config.adapted(stage.lora.targets)
            if isinstance(stage, RewardModelStage):
                config.classifier(raw)
        except InputError as error:
            raise InputError(f"stages.{stage.name}{'.lora' if stage.lora else ''}: {error}") from None


def refuse_long(recipe: Recipe, materials: Materials, positions: int, tokenizer: Tokenizer) -> None:
    """Raise RecipeError when a benchmark can't ask a prompt, or a prompt leaves no room for its reply.

    Of training only prompts within their stage's limit count: longer ones are left out there.
    """
    length = prompt_length(tokenizer)
    problems = benchmark_problems(materials.benchmarks, positions, length)
    for stage in recipe.stages:
        pools = materials.data[stage.name].pools() if stage.sampled() else ()
        lengths = [length(problem) for pool in pools for problem in pool]
        told: Problems = []
        for rule in stage.sampled():
            asked = max((tokens for tokens in lengths if tokens <= rule.max_prompt_tokens), default=0)
            told += _beyond(f"stages.{stage.name}", asked, rule.max_response_tokens, positions)
        # phases of a curriculum say the same of one stage; the last is the longest, as a rule
        problems += told[-1:]
    if problems:
        raise RecipeError(recipe.name, problems)


def benchmark_problems(
    benchmarks: Iterable[Benchmark], positions: int, length: Callable[[Problem], int]
) -> Problems:
    problems: Problems = []
    for benchmark in benchmarks:
        spec, path = benchmark.spec, f"benchmarks.{benchmark.name}"
        # the flag of a mode is a part of the prompt, and not of the same length in both
        lengths = [max(length(p.in_mode(mode)) for mode in benchmark.modes) for p in benchmark.problems]
        over, longest = sum(tokens > spec.max_prompt_tokens for tokens in lengths), max(lengths)
        if over:
            text = f"{over} of {len(lengths)} prompts are longer, the longest has {longest} tokens; raise it"
            problems.append((f"{path}.max_prompt_tokens", text))
        else:
            problems += _beyond(path, longest, spec.max_response_tokens, positions)
    return problems


def prompt_length(tokenizer: Tokenizer) -> Callable[[Problem], int]:
    """The tokens of a problem's prompt in its mode, the assistant header included."""
    modes = tokenizer.template.modes
    # the problems of an RL stage are put into its mode when they are drawn
    return lambda p: len(tokenizer.prompt(p if p.mode in modes else p.in_mode(modes[0])))


def _beyond(path: str, prompt: int, reply: int, positions: int) -> Problems:
    if prompt + reply <= positions:
        return []
    text = (
        f"the longest prompt has {prompt} tokens, which with a reply of {reply} goes beyond the model's "
        f"{positions} positions; lower max_response_tokens or max_prompt_tokens"
    )
    return [(path, text)]


def fitting_data(recipe: Recipe, materials: Materials, tokenizer: Tokenizer, screen: Screen) -> Materials:
    """Without prompts over their stage's limit: told of now, not hours later in the middle of a stage."""
    length, data = prompt_length(tokenizer), {}
    for stage in recipe.stages:
        # `gather` proved the prompts disjoint, and leaving some out keeps them so.
        data[stage.name], notes = fitting(
            stage.name, stage.prompt_limit(), materials.data[stage.name], length
        )
        key, size, _ = stage.batch()
        drawn = sum(map(len, data[stage.name].pools()))
        if stage.prompt_limit() is not None and drawn < size:
            notes.append(f"{stage.name}: {key} is {size}, but there are {drawn} prompts: a step has no more")
        for text in notes:
            screen.note(text)
    return replace(materials, data=data)
