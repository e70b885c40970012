"""A run of seconds in this process, with every kind of stage; tests change its directory and go on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.data.abilities import check_recipe
from cascade_rl.testing import QuietScreen

SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16,
}  # fmt: skip
RECIPE: dict[str, Any] = {
    "name": "small", "precision": "fp32", "smoke": True,
    "model": {"architecture": SHAPE, "tokenizer": {"vocab_size": 300, "samples": 50}},
    "stages": [
        {"name": "sft", "kind": "sft", "samples": 16, "batch_size": 4, "steps": 2, "lr": 1e-3,
         "data": [{"domain": "alignment"}]},
        {"name": "reward", "kind": "reward_model", "pairs": 8, "heldout_pairs": 4, "batch_size": 4, "steps": 2, "lr": 1e-3},
        {"name": "rlhf", "kind": "rl", "steps": 2, "lr": 1e-3, "prompts_per_step": 2, "rollouts_per_prompt": 2,
         "max_response_tokens": 4, "max_prompt_tokens": 400, "mode_mix": "instruct",
         "data": [{"domain": "alignment", "problems": 8}]},
    ],
    "benchmarks": [{"name": "alignment", "domain": "alignment", "problems": 2, "k": 1, "both_modes": False,
                    "max_prompt_tokens": 400, "max_response_tokens": 4}],
    "preflight": {"problems": 2, "max_bad": 0.5},
}  # fmt: skip


def changed(**stages: dict[str, Any]) -> dict[str, Any]:
    """The recipe with other keys in some stages."""
    recipe = copy.deepcopy(RECIPE)
    for stage in recipe["stages"]:
        stage |= stages.get(stage["name"], {})
    return recipe


def go(folder: Path, recipe: dict[str, Any] = RECIPE, **options: Any) -> list[str]:
    """Run it to its end; what the screen was told."""
    screen = QuietScreen()
    run_cascade(check_recipe(recipe), folder, screen, **options)
    return screen.notes
