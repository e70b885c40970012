"""Cut a recipe down to what shows its path in minutes."""

from __future__ import annotations

from typing import Any

from cascade_rl.recipe import Recipe, Stage

SMOKE_TOKENS = 32


def smoke(recipe: Recipe) -> Recipe:
    """The same recipe cut down to two steps a stage, a handful of problems, short replies: proves the path, not the result."""

    def shrink(stage: Stage) -> Stage:
        update: dict[str, Any] = {"steps": 2, "save_every": 1, "warmup_steps": 0}
        if stage.kind == "rl":
            pool = [d.model_copy(update={"problems": min(d.problems, 16)}) for d in stage.data]
            phases = len(stage.phases())
            short = {"max_response_tokens": SMOKE_TOKENS}
            shares = [
                p.model_copy(update={"share": 1 / phases} | (short if p.max_response_tokens else {}))
                for p in stage.curriculum[:phases]
            ]
            update |= short
            update |= {
                "data": pool,
                "curriculum": shares,
                "steps": max(2, phases),
                "prompts_per_step": min(stage.prompts_per_step, 4),
                "rollouts_per_prompt": min(stage.rollouts_per_prompt, 4),
                "updates_per_batch": min(stage.updates_per_batch, stage.prompts_per_step, 4),
                "overlong_buffer": stage.overlong_buffer and min(stage.overlong_buffer, SMOKE_TOKENS // 2),
            }
        else:
            batch = min(stage.batch_size, 8)
            size = {"samples": batch * 2} if stage.kind == "sft" else {"pairs": batch * 2, "heldout_pairs": 8}
            update |= {"epochs": None, "batch_size": batch, **size}
            if stage.kind == "reward_model" and stage.pairs_from == "samples":
                update |= {"sample_tokens": min(stage.sample_tokens, 48)}
        return stage.model_copy(update=update)

    return recipe.model_copy(
        update={
            "stages": [shrink(s) for s in recipe.stages],
            "benchmarks": [
                b.model_copy(
                    update={
                        "problems": min(b.problems, 2),
                        "k": 1,
                        "k_other_mode": None,
                        "max_response_tokens": SMOKE_TOKENS,
                    }
                )
                for b in recipe.benchmarks
            ],
            "preflight": recipe.preflight.model_copy(update={"problems": 4}),
            "smoke": True,
        }
    )
