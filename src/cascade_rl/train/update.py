"""From graded groups to the update of a step: rows, objective, and the parts of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from cascade_rl.protocols import SamplingRule
from cascade_rl.recipe import FullPhase, RLStage
from cascade_rl.train.batch import Row
from cascade_rl.train.diagnostics import update_metrics
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import Surrogate, token_weights
from cascade_rl.train.objective import Objective, Teacher
from cascade_rl.types import Group

REFERENCE = "reference"  # the stage's first weights among the models of the workers


def update_on(
    learner: Learner,
    stage: RLStage,
    phase: FullPhase,
    groups: Sequence[Group],
    advantages: Sequence[Sequence[float | None]],
    factor: float,
) -> dict[str, float]:
    """One update, or `updates_per_batch`, each on its share of the prompts; what the journal keeps."""
    objective = objective_of(stage, phase)
    found, tokens = [], 0
    parts = stage.updates_per_batch
    # by whole prompts, in the order drawn: the first update of a step is on-policy, a group stays together
    bounds = [len(groups) * part // parts for part in range(parts + 1)]
    for begin, end in pairwise(bounds):
        # weights are over the part, not the batch: each update is a step of full size
        rows, counted = make_rows(groups[begin:end], advantages[begin:end], stage, phase.max_response_tokens)
        tokens += counted
        if rows:  # without a gradient no update: weight decay and moments would move weights for nothing
            found.append(learner.policy_step(rows, objective, factor))
    return update_metrics(found, stage) | {"tokens": tokens}


def objective_of(stage: RLStage, phase: FullPhase) -> Objective:
    """The objective that a stage's keys ask for, on the distribution that a phase samples from."""
    # of p_trainer / p_rollout; the weight of tis is capped from above alone
    bounds = {"tis": (0.0, stage.tis_cap), "icepop": (stage.icepop_low, stage.icepop_high)}
    low, high = bounds.get(stage.rollout_correction, (0.0, 0.0))
    # None is a bound that the loss has no use for; the recipe fills in those that it has
    surrogate = Surrogate(
        stage.loss,
        stage.clip_low or 0.0,
        stage.clip_high or 0.0,
        stage.rollout_correction,
        low or 0.0,
        high or 0.0,
    )
    teachers = (Teacher(REFERENCE, stage.kl_coefficient),) if stage.kl_coefficient else ()
    return Objective(surrogate, rule_of(phase), teachers)


def rule_of(phase: FullPhase) -> SamplingRule:
    """The distribution that a phase samples from and trains on: one for both, or the ratio is not 1."""
    return SamplingRule(phase.temperature, phase.top_p, phase.top_k, phase.min_p)


def make_rows(
    groups: Sequence[Group], advantages: Sequence[Sequence[float | None]], stage: RLStage, limit: int
) -> tuple[list[Row], int]:
    """Rows that have a gradient, and how many response tokens count in the denominator."""
    # masked or not graded (None) is as if never sampled; without spread (0) counts in the denominator
    scored = [
        (rollout, a)
        for group, row_G in zip(groups, advantages, strict=True)
        for rollout, a in zip(group.rollouts, row_G, strict=True)
        if a is not None
    ]
    lengths = [len(rollout.ids) for rollout, _ in scored]
    weights = token_weights(lengths, stage.aggregation, limit)
    rows = [
        Row.of(rollout.prompt_ids, rollout.ids, weight, a, rollout.logprobs)
        for (rollout, a), weight in zip(scored, weights, strict=True)
        if a != 0 or stage.kl_coefficient  # the KL term pulls at replies without advantage, too
    ]
    return rows, sum(lengths)
