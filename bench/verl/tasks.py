"""Stages of recipes as verl's jobs: what comes before them is trained by our own engine, and a small part is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cascade_rl.backends.verl import by_kind
from cascade_rl.backends.verl.job import Job, Link, Task
from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.cascade.chain import chain
from cascade_rl.data.gather import gather
from cascade_rl.data.kinds import provide
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.recipe import Recipe, RLStage, SFTStage, Stage, Verl
from cascade_rl.testing import QuietScreen
from cascade_rl.train.pool import PromptPool
from cascade_rl.types import Pools, StageData

STEPS = 2  # of each job: what is checked does not grow with their number
EACH = 4  # rows of a source


def trained(recipe: Recipe, folder: Path) -> Path:
    """A run of the recipe's first stage by our own engine."""
    run_cascade(recipe.model_copy(update={"stages": recipe.stages[:1]}), folder, QuietScreen())
    return folder


def first_job(recipe: Recipe, stage: Stage, policy: Path, folder: Path, gpus: int = 1) -> tuple[Job, Link]:
    """The first job of a stage, compiled for a policy's directory, and what of the stage it is."""
    materials = gather(recipe, provide)
    link = next(chain(stage, materials.data[stage.name], recipe.seed, lambda start, end: []))
    task = Task(stage, link, policy, materials.domains, Verl(gpus_per_node=gpus), recipe.seed, "")
    return by_kind.compiled(task, folder, load_tokenizer(policy)), link


def few(recipe: Recipe) -> Recipe:
    """The recipe with a handful of rows of each source: what the jobs are made of, not how they train."""
    stages = []
    for stage in recipe.stages:
        if isinstance(stage, SFTStage):
            entries = [entry.model_copy(update={"weight": 1.0}) for entry in stage.data]
            stages.append(stage.model_copy(update={"data": entries, "samples": EACH * len(entries)}))
        elif isinstance(stage, RLStage):
            entries = [entry.model_copy(update={"problems": EACH}) for entry in stage.data]
            stages.append(stage.model_copy(update={"data": entries}))
    return recipe.model_copy(update={"stages": stages, "benchmarks": []})


def links(stage: Stage, data: StageData, seed: int) -> Iterator[Link]:
    """A job of two steps for each phase."""
    if not isinstance(stage, RLStage) or not isinstance(data, Pools):
        yield Link(0, 0, min(STEPS, stage.planned_steps), None, data)
        return
    pool = PromptPool(stage, data.entries, seed)
    for number, (start, end, rule) in enumerate(stage.phases()):
        steps = min(STEPS, end - start)
        rounds = stage.filter.max_rounds if stage.filter.kind == "batch" else 1
        asked = [p for _ in range(steps * rounds) for p in pool.draw(stage.prompts_per_step, rule.data)]
        yield Link(number, start, start + steps, rule, data, tuple(asked))
