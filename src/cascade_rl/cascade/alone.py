"""A job of one stage compiled outside of a run: to look at it, to check it, to launch it by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from cascade_rl.backends.verl.by_kind import compiled
from cascade_rl.backends.verl.job import Job, Link, Task
from cascade_rl.cascade.chain import chain, scored, switch_rules
from cascade_rl.cascade.lengths import fitting_data
from cascade_rl.data.gather import gather
from cascade_rl.data.kinds import provide
from cascade_rl.data.shelf import Shelf
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.model.checkpoint import load_directory, weights_hash
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.protocols import Screen
from cascade_rl.recipe import Recipe, RLStage, Stage, Verl, digest
from cascade_rl.types import Group, StageData


def compile_alone(
    recipe: Recipe,
    name: str,
    policy: Path,
    out: Path,
    screen: Screen,
    *,
    number: int = 1,
    reward_model: Path | None = None,
) -> Job:
    """Job `number` (from 1) of the stage `name`, to start from the directory `policy`, written to `out`.

    Raises InputError for a stage or a job that there is not, RecipeError for what verl can't do.
    """
    known = ", ".join(stage.name for stage in recipe.stages)
    if name not in known.split(", "):
        raise InputError(f"{recipe.name} has no stage {name!r}; there are {known}")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; choose another --out, or remove it")
    stage = recipe.stage(name)
    if stage.trains != "policy":
        raise InputError(f"{name} trains a reward model, which is trained here and never by verl")
    materials = gather(recipe, provide, Shelf(out / "rows", screen.waiting))
    tokenizer = load_tokenizer(policy)
    data = fitting_data(recipe, materials, tokenizer, screen).data[name]
    link = _link(stage, data, recipe.seed, number)
    weights = weights_hash(load_directory(policy)[2])
    rules = switch_rules(stage, data, recipe.seed)
    domains = {path: load_domain(path) for path in stage.domains()}
    verl = recipe.verl or Verl()
    settings = [stage.model_dump(mode="json"), verl.model_dump(mode="json"), digest(data.content()), weights]
    key = digest([*settings, recipe.seed, number])
    beside = scored(stage, data, recipe.seed)
    task = Task(stage, link, policy, domains, verl, recipe.seed, key, reward_model, policy, rules, beside)
    return compiled(task, out.resolve() / "job", tokenizer)


def _link(stage: Stage, data: StageData, seed: int, number: int) -> Link:
    """The link of that number; with an epoch filter only the first, since later ones ask what is left."""
    if number > 1 and isinstance(stage, RLStage) and stage.filter.kind == "epoch":
        raise InputError(
            f"{stage.name}: which prompts job {number} asks depends on the replies of the jobs before; only "
            "`cascade run` knows them"
        )

    def unheard(start: int, end: int) -> Sequence[Group]:
        return ()

    links = list(islice(chain(stage, data, seed, unheard), number))
    if len(links) < number:
        raise InputError(f"{stage.name} has {len(links)} jobs, and no number {number}")
    return links[-1]
