"""What needs pyarrow: Parquet, and files compressed by zstandard; an error says where it is missing."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from cascade_rl.errors import InputError

BATCH = 512  # rows that are Python's at once


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise InputError(f"{path} needs a package: pip install cascade-rl[data]") from None
    return pyarrow


@contextmanager
def opened_zst(path: Path) -> Iterator[BinaryIO]:
    """The decompressed bytes of a file."""
    pyarrow = _pyarrow(path)
    with pyarrow.input_stream(str(path), compression="zstd") as stream:
        yield io.BufferedReader(_Stream(stream))


class _Stream(io.RawIOBase):
    """Arrow's stream as one of Python's: lines and text are cut by the standard library."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data: bytes = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def parquet(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file as JSON has them, a batch at a time."""
    pyarrow = _pyarrow(path)
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    yield {name: plain(value) for name, value in row.items()}
    except pyarrow.ArrowException as error:
        raise InputError(f"can't read {path}: {error}") from None


def plain(value: Any) -> Any:
    """A value as JSON has it: times in ISO's form, decimals as texts, NaN as the null that it means."""
    if isinstance(value, float) and not math.isfinite(value):
        # pandas writes its missing numbers so
        return None
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value
