"""Read a recipe from YAML with overrides, and say everything that is wrong with it at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cascade_rl.errors import RecipeError
from cascade_rl.recipe import STAGE_KINDS, Recipe, replaced_keys, stage_defaults
from cascade_rl.recipe.overrides import apply_override
from cascade_rl.recipe.rules import cross_problems
from cascade_rl.recipe.smoke import smoke

# (path, what is wrong and how to mend it)
Problems = list[tuple[str, str]]
# Rules that need more than the recipe, of a recipe all of whose own rules hold or (False) one that lacks its wrong parts.
Further = Callable[[Recipe, bool], Problems]

# What other parts of a recipe refer to, and what a stage can't be without.
STRIPPED = ("name", "kind", "data", "domain", "source", "samples", "reward_model")


def no_further(recipe: Recipe, whole: bool) -> Problems:
    """The rules of a reader that knows no domain."""
    return []


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = Path(str(resources.files("cascade_rl") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_recipe(
    name: str, overrides: Iterable[str] = (), *, smoke_test: bool = False, further: Further = no_further
) -> Recipe:
    """The validated recipe of a shipped name or a YAML file, with `path.to.key=value` overrides applied.

    Raises RecipeError with every problem found.
    """
    path = shipped_recipes().get(name) or Path(name)
    if not path.is_file():
        known = ", ".join(shipped_recipes()) or "none"
        raise RecipeError(name, [("", f"no such recipe or file; shipped recipes: {known}")])
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecipeError(str(path), [("", f"not valid YAML: {error}")]) from None
    if not isinstance(raw, dict):
        raise RecipeError(
            str(path), [("", "a recipe is a mapping with the keys name, model, stages, benchmarks")]
        )
    problems: list[tuple[str, str]] = []
    for override in overrides:
        try:
            apply_override(raw, override)
        except ValueError as error:
            problems.append((override, str(error)))
    if problems:
        raise RecipeError(str(path), problems)
    recipe = validate(raw, str(path), further)
    return smoke(recipe) if smoke_test else recipe


def validate(raw: Mapping[str, Any], source: str = "recipe", further: Further = no_further) -> Recipe:
    """The recipe of a raw mapping, or a RecipeError with all its problems."""
    problems = _default_problems(raw) + _inert_problems(raw)
    recipe, found = _build(stage_defaults(_numbers(raw)))
    problems += found
    if recipe is not None:
        own = cross_problems(recipe)
        problems += own + further(recipe, not found and not own)
    if recipe is None or problems:
        raise RecipeError(source, problems)
    return recipe


def _build(merged: dict[str, Any]) -> tuple[Recipe | None, list[tuple[str, str]]]:
    """The recipe, and what is wrong in its blocks: a wrong part is left out, so that one fault hides no other.

    None when what is left is no recipe.
    """
    rest, problems = copy.deepcopy(merged), []
    left_out: dict[tuple, bool] = {}  # place -> whether rules across its block may now misjudge
    while True:
        try:
            return Recipe.model_validate(rest), problems
        except ValidationError as error:
            new = [e for e in error.errors() if e["loc"] not in left_out]
        doubtful = {loc[:n] for loc, changed in left_out.items() if changed for n in range(len(loc))}
        problems += [_explain(rest, e) for e in new if e["type"] != "value_error" or e["loc"] not in doubtful]
        left_out |= {e["loc"]: e["type"] != "extra_forbidden" for e in new}
        done = [_leave_out(rest, e["loc"]) for e in new]
        if not new or not all(done):
            return None, problems


def _leave_out(rest: dict[str, Any], loc: Sequence[str | int]) -> bool:
    """Take the key at a pydantic location out, or strip a stage whose keys don't go together; False if it can't."""
    node, owner, key = rest, None, None
    for part in loc:
        if isinstance(node, list) and isinstance(part, int):
            node = node[part]
        elif isinstance(node, dict) and part in node:
            owner, key, node = node, part, node[part]
    if key == "stages" and isinstance(node, dict):
        if node.get("kind") not in STAGE_KINDS or not isinstance(node.get("name"), str):
            return False
        kept = {k: node[k] for k in STRIPPED if k in node}
        node.clear()
        node.update(kept, steps=1)
    elif owner is not None and key != "stages":
        owner.pop(key, None)
    return True


def _numbers(node: Any) -> Any:
    """YAML 1.1 reads `1e-4` as text: numbers written so become numbers."""
    if isinstance(node, Mapping):
        return {key: _numbers(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_numbers(value) for value in node]
    if isinstance(node, str) and node[:1] in "-.0123456789" and "e" in node.lower():
        try:
            return float(node)
        except ValueError:
            return node
    return node


def _default_problems(raw: Mapping[str, Any]) -> list[tuple[str, str]]:
    defaults = raw.get("defaults") or {}
    if not isinstance(defaults, Mapping):
        return [("defaults", "must map stage kinds to settings")]
    stages = raw.get("stages") if isinstance(raw.get("stages"), list) else []
    kinds = {s.get("kind") for s in stages if isinstance(s, Mapping)}
    problems = []
    for kind in defaults:
        if kind not in STAGE_KINDS:
            problems.append((f"defaults.{kind}", f"no such stage kind; there are {', '.join(STAGE_KINDS)}"))
        elif kind not in kinds:
            problems.append((f"defaults.{kind}", "has no effect: no stage is of this kind"))
    return problems


def _inert_problems(raw: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Keys that a stage sets itself but that each phase of its curriculum overrides."""
    problems = []
    stages = raw.get("stages") if isinstance(raw.get("stages"), list) else []
    for index, stage in enumerate(stages):
        if not isinstance(stage, Mapping):
            continue
        for key in replaced_keys(stage):
            if key in stage:
                name = stage.get("name", index)
                problems.append(
                    (f"stages.{name}.{key}", "has no effect: every phase of the curriculum sets its own")
                )
    return problems


def _explain(raw: Mapping[str, Any], error: Mapping[str, Any]) -> tuple[str, str]:
    """A pydantic error as (path with names instead of numbers, message with the value)."""
    names, node = [], raw
    for part in error["loc"]:
        if isinstance(part, int) and isinstance(node, list) and part < len(node):
            node = node[part]
            label = node.get("name") or node.get("domain") if isinstance(node, Mapping) else None
            names.append(str(label or part))
        elif part in STAGE_KINDS or part in ("none", "batch", "epoch"):
            continue  # the tag of a union, not a key
        else:
            names.append(str(part))
            node = node.get(part) if isinstance(node, Mapping) else None
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        text = "unknown key; see `cascade check` for the keys of this block"
    elif error["type"] == "missing":
        text = "missing; it has no default"
    elif not isinstance(error.get("input"), Mapping | list | None):
        text += f" (got {error['input']!r})"
    return ".".join(names), text
