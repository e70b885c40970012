"""The verl job of every stage of every shipped recipe: compiled, and checked by verl itself.

A tiny model stands in for each recipe's own, with its template and room for its lengths; rows in the shape of the
hub's sets stand in for these (tests/published_sets.py). All else is the recipe's: every key of every job.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sft_steps import RECIPE as SMALL

from cascade_rl.backends.verl.check import check_job
from cascade_rl.backends.verl.compile import compile_job
from cascade_rl.backends.verl.job import Command, Job, Link, Task
from cascade_rl.backends.verl.sft import compile_sft
from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.cascade.chain import switch_rules
from cascade_rl.data.abilities import check_recipe, load_recipe
from cascade_rl.data.gather import gather
from cascade_rl.data.kinds import provide
from cascade_rl.data.shelf import Shelf
from cascade_rl.errors import RecipeError
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer
from cascade_rl.recipe import Recipe, RLStage, SFTStage, Stage, Verl
from cascade_rl.recipe.reading import shipped_recipes
from cascade_rl.testing import QuietScreen
from cascade_rl.train.pool import PromptPool
from cascade_rl.types import Pools, StageData

TESTS = Path(__file__).parents[2] / "tests"
STEPS = 2  # of each job: what is checked does not grow with their number
EACH = 4  # rows of a source
TOGETHER = 2  # verl's environments that are asked at once


def stages(python: Path, folder: Path) -> list[str]:
    """What verl has against the jobs of the recipes, and which stages that ask for verl can't have it."""
    policy, tokenizer = stand_in(folder)
    problems: list[str] = []
    jobs: dict[str, Job] = {}
    for name in sorted(shipped_recipes()):
        recipe = load_recipe(name)
        print(f"{name}: {len(recipe.stages)} stages", flush=True)
        for stage, number, made in compiled(recipe, policy, tokenizer, folder / name):
            place = f"{name}, {stage.name}, job {number}"
            if isinstance(made, Job):
                jobs[place] = made
                continue
            for path, text in made.problems:
                print(f"  refused: {path}: {text}")
            if recipe.engine_of(stage) == "verl":
                problems.append(f"{place} is to be trained by verl, and is refused")
    with ThreadPoolExecutor(TOGETHER) as pool:
        answers = pool.map(lambda job: check_job(job, Command((str(python),))), jobs.values())
        for place, found in zip(jobs, answers, strict=True):
            print(f"{place}: {'; '.join(found) or 'as it must be'}", flush=True)
            problems += [f"{place}: {problem}" for problem in found]
    return problems


def stand_in(folder: Path) -> tuple[Path, Tokenizer]:
    """A model directory with room for every recipe's lengths."""
    recipe = check_recipe(SMALL)
    run_cascade(recipe, folder / "small", QuietScreen())
    policy = folder / "small" / "base"
    config = policy / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 1 << 18}))
    return policy, load_tokenizer(policy)


def compiled(
    recipe: Recipe, policy: Path, tokenizer: Tokenizer, folder: Path
) -> Iterator[tuple[Stage, int, Job | RecipeError]]:
    """Each job of each stage of the policy, or why there is none."""
    materials = gather(few(recipe), provide, Shelf(folder / "rows", lambda text: None))
    verl = recipe.verl or Verl()
    for stage in recipe.stages:
        if stage.trains != "policy":
            continue
        data = materials.data[stage.name]
        rules = switch_rules(stage, data, recipe.seed)
        for link in links(stage, data, recipe.seed):
            task = Task(
                stage,
                link,
                policy,
                materials.domains,
                verl,
                recipe.seed,
                "",
                # where one is asked; what it is made of no check looks at
                reward_model=policy,
                reference=policy,
                switch_rules=rules,
            )
            make = compile_sft if isinstance(stage, SFTStage) else compile_job
            try:
                yield stage, link.number, make(task, folder / f"{stage.name}-{link.number}", tokenizer)
            except RecipeError as error:
                yield stage, link.number, error


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
        asked = [problem for _ in range(steps) for problem in pool.draw(stage.prompts_per_step)]
        yield Link(number, start, start + steps, rule, data, tuple(asked))


def offline() -> None:
    """Rows made here in the place of the hub's."""
    sys.path.insert(0, str(TESTS))
    import published_sets

    from cascade_rl.sources import parts

    parts.hub_rows = published_sets.rows


offline()
