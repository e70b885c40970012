"""Load a recipe for use: beside its own rules, whether its domains and sources can do what it asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cascade_rl.data.own import check_rows
from cascade_rl.data.suites import fill_suites, suite_problems
from cascade_rl.domain import Domain
from cascade_rl.domains import load_domain
from cascade_rl.recipe import Entry, Problems, Recipe
from cascade_rl.recipe.reading import read_recipe, validate
from cascade_rl.types import Tally

LOOKED_AT = 10_000  # rows of each own table before a recipe is used


def load_recipe(name: str, overrides: Iterable[str] = (), *, smoke_test: bool = False) -> Recipe:
    """The recipe of a shipped name or a YAML file with overrides applied, valid and able to run.

    Raises RecipeError with every problem found.
    """
    return read_recipe(name, overrides, smoke_test=smoke_test, further=domain_problems, fill=fill_suites)


def check_recipe(raw: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """The recipe of a raw mapping, or a RecipeError with all its problems."""
    return validate(raw, source, domain_problems, fill_suites)


def domain_problems(recipe: Recipe, whole: bool) -> Problems:
    """What is wrong with its domains and sources.

    What a stage asks of them is looked at only in a `whole` recipe: it may be what is wrong elsewhere.
    """
    problems: Problems = []
    for entry in recipe.entries():
        try:
            _first_row(load_domain(entry.domain), entry)
        except ValueError as error:
            problems.append((entry.path, str(error)))
    problems += suite_problems(recipe)
    for rows in recipe.own_rows():
        try:
            # what a run maps anyway, it counts to the end; here a look must do
            check_rows(rows, LOOKED_AT)
        except ValueError as error:
            problems.append((rows.path, str(error)))
    # A stage of an unknown domain would raise here; what it lacks is told at the next try.
    if not whole or problems:
        return problems
    for stage in recipe.stages:
        domains = {name: load_domain(name) for name in stage.domains()}
        problems += stage.lacking(domains, recipe.before(stage.name))
    return problems


def _first_row(domain: Domain, entry: Entry) -> None:
    """Draw the first problem of a source.

    Raises ValueError if there is not even one; a source that can't be read raises it itself.
    """
    told: list[Tally] = []
    drawn = domain.problems(entry.source, entry.split, 0, entry.reading, told.append)
    # One problem is enough to see that a file can be read; how many there are is found when data are made.
    if next(iter(drawn), None) is None:
        rows = "".join(f" ({tally.line()})" for tally in told)
        raise ValueError(
            f"source {entry.source!r} of domain {domain.name} has no problems in the {entry.split} "
            f"split{rows}"
        )
