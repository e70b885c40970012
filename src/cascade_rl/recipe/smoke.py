"""Cut a recipe down to what shows its path in minutes."""

from __future__ import annotations

from cascade_rl.recipe.model import Architecture
from cascade_rl.recipe.recipe import Recipe
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.recipe.stage import SMOKE_TOKENS


def smoke(recipe: Recipe) -> Recipe:
    """The same recipe with two steps a stage, a handful of problems, short replies.

    It proves the path, not the result.
    """
    # copies are not validated again: every `shrunk` has to leave a stage that is valid
    return recipe.model_copy(
        update={
            "stages": [stage.shrunk() for stage in recipe.stages],
            "benchmarks": [_short(benchmark, recipe.model.architecture) for benchmark in recipe.benchmarks],
            "preflight": recipe.preflight.model_copy(update={"problems": 4}),
            "smoke": True,
        }
    )


def _short(benchmark: BenchmarkSpec, scratch: Architecture | None) -> BenchmarkSpec:
    few = {"problems": min(benchmark.problems, 2), "k": 1, "k_other_mode": None}
    prompt = benchmark.max_prompt_tokens
    if scratch is not None:
        # its tokenizer is learnt from the few samples that are left, so that texts have more tokens
        prompt = max(prompt, min(2 * prompt, scratch.max_position_embeddings - SMOKE_TOKENS))
    return benchmark.model_copy(
        update=few | {"max_prompt_tokens": prompt, "max_response_tokens": SMOKE_TOKENS}
    )
