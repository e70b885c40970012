"""A run directory: who works in it, where each stage's files lie, and what was set aside."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from cascade_rl.errors import RunBusy


class RunLock:
    """An exclusive lock on a run directory; it goes with the process, however that ends."""

    def __init__(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self._file = (run / "run.lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise RunBusy(
                f"{run} is in use by process {holder}; wait for it, stop it, or choose another --out"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        """Let the next process in."""
        self._file.truncate(0)
        self._file.close()


def stage_folder(run: Path, index: int, name: str) -> Path:
    """Where stage number `index` (from 0) keeps its files."""
    return run / "stages" / f"{index + 1:02d}-{name}"


def stage_folders(run: Path) -> list[Path]:
    """The folders of the stages that were begun, in order, without those set aside."""
    return [f for f in sorted((run / "stages").glob("[0-9][0-9]-*")) if ".old-" not in f.name]


def set_aside(run: Path, index: int) -> None:
    """Keep the results of stage number `index` and later under `.old-N` names."""
    if index == 0:
        _rename_old(run, ["tokenizer", "base"])
    _rename_old(run / "stages", [f.name for f in stage_folders(run) if int(f.name[:2]) > index])


def _rename_old(parent: Path, names: Sequence[str]) -> None:
    for name in names:
        if not (parent / name).exists():
            continue
        number = 1
        while (parent / f"{name}.old-{number}").exists():
            number += 1
        (parent / name).rename(parent / f"{name}.old-{number}")
