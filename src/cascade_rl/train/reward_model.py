"""The reward model: the policy's body with a scalar head on the last token, by Bradley-Terry on pairs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from cascade_rl.model.checkpoint import load_reward_directory, weights_hash
from cascade_rl.model.export import export
from cascade_rl.recipe import RewardModelStage
from cascade_rl.train.learned_reward import MODEL, LearnedReward, head_shape, scored
from cascade_rl.train.learner import lr_factor
from cascade_rl.train.loop import Steps
from cascade_rl.train.pair_scores import distinct, pair_accuracy, preference_loss
from cascade_rl.train.reward_body import embodied
from cascade_rl.train.sampled_pairs import sampled_pairs
from cascade_rl.train.samples import Encoding, Fitted, Ids, encoded
from cascade_rl.train.sft import batch_at
from cascade_rl.train.stage_run import StageRun, Trained
from cascade_rl.types import Pair, Pairs, StepReport

FOLDER = "reward_model"  # beside the checkpoint, which is the policy as it came


def train(run: StageRun[RewardModelStage], data: Pairs) -> Trained:
    """Train a reward model on top of the policy's weights, export it to FOLDER/reward_model, and measure it.

    The policy itself stays as it is, so that nothing of it has to be probed. Where the stage names a base of
    its own, that is the model's body, with its shape, tokenizer and template.
    """
    stage = run.stage
    run, lines = replace(run, model=MODEL, probe=None), []
    if stage.pairs_from == "samples":
        run.screen.waiting("sampling pairs")
        domain = run.domains[data.training[0].problem.domain]
        training, heldout = (sampled_pairs(run, domain, pairs) for pairs in (data.training, data.heldout))
        data = Pairs(training, heldout, data.tallies)
        lines.append(f"of the policy's own answers {len(data.training)} pairs differ by the rule")
    # from here on the run is of the reward model: its body's config and tokenizer, not the policy's
    run, start = embodied(run)
    world = run.world
    extra = head_shape(world.config)
    model = world.replicas.add_model(MODEL, world.config, start, train=True, extra=extra)
    del start
    # A pair that stands twice says nothing more the second time: the figure would look surer than it is.
    measured = distinct(data.heldout)
    fitted = fit(run, data.training, measured)
    if run.export_dtype == "bf16":
        # rounded before it is measured: the figure is that of what is exported, which RL asks
        world.replicas.load(MODEL, world.replicas.flat(MODEL).bfloat16().float())
    accuracy = pair_accuracy(LearnedReward(world.replicas, world.tokenizer), measured)
    count = len(measured)
    lines.append(f"held-out pairs: {count}, the chosen answer scores higher in {accuracy:.1%}")
    run.screen.note(f"reward model: {accuracy:.1%} of {count} held-out pairs are ranked right")
    # with the head's shapes, which make it a reward model that transformers scores alike
    flat = world.replicas.flat(MODEL)
    folder = run.book.folder / FOLDER
    export(folder, world.raw, world.config, flat, world.tokenizer, model.shapes, dtype=run.export_dtype)
    world.replicas.drop_model(MODEL)
    # of what lies on the disk, as RL will read it: an export leaves out the head over the vocabulary
    exports = {FOLDER: weights_hash(load_reward_directory(folder, world.config))}
    facts = {"heldout_pair_accuracy": accuracy, "heldout_pairs": count}
    return Trained(fitted.step, {**facts, **fitted.facts}, (*fitted.lines, *lines), exports)


def fit(run: StageRun[RewardModelStage], pairs: Sequence[Pair], heldout: Sequence[Pair] = ()) -> Trained:
    """Train the model `run.model`, which has a `score` head, on pairs; `heldout` are to be measured by."""
    stage = run.stage
    encoding, limit = _encoding(run)
    reward = LearnedReward(run.world.replicas, run.world.tokenizer, run.model)
    watched = preference_loss(reward, heldout, stage.heldout.every) if stage.heldout and heldout else None
    steps = Steps(run, chance=math.log(2), heldout=watched)  # a coin for every pair
    with encoded(run, pairs, encoding, limit) as kept:
        for step, learner in steps:
            begin = time.perf_counter()
            numbers = batch_at(step, stage.batch_size, len(kept), f"{run.seed}/{stage.name}")
            chosen = [(scored(good), scored(bad)) for good, bad in (kept[i] for i in numbers)]
            factor = lr_factor(stage, step, stage.planned_steps)
            metrics = learner.pair_step(chosen, factor) | {"lr": stage.lr * factor}
            steps.done(StepReport(step, metrics, {"update": time.perf_counter() - begin}))
        return Trained(steps.finish(), steps.watch.facts(), (*kept.lines, *steps.watch.lines()))


def _encoding(run: StageRun[RewardModelStage]) -> tuple[Encoding[Pair], int]:
    """How pairs become (chosen, rejected), and the most tokens of either, which the model can place."""
    tokenizer, positions = run.world.tokenizer, run.world.config.max_positions
    limit = min(run.stage.max_tokens, positions)
    most = f"{limit} tokens" if limit < positions else f"the model's {positions} positions"

    def encode(pairs: Sequence[Pair]) -> list[Ids]:
        asked = [(p.problem.messages, answer) for p in pairs for answer in (p.chosen, p.rejected)]
        ids = tokenizer.answered_all(asked)
        return list(zip(ids[::2], ids[1::2], strict=True))

    def fit(ids: Ids) -> Fitted:
        # an answer that is cut has lost the place where it is scored
        fits = max(map(len, ids)) <= limit
        return Fitted(ids) if fits else Fitted(None, f"pairs longer than {most}, left out")

    return Encoding(encode, fit, lambda pair: pair.problem), limit
