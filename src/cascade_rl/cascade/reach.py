"""What of a benchmark's protocol a model can do: the rest is cut, said aloud, and written into the result.

Fewer positions than the replies may take, a mode that its own chat template has no word for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade_rl.benchmarks import load_benchmark
from cascade_rl.domain import HeldOut
from cascade_rl.errors import InputError
from cascade_rl.model.base import choose_device
from cascade_rl.model.checkpoint import read_config
from cascade_rl.model.template import FOUND
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer
from cascade_rl.rollout.world import Engine

LEAST_REPLY = 16  # tokens that have to be left for a reply: with fewer a model can't answer anything


@dataclass(frozen=True, slots=True)
class Machine:
    """On what a model here computes, as `Engine`; `yarn` None: where the protocol's lengths ask for it."""

    workers: int = 1
    device: str = "auto"
    precision: str = "auto"
    sampler: str = "torch"
    template: str | None = None
    yarn: float | None = None


def fitted_to(
    held: Sequence[HeldOut], folder: Path, machine: Machine, note: Callable[[str], None]
) -> tuple[Engine, list[HeldOut]]:
    """The engine, and the benchmarks within what the model can do of them."""
    raw, config = read_config(folder)
    template = machine.template or FOUND
    tokenizer = load_tokenizer(folder, template=template)
    spoken = _spoken(held, tokenizer, note)
    longest = {one.name: _longest(one, tokenizer) for one in spoken}
    wanted = max(one.spec.max_response_tokens for one in spoken)
    scaled = (raw.get("rope_parameters") or raw.get("rope_scaling") or {}).get(
        "rope_type", "default"
    ) != "default"
    factor = machine.yarn
    if factor is None:
        told = max(load_benchmark(one.spec.suite or one.name).yarn for one in spoken)
        # Only where it brings what the protocol asks for: a model of few positions gets worse by it, and its
        # replies stay too short all the same.
        reaches = config.max_positions < wanted <= config.max_positions * told
        factor = told if reaches and not scaled else 1.0
    positions = int(config.max_positions * factor)
    if factor != 1:
        note(f"RoPE is stretched by YaRN, factor {factor:g}: {positions} positions")
        if machine.sampler == "vllm":
            raise InputError(
                "vLLM reads RoPE from the model's files: export it with rope_scaling, or --yarn 1"
            )
    fitted = [_within(one, longest[one.name], positions, note) for one in spoken]
    device, precision = choose_device(machine)
    most = max(longest[one.name] + one.spec.max_response_tokens for one in fitted)
    return Engine(
        machine.workers, device, precision, machine.sampler, most, tokenizer.template.name, factor
    ), fitted


def _spoken(held: Sequence[HeldOut], tokenizer: Tokenizer, note: Callable[[str], None]) -> list[HeldOut]:
    """In the modes that the template knows."""
    known = tokenizer.template.modes
    other = [one.name for one in held if not set(one.modes) <= set(known)]
    if other:
        note(
            f"{', '.join(other)}: the model's chat template can't ask for another mode than {known[0]}: "
            "asked in that (--template cascade can ask for both)"
        )
    only = {"mode": known[0], "both_modes": False, "k_other_mode": None}
    return [_changed(one, **only) if one.name in other else one for one in held]


def _longest(held: HeldOut, tokenizer: Tokenizer) -> int:
    """The tokens of its longest prompt."""
    # the longest in characters need not be the longest in tokens, but the 50 longest hold it as a rule; what
    # the rule misses is refused by the sampler, with the problem's name
    texts = sorted(held.problems, key=lambda problem: -sum(len(m.content) for m in problem.messages))[:50]
    return max(len(tokenizer.prompt(problem.in_mode(mode))) for problem in texts for mode in held.modes)


def _within(held: HeldOut, longest: int, positions: int, note: Callable[[str], None]) -> HeldOut:
    """With prompts and replies that the model has positions for."""
    spec = held.spec
    room = positions - longest
    if room < LEAST_REPLY:
        raise InputError(
            f"{held.name}: its longest prompt has {longest} tokens, and the model has {positions} positions: "
            "there is no room for a reply"
        )
    if spec.max_response_tokens > room:
        note(
            f"{held.name}: replies have {room} tokens at most, not {spec.max_response_tokens}: the model has "
            f"{positions} positions"
        )
    prompt = max(spec.max_prompt_tokens, longest)
    return _changed(held, max_response_tokens=min(spec.max_response_tokens, room), max_prompt_tokens=prompt)


def _changed(held: HeldOut, **keys: Any) -> HeldOut:
    spec = held.spec.model_copy(update=keys)
    mode = spec.mode or held.headline
    return replace(held, spec=spec, problems=tuple(problem.in_mode(mode) for problem in held.problems))
