"""Tasks of verl with a tiny policy, for tests and for checks by verl's own classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tiny

from cascade_rl.backends.verl.job import Link, Task
from cascade_rl.domains import load_domain
from cascade_rl.model.checkpoint import save_directory
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.recipe import RLStage, Verl
from cascade_rl.types import Mode, Pools, Problem, Split


def policy(folder: Path) -> Path:
    """A Hugging Face directory of a tiny Qwen3 with our template."""
    raw = tiny.raw_config()
    config = DecoderConfig.from_hf(raw)
    save_directory(folder, raw, config, tiny.random_flat(config))
    tiny.tokenizer().save(folder)
    return folder


def problems(domain: str = "maths", count: int = 8, mode: Mode = Mode.THINKING) -> tuple[Problem, ...]:
    made = load_domain(domain).problems("builtin", Split.RL, 0)
    return tuple(next(made).in_mode(mode) for _ in range(count))


def stage(**keys) -> RLStage:
    raw = {
        "name": "math-rl",
        "kind": "rl",
        "data": [{"domain": "maths"}],
        "steps": 2,
        "prompts_per_step": 4,
        "rollouts_per_prompt": 4,
        "max_prompt_tokens": 300,
        "max_response_tokens": 100,
        "tokens_per_microbatch": 512,
    }
    return RLStage.model_validate(raw | keys)


def task(where: Path, made: RLStage | None = None, asked: tuple[Problem, ...] | None = None, **keys) -> Task:
    """One link of all steps; `keys` replace fields of the task."""
    made = made or stage()
    asked = problems(made.data[0].domain, made.steps * made.prompts_per_step) if asked is None else asked
    link = Link(0, 0, made.steps, made.sampled()[0], Pools((asked,)), asked)
    domains = {d.domain: load_domain(d.domain) for d in made.data}
    if not (where / "config.json").is_file():
        policy(where)
    verl = Verl(gpus_per_node=2)
    found = Task(made, link, where, domains, verl, 7, "0123456789abcdef")
    return replace(found, **keys)
