"""The verl job of every stage of every shipped recipe: compiled, and checked by verl itself.

A tiny model stands in for each recipe's own, with its template and room for its lengths, and for its reward model; rows
in the shape of the hub's sets stand in for these (tests/published_sets.py). All else is the recipe's: every key of every
job. A stage that is trained here by the recipe's own word may be refused, in words that say what to do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sft_steps import RECIPE as SMALL
from tasks import few, links, trained

from cascade_rl.backends.verl import by_kind
from cascade_rl.backends.verl.check import check_job
from cascade_rl.backends.verl.job import Command, Job, Task
from cascade_rl.cascade.chain import scored, switch_rules
from cascade_rl.data.abilities import check_recipe, load_recipe
from cascade_rl.data.gather import gather
from cascade_rl.data.kinds import provide
from cascade_rl.data.shelf import Shelf
from cascade_rl.errors import RecipeError
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer
from cascade_rl.recipe import Recipe, Stage, Verl
from cascade_rl.recipe.reading import shipped_recipes

TESTS = Path(__file__).parents[2] / "tests"
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
    policy = trained(check_recipe(SMALL), folder / "small") / "base"
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
        rules, beside = switch_rules(stage, data, recipe.seed), scored(stage, data, recipe.seed)
        for link in links(stage, data, recipe.seed):
            # a later job of a chain starts from other weights than its stage
            first = policy if link.number == 0 else policy.with_name("before")
            task = Task(
                stage, link, policy, materials.domains, verl, recipe.seed, "",
                reward_model=policy, reference=first, switch_rules=rules, scored=beside,
            )  # fmt: skip
            place = folder / f"{stage.name}-{link.number}"
            try:
                yield stage, link.number, by_kind.compiled(task, place, tokenizer)
            except RecipeError as error:
                yield stage, link.number, error


def offline() -> None:
    """Rows made here in the place of the hub's."""
    sys.path.insert(0, str(TESTS))
    import published_sets

    from cascade_rl.sources import parts

    parts.hub_rows = published_sets.rows


offline()
