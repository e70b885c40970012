"""Read a recipe from YAML with overrides, and say everything that is wrong with it at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from cascade_rl.errors import InputError, RecipeError
from cascade_rl.recipe.base import Problems
from cascade_rl.recipe.faults import build
from cascade_rl.recipe.kinds import STAGE_KINDS
from cascade_rl.recipe.overrides import apply_override
from cascade_rl.recipe.prompts import replaced_keys
from cascade_rl.recipe.recipe import Recipe
from cascade_rl.recipe.rules import cross_problems
from cascade_rl.recipe.smoke import smoke

# Rules that need more than the recipe; True when it is whole, False when parts that are wrong are left out.
Further = Callable[[Recipe, bool], Problems]
# The raw recipe with what is said elsewhere filled in, and what could not be.
Fill = Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], Problems]]


def no_further(recipe: Recipe, whole: bool) -> Problems:
    """The rules of a reader that knows no domain."""
    return []


def as_it_is(raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], Problems]:
    """A recipe in which nothing is filled in: that of a reader who knows no published benchmark."""
    return raw, []


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = Path(str(resources.files("cascade_rl") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_recipe(
    name: str,
    overrides: Iterable[str] = (),
    *,
    smoke_test: bool = False,
    further: Further = no_further,
    fill: Fill = as_it_is,
) -> Recipe:
    """The validated recipe of a shipped name or a YAML file, with `path.to.key=value` overrides applied.

    Raises RecipeError with every problem found.
    """
    path = shipped_recipes().get(name) or Path(name)
    if not path.is_file():
        known = ", ".join(shipped_recipes()) or "none"
        raise RecipeError(name, [("", f"no such recipe or file; shipped recipes: {known}")])
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        # an alias may hold itself, which no recipe does and nothing that walks through it survives
        json.dumps(raw, default=repr, skipkeys=True)
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), [("", f"not UTF-8: {error}")]) from None
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: a date or a number that can't be
        raise RecipeError(str(path), [("", f"not valid YAML: {error}")]) from None
    except RecursionError:
        raise RecipeError(str(path), [("", "not valid YAML: nested too deeply")]) from None
    if not isinstance(raw, dict):
        raise RecipeError(
            str(path), [("", "a recipe is a mapping with the keys name, model, stages, benchmarks")]
        )
    problems: Problems = []
    for override in overrides:
        try:
            apply_override(raw, override)
        except ValueError as error:
            problems.append((override, str(error)))
    if problems:
        raise RecipeError(str(path), problems)
    recipe = validate(raw, str(path), further, fill)
    # validated first as it stands: a smoke test must not hide a fault of the recipe
    return smoke(recipe) if smoke_test else recipe


class _Loader(yaml.SafeLoader):
    """YAML whose mappings have each key once: else all but the last would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping; raises a YAMLError that names a key which stands twice, and where."""
        places: dict[str, yaml.Mark] = {}
        for key, _ in node.value:
            # merged mappings (<<) may be overridden: that is what they are for
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in places:
                    first = places[key.value].line + 1
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} stands twice, first in line {first}", key.start_mark
                    )
                places[key.value] = key.start_mark
        return super().construct_mapping(node, deep)


def validate(
    raw: Mapping[str, Any], source: str = "recipe", further: Further = no_further, fill: Fill = as_it_is
) -> Recipe:
    """The recipe of a raw mapping, or a RecipeError with all its problems."""
    raw, problems = fill(raw)
    # On the raw text: once defaults are merged, a key that nobody uses can't be told from one that is.
    problems += _default_problems(raw) + _inert_problems(raw)
    recipe, found = build(_stage_defaults(_numbers(raw)))
    problems += found
    if recipe is not None:
        own = cross_problems(recipe, not found)
        # A domain is asked what its stages lack only where all else is well: else its answer may be about a
        # part that was taken out as wrong.
        problems += own + further(recipe, not found and not own)
    if recipe is None or problems:
        raise RecipeError(source, problems)
    return recipe


def stored(raw: Mapping[str, Any], source: str) -> Recipe:
    """The recipe that a run keeps, resolved and valid when it was written; InputError in one line if not."""
    recipe, problems = build(dict(raw))
    if recipe is None or problems:
        path, text = problems[0] if problems else ("", "it is damaged")
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{source} is no recipe of a run: {path}: {text}{more}")
    return recipe


def _stage_defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The raw recipe with `defaults.KIND` merged under each stage, and the `defaults` block gone.

    A default that every phase of a stage's curriculum replaces is not merged, so that the resolved recipe
    reads back as itself.
    """
    merged = {key: value for key, value in raw.items() if key != "defaults"}
    defaults = raw.get("defaults") or {}
    stages = raw.get("stages")
    if isinstance(defaults, Mapping) and isinstance(stages, list):
        merged["stages"] = [{**_inherited(defaults, s), **s} if isinstance(s, Mapping) else s for s in stages]
    return merged


def _inherited(defaults: Mapping[str, Any], stage: Mapping[str, Any]) -> dict[str, Any]:
    kind = stage.get("kind")
    # what is no name or no block is told elsewhere, and has nothing to give
    found = defaults.get(kind) if isinstance(kind, str) else None
    if not isinstance(found, Mapping):
        return {}
    return {key: value for key, value in found.items() if key not in replaced_keys(stage)}


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


def _default_problems(raw: Mapping[str, Any]) -> Problems:
    defaults = raw.get("defaults") or {}
    if not isinstance(defaults, Mapping):
        return [("defaults", "must map stage kinds to settings")]
    kinds = [stage.get("kind") for _, stage in _raw_stages(raw)]
    problems = []
    for kind, settings in defaults.items():
        if kind not in STAGE_KINDS:
            problems.append((f"defaults.{kind}", f"no such stage kind; there are {', '.join(STAGE_KINDS)}"))
        elif settings is None:
            continue  # taken out on the command line
        elif kind not in kinds:
            problems.append((f"defaults.{kind}", "has no effect: no stage is of this kind"))
        elif not isinstance(settings, Mapping):
            problems.append((f"defaults.{kind}", f"must be a block of settings (got {settings!r})"))
    return problems


def _inert_problems(raw: Mapping[str, Any]) -> Problems:
    """Keys that a stage sets itself but that each phase of its curriculum overrides."""
    return [
        (
            f"stages.{stage.get('name', index)}.{key}",
            "has no effect: every phase of the curriculum sets its own",
        )
        for index, stage in _raw_stages(raw)
        for key in replaced_keys(stage)
        if key in stage
    ]


def _raw_stages(raw: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """The stages that are mappings, with their places; the schema tells of what is none."""
    stages = raw.get("stages")
    if not isinstance(stages, list):
        return []
    return [(index, stage) for index, stage in enumerate(stages) if isinstance(stage, Mapping)]
