"""What a model's own template can't say of a recipe: modes it has no word for, conversations it refuses.

Ours can say all of it, so that nothing is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cascade_rl.data.gather import Materials
from cascade_rl.domain import Benchmark
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError, RecipeError, StageError
from cascade_rl.model.template import Template
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import Problems, Recipe
from cascade_rl.types import Demonstration, Demonstrations, Mode, Problem, StageData

Length = Callable[[Problem], int]  # the tokens of a problem's prompt
SHOWN = 60  # characters of a text that is named


def mode_problems(recipe: Recipe, template: Template) -> Problems:
    """Keys that ask for a mode which the template can't ask for, each with the mend."""
    asked = [place for stage in recipe.stages for place in stage.asked_modes()]
    for spec in recipe.benchmarks:
        headline = spec.mode or load_domain(spec.domain).headline
        key = "both_modes" if spec.both_modes else "mode"
        modes = frozenset(Mode) if spec.both_modes else frozenset({headline})
        asked.append((f"benchmarks.{spec.name}.{key}", modes))
    return [(path, _mend(path, template.modes)) for path, modes in asked if not modes <= set(template.modes)]


def _mend(path: str, known: Sequence[Mode]) -> str:
    key = path.rpartition(".")[2]
    mends = {
        "modes": f"set modes: [{known[0]}]",
        "mode_mix": f"set mode_mix: {known[0]}",
        "pairs_from": "use pairs_from: domain",
    }
    mend = mends.get(key, f"set both_modes: false and mode: {known[0]}")
    return f"the model's chat template can ask for {known[0]} mode only: {mend}, or model.template: cascade"


def refuse_benchmarks(benchmarks: Iterable[Benchmark], template: Template) -> None:
    """Raise InputError when a checkpoint's template can't ask in a mode of these benchmarks."""
    for benchmark in benchmarks:
        if missing := [mode for mode in benchmark.modes if mode not in template.modes]:
            path, known = f"benchmarks.{benchmark.name}", template.modes[0]
            raise InputError(
                f"{path}: the checkpoint's chat template can't ask for {missing[0]} mode; add "
                f"{path}.both_modes=false {path}.mode={known}"
            )


def refuse_unspoken(recipe: Recipe, materials: Materials, tokenizer: Tokenizer) -> None:
    """Raise RecipeError for modes, StageError for the first conversation that can't be written."""
    # ours writes everything: large data need not be rendered twice
    if not tokenizer.template.refuses:
        return
    if problems := mode_problems(recipe, tokenizer.template):
        raise RecipeError(recipe.name, problems)
    for stage in recipe.stages:
        data = materials.data[stage.name]
        for item in _items(data, tokenizer.template.modes):
            try:
                tokenizer.shown(item)
            except InputError as error:
                raise StageError(f"{stage.name}: {_named(item.problem)}: {error}") from None


def _items(data: StageData, modes: Sequence[Mode]) -> Iterable[Demonstration]:
    if isinstance(data, Demonstrations):
        return data.items
    # pairs and prompts of RL are asked in the stage's mode: here any will do, if only they can be written
    every = (problem for pool in data.pools() for problem in pool)
    return (Demonstration(p if p.mode in modes else p.in_mode(modes[0]), "x") for p in every)


def _named(problem: Problem) -> str:
    text = " ".join(problem.prompt_text.split())
    short = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
    row = problem.meta.get("row")
    return f"{row or problem.domain}, {short!r}"
