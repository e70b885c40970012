"""What the values of a job's keys are made from: what a stage says, in verl's words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cascade_rl.backends.verl.job import Job, Task
from cascade_rl.backends.verl.rates import Rates, rates
from cascade_rl.recipe import FullPhase, RLStage

MODES = {"token": "token-mean", "sequence": "seq-mean-token-mean", "constant": "seq-mean-token-sum-norm"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A task of RL with the folder of its job; the properties are named by the key table."""

    task: Task
    job: Job
    stage: RLStage
    rule: FullPhase

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return self.rule.max_prompt_tokens + self.rule.max_response_tokens

    @property
    def batched(self) -> int:
        """Tokens that the sampler reads at once: verl's own 8192, or a whole row."""
        return max(8192, self.longest)

    @property
    def tokens_per_gpu(self) -> int:
        """Tokens of a micro-batch on one GPU: the longest row must fit into those that share it."""
        shared = math.ceil(self.longest / self.task.verl.sequence_parallel)
        return max(self.stage.tokens_per_microbatch, shared)

    @property
    def has_kl(self) -> bool:
        """Whether there is a KL term."""
        return self.stage.kl_coefficient > 0

    @property
    def kl(self) -> float | None:
        """Its weight."""
        return self.stage.kl_coefficient or None

    @property
    def aggregation(self) -> str:
        """How the losses of tokens are averaged."""
        return MODES[self.stage.aggregation]

    @property
    def scale(self) -> int | None:
        """What `constant` divides by beside the number of replies."""
        return self.rule.max_response_tokens if self.stage.aggregation == "constant" else None

    @property
    def correction(self) -> str | None:
        """Weights by token, of the sampler against the trainer."""
        return None if self.stage.rollout_correction == "none" else "token"

    @property
    def bounds(self) -> float | str | None:
        """The cap of these weights, or IcePop's two bounds."""
        if self.stage.rollout_correction == "icepop":
            return f"{self.stage.icepop_low!r}_{self.stage.icepop_high!r}"
        return self.stage.tis_cap

    @property
    def top_k(self) -> int:
        """-1: off."""
        return self.rule.top_k or -1

    @property
    def rates(self) -> Rates:
        """The learning rates of all steps."""
        return rates(self.stage, self.task.link.steps)

    @property
    def train_rows(self) -> str:
        """An absolute path, as the following: verl's processes work in folders of their own."""
        return str(self.job.train_rows.resolve())

    @property
    def validation_rows(self) -> str:
        """A file that is opened and never asked."""
        return str(self.job.validation_rows.resolve())

    @property
    def folder(self) -> str:
        """Where `inside` is found."""
        return str(self.job.folder.resolve())

    @property
    def loop(self) -> str:
        """The file that names our agent loop."""
        return str((self.job.folder / "loop.yaml").resolve())

    @property
    def checkpoints(self) -> str:
        """This job's alone."""
        return str(self.job.checkpoints.resolve())

    @property
    def policy(self) -> str:
        """Where the job starts from."""
        return str(self.task.policy.resolve())

    @property
    def experiment(self) -> str:
        """Stage and number of the link."""
        return f"{self.stage.name}-{self.task.link.number:02d}"
