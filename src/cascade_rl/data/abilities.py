"""Load a recipe for use: beside its own rules, whether the domains and sources that it names can do what it asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cascade_rl.domain import Domain
from cascade_rl.domains import load_domain
from cascade_rl.recipe import Recipe
from cascade_rl.recipe.reading import read_recipe, validate
from cascade_rl.types import Split


def load_recipe(name: str, overrides: Iterable[str] = (), *, smoke_test: bool = False) -> Recipe:
    """The recipe of a shipped name or a YAML file with overrides applied, valid and able to run.

    Raises RecipeError with every problem found.
    """
    return read_recipe(name, overrides, smoke_test=smoke_test, further=domain_problems)


def check_recipe(raw: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """The recipe of a raw mapping, or a RecipeError with all its problems."""
    return validate(raw, source, domain_problems)


def domain_problems(recipe: Recipe, whole: bool) -> list[tuple[str, str]]:
    """What is wrong with its domains and sources; what a stage asks of them is looked at only in a `whole` recipe."""
    problems = []
    for path, name, source, split in _uses(recipe):
        try:
            _check_source(load_domain(name), source, split)
        except ValueError as error:
            problems.append((path, str(error)))
    if whole and not problems:
        problems += _ability_problems(recipe)
    return problems


def _uses(recipe: Recipe) -> Iterable[tuple[str, str, str, Split]]:
    for stage in recipe.stages:
        split = Split.SFT if stage.kind == "sft" else Split.RL
        for data in [stage] if stage.kind == "reward_model" else stage.data:
            yield f"stages.{stage.name}.data.{data.domain}", data.domain, data.source, split
    for benchmark in recipe.benchmarks:
        yield f"benchmarks.{benchmark.name}", benchmark.domain, benchmark.source, Split.HELDOUT


def _check_source(domain: Domain, source: str, split: Split) -> None:
    if next(iter(domain.problems(source, split, 0)), None) is None:
        raise ValueError(f"source {source!r} of domain {domain.name} has no problems in the {split} split")


def _ability_problems(recipe: Recipe) -> list[tuple[str, str]]:
    """Domains that lack what their stage asks of them."""
    problems = []
    reward_models: list[str] = []
    for stage in recipe.stages:
        if stage.kind == "reward_model":
            reward_models.append(stage.name)
            if load_domain(stage.domain).pairs is None:
                problems.append(
                    (f"stages.{stage.name}.domain", f"domain {stage.domain} has no preference pairs")
                )
            continue
        domains = [load_domain(d.domain) for d in stage.data]
        if stage.kind == "sft":
            problems += [(f"stages.{stage.name}.data.{d.name}", "this domain has no demonstrations")
                         for d in domains if d.demonstrate is None]  # fmt: skip
            continue
        judged = any("reward_model" in d.needs for d in domains)
        if judged and not reward_models:
            problems.append((f"stages.{stage.name}", "needs a reward_model stage before it"))
        if stage.judge and not any(d.judged for d in domains):
            problems.append((f"stages.{stage.name}.judge", "has no effect: no domain of this stage asks it"))
        if stage.reward_model and not judged:
            problems.append(
                (f"stages.{stage.name}.reward_model", "has no effect: no domain of this stage asks for it")
            )
    return problems
