"""Open a run: its data made and proven disjoint, its base model written, its world at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from cascade_rl.backends.verl.job import Command
from cascade_rl.cascade.lengths import fitting_data, refuse_made
from cascade_rl.cascade.run import Run, base_folder
from cascade_rl.data.gather import Materials, gather
from cascade_rl.data.kinds import provide
from cascade_rl.data.ngrams import shared_runs, summary
from cascade_rl.data.shelf import Shelf
from cascade_rl.errors import Interrupted
from cascade_rl.grading.services import open_services, standing
from cascade_rl.model.base import base_notes, make_base
from cascade_rl.model.peaks import measure_peaks
from cascade_rl.protocols import Screen
from cascade_rl.recipe import Recipe
from cascade_rl.rollout.world import Engine, World, world_with
from cascade_rl.run.ledger import Ledger


@contextmanager
def open_run(
    recipe: Recipe,
    folder: Path,
    screen: Screen,
    stop_asked: Callable[[], bool],
    *,
    accept_changes: bool,
    unsafe_exec: bool,
    verl: Command | None = None,
    ray: str | None = None,
) -> Iterator[Run]:
    """A run that is open while its context lasts; its directory must be locked and admitted.

    Raises StageError when prompts of two uses overlap or all are too long, SandboxUnavailable, Interrupted.
    """
    screen.waiting("data")
    materials = gather(recipe, provide, Shelf(folder / "data", screen.waiting, stop_asked))
    if stop_asked():
        raise Interrupted("stopped before the first stage")
    screen.waiting("model")
    base, engine = base_folder(folder), Engine.of(recipe)
    # The services first: where a model's programs are refused, no model has to be made to hear of it.
    with open_services(materials.needs, unsafe=unsafe_exec, ray=ray) as services:
        _ensure_base(recipe, materials, base, folder / "tokenizer")
        with world_with(services, base, engine, train=_trains(recipe)) as world:
            if found := standing(services):
                screen.note(found.line)
            for text in _came_from(world):
                screen.note(text)
            notes = tuple(base_notes(folder / "tokenizer"))
            for text in notes:
                screen.note(text)
            refuse_made(recipe, materials, world.config, world.raw, world.tokenizer)
            fit = fitting_data(recipe, materials, world.tokenizer, screen)
            for text in _rows(recipe, fit):
                screen.note(text)
            for text in summary(shared_runs(fit.data, fit.benchmarks)):
                screen.note(text)
            settings = _settings(recipe, engine, world.tokenizer.template.hash) | world.config.key()
            # a second of measuring at SmolLM2-135M, and a run that only shows what it has needs none
            peaks = cache(partial(measure_peaks, world.replicas, world.config))
            ledger = Ledger(folder)
            yield Run(
                recipe,
                folder,
                screen,
                stop_asked,
                fit,
                world,
                ledger,
                settings,
                accept_changes,
                peaks,
                notes,
                verl,
            )


def _trains(recipe: Recipe) -> bool:
    """Whether any stage is trained here: gradients are as large as the weights."""
    return any(recipe.engine_of(stage) == "local" for stage in recipe.stages)


def _ensure_base(recipe: Recipe, materials: Materials, base: Path, tokens: Path) -> None:
    """Make the first model unless it is there."""
    # Data come first since the tokenizer of a scratch model is learnt from them. `export` renames the whole
    # folder into place, so a config.json means that the model is whole.
    if not (base / "config.json").exists():
        make_base(recipe, materials.conversations(), base, tokens)


def _settings(recipe: Recipe, engine: Engine, template: str) -> dict[str, Any]:
    """What decides a stage's weights and stands in no stage of the recipe, or is `auto` there."""
    # part of every key: a run that goes on elsewhere, in another precision, must not pass for the same one
    return {
        "workers": engine.workers,
        "device": engine.device,
        "precision": engine.precision,
        "sampler": engine.sampler,
        "model": recipe.model.model_dump(mode="json"),
        # not a recipe key: another version of this package may render other prompts
        "template": template,
    }


def _came_from(world: World) -> list[str]:
    """Where the first model came from, unless it was made here."""
    if not (origin := world.origin):
        return []
    commit = f", commit {origin['commit']}" if origin["commit"] else ""
    return [f"model: {origin['name']}{commit}, weights {origin['weights']}"]


def _rows(recipe: Recipe, materials: Materials) -> list[str]:
    """What became of the rows of all tables, a line for each use."""
    used = [(stage.name, materials.data[stage.name].tallies) for stage in recipe.stages]
    used += [(benchmark.name, benchmark.tallies) for benchmark in materials.benchmarks]
    return [f"{name}: {tally.line()}" for name, tallies in used for tally in tallies]
