"""A recipe looked at before it is run: everything wrong with it at once, and an example of each stage.

Loads without torch where the model is from scratch, so that such a check is quick.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cascade_rl.data.example import Example, Reader, example
from cascade_rl.data.least import least_prompt
from cascade_rl.data.lengths import benchmark_problems, left_out, pool_problems
from cascade_rl.data.ngrams import shared_runs
from cascade_rl.data.shelf import Shelf
from cascade_rl.data.suites import fill_suites
from cascade_rl.data.trial import Trial, try_out
from cascade_rl.domains import load_domain
from cascade_rl.recipe import Problems, Recipe, Stage
from cascade_rl.recipe.reading import read_recipe
from cascade_rl.run.tracking.targets import missing_packages


@dataclass(frozen=True, slots=True)
class Look:
    """A recipe that can be run, what became of the rows of its tables and other notes, and its examples."""

    recipe: Recipe
    notes: tuple[str, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was found on the way: the trial, what its model says, how that reads, and its commit on a hub."""

    trial: Trial
    problems: Problems
    notes: tuple[str, ...] = ()
    reader: Reader | None = None
    commit: str | None = None


def look(
    name: str, overrides: Iterable[str] = (), *, smoke_test: bool = False, note: Callable[[str], None]
) -> Look:
    """The recipe of a shipped name or a YAML file with overrides applied, tried and opened.

    `note` is told where a model was found while that goes on.
    Raises RecipeError with every problem found: of the recipe, its rows, its graders and its model.
    """
    found: list[_Seen] = []
    # not where a run would keep its rows: a check leaves nothing behind
    with TemporaryDirectory(prefix="cascade-check-", dir=_roomy()) as folder:

        def further(recipe: Recipe, whole: bool) -> Problems:
            found.append(_seen(recipe, try_out(recipe, Shelf(Path(folder)), whole), note))
            return missing_packages(recipe.track) + found[-1].trial.problems + found[-1].problems

        recipe = read_recipe(name, overrides, smoke_test=smoke_test, further=further, fill=fill_suites)
        seen = found[-1]
        examples = tuple(_example(recipe, stage, seen) for stage in recipe.stages)
        shared = [one.line() for one in shared_runs(seen.trial.data, seen.trial.benchmarks)]
    if seen.commit is not None:
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"commit": seen.commit})})
    return Look(recipe, (*seen.trial.tallies(), *shared, *seen.trial.notes, *seen.notes), examples)


def _roomy() -> str | None:
    """Where rows larger than memory may lie for a while: /tmp often is memory."""
    return "/var/tmp" if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK) else None


def _example(recipe: Recipe, stage: Stage, seen: _Seen) -> Example:
    data = seen.trial.data[stage.name]
    # by the name that the domain gives itself; none of own rows
    domains = {domain.name: domain for domain in map(load_domain, stage.domains())}
    return example(recipe, stage, data, domains.get(data.pools()[0][0].domain), seen.reader)


def _seen(recipe: Recipe, trial: Trial, note: Callable[[str], None]) -> _Seen:
    shape = recipe.model.architecture
    if shape is None:
        # imports torch, which a recipe that begins from scratch needs not wait for
        from cascade_rl.cascade.foresight import foreseen

        model = foreseen(recipe, trial, note=note)
        return _Seen(trial, model.problems, model.notes, model.tokenizer, model.commit)
    positions = shape.max_position_embeddings
    problems = benchmark_problems(trial.benchmarks, positions, least_prompt, least=True)
    problems += pool_problems(recipe, trial.data, positions, least_prompt, least=True)
    empty, notes = left_out(recipe, trial.data, least_prompt, least=True)
    return _Seen(trial, problems + empty, tuple(notes))
