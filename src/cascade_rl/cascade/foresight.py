"""What can be known before the first step, and is said then: models and lengths that can't be used.

A recipe's own rules say it of a model from scratch. Of any other the directory is opened: config.json,
tokenizer and the headers of its weights. Lengths of prompts, seen once they are made, are in `lengths`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cascade_rl.cascade.lengths import refuse_stages, too_long
from cascade_rl.cascade.outside import outside_problems
from cascade_rl.cascade.spoken import mode_problems, unspoken_problems
from cascade_rl.data.trial import Trial
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.model.base import base_config
from cascade_rl.model.checkpoint import read_generation
from cascade_rl.model.pretrained import Origin, find_model, silent
from cascade_rl.model.tokenizer import Tokenizer, check_vocabulary, load_tokenizer
from cascade_rl.model.weight_files import check_files
from cascade_rl.recipe import Problems, Recipe
from cascade_rl.recipe.rules import size_problems


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a model can't do of a recipe, and what else it says.

    Its tokenizer, and what a hub's name means today, where it could be opened.
    """

    problems: Problems
    notes: tuple[str, ...] = ()
    tokenizer: Tokenizer | None = None
    commit: str | None = None

    def told(self, recipe: Recipe) -> Recipe:
        """The recipe with the commit."""
        if self.commit is None:
            return recipe
        return recipe.model_copy(update={"model": recipe.model.model_copy(update={"commit": self.commit})})


def foresee(
    recipe: Recipe,
    *,
    weights: bool = False,
    note: Callable[[str], None] = silent,
    waiting: Callable[[str], None] = silent,
) -> Recipe:
    """The recipe with the commit of a model from a hub, before it is begun.

    Raises RecipeError with everything that `model.init` can't do of what the recipe asks. Without `weights`
    those of a hub or of GGUF are neither fetched nor converted. `note` and `waiting`: see `find_model`.
    """
    found = foreseen(recipe, Trial({}, (), [], ()), weights=weights, note=note, waiting=waiting)
    if found.problems:
        raise RecipeError(recipe.name, found.problems)
    return found.told(recipe)


def foreseen(
    recipe: Recipe,
    trial: Trial,
    *,
    weights: bool = False,
    note: Callable[[str], None] = silent,
    waiting: Callable[[str], None] = silent,
) -> Foreseen:
    """What `model.init` says of a recipe and of the prompts of its trial, counted in its own tokens.

    A model from scratch has said all by its recipe, see `recipe/rules.py` and `data/lengths.py`.
    """
    spec = recipe.model
    problems = outside_problems(recipe, note, waiting)
    if spec.init == "scratch":
        return Foreseen(problems)
    try:
        found = _foreseen(
            recipe, trial, find_model(spec.init, spec.commit, weights=weights, note=note, waiting=waiting)
        )
    except InputError as error:
        return Foreseen([*problems, ("model.init", str(error))])
    return replace(found, problems=[*problems, *found.problems])


def _foreseen(recipe: Recipe, trial: Trial, found: Origin) -> Foreseen:
    folder = found.folder
    raw, config = base_config(recipe, folder)
    read_generation(folder)
    if found.whole:
        check_files(folder, config.file_shapes())
    tokenizer = load_tokenizer(folder, add=recipe.model.add_tokens, template=recipe.model.template)
    # what `make_base` refuses, too: ids that the embedding has no row for; those that are added get rows
    check_vocabulary(tokenizer.size - len(tokenizer.added), config.vocab, folder)
    refuse_stages(recipe, config, raw)
    problems = size_problems(recipe, config.max_positions, config.hidden)
    problems += mode_problems(recipe, tokenizer.template)
    notes: list[str] = []
    if not problems and trial.data:
        problems += unspoken_problems(recipe, trial.data, tokenizer)
    if not problems:
        problems, notes = too_long(recipe, trial.data, trial.benchmarks, config.max_positions, tokenizer)
    said = (config.described(raw), *tokenizer.template.words(), *notes)
    return Foreseen(problems, said, tokenizer, found.commit)
