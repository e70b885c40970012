"""Say in words what a recipe will do, with the batch sizes that people ask about."""

from __future__ import annotations

from cascade_rl.recipe.recipe import Recipe
from cascade_rl.recipe.scoring import BenchmarkSpec


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
    replies = sum(benchmark.problems * benchmark.replies for benchmark in recipe.benchmarks)
    if recipe.benchmarks:
        before = "before the first and " if recipe.score_base else ""
        lines.append(
            f"{before}after each stage: {len(recipe.benchmarks)} benchmarks ({columns} columns), "
            f"{replies} replies"
        )
    else:
        lines.append("no benchmarks: nothing is measured after the stages")
    lines += [f"   {line}" for benchmark in recipe.benchmarks for line in _judged(recipe, benchmark)]
    return "\n".join(lines)


def _judged(recipe: Recipe, benchmark: BenchmarkSpec) -> list[str]:
    """Who judges a benchmark of own pairs, and whether somebody is trained to please that reward model."""
    judge = recipe.judge_of(benchmark)
    if judge is None:
        return []
    told = [f"{benchmark.name}: wins on own pairs, judged by the reward model of {judge} from its end on"]
    pleasing = [s.name for s in recipe.stages if s.reward_model_among(recipe.before(s.name)) == judge]
    others = [s.name for s in recipe.stages if s.trains == "reward_model" and s.name != judge]
    if pleasing:
        mend = f"reward_model: {others[-1]} would not" if others else "let a second one judge"
        told.append(
            f"{benchmark.name}: {judge} may be what {', '.join(pleasing)} asks for rewards, so that its word "
            f"flatters; {mend}"
        )
    return told
