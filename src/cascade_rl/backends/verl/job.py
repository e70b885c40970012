"""A job of verl: what it is made from, where its files lie, and what comes out.

A stage is a chain of jobs, one for each of its `Link`s: verl has one length, one temperature and one set of
prompts a job, so that sub-stages of a curriculum, and epochs whose problems are filtered, are jobs of their
own, each from the weights that the one before exported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cascade_rl.domain import Domain
from cascade_rl.recipe import FullPhase, Stage, Verl
from cascade_rl.types import Problem, StageData


@dataclass(frozen=True, slots=True)
class Link:
    """A part of a stage that one job trains: its steps from `start` up to `end`, of the whole stage's.

    number  from 0
    rule    how replies are sampled; None for SFT, which samples none
    asked   of RL: the prompts in the order in which they are drawn, each in its mode, as this package's own
            engine draws them. Steps take them in turn, so that there are steps x prompts_per_step of them;
            more where a filter draws on. They are settled before the job is compiled: verl shuffles nothing
    data    what SFT trains on; of RL the pools that `asked` was drawn from
    """

    number: int
    start: int
    end: int
    rule: FullPhase | None
    data: StageData
    asked: tuple[Problem, ...] = ()

    @property
    def steps(self) -> int:
        """Optimiser steps of the job."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Task:
    """All that a job is compiled from.

    policy        the Hugging Face directory that it starts from
    reference     the one that a KL term holds on to: the stage's first weights, which the chain's later jobs
                  no longer start from
    switch_rules  what a reply in foreign script earns, by problem id
    scored        problems whose reward has the reward model's score beside it (`with_reward_model`)
    reward_model  the exported reward model that its rewards ask, where one does
    key           what makes the stage this one, see `run.ledger.stage_key`
    """

    stage: Stage
    link: Link
    policy: Path
    domains: Mapping[str, Domain]
    verl: Verl
    seed: int
    key: str
    reward_model: Path | None = None
    reference: Path | None = None
    switch_rules: Mapping[str, str | float] = field(default_factory=dict)
    scored: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """How verl's own environment is entered; nothing of it is imported in this process.

    python       the words before a script: a path, or a container's command that ends with one
    ray_address  of a cluster that runs already; None: verl starts one of its own on this machine
    """

    python: tuple[str, ...]
    ray_address: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """The folder of a compiled job. `manifest.json` is written last: with it all is there."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """Steps planned, versions, hashes of every file, the task's key."""
        return self.folder / "manifest.json"

    @property
    def overrides(self) -> Path:
        """One hydra override a line."""
        return self.folder / "overrides.txt"

    @property
    def composed(self) -> Path:
        """verl's whole configuration as verl composed it, for audit; written by `check`."""
        return self.folder / "composed.yaml"

    @property
    def train_rows(self) -> Path:
        """Parquet."""
        return self.folder / "train.parquet"

    @property
    def validation_rows(self) -> Path:
        """Parquet; verl wants some, although it is us who measure."""
        return self.folder / "validation.parquet"

    @property
    def script(self) -> Path:
        """What starts verl on this job: `run.sh`."""
        return self.folder / "run.sh"

    @property
    def checkpoints(self) -> Path:
        """verl's own: `global_step_N`, this job's alone."""
        return self.folder / "checkpoints"

    @property
    def exported(self) -> Path:
        """The Hugging Face directory that came out; there once it was held against the trained weights."""
        return self.folder / "exported"

    def attempt(self, number: int) -> Path:
        """Where a start (from 1) logs: `metrics.jsonl`, `console.log`, `rollouts/STEP.jsonl`."""
        # a path of its own a start: verl opens its metrics file anew, and would lose those of the one before
        return self.folder / "attempts" / f"{number:02d}"
