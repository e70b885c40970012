"""Whole files of a run: written at once or not at all, in strict JSON."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError


def _plain(value: Any) -> Any:
    """JSON has no NaN: numbers that are not finite are written as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def dumps(value: Any, indent: int | None = None) -> str:
    """Strict JSON that survives lone surrogates (a sampled byte may be half a character)."""
    # allow_nan=False: a NaN that `_plain` missed must fail here, not in another reader
    return json.dumps(_plain(value), indent=indent, ensure_ascii=True, allow_nan=False)


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: temporary name, sync, rename, sync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    # a rename is durable only once both the content and the folder are on the disk
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a value as a whole JSON file or nothing."""
    write_text(path, dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file, or None if there is no file; InputError when it holds something else."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from None
