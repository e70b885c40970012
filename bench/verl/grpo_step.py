"""Real steps of verl's GRPO trainer on a compiled job: sampled, graded by our graders, updated, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from on_cpu import RL, start
from sft_steps import RECIPE as SMALL
from tasks import first_job, trained

from cascade_rl.backends.verl.check import check_job
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.data.abilities import check_recipe

STEPS = 2
STAGE: dict[str, Any] = {
    "name": "rl", "kind": "rl", "steps": STEPS, "lr": 1e-3, "prompts_per_step": 4, "rollouts_per_prompt": 8,
    "max_prompt_tokens": 128, "max_response_tokens": 24, "overlong": "score", "save_every": 1,
    "data": [{"domain": "toy.letters", "problems": 8}],
}  # fmt: skip
RECIPE = SMALL | {"stages": [*SMALL["stages"], STAGE]}


def grpo_step(python: Path, folder: Path) -> list[str]:
    """What is otherwise than it must be on strictly on-policy steps."""
    recipe = check_recipe(RECIPE)
    # an SFT stage of six steps: its replies end now and then, and have letters
    policy = trained(recipe, folder / "ours") / "stages" / "01-sft" / "checkpoint"
    job, _ = first_job(recipe, recipe.stages[1], policy, folder / "job")
    problems = check_job(job, Command((str(python),)))
    steps = start(python, job.folder, RL, ("cpu_platform", "cpu_rollout"))
    return [*problems, *judged(job, steps)]


def judged(job: Job, steps: list[dict[str, Any]]) -> list[str]:
    """What the steps' numbers, replies and checkpoints say."""
    problems = [] if len(steps) == STEPS else [f"{len(steps)} steps were taken"]
    for number, step in enumerate(steps, 1):
        told = {name: step[path] for name, path in SHOWN.items()}
        print(f"step {number}: " + ", ".join(f"{name} {value:.4g}" for name, value in told.items()))
        # strictly on-policy: sampler and trainer agree, the ratio is 1, and something is learnt
        if told["sampler's probability off by"] > 1e-4 or told["clipped"] or abs(told["KL"]) > 1e-6:
            problems.append(f"step {number} is not on-policy: {told}")
        if not told["gradient norm"] > 0:
            problems.append(f"step {number} has no gradient")
    if not (job.checkpoints / f"global_step_{STEPS}" / "actor").is_dir():
        problems.append("there is no checkpoint of the last step")
    return problems


SHOWN = {
    "sampler's probability off by": "training/rollout_probs_diff_max",
    "clipped": "actor/pg_clipfrac",
    "KL": "actor/ppo_kl",
    "gradient norm": "actor/grad_norm",
    "reward": "critic/score/mean",
    "seconds": "timing_s/step",
}
