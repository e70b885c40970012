"""Supervised fine-tuning on demonstrations of the domains' teachers."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from cascade_rl.errors import StageError
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import SFTStage
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import Learner, lr_factor
from cascade_rl.train.loop import StageRun, Steps, run_steps
from cascade_rl.train.objective import LIKELIHOOD
from cascade_rl.types import Demonstration, StepReport


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
        chosen = [
            samples[i] for i in batch_at(step, stage.batch_size, len(samples), f"{run.seed}/{stage.name}")
        ]
        weight = 1.0 / sum(len(reply) for _, reply in chosen)
        factor = lr_factor(stage, step, stage.planned_steps)
        update = learner.policy_step([Row.of(p, r, weight) for p, r in chosen], LIKELIHOOD, factor)
        kept = {key: update[key] for key in ("loss", "grad_norm", "update_ratio", "skipped")}
        metrics = kept | {"lr": stage.lr * factor, "tokens": sum(len(p) + len(r) for p, r in chosen)}
        return StepReport(step, metrics, {"update": time.perf_counter() - begin})

    return run_steps(run, Steps(one_step))
