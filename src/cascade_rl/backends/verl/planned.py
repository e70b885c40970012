"""What launch, watch and export read of a job's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cascade_rl.backends.verl.job import Job
from cascade_rl.errors import InputError
from cascade_rl.run.files import read_record

KEYS = ("kind", "steps", "policy", "strategy", "nodes", "gpus_per_node", "attempts", "entry", "environment")


@dataclass(frozen=True, slots=True)
class Planned:
    """A compiled job, as it is started, followed and judged.

    kind         rl or sft: verl lays their checkpoints out differently
    steps        optimiser steps of this job alone, which verl counts from 1
    policy       the Hugging Face directory that it starts from
    entry        the words after verl's Python: `-m verl.trainer.main_ppo`
    environment  variables that verl's processes need
    on_policy    one update a batch: then verl's two passes over it must agree
    replies      how many a step has at least: a filter draws more; 0 where it has none
    first_rate   the learning rate of the first step; None of a job that was compiled before it was kept
    """

    kind: str
    steps: int
    policy: Path
    strategy: str
    nodes: int
    gpus_per_node: int
    attempts: int
    entry: tuple[str, ...]
    environment: Mapping[str, str]
    on_policy: bool
    replies: int
    first_rate: float | None

    @property
    def world_size(self) -> int:
        """All GPUs of the job."""
        return self.nodes * self.gpus_per_node


def read_plan(job: Job) -> Planned:
    """The job's plan; InputError where it was not compiled to its end."""
    record = read_record(job.manifest, *KEYS)
    if record is None:
        raise InputError(
            f"{job.folder} holds no compiled job: it has no {job.manifest.name}; compile it first"
        )
    return Planned(
        record["kind"],
        record["steps"],
        Path(record["policy"]),
        record["strategy"],
        record["nodes"],
        record["gpus_per_node"],
        record["attempts"],
        tuple(record["entry"]),
        dict(record["environment"]),
        bool(record.get("on_policy", True)),
        record.get("prompts", 0) * record.get("replies", 0),
        record.get("first_rate"),
    )


def read_overrides(job: Job) -> list[str]:
    """The job's hydra overrides, in order."""
    return [line for line in job.overrides.read_text(encoding="utf-8").splitlines() if line.strip()]
