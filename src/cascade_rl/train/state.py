"""Save and restore the middle of a stage, so that SIGKILL at any instant loses at most the steps since.

A state is a directory whose manifest, with sizes and checksums, is written last. A state that is torn or
damaged is passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from cascade_rl.run.files import Saving, dumps, sync_folder

KEPT = 2  # states: the newest, and the one before it in case the newest turns out damaged


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_state(
    folder: Path, step: int, flat: Tensor, save_optimizer: Callable[[Path], None], loop: Mapping[str, Any]
) -> None:
    """Write `folder/step-NNNNNN` whole, then forget all but the last two."""
    # the dot keeps it out of every glob for step-*, until it is whole and named
    temporary, final = folder / f".step-{step:06d}.tmp", folder / f"step-{step:06d}"
    with Saving(final, temporary):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        save_file({"weights": flat.detach().cpu().clone()}, temporary / "weights.safetensors")
        save_optimizer(temporary)
        (temporary / "loop.json").write_text(dumps(dict(loop)))
        _seal(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        sync_folder(folder)
    # numbers have leading zeros, so that names sort by step
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)


def _seal(temporary: Path) -> None:
    """Write the manifest of what lies there, and force all of it to the disk."""
    manifest = {p.name: {"bytes": p.stat().st_size, "sha256": _sum(p)} for p in sorted(temporary.iterdir())}
    (temporary / "manifest.json").write_text(json.dumps(manifest))
    # content, then names, then the new name: after a loss of power no name may stand for content not written
    for path in temporary.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(temporary)


def _whole(state: Path) -> bool:
    try:
        manifest = json.loads((state / "manifest.json").read_text())
    except (FileNotFoundError, ValueError):  # no JSON, or not even UTF-8
        return False
    return all(
        (state / name).is_file()
        and (state / name).stat().st_size == entry["bytes"]
        and _sum(state / name) == entry["sha256"]
        for name, entry in manifest.items()
    )


def latest_state(folder: Path) -> tuple[Path | None, list[Path]]:
    """The newest whole state, and the damaged ones that were passed over."""
    damaged: list[Path] = []
    # damaged ones are passed over, not deleted here: the run makes their steps again and saves over them
    for state in sorted(folder.glob("step-*"), reverse=True):
        if _whole(state):
            return state, damaged
        damaged.append(state)
    return None, damaged


def read_state(state: Path) -> tuple[Tensor, dict[str, Any]]:
    """The flat weights and the loop's own record."""
    return load_file(state / "weights.safetensors")["weights"], json.loads((state / "loop.json").read_text())
