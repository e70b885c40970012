"""The journals of a run: append-only JSONL, cut back on resume.

A line is synced before the next state is saved; on resume every journal is cut back to the offset that the
state recorded, so a finished run holds the same bytes, interrupted or not. A torn last line is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.run.files import Saving, dumps


class Journal:
    """One append-only JSONL file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with Saving(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # bytes, so that offsets are those of the file whatever the text. Unbuffered: what a full disk did
            # not take must not be tried again when the file is closed
            self._file = path.open("ab", buffering=0)

    def write(self, record: dict[str, Any]) -> None:
        """Append one line."""
        line = dumps(record).encode() + b"\n"
        # At once out of this process, so SIGKILL loses no line; only `sync` makes it survive a power cut. A
        # raw write may take a part: the last one of a disk that becomes full does.
        with Saving(self.path):
            while line:
                line = line[self._file.write(line) :]

    def sync(self) -> int:
        """Force everything to the disk; the file's size in bytes."""
        with Saving(self.path):
            os.fsync(self._file.fileno())
        return self._file.tell()

    def cut(self, size: int) -> None:
        """Forget everything after `size` bytes; raises InputError when less than that is there."""
        have = self.path.stat().st_size
        if have < size:
            # filling up with zeros, as truncate would, hides that lines were lost
            raise InputError(
                f"{self.path} has {have} bytes, but the saved state was written after {size}: lines are "
                f"lost; restore it, or move {self.path.parent} away: its stage is then trained anew"
            )
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
            # torn by a kill, or being written at this moment by a run that `status` looks at
            if not line.endswith(b"\n"):
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path} holds a line that is no JSON: {error}") from None
            yield record
