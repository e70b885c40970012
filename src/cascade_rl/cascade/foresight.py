"""What can be known before the first step, and is said then: models and lengths that can't be used.

A recipe's own rules say it of a model from scratch. Of any other the directory is opened without its weights:
config.json and tokenizer. How long prompts are is seen once they are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cascade_rl.data.example import Count
from cascade_rl.data.gather import Materials
from cascade_rl.data.lengths import Length, benchmark_problems, left_out, pool_problems
from cascade_rl.data.trial import Trial
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.pretrained import SMOLLM2, cache_folder, find_model, smollm2_gguf
from cascade_rl.model.tokenizer import Tokenizer, check_vocabulary, load_tokenizer
from cascade_rl.recipe import Problems, Recipe
from cascade_rl.recipe.rules import size_problems
from cascade_rl.run.files import read_json


def foresee(recipe: Recipe) -> None:
    """Raise RecipeError with all that `model.init` can't do of what a recipe asks, before it is begun."""
    if problems := foreseen(recipe, Trial({}, (), [], ())).problems:
        raise RecipeError(recipe.name, problems)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a model can't do of a recipe, what else it says, and its tokenizer if it could be opened."""

    problems: Problems
    notes: tuple[str, ...] = ()
    tokenizer: Tokenizer | None = None

    def count(self) -> Count | None:
        """How many tokens a rendered text has for it."""
        tokenizer = self.tokenizer
        return None if tokenizer is None else lambda text: len(tokenizer.encode(text))


def foreseen(recipe: Recipe, trial: Trial) -> Foreseen:
    """What `model.init` says of a recipe and of the prompts of its trial, counted in its own tokens.

    A packaged model that was not converted yet is only looked for: the conversion takes longer than a check.
    A model from scratch has said all by its recipe, see `recipe/rules.py` and `data/lengths.py`.
    """
    if recipe.model.init == "scratch":
        return Foreseen([])
    try:
        if recipe.model.init == SMOLLM2 and not (cache_folder() / SMOLLM2 / "config.json").is_file():
            smollm2_gguf()
            return Foreseen([])
        return _foreseen(recipe, trial, find_model(recipe.model.init))
    except InputError as error:
        return Foreseen([("model.init", str(error).removeprefix("model.init: "))])


def refuse_joined(recipe: Recipe, config: DecoderConfig) -> None:
    """Raise InputError when a stage wants an adapter that the model's family has no place for."""
    for stage in recipe.stages:
        if stage.lora and config.joined:
            raise InputError(
                f"stages.{stage.name}.lora: the projections of this family (phi3) are joined into one matrix "
                "and can't be adapted apart; remove lora"
            )


def _foreseen(recipe: Recipe, trial: Trial, folder: Path) -> Foreseen:
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} has no *.safetensors; save the model with save_pretrained")
    try:
        config = DecoderConfig.from_hf(read_json(folder / "config.json"))
    except KeyError as error:
        raise InputError(f"{folder / 'config.json'} lacks {error}") from None
    tokenizer = load_tokenizer(folder, add=recipe.model.add_tokens)
    # what `make_base` refuses, too: ids that the embedding has no row for; those that are added get rows
    check_vocabulary(tokenizer.size - len(tokenizer.added), config.vocab, folder)
    refuse_joined(recipe, config)
    if problems := size_problems(recipe, config.max_positions, config.hidden):
        return Foreseen(problems, (), tokenizer)
    length = prompt_length(tokenizer)
    problems = benchmark_problems(trial.benchmarks, config.max_positions, length)
    problems += pool_problems(recipe, trial.data, config.max_positions, length)
    empty, notes = left_out(recipe, trial.data, length)
    return Foreseen(problems + empty, tuple(notes), tokenizer)


def refuse_long(recipe: Recipe, materials: Materials, positions: int, tokenizer: Tokenizer) -> None:
    """Raise RecipeError when a benchmark can't ask a prompt, or a prompt leaves no room for its reply."""
    length = prompt_length(tokenizer)
    problems = benchmark_problems(materials.benchmarks, positions, length)
    problems += pool_problems(recipe, materials.data, positions, length)
    if problems:
        raise RecipeError(recipe.name, problems)


def prompt_length(tokenizer: Tokenizer) -> Length:
    """The tokens of a problem's prompt in its mode, the assistant header included."""
    return lambda problem: len(tokenizer.prompt(problem))
