"""The manifest of a job, written last: what was compiled, from what, and the checksum of every file of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cascade_rl.backends.verl.job import Job, Task
from cascade_rl.run.files import write_json


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(task: Task, job: Job, facts: Mapping[str, Any], names: Iterable[str]) -> None:
    """Write what `task` says and the job's own `facts`, with the checksums of the files `names`."""
    verl = task.verl
    record = {
        "stage": task.stage.name,
        "link": task.link.number,
        "key": task.key,
        "verl": verl.version,
        "steps": task.link.steps,
        "policy": str(task.policy),
        "strategy": verl.strategy,
        "nodes": verl.nodes,
        "gpus_per_node": verl.gpus_per_node,
        "attempts": verl.attempts,
        **facts,
        "files": {name: file_digest(job.folder / name) for name in names},
    }
    write_json(job.manifest, record)


def changed_files(job: Job, record: Mapping[str, Any]) -> list[str]:
    """The files that are no longer those of the manifest, gone ones among them."""
    paths = {name: job.folder / name for name in record["files"]}
    return [n for n, path in paths.items() if not path.is_file() or file_digest(path) != record["files"][n]]
