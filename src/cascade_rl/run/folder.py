"""A run directory: who works in it, where each stage's files lie, and what was set aside."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade_rl.errors import RunBusy
from cascade_rl.run.files import Saving

TOKENS = "tokens"  # in a stage's folder while it trains: what it trains on as ids, see `train/samples`
STATE = "state"  # in a stage's folder until it is done: where a resume goes on, see `train/state`
# 05-if-rl: the number of the stage from 1, and its name. Names hold no dot: `.old-1` was set aside.
STAGE_FOLDER = re.compile(r"(\d{2,})-([^.]+)")


@dataclass(frozen=True, slots=True)
class StageFolder:
    """The folder of a stage that counts: `index` from 0, as in the recipe."""

    path: Path
    index: int
    name: str


class RunLock:
    """An exclusive lock on a run directory; it goes with the process, however that ends."""

    def __init__(self, run: Path) -> None:
        with Saving(run):
            run.mkdir(parents=True, exist_ok=True)
        # the file stays when the lock goes: unlinking it would let two processes hold two files
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
        # the process id, for the message of whoever comes next; nothing reads it to decide
        with Saving(run / "run.lock"):
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
    # two digits, so that a plain listing shows up to 99 stages in order
    return run / "stages" / f"{index + 1:02d}-{name}"


def stage_folders(run: Path) -> list[StageFolder]:
    """The stages that a run directory holds, in order, without what was set aside."""
    found = [
        (path, STAGE_FOLDER.fullmatch(path.name)) for path in (run / "stages").glob("*") if path.is_dir()
    ]
    folders = [StageFolder(path, int(match[1]) - 1, match[2]) for path, match in found if match]
    return sorted(folders, key=lambda folder: (folder.index, folder.name))


def set_aside(run: Path, index: int) -> None:
    """Keep the results of stage number `index` and later under `.old-N` names."""
    # a new first stage may come from a new model, so what all stages start from goes too
    if index == 0:
        _rename_old(run, ["tokenizer", "base"])
    set_aside_stages(run, index)


def set_aside_stages(run: Path, index: int) -> list[Path]:
    """Keep the folders of stage number `index` and later under `.old-N` names, which are returned."""
    # Later stages go too: each started from weights that are about to change. Killed between renames, the
    # next try moves what is left.
    return _rename_old(run / "stages", [f.path.name for f in stage_folders(run) if f.index >= index])


def forget_states(stage: Path) -> None:
    """Delete the states of a stage that is done: several times its checkpoint, and never read again."""
    # A stage that is redone begins anew. Killed in here, what is left goes when the run goes on.
    shutil.rmtree(stage / STATE, ignore_errors=True)


def _rename_old(parent: Path, names: Sequence[str]) -> list[Path]:
    renamed = []
    for name in names:
        if not (parent / name).exists():
            continue
        number = 1
        while (parent / f"{name}.old-{number}").exists():
            number += 1
        kept = (parent / name).rename(parent / f"{name}.old-{number}")
        # gigabytes that nothing will read again
        shutil.rmtree(kept / TOKENS, ignore_errors=True)
        renamed.append(kept)
    return renamed
