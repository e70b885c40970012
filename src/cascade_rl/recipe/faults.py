"""Build a recipe, and say of all its blocks at once what is wrong in them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cascade_rl.errors import meant
from cascade_rl.recipe.base import Problems
from cascade_rl.recipe.kinds import STAGE_KINDS, kind_of
from cascade_rl.recipe.prompts import FILTER_KINDS
from cascade_rl.recipe.recipe import Recipe
from cascade_rl.recipe.sft import DATA_TAGS

# Where a part of a recipe stands, as pydantic says it.
Place = tuple[str | int, ...]


def build(merged: dict[str, Any]) -> tuple[Recipe | None, Problems]:
    """The recipe (None when what is left is none), and what is wrong in its blocks.

    A wrong part is left out, so that one fault hides no other.
    """
    rest = copy.deepcopy(merged)
    problems: Problems = []
    left_out: dict[Place, bool] = {}  # whether rules across the block of a part left out may now misjudge
    # pydantic checks rules across a block only when each of its fields is valid. So wrong parts are taken
    # out and the rest is tried again, until nothing new is found.
    while True:
        try:
            return Recipe.model_validate(rest), problems
        except ValidationError as error:
            new = [e for e in error.errors() if e["loc"] not in left_out]
        # A rule of a block that lost a part may fail for want of it: such a fault is not told.
        doubtful = {loc[:n] for loc, changed in left_out.items() if changed for n in range(len(loc))}
        problems += [_explain(rest, e) for e in new if e["type"] != "value_error" or e["loc"] not in doubtful]
        # an unknown key takes nothing with it that a rule could miss
        left_out |= {e["loc"]: e["type"] != "extra_forbidden" for e in new}
        done = [_leave_out(rest, e["loc"]) for e in new]
        # What went with a fault is not missing: that its block is no longer there is our doing.
        left_out |= {place: True for place in done if place and place not in left_out}
        # no progress: another round would find the same faults for ever
        if not new or None in done:
            return None, problems


def _leave_out(rest: dict[str, Any], loc: Place) -> Place | None:
    """Take out the key at a location, or strip a stage whose keys don't go together.

    The place of what is gone, which is the block around a key that is missing; None if nothing can go.
    """
    node: Any = rest
    owner, key, place = rest, None, loc
    for number, part in enumerate(loc, 1):
        if isinstance(node, list) and isinstance(part, int):
            # an item that is missing, such as a second beta: then the whole list is left out
            node = node[part] if part < len(node) else None
        elif isinstance(node, dict) and part in node:
            owner, key, node, place = node, part, node[part], loc[:number]
    if key == "stages" and isinstance(node, dict):
        kind = kind_of(node)
        if kind is None or not isinstance(node.get("name"), str):
            return None
        # Which of its keys is at fault is not known: all go but those required or referred to.
        kept = kind.stripped(node)
        node.clear()
        node.update(kept)
        return loc
    if key is not None and key != "stages":
        owner.pop(str(key), None)
    return place


def _explain(raw: Mapping[str, Any], error: ErrorDetails) -> tuple[str, str]:
    """A pydantic error as (path with names instead of numbers, message with the value)."""
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        text = f"unknown key; {_near(raw, error['loc'])}see `cascade check` for the keys of this block"
    elif error["type"] == "missing":
        text = "missing; it has no default"
    elif not isinstance(error.get("input"), Mapping | list | None):
        text += f" (got {error['input']!r})"
    return _path(raw, error["loc"]), text


def _near(raw: Mapping[str, Any], loc: Place) -> str:
    """Where a key that is unknown may be meant: in the stages that have it, or as another of its block."""
    key, stages = str(loc[-1]), raw.get("stages")
    # of the recipe itself and of its stages the keys are known here, of blocks within them they are not
    blocks = [s if isinstance(s, Mapping) else {} for s in stages] if isinstance(stages, list) else []
    kinds = [kind_of(block) for block in blocks]
    if len(loc) == 1:
        owners = [
            f"stages.{block.get('name')}.{key}"
            for block, kind in zip(blocks, kinds, strict=True)
            if kind and key in kind.model_fields
        ]
        return f"did you mean {' or '.join(owners[:3])}? " if owners else meant(key, Recipe.model_fields)
    # `stages`, its place, the tag of its kind, the key
    if loc[0] == "stages" and len(loc) == 4 and isinstance(loc[1], int) and (kind := kinds[loc[1]]):
        return meant(key, kind.model_fields)
    return ""


def _path(raw: Mapping[str, Any], loc: Place) -> str:
    names: list[str] = []
    node: Any = raw
    for part in loc:
        if isinstance(part, int) and isinstance(node, list) and part < len(node):
            node = node[part]
            label = node.get("name") or node.get("domain") if isinstance(node, Mapping) else None
            names.append(str(label or part))
        elif part in STAGE_KINDS or part in FILTER_KINDS or part in DATA_TAGS:
            continue  # the tag of a union, not a key
        else:
            names.append(str(part))
            node = node.get(part) if isinstance(node, Mapping) else None
    return ".".join(names)
