"""What a model's own template can't say of a recipe: modes it has no word for, conversations it refuses.

Ours can say all of it, so that nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from cascade_rl.data.gather import Materials
from cascade_rl.domain import HeldOut
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError, RecipeError, StageError
from cascade_rl.model.template import Template
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import Problems, Recipe, Stage
from cascade_rl.sources.chats import Chat
from cascade_rl.sources.own_maps import chat_map, pair_map
from cascade_rl.sources.own_rows import Made, OwnRow, own_rows
from cascade_rl.sources.preferences import Preference
from cascade_rl.types import Demonstration, Demonstrations, Mode, Pairs, Pools, Problem, StageData

SHOWN = 60  # characters of a text that is named
LOOKED_AT = 10_000  # conversations or pairs of a stage, before anything is trained


def mode_problems(recipe: Recipe, template: Template) -> Problems:
    """Keys that ask for a mode which the template can't ask for, each with the mend."""
    asked = [place for stage in recipe.stages for place in stage.asked_modes()]
    for spec in recipe.benchmarks:
        # own pairs have no domain, and hold direct answers
        headline = spec.mode or (load_domain(spec.domain).headline if spec.domain else Mode.INSTRUCT)
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


def refuse_benchmarks(benchmarks: Iterable[HeldOut], template: Template) -> None:
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
    for path, text in unspoken_problems(recipe, materials.data, tokenizer):
        raise StageError(f"{path.removeprefix('stages.')}: {text}")


def unspoken_problems(
    recipe: Recipe, data: Mapping[str, StageData], tokenizer: Tokenizer
) -> Iterator[tuple[str, str]]:
    """The first conversation of each stage that the template can't write, with the stage's path."""
    for stage in recipe.stages if tokenizer.template.refuses else ():
        for item in _items(data[stage.name], tokenizer.template.modes):
            try:
                tokenizer.shown(item)
            except InputError as error:
                yield f"stages.{stage.name}", f"{_named(stage, item)}: {error}"
                break


def _items(data: StageData, modes: Sequence[Mode]) -> Iterable[Demonstration]:
    # of millions the rest is written once, when they become samples, which names what can't be
    most = None if isinstance(data, Pools) else LOOKED_AT
    if isinstance(data, Demonstrations):
        return islice(chain(data.heldout, data.items), most)
    # pairs and prompts of RL are asked in the stage's mode: here any will do, if only they can be written
    every: Iterable[Problem] = (problem for pool in data.pools() for problem in pool)
    if isinstance(data, Pairs):
        every = islice((pair.problem for side in (data.heldout, data.training) for pair in side), most)
    return (Demonstration(p if p.mode in modes else p.in_mode(modes[0]), "x") for p in every)


def _named(stage: Stage, item: Demonstration) -> str:
    """The row that a conversation came from, else its problem's id, and how it begins."""
    text = " ".join(item.problem.prompt_text.split())
    short = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
    return f"{_place(stage, item) or item.problem.id}, {short!r}"


def _place(stage: Stage, item: Demonstration) -> str | None:
    """The place of a user's own row; looked for again, since it is asked for one row of many."""
    for rows in stage.own_rows():
        one: Made[Chat | Preference] = (chat_map if rows.chats else pair_map)(rows.map, rows.split)
        every: Iterator[OwnRow[Chat | Preference]] = own_rows(rows.source, one)
        for row in every:
            if row.made is not None and _holds(row.made, rows.source, item):
                return row.place
    return None


def _holds(made: Chat | Preference, source: str, item: Demonstration) -> bool:
    if isinstance(made, Chat):
        return item in made.demonstrations(source, last=False)
    return made.pair(source).problem.messages == item.problem.messages
