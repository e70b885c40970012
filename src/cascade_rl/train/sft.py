"""Supervised fine-tuning on demonstrations of the domains' teachers."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Sequence

from cascade_rl.errors import StageError
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import SFTStage
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import lr_factor
from cascade_rl.train.loop import Steps
from cascade_rl.train.objective import LIKELIHOOD
from cascade_rl.train.stage_run import StageRun, Trained
from cascade_rl.types import Demonstration, Demonstrations, StepReport

# Of an update's numbers, those that say something in SFT: nothing was sampled, so that there is no ratio.
KEPT = ("loss", "grad_norm", "update_ratio", "skipped")


def train(run: StageRun[SFTStage], data: Demonstrations) -> Trained:
    """Run an SFT stage; loss is the mean over the reply tokens of a batch."""
    stage = run.stage
    samples, long = _fitting(run, data.items)
    # ln of the vocabulary: all tokens alike
    steps = Steps(run, chance=math.log(run.world.config.vocab))
    for step, learner in steps:
        begin = time.perf_counter()
        numbers = batch_at(step, stage.batch_size, len(samples), f"{run.seed}/{stage.name}")
        chosen = [samples[i] for i in numbers]
        # over the batch, not the micro-batch: the split for memory must not change the gradient
        weight = 1.0 / sum(len(reply) for _, reply in chosen)
        factor = lr_factor(stage, step, stage.planned_steps)
        # B samples; prompts have no weight, end marks have
        rows_B = [Row.of(prompt, reply, weight) for prompt, reply in chosen]
        update = learner.policy_step(rows_B, LIKELIHOOD, factor)
        tokens = sum(len(prompt) + len(reply) for prompt, reply in chosen)
        metrics = {key: update[key] for key in KEPT} | {"lr": stage.lr * factor, "tokens": tokens}
        steps.done(StepReport(step, metrics, {"update": time.perf_counter() - begin}))
    return Trained(steps.finish(), lines=long)


def _fitting(
    run: StageRun[SFTStage], items: Sequence[Demonstration]
) -> tuple[list[tuple[list[int], list[int]]], tuple[str, ...]]:
    """(prompt ids, reply ids) of each demonstration that is not too long, and how many are, by domain.

    Raises StageError when none fits.
    """
    stage = run.stage
    samples, dropped = encode(items, run.world.tokenizer, stage.max_tokens)
    if dropped:
        run.screen.note(
            f"{stage.name}: {dropped.total()} of {len(items)} samples are longer than {stage.max_tokens} "
            "tokens: left out"
        )
    if not samples:
        raise StageError(f"{stage.name}: no sample fits into max_tokens: {stage.max_tokens}; raise it")
    over = f"samples longer than {stage.max_tokens} tokens, left out"
    return samples, tuple(f"{domain}: {count} {over}" for domain, count in dropped.items())


def encode(
    made: Sequence[Demonstration], tokenizer: Tokenizer, max_tokens: int
) -> tuple[list[tuple[list[int], list[int]]], Counter[str]]:
    """(prompt ids, reply ids) of each that fits, and how many did not by domain (of own rows, by source)."""
    kept, dropped = [], Counter[str]()
    for item in made:
        prompt, reply = tokenizer.taught(item)
        if len(prompt) + len(reply) <= max_tokens:
            kept.append((prompt, reply))
        else:
            dropped[item.problem.domain] += 1
    return kept, dropped


def batch_at(step: int, size: int, count: int, seed: str) -> list[int]:
    """The sample numbers of a step: epochs in shuffled order, derived from (seed, epoch) alone.

    So a resumed stage has no order to remember. A batch may span the end of an epoch, a small set several.
    """
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
