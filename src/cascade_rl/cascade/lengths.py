"""What a model has no room for: adapters, and prompts and replies in its own tokens, once they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from cascade_rl.cascade.spoken import refuse_unspoken
from cascade_rl.data.gather import Materials
from cascade_rl.data.lengths import (
    Length,
    asked_length,
    benchmark_problems,
    left_out,
    pool_problems,
)
from cascade_rl.data.settle import fitting
from cascade_rl.domain import HeldOut
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.model.network import Network
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import Screen
from cascade_rl.recipe import Problems, Recipe, RewardModelStage, SFTStage, Stage
from cascade_rl.types import Demonstrations, Pairs, StageData

LOOKED_AT = 1000  # samples of a stage


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
            # a reward model of another base was asked of that, see `outside`
            if isinstance(stage, RewardModelStage) and stage.init:
                continue
            if stage.lora:
                config.adapted(stage.lora.targets)
            if isinstance(stage, RewardModelStage):
                config.classifier(raw)
        except InputError as error:
            raise InputError(f"stages.{stage.name}{'.lora' if stage.lora else ''}: {error}") from None


def too_long(
    recipe: Recipe,
    data: Mapping[str, StageData],
    benchmarks: Sequence[HeldOut],
    positions: int,
    tokenizer: Tokenizer,
) -> tuple[Problems, list[str]]:
    """Benchmarks that can't ask a prompt, prompts without room for a reply, stages that lose all of theirs.

    And notes on stages that lose some.
    """
    length = prompt_length(tokenizer)
    problems, notes = left_out(recipe, data, length)
    for stage in [stage for stage in recipe.stages if stage.name in data]:
        limit = (
            min(stage.max_tokens, positions) if isinstance(stage, SFTStage | RewardModelStage) else positions
        )
        tokens = _samples(stage, data[stage.name], tokenizer)
        over = sum(number > limit for number in tokens)
        if over and over == len(tokens):
            text = f"the first {over} samples have more than {limit} tokens, at least {min(tokens)}; raise it"
            problems.append((f"stages.{stage.name}.max_tokens", text))
        elif over:
            looked = f"{over} of the first {len(tokens)} samples"
            notes.append(f"{stage.name}: {looked} have more than {limit} tokens and are left out")
    problems += benchmark_problems(benchmarks, positions, length)
    return problems + pool_problems(recipe, data, positions, length), notes


def _samples(stage: Stage, data: StageData, tokenizer: Tokenizer) -> list[int]:
    """Tokens of the first samples that a stage would leave out if they were too long."""
    if isinstance(data, Demonstrations) and isinstance(stage, SFTStage) and stage.too_long == "drop":
        return [sum(map(len, tokenizer.taught(item))) for item in islice(data.items, LOOKED_AT)]
    # of a reward model with a tokenizer of its own its stage counts them, and says it
    if not isinstance(data, Pairs) or stage.outside() is not None:
        return []
    # the policy's own answers are not there before their stage begins
    pairs = [pair for pair in islice(data.training, LOOKED_AT) if pair.chosen]
    answers = [(pair.problem.messages, (pair.chosen, pair.rejected)) for pair in pairs]
    return [max(len(tokenizer.answered(before, one)) for one in both) for before, both in answers]


def refuse_long(recipe: Recipe, materials: Materials, positions: int, tokenizer: Tokenizer) -> None:
    """Raise RecipeError when a benchmark can't ask a prompt, or a prompt leaves no room for its reply."""
    length = prompt_length(tokenizer)
    problems = benchmark_problems(materials.benchmarks, positions, length)
    problems += pool_problems(recipe, materials.data, positions, length)
    if problems:
        raise RecipeError(recipe.name, problems)


def prompt_length(tokenizer: Tokenizer) -> Length:
    """The tokens of a problem's prompt in its mode, the assistant header included."""
    modes = tokenizer.template.modes
    # the problems of an RL stage are put into its mode when they are drawn
    return lambda p: len(tokenizer.prompt(p if p.mode in modes else p.in_mode(modes[0])))


def fitting_data(recipe: Recipe, materials: Materials, tokenizer: Tokenizer, screen: Screen) -> Materials:
    """Without prompts over their stage's limit: told of now, not hours later in the middle of a stage."""
    length, data = prompt_length(tokenizer), {}
    for stage in recipe.stages:
        # `gather` proved the prompts disjoint, and leaving some out keeps them so.
        made = materials.data[stage.name]
        limits = stage.prompt_limits(len(made.pools())) if stage.prompt_limit() is not None else []
        data[stage.name], notes = fitting(stage.name, limits, made, asked_length(stage, length))
        key, size, _ = stage.batch()
        drawn = stage.fewest([len(pool) for pool in data[stage.name].pools()])
        if stage.prompt_limit() is not None and drawn < size:
            notes.append(f"{stage.name}: {key} is {size}, but there are {drawn} prompts: a step has no more")
        for text in notes:
            screen.note(text)
    return replace(materials, data=data)
