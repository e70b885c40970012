"""Supervised fine-tuning on demonstrations of the domains' teachers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial

from cascade_rl.errors import StageError
from cascade_rl.model.taught import batch_at, fitted
from cascade_rl.recipe import SFTStage
from cascade_rl.train.batch import Row
from cascade_rl.train.heldout_loss import HeldoutLoss
from cascade_rl.train.learner import lr_factor
from cascade_rl.train.likelihood import likelihood, split
from cascade_rl.train.loop import Steps
from cascade_rl.train.objective import LIKELIHOOD
from cascade_rl.train.own_replies import answered
from cascade_rl.train.samples import Encoding, encoded
from cascade_rl.train.stage_run import StageRun, Trained
from cascade_rl.types import Demonstration, Demonstrations, StepReport

# Of an update's numbers, those that say something in SFT: nothing was sampled, so that there is no ratio.
KEPT = ("loss", "grad_norm", "update_ratio", "skipped")


def train(run: StageRun[SFTStage], data: Demonstrations) -> Trained:
    """Run an SFT stage; loss is the mean over the reply tokens of a batch."""
    stage = run.stage
    data, said = answered(run, data)
    for line in said:
        run.screen.note(f"{stage.name}: {line}")
    items, heldout = _held_out(run, data)
    encoding, limit = _encoding(run)
    # ln of the vocabulary: all tokens alike
    steps = Steps(run, chance=math.log(run.world.config.vocab), heldout=heldout)
    with encoded(run, items, encoding, limit) as samples:
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
        return Trained(steps.finish(), steps.watch.facts(), (*said, *samples.lines, *steps.watch.lines()))


def _held_out(
    run: StageRun[SFTStage], data: Demonstrations
) -> tuple[Sequence[Demonstration], HeldoutLoss | None]:
    """What is trained on, and how the loss on the rest is measured, if any is held out."""
    spec = run.stage.heldout
    if spec is None:
        return data.items, None
    stage, (encoding, limit) = run.stage, _encoding(run)
    items, held = (data.items, data.heldout) if spec.source else split(stage.name, data.items, spec)
    # fitted as what is trained on: cut, or left out
    fits = [
        (item.problem.domain, encoding.fit(ids).ids)
        for item, ids in zip(held, encoding.encode(held), strict=True)
    ]
    rows = [(source, ids) for source, ids in fits if ids is not None]
    if not rows:
        raise StageError(f"{stage.name}.heldout: no reply fits into {limit} tokens; raise max_tokens")
    return items, likelihood(run.world.replicas, run.model, rows, spec.every)


def _encoding(run: StageRun[SFTStage]) -> tuple[Encoding[Demonstration], int]:
    """How demonstrations become samples, and the most tokens of one: what the model can place, at most."""
    stage, positions = run.stage, run.world.config.max_positions
    limit = min(stage.max_tokens, positions)
    most = f"{limit} tokens" if limit < positions else f"the model's {positions} positions"

    fit = partial(fitted, limit=limit, most=most, cut=stage.too_long == "cut")
    return Encoding(run.world.tokenizer.taught_all, fit, lambda item: item.problem), limit
