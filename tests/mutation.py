"""Where nested values can be changed: what the mutation tests of recipes and of rows share."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any


def places(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value below a node."""
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def chosen(raw: Any, rng: random.Random) -> tuple[Any, Any] | None:
    """What holds one of these values, and its key or number there; None where there is no value."""
    found = list(places(raw))
    if not found:
        return None
    *parents, last = rng.choice(found)
    node = raw
    for key in parents:
        node = node[key]
    return node, last
