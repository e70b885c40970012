"""An SFT stage trained twice, by our own engine and by verl's trainer from the compiled job: the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from on_cpu import SFT, start
from tasks import first_job, trained

from cascade_rl.backends.verl.check import check_job
from cascade_rl.backends.verl.job import Command
from cascade_rl.data.abilities import check_recipe

SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16,
}  # fmt: skip
# every key of a stage that verl takes, away from its default; 30 samples and 48 places: batches span epochs
RECIPE: dict[str, Any] = {
    "name": "small", "precision": "fp32", "smoke": True,
    "model": {"architecture": SHAPE, "tokenizer": {"vocab_size": 300, "samples": 50}},
    "stages": [
        {"name": "sft", "kind": "sft", "samples": 30, "batch_size": 8, "steps": 6, "lr": 1e-2, "schedule": "cosine",
         "warmup_steps": 2, "final_lr_fraction": 0.1, "schedule_steps": 9, "weight_decay": 0.1, "grad_clip": 0.8,
         "betas": [0.8, 0.97], "max_tokens": 128, "too_long": "cut",
         "data": [{"domain": "alignment"}, {"domain": "maths", "modes": ["thinking", "instruct"]}]},
    ],
    "benchmarks": [{"name": "alignment", "domain": "alignment", "problems": 2, "k": 1, "both_modes": False,
                    "max_prompt_tokens": 400, "max_response_tokens": 4}],
    "preflight": {"problems": 2, "max_bad": 0.5},
}  # fmt: skip
# verl's name of what we write as the second; fp32 sums in another order
ALIKE = {"train/loss": "loss", "train/grad_norm": "grad_norm", "train/global_tokens": "tokens"}
TOLERANCE = 1e-5


def sft_steps(python: Path, folder: Path) -> list[str]:
    """What verl's steps have otherwise than ours, on one process and on two that share the weights."""
    recipe = check_recipe(RECIPE)
    run = trained(recipe, folder / "ours")
    journal = (run / "stages" / "01-sft" / "journal.jsonl").read_text().splitlines()
    ours = [row["metrics"] for row in map(json.loads, journal) if row["kind"] == "step"]
    problems: list[str] = []
    for gpus in (1, 2):
        job, _ = first_job(recipe, recipe.stages[0], run / "base", folder / f"verl-{gpus}", gpus)
        problems += check_job(job, Command((str(python),)))
        steps = start(python, job.folder, SFT, ("cpu_platform",))
        print(f"{gpus} processes      loss                  gradient norm         tokens")
        for number, (mine, theirs) in enumerate(zip(ours, steps, strict=True), 1):
            told = "  ".join(f"{mine[own]:9.6g} {theirs[name]:9.6g}" for name, own in ALIKE.items())
            print(f"step {number}: ours, verl  {told}")
            problems += [
                f"step {number} of {gpus} processes: {own} {mine[own]} here, {theirs[name]} in verl"
                for name, own in ALIKE.items()
                if abs(mine[own] - theirs[name]) > TOLERANCE * abs(mine[own])
            ]
        # verl tells the rate of the step that comes; the job knows that of the first
        first = json.loads(job.manifest.read_text())["first_rate"]
        rates = [first, *(step["train/lr"] for step in steps[:-1])]
        if any(abs(rate - own["lr"]) > 1e-9 for rate, own in zip(rates, ours, strict=True)):
            problems.append(f"learning rates {rates} in verl")
    return problems
