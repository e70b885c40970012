"""Whole files of a run: written at once or not at all, in strict JSON."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError, NoRoom


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


# Over a quota or a limit on file sizes it is the same to a user as on a full disk.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# How writers that hide the number of the error say it: safetensors in words, torch by the place in its code
# where a write came back short, or as an error of its stream.
_SAID = (*map(os.strerror, FULL), "inline_container", "PytorchStreamWriter", "iostream error")


class Saving:
    """While it lasts `path` is written: a full disk becomes NoRoom, which names it.

    `temporary`, the file or folder that stands for it until it is whole, is removed then: it takes room.
    """

    def __init__(self, path: Path, temporary: Path | None = None) -> None:
        self.path, self.temporary = path, temporary

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Turn the error of a full disk into NoRoom; let every other one pass."""
        # By what it says and not by its class: safetensors and torch have errors of their own for it, and a
        # worker hands over the text of one.
        reason = _full(error)
        if reason is None:
            return
        if self.temporary and self.temporary.is_dir():
            shutil.rmtree(self.temporary, ignore_errors=True)
        elif self.temporary:
            self.temporary.unlink(missing_ok=True)
        raise NoRoom(self.path, reason) from error


def _full(error: BaseException | None) -> str | None:
    """What an error says of a full disk; None if it says nothing of it, or has been told already."""
    if error is None or isinstance(error, NoRoom):
        return None
    if isinstance(error, OSError) and error.errno in FULL:
        return error.strerror
    said = next((text for text in _SAID if text in str(error)), None)
    return os.strerror(errno.ENOSPC) if said in _SAID[len(FULL) :] else said


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: temporary name, sync, rename, sync of the folder."""
    temporary = path.with_name(f".{path.name}.tmp")
    with Saving(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
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


def read_record(path: Path, *keys: str) -> dict[str, Any] | None:
    """A JSON object that a run wrote, or None if there is no file; InputError when it lacks one of `keys`."""
    found = read_json(path)
    if found is None:
        return None
    missing = [key for key in keys if key not in found] if isinstance(found, dict) else ["an object"]
    if missing:
        raise InputError(f"{path} is no file of a run: it lacks {', '.join(missing)}; restore or remove it")
    record: dict[str, Any] = found
    return record
