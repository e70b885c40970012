"""The only writer and the only reader of a run's files: append-only JSONL, and atomic whole files.

A line is synced before the next state is saved; on resume every journal is cut back to the offset that the state
recorded, so a finished run holds the same bytes whether it was interrupted or not. A torn last line is dropped.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


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
    return json.dumps(_plain(value), indent=indent, ensure_ascii=True, allow_nan=False)


class Journal:
    """One append-only JSONL file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

    def write(self, record: dict[str, Any]) -> None:
        """Append one line."""
        self._file.write(dumps(record).encode() + b"\n")
        self._file.flush()

    def sync(self) -> int:
        """Force everything to the disk; the file's size in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def cut(self, size: int) -> None:
        """Forget everything after `size` bytes; raises ValueError when less than that is there."""
        have = self.path.stat().st_size
        if have < size:
            raise ValueError(f"{self.path} has {have} bytes, but the saved state was written after {size}")
        self._file.truncate(size)
        self._file.seek(size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSONL file; an incomplete last line is left out, as is a file that does not exist."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


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
    """The value of a JSON file, or None if there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
