"""JSON of any shape, taken for what it should be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def as_mapping(raw: Any) -> Mapping[str, Any]:
    """`raw` if it is a mapping (with text for keys), else an empty one."""
    return {str(k): v for k, v in raw.items()} if isinstance(raw, Mapping) else {}


def as_list(raw: Any) -> list[Any]:
    """`raw` if it is a list, else an empty one."""
    return raw if isinstance(raw, list) else []


def number(raw: Any) -> float | None:
    """A finite number, or None."""
    # a bool is an int in Python, and no number on a page
    usable = isinstance(raw, (int, float)) and not isinstance(raw, bool) and math.isfinite(raw)
    return float(raw) if usable else None


def text(raw: Any) -> str:
    """`raw` if it is text, else nothing."""
    return raw if isinstance(raw, str) else ""
