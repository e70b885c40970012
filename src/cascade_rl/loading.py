"""Read a recipe from YAML with overrides, and say everything that is wrong with it at once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cascade_rl.domain import Domain, load_domain
from cascade_rl.recipe import STAGE_KINDS, Recipe, replaced_keys, stage_defaults
from cascade_rl.smoke import smoke
from cascade_rl.types import Split

# What other parts of a recipe refer to, and what a stage can't be without.
STRIPPED = ("name", "kind", "data", "domain", "source", "samples", "reward_model")


class RecipeError(ValueError):
    """A recipe that can't be used; `problems` lists every one as (path, what is wrong and how to mend it)."""

    def __init__(self, source: str, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  {path}: {text}" if path else f"  {text}" for path, text in self.problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{source}: {count}\n{lines}")


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = Path(str(resources.files("cascade_rl") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str, overrides: Iterable[str] = (), *, smoke_test: bool = False) -> Recipe:
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
        raise RecipeError(str(path), [("", "a recipe is a mapping with the keys name, model, stages, benchmarks")])
    problems: list[tuple[str, str]] = []
    for override in overrides:
        try:
            apply_override(raw, override)
        except ValueError as error:
            problems.append((override, str(error)))
    if problems:
        raise RecipeError(str(path), problems)
    recipe = validate(raw, str(path))
    return smoke(recipe) if smoke_test else recipe


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set `stages.math-rl.steps=20` in place; list items go by their `name` (or `domain`) or by number."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ValueError("an override is path.to.key=value, such as stages.math-rl.steps=20")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"the value {text!r} is not valid YAML") from None
    if isinstance(value, str):  # YAML 1.1 reads 1e-4 as text
        try:
            value = float(value)
        except ValueError:
            pass
    *parents, last = path.split(".")
    node: Any = raw
    for depth, key in enumerate(parents):
        node = _step_into(node, key, ".".join(parents[: depth + 1]))
    if isinstance(node, list):
        node[_list_index(node, last, path)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise ValueError(f"{'.'.join(parents)} is a value, not a block")


def _step_into(node: Any, key: str, path: str) -> Any:
    if isinstance(node, list):
        return node[_list_index(node, key, path)]
    if not isinstance(node, dict):
        raise ValueError(f"{path}: there is no block to go into")
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def _list_index(node: list, key: str, path: str) -> int:
    names = [item.get("name") or item.get("domain") for item in node if isinstance(item, Mapping)]
    if key in names:
        return names.index(key)
    if key.isdigit() and int(key) < len(node):
        return int(key)
    raise ValueError(f"{path}: no {key!r} here; there are {', '.join(str(n) for n in names)}")


def validate(raw: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """The recipe of a raw mapping, or a RecipeError with all its problems."""
    problems = _default_problems(raw) + _inert_problems(raw)
    recipe, found = _build(stage_defaults(_numbers(raw)))
    problems += found
    if recipe is not None:
        problems += _cross_problems(recipe, abilities=not found)
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
                problems.append((f"stages.{name}.{key}", "has no effect: every phase of the curriculum sets its own"))
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


def _cross_problems(recipe: Recipe, *, abilities: bool) -> list[tuple[str, str]]:
    problems = _name_problems(recipe) + _gate_problems(recipe) + _sampler_problems(recipe)
    for path, name, source, split in _uses(recipe):
        try:
            _check_source(load_domain(name), source, split)
        except ValueError as error:
            problems.append((path, str(error)))
    if abilities and not problems:
        problems += _ability_problems(recipe)
    return problems


def _uses(recipe: Recipe) -> Iterable[tuple[str, str, str, Split]]:
    for stage in recipe.stages:
        split = Split.SFT if stage.kind == "sft" else Split.RL
        for data in [stage] if stage.kind == "reward_model" else stage.data:
            yield f"stages.{stage.name}.data.{data.domain}", data.domain, data.source, split
    for benchmark in recipe.benchmarks:
        yield f"benchmarks.{benchmark.name}", benchmark.domain, benchmark.source, Split.HELDOUT


def _check_source(domain: Domain, source: str, split: Split) -> None:
    if next(iter(domain.problems(source, split, 0)), None) is None:
        raise ValueError(f"source {source!r} of domain {domain.name} has no problems in the {split} split")


def _name_problems(recipe: Recipe) -> list[tuple[str, str]]:
    problems = []
    for what, names in (
        ("stages", [s.name for s in recipe.stages]),
        ("benchmarks", [b.name for b in recipe.benchmarks]),
    ):
        problems += [(f"{what}.{n}", "the name stands twice") for n in sorted({n for n in names if names.count(n) > 1})]
    order = [s.name for s in recipe.stages]
    for benchmark in recipe.benchmarks:
        if benchmark.own_stage and benchmark.own_stage not in order:
            problems.append((f"benchmarks.{benchmark.name}.own_stage", _no_stage(benchmark.own_stage, order)))
    for index, stage in enumerate(recipe.stages):
        wanted = getattr(stage, "reward_model", None)
        if wanted and wanted not in [s.name for s in recipe.stages[:index] if s.kind == "reward_model"]:
            problems.append((f"stages.{stage.name}.reward_model", f"no earlier reward_model stage {wanted!r}"))
    return problems


def _no_stage(name: str, order: Sequence[str]) -> str:
    return f"no stage {name!r}; there are {', '.join(order)}"


def _gate_problems(recipe: Recipe) -> list[tuple[str, str]]:
    order, marks = [s.name for s in recipe.stages], [b.name for b in recipe.benchmarks]
    problems = []
    for index, dip in enumerate(recipe.gate.dips):
        path = f"gate.dips.{index}"
        problems += [(path, _no_stage(s, order)) for s in (dip.at, dip.until) if s not in order]
        if dip.benchmark not in marks:
            problems.append((path, f"no benchmark {dip.benchmark!r}; there are {', '.join(marks)}"))
        elif dip.at in order and dip.until in order and order.index(dip.until) <= order.index(dip.at):
            problems.append((path, f"until ({dip.until}) must come after at ({dip.at})"))
    for index, waiver in enumerate(recipe.gate.waivers):
        if waiver.stage not in order:
            problems.append((f"gate.waivers.{index}", _no_stage(waiver.stage, order)))
        if waiver.benchmark not in marks:
            problems.append(
                (f"gate.waivers.{index}", f"no benchmark {waiver.benchmark!r}; there are {', '.join(marks)}")
            )
    return problems


def _sampler_problems(recipe: Recipe) -> list[tuple[str, str]]:
    """What vLLM can't do: run without a GPU, or keep the trainer's set of tokens under both of two filters."""
    if recipe.sampler != "vllm":
        return []
    problems = [(key, "sampler vllm needs a CUDA device and one worker; set sampler: torch, or change this")
                for key, bad in (("device", recipe.device == "cpu"), ("workers", recipe.workers > 1)) if bad]  # fmt: skip
    rules = [(f"benchmarks.{b.name}", b) for b in recipe.benchmarks]
    rules += [(f"stages.{s.name}", p) for s in recipe.stages if s.kind == "rl" for _, _, p in s.phases()]
    both = dict.fromkeys(path for path, rule in rules if rule.min_p and rule.top_p < 1)
    return problems + [
        (f"{path}.min_p", "with sampler vllm not beside top_p: vLLM applies min-p first, the trainer last, and their kept "
         "sets would differ; set top_p: 1 or min_p: 0") for path in both
    ]  # fmt: skip


def _ability_problems(recipe: Recipe) -> list[tuple[str, str]]:
    """Domains that lack what their stage asks of them."""
    problems = []
    reward_models: list[str] = []
    for stage in recipe.stages:
        if stage.kind == "reward_model":
            reward_models.append(stage.name)
            if load_domain(stage.domain).pairs is None:
                problems.append((f"stages.{stage.name}.domain", f"domain {stage.domain} has no preference pairs"))
            continue
        domains = [load_domain(d.domain) for d in stage.data]
        if stage.kind == "sft":
            problems += [(f"stages.{stage.name}.data.{d.name}", "this domain has no demonstrations")
                         for d in domains if d.demonstrate is None]  # fmt: skip
            continue
        judged = any("reward_model" in d.needs for d in domains)
        if judged and not reward_models:
            problems.append((f"stages.{stage.name}", "needs a reward_model stage before it"))
        if stage.judge and not any(d.judged for d in domains):
            problems.append((f"stages.{stage.name}.judge", "has no effect: no domain of this stage asks it"))
        if stage.reward_model and not judged:
            problems.append((f"stages.{stage.name}.reward_model", "has no effect: no domain of this stage asks for it"))
    return problems
