"""What the values of a job's keys are made from: what a stage says, in verl's words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cascade_rl.backends.verl.job import Job, Task
from cascade_rl.backends.verl.rates import Rates, rates
from cascade_rl.recipe import FullPhase, RLStage

MODES = {"token": "token-mean", "sequence": "seq-mean-token-mean", "constant": "seq-mean-token-sum-norm"}


def asks_model(task: Task) -> bool:
    """Whether rewards of a job ask a reward model."""
    # a task may have the domains of all stages of its run
    asked = {problem.domain for problem in task.link.asked}
    learned = any(domain.learned and domain.name in asked for domain in task.domains.values())
    return learned or adds_scores(task)


def adds_scores(task: Task) -> bool:
    """Whether a reward model's score counts beside a verifier's reward somewhere in a job."""
    return any(problem.id in task.scored for problem in task.link.asked)


@dataclass(frozen=True, slots=True)
class Places:
    """A task of RL with the folder of its job, and where its files are; all paths are absolute."""

    task: Task
    job: Job
    stage: RLStage
    rule: FullPhase

    @property
    def train_rows(self) -> str:
        """What is asked."""
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


class Rewards(Places):
    """Where rewards come from, and which groups are trained on."""

    __slots__ = ()

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return self.rule.max_prompt_tokens + self.rule.max_response_tokens

    @property
    def asks_model(self) -> bool:
        """Whether a reward model is asked."""
        return asks_model(self.task)

    @property
    def reward_model(self) -> str | None:
        """The directory of the one that is asked."""
        found = self.task.reward_model
        return str(found.resolve()) if found and self.asks_model else None

    @property
    def reward_gpus(self) -> int | None:
        """GPUs of its own, which hold one copy."""
        return self.task.verl.reward_gpus if self.asks_model else None

    @property
    def reward_machines(self) -> int | None:
        """One, where there is a reward model."""
        return 1 if self.asks_model else None

    @property
    def reward_engine(self) -> str:
        """Named also where nothing is served: verl wants to be told."""
        return "vllm"

    @property
    def own_scorer(self) -> str | None:
        """Where our function is that verl never calls: without one it would ask the model by itself."""
        return "pkg://inside.reward" if self.asks_model else None

    @property
    def reward_length(self) -> int | None:
        """Tokens that the reward model may read: a whole row and what its own template adds."""
        return self.longest + 256 if self.asks_model else None

    @property
    def filters(self) -> bool:
        """Whether groups without signal are replaced."""
        return self.stage.filter.kind == "batch"

    @property
    def sampler(self) -> str | None:
        """Where our replay buffer is."""
        return "pkg://inside.sampler" if self.filters else None

    @property
    def sampler_name(self) -> str | None:
        """Its class."""
        return "Rounds" if self.filters else None

    @property
    def drawn_singly(self) -> int | None:
        """What is missing in a batch is drawn, no more."""
        return 1 if self.filters else None


class Setting(Rewards):
    """All that the key table names: the properties here are of sampling and training."""

    __slots__ = ()

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
