"""What can be known before the first step, and is said then: models and lengths that can't be used.

A recipe's own rules say it of a model from scratch. Of any other the directory is opened: config.json,
tokenizer and the headers of its weights. Lengths of prompts, seen once they are made, are in `lengths`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cascade_rl.cascade.lengths import benchmark_problems, prompt_length, refuse_stages
from cascade_rl.cascade.run import base_folder
from cascade_rl.cascade.spoken import mode_problems
from cascade_rl.data.heldout import gather_benchmarks
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.model.checkpoint import read_config, read_generation
from cascade_rl.model.pretrained import Origin, find_model, silent
from cascade_rl.model.tokenizer import Tokenizer, check_vocabulary, load_tokenizer
from cascade_rl.model.weight_files import check_files
from cascade_rl.protocols import Screen
from cascade_rl.recipe import Problems, Recipe
from cascade_rl.recipe.rules import size_problems
from cascade_rl.run.ledger import model_before


def look_ahead(recipe: Recipe, folder: Path, screen: Screen, accept_changes: bool) -> Recipe:
    """The recipe with the commit of a model from a hub: the one that the run began with, or today's.

    Raises RecipeError, before anything is written, when `model.init` can't do what the recipe asks. Its
    weights are fetched, too, where the base model is still to be made.
    """
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


def foresee(
    recipe: Recipe,
    *,
    prompts: bool = False,
    weights: bool = False,
    note: Callable[[str], None] = silent,
    waiting: Callable[[str], None] = silent,
) -> Recipe:
    """The recipe with the commit of a model from a hub, before it is begun.

    Raises RecipeError with everything that `model.init` can't do of what the recipe asks. With `prompts`
    those of the benchmarks are made, and counted in its tokens; a run does so anyway. Without `weights`
    those of a hub or of GGUF are neither fetched nor converted. `note` and `waiting`: see `find_model`.
    """
    spec = recipe.model
    if spec.init == "scratch":
        return recipe
    try:
        found = find_model(spec.init, spec.commit, weights=weights, note=note, waiting=waiting)
        tokenizer, problems = _opened(recipe, found, prompts)
    except InputError as error:
        raise RecipeError(recipe.name, [("model.init", str(error))]) from None
    if problems:
        raise RecipeError(recipe.name, problems)
    # a run says so of the model that it makes
    for line in tokenizer.template.words() if prompts else []:
        note(line)
    return recipe.model_copy(update={"model": spec.model_copy(update={"commit": found.commit})})


def way_of(recipe: Recipe) -> str:
    """A line on who will compute a model that is not from scratch; its weights are not looked at."""
    found = find_model(recipe.model.init, recipe.model.commit, weights=False)
    raw, config = read_config(found.folder)
    return config.described(raw)


def _opened(recipe: Recipe, found: Origin, prompts: bool) -> tuple[Tokenizer, Problems]:
    """A model's tokenizer, and what the model can't do; raises InputError where it can't be used at all."""
    folder = found.folder
    raw, config = read_config(folder)
    read_generation(folder)
    if found.whole:
        check_files(folder, config.file_shapes())
    tokenizer = load_tokenizer(folder, add=recipe.model.add_tokens, template=recipe.model.template)
    # what `make_base` refuses, too: ids that the embedding has no row for; those that are added get rows
    check_vocabulary(tokenizer.size - len(tokenizer.added), config.vocab, folder)
    refuse_stages(recipe, config, raw)
    problems = size_problems(recipe, config.max_positions, config.hidden)
    problems += mode_problems(recipe, tokenizer.template)
    if prompts and not problems:
        problems = benchmark_problems(
            gather_benchmarks(recipe), config.max_positions, prompt_length(tokenizer)
        )
    return tokenizer, problems
