"""Changes to a recipe from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


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
    # A name with a dot, such as a domain by its path, can't be reached; its number in the list can.
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
    # an absent block is made: `gate.policy=stop` needs no gate in the file
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def _list_index(node: list[Any], key: str, path: str) -> int:
    names = [item.get("name") or item.get("domain") for item in node if isinstance(item, Mapping)]
    if key in names:
        return names.index(key)
    if key.isdigit() and int(key) < len(node):
        return int(key)
    raise ValueError(f"{path}: no {key!r} here; there are {', '.join(str(n) for n in names)}")
