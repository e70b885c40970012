"""Whether a run may begin: what it needs beside its recipe is there, and its model can do what is asked."""

from __future__ import annotations

from pathlib import Path

from cascade_rl.backends.verl.job import Command
from cascade_rl.cascade.elsewhere import refuse_elsewhere
from cascade_rl.cascade.foresight import foresee
from cascade_rl.cascade.run import base_folder
from cascade_rl.errors import RecipeError
from cascade_rl.protocols import Screen
from cascade_rl.recipe import Recipe
from cascade_rl.run.ledger import model_before
from cascade_rl.run.tracking.targets import missing_packages


def look_ahead(
    recipe: Recipe, folder: Path, screen: Screen, accept_changes: bool, verl: Command | None = None
) -> Recipe:
    """The recipe with the commit of a model from a hub: the one that the run began with, or today's.

    Raises RecipeError, before anything is written, when `model.init` can't do what the recipe asks, a
    tracker is not installed or verl can't train a stage. The model's weights are fetched, too, where the base
    model is still to be made.
    """
    if problems := missing_packages(recipe.track):
        raise RecipeError(recipe.name, problems)
    refuse_elsewhere(recipe, verl)
    before = model_before(folder)
    spec = recipe.model
    if spec.commit is None and before.get("init") == spec.init and before.get("commit"):
        # what the name means today may be another model
        spec = spec.model_copy(update={"commit": before["commit"]})
        recipe = recipe.model_copy(update={"model": spec})
    kept = before == spec.model_dump(mode="json", exclude_none=True) or not accept_changes
    # once the base model lies in the directory, `model.init` is not opened again and may be gone
    if kept and (base_folder(folder) / "config.json").exists():
        return recipe
    return foresee(recipe, weights=True, note=screen.note, waiting=screen.waiting)
