"""Models that a stage takes from outside its run: found before the run begins, pinned as the stage does.

A published reward model that RL asks, or the model that a reward model is trained from. What a name means may
change: so a stage's folder holds what it meant as the stage began, and a resume goes by that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from cascade_rl.cascade.candidate import weights_digest
from cascade_rl.errors import InputError, StageError
from cascade_rl.model.checkpoint import read_config
from cascade_rl.model.pretrained import find_model, silent
from cascade_rl.model.reward_reader import RewardReader
from cascade_rl.model.template import FOUND
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.protocols import Screen
from cascade_rl.recipe import Problems, Recipe, Stage
from cascade_rl.run.files import read_record, write_json

FILE = "outside.json"


@dataclass(frozen=True, slots=True)
class Outside:
    """A model from outside, as a stage began with it.

    asked    as the recipe names it
    commit   of a hub's; None of what lies on this machine
    content  16 hex digits over its files, of what lies on this machine; None of a hub's, whose commit says it
    """

    asked: str
    commit: str | None
    content: str | None

    @property
    def identity(self) -> str:
        """What goes into the stage's key."""
        return self.commit or self.content or ""


def pinned(stage: Stage, folder: Path, screen: Screen) -> Outside | None:
    """What the stage takes from outside, written into its folder the first time; None if it takes nothing.

    Raises InputError where it can't be had.
    """
    asked = stage.outside()
    if asked is None:
        return None
    stored = read_record(folder / FILE, "asked")
    if stored and stored["asked"] == asked:
        return Outside(asked, stored["commit"], stored["content"])
    found = find_model(asked, note=screen.note, waiting=screen.waiting)
    made = Outside(asked, found.commit, None if found.commit else weights_digest(found.folder))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FILE, asdict(made))
    return made


def directory_of(outside: Outside, stage: Stage, screen: Screen) -> Path:
    """Where it lies on this machine; StageError when that is not what the stage began with."""
    folder = find_model(outside.asked, outside.commit, note=screen.note, waiting=screen.waiting).folder
    if outside.content and weights_digest(folder) != outside.content:
        raise StageError(
            f"{folder} is not what {stage.name} began with (its files differ); restore it, or move the "
            "stage's folder away: it is then trained anew"
        )
    return folder


def outside_problems(
    recipe: Recipe, note: Callable[[str], None] = silent, waiting: Callable[[str], None] = silent
) -> Problems:
    """What can't be had or used of what stages take from outside; weights of a hub's are not fetched yet."""
    problems: Problems = []
    for stage in recipe.stages:
        asked = stage.outside()
        if asked is None:
            continue
        try:
            found = find_model(asked, weights=False, note=note, waiting=waiting)
            _check(stage, found.folder)
        except InputError as error:
            key = "init" if stage.trains == "reward_model" else "reward_model_from"
            problems.append((f"stages.{stage.name}.{key}", str(error)))
    return problems


def _check(stage: Stage, folder: Path) -> None:
    raw, config = read_config(folder)
    if stage.trains == "reward_model":
        load_tokenizer(folder, template=FOUND)
        config.classifier(raw)
        if stage.lora:
            config.adapted(stage.lora.targets)
        return
    kind = (raw.get("architectures") or ["a model of no class"])[0]
    if not kind.endswith("ForSequenceClassification"):
        raise InputError(f"{folder} is {kind}, no reward model (ForSequenceClassification with one label)")
    RewardReader(folder, config.max_positions)
    if stage.longest() > config.max_positions:
        raise InputError(
            f"it reads {config.max_positions} tokens, and prompt and reply have up to {stage.longest()}: "
            "shorten max_prompt_tokens or max_response_tokens"
        )
