"""Changes to a recipe from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cascade_rl.errors import meant


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set `stages.math-rl.steps=20` in place; list items go by `name` (or `suite` or `domain`) or by number.

    `stages.rlhf=null` leaves a stage out, and so with any block of a list. Raises ValueError.
    """
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
    node: Any = raw
    done, parts = "", path.split(".")
    while parts:
        taken = _parts_of_a_name(node, parts)
        key, parts = ".".join(parts[:taken]), parts[taken:]
        here = f"{done}.{key}" if done else key
        if parts:
            node = _step_into(node, key, here)
        elif isinstance(node, list):
            index = _list_index(node, key, here)
            if value is None and isinstance(node[index], Mapping):
                del node[index]
            else:
                node[index] = value
        elif isinstance(node, dict):
            node[key] = value
        else:
            raise ValueError(f"{done} is a value, not a block")
        done = here


def _parts_of_a_name(node: Any, parts: Sequence[str]) -> int:
    """How many parts of a path name the next item: several where a name, such as a domain's, holds dots."""
    if isinstance(node, list):
        for count in range(len(parts), 1, -1):
            if ".".join(parts[:count]) in _names(node):
                return count
    return 1


def _step_into(node: Any, key: str, path: str) -> Any:
    if isinstance(node, list):
        return node[_list_index(node, key, path)]
    if not isinstance(node, dict):
        raise ValueError(f"{path}: there is no block to go into")
    # an absent block is made: `gate.policy=stop` needs no gate in the file
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def _list_index(node: list[Any], key: str, path: str) -> int:
    names = _names(node)
    if key in names:
        return names.index(key)
    if key.isdigit() and int(key) < len(node):
        return int(key)
    there = [str(place if name is None else name) for place, name in enumerate(names)]
    hint = f"; {meant(key, there)}".rstrip("; ")
    raise ValueError(f"{path}: no {key!r} here; there are {', '.join(there)}{hint}")


def _names(node: list[Any]) -> list[Any]:
    """What the items of a list are called, by their place."""
    return [_called(item) for item in node]


def _called(item: Any) -> Any:
    """What an item goes by: without a name a benchmark by its suite, an entry of data by its domain."""
    if not isinstance(item, Mapping):
        return None
    return item.get("name") or item.get("suite") or item.get("domain")
