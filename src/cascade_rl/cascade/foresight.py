"""What can be known before the first step, and is said then: models and lengths that can't be used.

A recipe's own rules say it of a model from scratch. Of any other the directory is opened: config.json,
tokenizer and the headers of its weights. How long prompts are is seen once they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from cascade_rl.cascade.run import base_folder
from cascade_rl.cascade.spoken import mode_problems, refuse_unspoken
from cascade_rl.data.gather import Materials
from cascade_rl.data.heldout import gather_benchmarks
from cascade_rl.domain import Benchmark
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.model.checkpoint import read_config, read_generation
from cascade_rl.model.network import Network
from cascade_rl.model.pretrained import Origin, find_model, silent
from cascade_rl.model.tokenizer import Tokenizer, check_vocabulary, load_tokenizer
from cascade_rl.model.weight_files import check_files
from cascade_rl.protocols import Screen
from cascade_rl.recipe import Problems, Recipe, RewardModelStage
from cascade_rl.recipe.rules import size_problems
from cascade_rl.run.ledger import model_before
from cascade_rl.types import Problem


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


def refuse_made(
    recipe: Recipe, materials: Materials, config: Network, raw: Mapping[str, Any], tokenizer: Tokenizer
) -> None:
    """Raise a Mendable error for what can't be done with the data that were made and the model at hand."""
    refuse_stages(recipe, config, raw)
    refuse_unspoken(recipe, materials, tokenizer)
    refuse_long(recipe, materials, config.max_positions, tokenizer)


def refuse_stages(recipe: Recipe, config: Network, raw: Mapping[str, Any]) -> None:
    """Raise InputError when a stage wants an adapter or a reward model that the family has no place for."""
    for stage in recipe.stages:
        try:
            if stage.lora:
                config.adapted(stage.lora.targets)
            if isinstance(stage, RewardModelStage):
                config.classifier(raw)
        except InputError as error:
            raise InputError(f"stages.{stage.name}{'.lora' if stage.lora else ''}: {error}") from None


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
        problems = _benchmark_problems(
            gather_benchmarks(recipe), config.max_positions, prompt_length(tokenizer)
        )
    return tokenizer, problems


def refuse_long(recipe: Recipe, materials: Materials, positions: int, tokenizer: Tokenizer) -> None:
    """Raise RecipeError when a benchmark can't ask a prompt, or a prompt leaves no room for its reply.

    Of training only prompts within their stage's limit count: longer ones are left out there.
    """
    length = prompt_length(tokenizer)
    problems = _benchmark_problems(materials.benchmarks, positions, length)
    for stage in recipe.stages:
        pools = materials.data[stage.name].pools() if stage.sampled() else ()
        lengths = [length(problem) for pool in pools for problem in pool]
        told: Problems = []
        for rule in stage.sampled():
            asked = max((tokens for tokens in lengths if tokens <= rule.max_prompt_tokens), default=0)
            told += _beyond(f"stages.{stage.name}", asked, rule.max_response_tokens, positions)
        # phases of a curriculum say the same of one stage; the last is the longest, as a rule
        problems += told[-1:]
    if problems:
        raise RecipeError(recipe.name, problems)


def _benchmark_problems(
    benchmarks: Iterable[Benchmark], positions: int, length: Callable[[Problem], int]
) -> Problems:
    problems: Problems = []
    for benchmark in benchmarks:
        spec, path = benchmark.spec, f"benchmarks.{benchmark.name}"
        # the flag of a mode is a part of the prompt, and not of the same length in both
        lengths = [max(length(p.in_mode(mode)) for mode in benchmark.modes) for p in benchmark.problems]
        over, longest = sum(tokens > spec.max_prompt_tokens for tokens in lengths), max(lengths)
        if over:
            text = f"{over} of {len(lengths)} prompts are longer, the longest has {longest} tokens; raise it"
            problems.append((f"{path}.max_prompt_tokens", text))
        else:
            problems += _beyond(path, longest, spec.max_response_tokens, positions)
    return problems


def prompt_length(tokenizer: Tokenizer) -> Callable[[Problem], int]:
    """The tokens of a problem's prompt in its mode, the assistant header included."""
    modes = tokenizer.template.modes
    # the problems of an RL stage are put into its mode when they are drawn
    return lambda p: len(tokenizer.prompt(p if p.mode in modes else p.in_mode(modes[0])))


def _beyond(path: str, prompt: int, reply: int, positions: int) -> Problems:
    if prompt + reply <= positions:
        return []
    text = (
        f"the longest prompt has {prompt} tokens, which with a reply of {reply} goes beyond the model's "
        f"{positions} positions; lower max_response_tokens or max_prompt_tokens"
    )
    return [(path, text)]
