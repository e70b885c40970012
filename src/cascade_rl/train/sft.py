"""Supervised fine-tuning on demonstrations of the domains' teachers."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from cascade_rl import chat
from cascade_rl.domain import Domain
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import SFTData, SFTStage
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import Learner, Objective, lr_factor
from cascade_rl.train.loop import StageError, StageRun, Steps, run_steps
from cascade_rl.types import Problem, Split, StepReport


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A problem in one mode with a teacher's reply."""

    problem: Problem
    reply: str

    @property
    def text(self) -> str:
        """The whole conversation, as the tokenizer sees it."""
        return chat.render(self.problem.messages, self.problem.mode, reply=self.reply)


def demonstrations(stage: SFTStage, domains: Mapping[str, Domain], seed: int) -> list[Demonstration]:
    """`samples` demonstrations in the proportions of the stage; domains with two modes answer each prompt in both.

    Raises StageError when a domain has fewer prompts than the stage asks for.
    """
    total = sum(data.weight for data in stage.data)
    found: list[Demonstration] = []
    for data in stage.data:
        wanted = max(1, round(stage.samples * data.weight / total / len(data.modes)))
        made = list(islice(_teach(data, domains[data.domain], f"{seed}/{stage.name}"), wanted * len(data.modes)))
        if len(made) < wanted * len(data.modes):
            raise StageError(
                f"{stage.name}: {data.domain} has only {len(made) // len(data.modes)} SFT prompts, {wanted} are asked for; "
                "lower samples or its weight"
            )
        found += made
    return found


def _teach(data: SFTData, domain: Domain, seed: str) -> Iterator[Demonstration]:
    for problem in domain.problems(data.source, Split.SFT, random.Random(seed).getrandbits(32)):
        for mode in data.modes:
            asked = problem.in_mode(mode)
            rng = random.Random(f"{seed}/{problem.id}/{mode}")
            yield Demonstration(asked, domain.demonstrate(asked, rng, data.fault_rate))


def encode(made: Sequence[Demonstration], tokenizer: Tokenizer, max_tokens: int) -> tuple[list[tuple], int]:
    """(prompt ids, reply ids) of each that fits, and how many did not."""
    pairs = [(tokenizer.prompt(d.problem), tokenizer.reply(d.reply)) for d in made]
    kept = [pair for pair in pairs if len(pair[0]) + len(pair[1]) <= max_tokens]
    return kept, len(pairs) - len(kept)


def batch_at(step: int, size: int, count: int, seed: str) -> list[int]:
    """The sample numbers of a step: epochs in shuffled order, derived from (seed, epoch) alone."""
    found: list[int] = []
    place = step * size
    while len(found) < size:
        epoch, offset = divmod(place, count)
        order = list(range(count))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        taken = order[offset : offset + size - len(found)]
        found += taken
        place += len(taken)
    return found


def train_sft(run: StageRun, made: Sequence[Demonstration]) -> int:
    """Run an SFT stage; loss is the mean over the reply tokens of a batch."""
    stage: SFTStage = run.stage
    samples, dropped = encode(made, run.tokenizer, stage.max_tokens)
    if dropped:
        run.on_note(
            f"{stage.name}: {dropped} of {len(made)} samples are longer than {stage.max_tokens} tokens: left out"
        )
    if not samples:
        raise StageError(f"{stage.name}: no sample fits into max_tokens: {stage.max_tokens}; raise it")

    def one_step(step: int, learner: Learner) -> StepReport:
        begin = time.perf_counter()
        chosen = [samples[i] for i in batch_at(step, stage.batch_size, len(samples), f"{run.seed}/{stage.name}")]
        weight = 1.0 / sum(len(reply) for _, reply in chosen)
        factor = lr_factor(stage, step, stage.planned_steps)
        update = learner.policy_step([Row.of(p, r, weight) for p, r in chosen], Objective("nll"), factor)
        kept = {key: update[key] for key in ("loss", "grad_norm", "update_ratio", "skipped")}
        metrics = kept | {"lr": stage.lr * factor, "tokens": sum(len(p) + len(r) for p, r in chosen)}
        return StepReport(step, metrics, {"update": time.perf_counter() - begin})

    return run_steps(run, Steps(one_step))
