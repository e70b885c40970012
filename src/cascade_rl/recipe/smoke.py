"""Cut a recipe down to what shows its path in minutes."""

from __future__ import annotations

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
            "benchmarks": [_short(benchmark) for benchmark in recipe.benchmarks],
            "preflight": recipe.preflight.model_copy(update={"problems": 4}),
            "smoke": True,
        }
    )


def _short(benchmark: BenchmarkSpec) -> BenchmarkSpec:
    few = {"problems": min(benchmark.problems, 2), "k": 1, "k_other_mode": None}
    return benchmark.model_copy(update=few | {"max_response_tokens": SMOKE_TOKENS})
