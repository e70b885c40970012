"""What is done in a run directory: a lock, a durable ledger, and what to do when the recipe has changed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cascade_rl.errors import InputError, RecipeChanged
from cascade_rl.recipe import Recipe, digest, replaced_keys
from cascade_rl.run.files import read_record, write_json, write_text
from cascade_rl.run.folder import set_aside
from cascade_rl.types import Checkpoint


@dataclass(frozen=True, slots=True)
class Entry:
    """A stage that is done.

    key      what makes it this one, see `stage_key`
    data     16 hex digits of what it was trained on
    seconds  training and evaluation, interrupted tries included
    exports  what the stage exported beside its checkpoint and later stages use (a reward model): name of the
             folder to 16 hex digits of its weights
    """

    checkpoint: Checkpoint
    key: str
    data: str
    seconds: float
    exports: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Its line in ledger.json."""
        made = self.checkpoint
        return {
            "stage": made.stage,
            "key": self.key,
            "weights": made.weights_hash,
            "step": made.step,
            "checkpoint": made.path,
            "data": self.data,
            "parent": made.parent,
            "recipe": made.recipe_hash,
            "seconds": self.seconds,
            **({"exports": dict(self.exports)} if self.exports else {}),
        }

    @classmethod
    def of_json(cls, row: Mapping[str, Any]) -> Entry:
        """From its line; ledgers of older versions name neither recipe nor exports."""
        made = Checkpoint(
            row["checkpoint"], row["stage"], row["step"], row["parent"], row.get("recipe", ""), row["weights"]
        )
        return cls(made, row["key"], row["data"], row["seconds"], row.get("exports", {}))


class Ledger:
    """The stages that are done, in order, in a file that is written whole or not at all."""

    def __init__(self, run: Path) -> None:
        self.path = run / "ledger.json"
        found = read_record(self.path, "stages")
        try:
            self.entries = [Entry.of_json(row) for row in found["stages"]] if found else []
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self.path} is no ledger of a run ({error!r}); restore it") from None

    def done(self, index: int, key: str) -> Entry | None:
        """The entry of stage number `index` if it was finished with this very key."""
        # By place, not by name: a stage that was moved to another place has other weights before it.
        entry = self.entries[index] if index < len(self.entries) else None
        return entry if entry and entry.key == key else None

    def add(self, index: int, entry: Entry) -> None:
        """Record a finished stage durably; later entries are void."""
        # what came after was made from weights that this stage no longer hands over
        self._write([*self.entries[:index], entry])

    def cut(self, index: int) -> None:
        """Forget stage number `index` and all later ones."""
        if len(self.entries) > index:
            self._write(self.entries[:index])

    def _write(self, entries: list[Entry]) -> None:
        self.entries = entries
        write_json(self.path, {"stages": [entry.to_json() for entry in entries]})


def stage_key(
    recipe: Recipe,
    index: int,
    settings: Mapping[str, Any],
    data: str,
    incoming: str,
    reward_model: str | None = None,
) -> str:
    """What makes a finished stage this one: settings, what the run shares, data, incoming weights.

    `reward_model` is the checksum of the one that the stage asks, or of what it takes from outside the run;
    None where there is none.
    """
    # Not the gate: policy `best` chooses a step, and what is done keeps its choice. Earlier stages act
    # through `incoming` and the reward model alone.
    shared = {"seed": recipe.seed, **settings}
    parts = [recipe.stages[index].model_dump(mode="json"), shared, data, incoming]
    # only where it trains the stage: all others keep the keys that older versions gave them
    if recipe.engine_of(recipe.stages[index]) == "verl" and recipe.verl is not None:
        parts.append({"verl": recipe.verl.model_dump(mode="json", exclude={"attempts"})})
    # appended, not a fixed place: stages that ask none keep the keys that older versions gave them
    return digest([*parts, reward_model] if reward_model else parts)


def recipe_text(recipe: Recipe) -> str:
    """The resolved recipe as YAML, which loads as the same recipe: keys that all phases set are left out."""
    raw = recipe.model_dump(mode="json", exclude_none=True)
    for stage in raw["stages"]:
        for key in replaced_keys(stage):
            del stage[key]
    if not raw["track"]:
        del raw["track"]
    return _as_yaml(raw)


def _as_yaml(raw: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(raw), sort_keys=False, width=110)


def first_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> int:
    """The number of the first stage that a changed recipe redoes, or of stages if only scores change."""
    # What all stages share (see `opening`): with another one even the first stage is another one.
    for key in ("seed", "model", "workers", "precision", "device", "sampler"):
        if old.get(key) != new.get(key):
            return 0
    # Stages added at the end, or taken away there, change none that both recipes have.
    pairs = list(zip(old["stages"], new["stages"], strict=False))
    for index, (before, after) in enumerate(pairs):
        if before != after or _cluster(old, before) != _cluster(new, after):
            return index
    return len(pairs)


def _cluster(recipe: Mapping[str, Any], stage: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a raw recipe says of verl, where verl trains the stage; None of any other."""
    if stage.get("kind") == "reward_model" or stage.get("engine", recipe.get("engine")) != "verl":
        return None
    return {key: value for key, value in (recipe.get("verl") or {}).items() if key != "attempts"}


def admit(run: Path, recipe: Recipe, accept_changes: bool) -> None:
    """Let a recipe into a run directory: new, equal, or changed with leave; sets superseded results aside.

    Raises RecipeChanged with the difference.
    """
    path = run / "recipe.yaml"
    text = recipe_text(recipe)
    if not path.exists():
        write_text(path, text)
        return
    old_text = path.read_text(encoding="utf-8", errors="replace")  # a damaged one differs, and is shown
    if old_text == text:
        return
    before, now = (_untracked(each) for each in (old_text, text))
    if before == now:
        write_text(path, text)  # trackers alone are others: the run is the same
        return
    if not accept_changes:
        lines = difflib.unified_diff(
            before.splitlines(), now.splitlines(), "this run", "the recipe now", lineterm="", n=2
        )
        raise RecipeChanged(
            f"{run} was started with another recipe:\n" + "\n".join(lines) + "\n"
            "--accept-changes keeps the stages before the first changed one and redoes the rest; --out "
            "starts elsewhere"
        )
    index = first_change(_recipe_before(path, old_text), yaml.safe_load(text))
    # The recipe is written last: killed before that, the next try finds the old one and does all again.
    Ledger(run).cut(index)
    set_aside(run, index)
    write_text(path, text)


def _untracked(text: str) -> str:
    """The text of a recipe without its trackers; one that is not as it was written stays as it is."""
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text
    if not isinstance(found, dict) or "track" not in found or _as_yaml(found) != text:
        return text
    return _as_yaml({key: value for key, value in found.items() if key != "track"})


def model_before(run: Path) -> Mapping[str, Any]:
    """The `model` block of the recipe that a run directory belongs to; empty where none can be read."""
    try:
        found = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8", errors="replace"))
    except (OSError, yaml.YAMLError):
        # new, or damaged: `admit` tells
        return {}
    model = found.get("model") if isinstance(found, dict) else None
    return model if isinstance(model, dict) else {}


def _recipe_before(path: Path, text: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path} is no YAML any more: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("stages"), list):
        raise InputError(f"{path} is no recipe any more, so what has changed is unknown; use another --out")
    return found
