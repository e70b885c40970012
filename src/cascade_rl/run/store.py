"""Records of bytes on the disk instead of in memory: any number of them, each read when it is asked for.

FOLDER/records      the records, one behind the other
FOLDER/NAME.bin     a column: numbers of one width, one or more for each record
FOLDER/store.json   key, facts and checksums; the folder appears under its name only once all of it is whole

In memory are the columns alone, among them where each record ends and its checksum: 12 bytes a record.
Records are read with pread and not mapped: the pages of a mapped file count as a process's memory while warm.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cascade_rl.errors import InputError, StageError
from cascade_rl.run.files import Saving, read_json, sync_folder, write_json

BUFFER = 1 << 20  # bytes
# Type codes of `array`, which are numpy's as well: 1, 4 and 8 bytes without a sign.
BYTE, WORD, LONG = "B", "I", "Q"


class Writer:
    """A store that is being written; its columns are filled beside its records."""

    def __init__(self, folder: Path, columns: Mapping[str, str]) -> None:
        self._folder = folder
        self._file = (folder / "records").open("wb", buffering=BUFFER)
        self._ends, self._sums = array(LONG), array(WORD)
        self._size = 0
        self.columns = {name: array(code) for name, code in columns.items()}

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, record: bytes) -> None:
        """Append a record."""
        self._file.write(record)
        self._size += len(record)
        self._ends.append(self._size)
        self._sums.append(zlib.crc32(record))

    def finish(self, key: str, facts: Mapping[str, Any]) -> None:
        """Write the columns and, last, what the store is; `facts` are JSON."""
        self.close()
        told = {}
        for name, column in {**self.columns, "ends": self._ends, "sums": self._sums}.items():
            data = column.tobytes()
            with (self._folder / f"{name}.bin").open("wb") as file:
                file.write(data)
                _synced(file)
            told[name] = [column.typecode, hashlib.blake2b(data).hexdigest()]
        write_json(self._folder / "store.json", {"key": key, "columns": told, "facts": dict(facts)})

    def close(self) -> None:
        """Let go of the file, all of it on the disk."""
        if not self._file.closed:
            with self._file:
                _synced(self._file)


def _synced(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def writing(folder: Path, columns: Mapping[str, str]) -> Iterator[Writer]:
    """Write a store, whole or not at all, in the place of an older one; end it with `finish`.

    Raises NoRoom when the disk is full. What another process left half written is removed.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with Saving(folder, temporary):
            temporary.mkdir(parents=True)
            writer = Writer(temporary, columns)
            try:
                yield writer
            finally:
                writer.close()
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
            sync_folder(folder.parent)
    finally:
        # of what went wrong nothing is left; what went well has another name by now
        shutil.rmtree(temporary, ignore_errors=True)


class Store:
    """A store that is whole: a sequence of records, with its `columns` and `facts`.

    Raises StageError where a record is not what was written.
    """

    def __init__(self, folder: Path, columns: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        self.folder, self.columns, self.facts = folder, columns, facts
        self._ends, self._sums = columns["ends"], columns["sums"]
        self._file = (folder / "records").open("rb", buffering=0)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> bytes:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = int(self._ends[index - 1]) if index else 0
        record = os.pread(self._file.fileno(), int(self._ends[index]) - start, start)
        if zlib.crc32(record) != self._sums[index]:
            raise StageError(
                f"{self.folder} is damaged (checksum of record {index}); remove it and give the same command "
                "again: it is made anew from the rows"
            )
        return record


def open_store(folder: Path, key: str) -> Store | None:
    """The store of a folder, if it is whole and has this key; None where it has to be made."""
    try:
        told = read_json(folder / "store.json")
    except (InputError, OSError):
        return None
    if not isinstance(told, dict) or told.get("key") != key:
        return None
    columns = {name: _column(folder / f"{name}.bin", *said) for name, said in told["columns"].items()}
    whole = {name: column for name, column in columns.items() if column is not None}
    if len(whole) < len(columns) or not (folder / "records").is_file():
        return None
    return Store(folder, whole, told["facts"])


def _column(path: Path, code: str, checksum: str) -> np.ndarray | None:
    """A column, mapped; None if it is not what was written."""
    if not path.is_file():
        return None
    width = np.dtype(code)
    if path.stat().st_size == 0:
        found = np.empty(0, width)
    elif path.stat().st_size % width.itemsize:
        return None
    else:
        found = np.memmap(path, width, mode="r")
    return found if hashlib.blake2b(found.data).hexdigest() == checksum else None
