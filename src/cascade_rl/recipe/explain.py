"""Say in words what a recipe will do, with the batch sizes that people ask about."""

from __future__ import annotations

from cascade_rl.recipe.recipe import Recipe


def explain(recipe: Recipe) -> str:
    """A few lines a stage: how many samples, updates and tokens at most."""
    lines = [
        f"{recipe.name}: {len(recipe.stages)} stages, seed {recipe.seed}, model from {recipe.model.init}"
    ]
    lines += [f"   {line}" for line in recipe.model.explained()]
    if recipe.sampler == "vllm":
        lines.append(
            "replies by vLLM on the trainer's GPU: rollout_correction is tis where a stage does not set it"
        )
    for number, stage in enumerate(recipe.stages, 1):
        lines += [f"{number}. {stage.name} ({stage.kind})", *(f"   {line}" for line in stage.explained())]
    columns = sum(2 if b.both_modes else 1 for b in recipe.benchmarks)
    # in each mode k sampled replies a problem and a greedy one
    replies = sum(
        b.problems * (b.k + 1 + ((b.k_other_mode or b.k) + 1) * b.both_modes) for b in recipe.benchmarks
    )
    if recipe.benchmarks:
        lines.append(
            f"after each stage: {len(recipe.benchmarks)} benchmarks ({columns} columns), {replies} replies"
        )
    else:
        lines.append("no benchmarks: nothing is measured after the stages")
    return "\n".join(lines)
