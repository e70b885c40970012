"""The manifest of a job, written last: what was compiled, from what, and the checksum of every file of it."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cascade_rl.backends.verl.job import Job, Task
from cascade_rl.backends.verl.rates import first_rate
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import digest


def file_hash(path: Path) -> str:
    """16 hex digits of the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def asked_hash(task: Task) -> str:
    """16 hex digits of the prompts of a job, each in its mode and in its place."""
    return digest([[problem.id, str(problem.mode)] for problem in task.link.asked])


def manifest(task: Task, job: Job, tokenizer: Tokenizer, paths: Iterable[Path]) -> dict[str, Any]:
    """What every kind of job says of itself; `paths` are its files."""
    verl = task.verl
    return {
        "stage": task.stage.name,
        "link": task.link.number,
        "start": task.link.start,
        "steps": task.link.steps,
        "key": task.key,
        "asked": asked_hash(task),
        "folder": str(job.folder),
        "seed": task.seed,
        "first_rate": first_rate(task.stage),
        "policy": str(task.policy.resolve()),
        "policy_files": {p.name: file_hash(p) for p in sorted(task.policy.glob("*.safetensors"))},
        "tokenizer": tokenizer.hash(),
        "strategy": verl.strategy,
        "nodes": verl.nodes,
        "gpus_per_node": verl.gpus_per_node,
        "attempts": verl.attempts,
        "versions": {"verl": verl.version, "cascade-rl": importlib.metadata.version("cascade-rl")},
        "files": {str(p.relative_to(job.folder)): file_hash(p) for p in sorted(paths)},
    }


def changed_files(job: Job, record: Mapping[str, Any]) -> list[str]:
    """The files that are no longer those of the manifest, gone ones among them."""
    paths = {name: job.folder / name for name in record["files"]}
    return [n for n, path in paths.items() if not path.is_file() or file_hash(path) != record["files"][n]]
