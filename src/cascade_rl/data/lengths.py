"""Prompts that are too long, whoever counts: a model's tokenizer, or a bound where there is none yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cascade_rl.domain import HeldOut
from cascade_rl.recipe import Problems, Recipe, Stage
from cascade_rl.types import Mode, Problem, StageData

Length = Callable[
    [Problem], int
]  # the tokens of a problem's prompt in its mode, the assistant header included


def benchmark_problems(
    benchmarks: Iterable[HeldOut], positions: int, length: Length, *, least: bool = False
) -> Problems:
    """Benchmarks that can't ask a prompt, or whose longest prompt leaves no room for a reply.

    `least`: the length is a bound below.
    """
    problems: Problems = []
    for benchmark in benchmarks:
        spec, path = benchmark.spec, f"benchmarks.{benchmark.name}"
        # the flag of a mode is a part of the prompt, and not of the same length in both
        lengths = [max(length(p.in_mode(mode)) for mode in benchmark.modes) for p in benchmark.problems]
        over, longest = sum(tokens > spec.max_prompt_tokens for tokens in lengths), max(lengths)
        if over:
            tokens = f"at least {longest}" if least else f"{longest}"
            text = f"{over} of {len(lengths)} prompts are longer, the longest has {tokens} tokens; raise it"
            problems.append((f"{path}.max_prompt_tokens", text))
        else:
            problems += _beyond(path, longest, spec.max_response_tokens, positions, least)
    return problems


def pool_problems(
    recipe: Recipe, data: Mapping[str, StageData], positions: int, length: Length, *, least: bool = False
) -> Problems:
    """Prompts of training that leave no room for their reply.

    Only those within their stage's limit count: longer ones are left out there.
    """
    problems: Problems = []
    for stage in recipe.stages:
        lengths = _lengths(stage, data, length)
        limits = stage.prompt_limits(len(lengths)) or [positions] * len(lengths)
        told: Problems = []
        for rule in stage.sampled():
            drawn = [(lengths[n], limits[n]) for n in stage.drawn(rule, len(lengths)) if n < len(lengths)]
            asked = max((t for pool, limit in drawn for t in pool if t <= limit), default=0)
            told += _beyond(f"stages.{stage.name}", asked, rule.max_response_tokens, positions, least)
        # phases of a curriculum say the same of one stage; the last is the longest, as a rule
        problems += told[-1:]
    return problems


def left_out(
    recipe: Recipe, data: Mapping[str, StageData], length: Length, *, least: bool = False
) -> tuple[Problems, list[str]]:
    """Stages whose every prompt is over their limit, and notes on those that lose some."""
    problems: Problems = []
    notes: list[str] = []
    for stage in recipe.stages:
        pools = _lengths(stage, data, length) if stage.prompt_limit() is not None else []
        for lengths, limit in zip(pools, stage.prompt_limits(len(pools)), strict=True):
            over = sum(tokens > limit for tokens in lengths)
            if over and over == len(lengths):
                tokens = f"at least {min(lengths)}" if least else f"{min(lengths)}"
                text = f"every prompt is longer, the shortest has {tokens} tokens; raise it"
                problems.append((f"stages.{stage.name}.max_prompt_tokens", text))
            elif over:
                left = f"at least {over}" if least else f"{over}"
                notes.append(
                    f"{stage.name}: {left} of {len(lengths)} prompts over {limit} tokens are left out"
                )
    return problems, notes


def asked_length(stage: Stage, length: Length) -> Length:
    """The tokens of a prompt as a stage asks it: the flags of the modes are not of the same length."""
    modes = frozenset[Mode]().union(*(modes for _, modes in stage.asked_modes()))
    return (lambda problem: max(length(problem.in_mode(mode)) for mode in modes)) if modes else length


def _lengths(stage: Stage, data: Mapping[str, StageData], length: Length) -> list[list[int]]:
    """Of each pool the lengths of its prompts; none where the stage samples nothing."""
    pools = data[stage.name].pools() if stage.sampled() and stage.name in data else ()
    asked = asked_length(stage, length)
    return [[asked(problem) for problem in pool] for pool in pools]


def _beyond(path: str, prompt: int, reply: int, positions: int, least: bool) -> Problems:
    if prompt + reply <= positions:
        return []
    tokens = f"at least {prompt}" if least else f"{prompt}"
    text = (
        f"the longest prompt has {tokens} tokens, which with a reply of {reply} goes beyond the model's "
        f"{positions} positions; lower max_response_tokens or max_prompt_tokens"
    )
    return [(path, text)]
