"""Say in words what a recipe will do, with the batch sizes that people ask about."""

from __future__ import annotations

from cascade_rl.recipe import Phase, Recipe, RLStage, Stage


def explain(recipe: Recipe) -> str:
    """A few lines a stage: how many samples, updates and tokens at most."""
    lines = [
        f"{recipe.name}: {len(recipe.stages)} stages, seed {recipe.seed}, model from {recipe.model.init}"
    ]
    if recipe.sampler == "vllm":
        lines.append(
            "replies by vLLM on the trainer's GPU: rollout_correction is tis where a stage does not set it"
        )
    for number, stage in enumerate(recipe.stages, 1):
        lines += [f"{number}. {stage.name} ({stage.kind})", *(f"   {line}" for line in _stage(stage))]
    both = sum(2 if b.both_modes else 1 for b in recipe.benchmarks)
    replies = sum(
        b.problems * (b.k + 1 + ((b.k_other_mode or b.k) + 1) * b.both_modes) for b in recipe.benchmarks
    )
    lines.append(f"after each stage: {len(recipe.benchmarks)} benchmarks ({both} columns), {replies} replies")
    return "\n".join(lines)


def _stage(stage: Stage) -> list[str]:
    if stage.kind == "rl":
        return _rl(stage)
    what, count = (
        ("demonstrations", stage.samples) if stage.kind == "sft" else ("preference pairs", stage.pairs)
    )
    epochs = stage.planned_steps * stage.batch_size / count
    return [f"{stage.planned_steps} updates of {stage.batch_size} {what}: {epochs:.2g} epochs of {count}"]


def _rl(stage: RLStage) -> list[str]:
    replies, once = stage.prompts_per_step * stage.rollouts_per_prompt, stage.updates_per_batch == 1
    lines = [
        f"{stage.steps} steps: {stage.prompts_per_step} prompts x {stage.rollouts_per_prompt} rollouts = {replies} replies, "
        + (
            "one update each (strictly on-policy)"
            if once
            else f"{stage.updates_per_batch} updates each ({stage.loss})"
        ),
        f"prompts: {', '.join(f'{d.domain} ({d.problems}, weight {d.weight:g})' for d in stage.data)}; {stage.mode_mix}; "
        f"filter {stage.filter.kind}"
        + (f"; correction {stage.rollout_correction}" if stage.rollout_correction != "none" else ""),
    ]
    for start, end, phase in stage.phases():
        lines.append(
            f"steps {start}-{end}: responses up to {phase.max_response_tokens} tokens, temperature {phase.temperature:g}, "
            f"{_filters(phase)}, overlong: {phase.overlong}"
        )
    return lines


def _filters(phase: Phase) -> str:
    """Which tokens a phase samples from; what is off by default is named when it is on."""
    more = [f"{name} {value:g}" for name, value in (("top-k", phase.top_k), ("min-p", phase.min_p)) if value]
    return ", ".join([f"top-p {phase.top_p:g}", *more])
