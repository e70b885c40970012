"""RL of one domain (or a mixture): GRPO, by default with exactly one update for each batch of rollouts.

Source: arXiv 2512.13607. No old log-probabilities are computed: with one update the ratio is 1 by
construction, with more it is taken against those that the rollouts recorded. A group whose rewards are all
equal has no advantage and costs nothing, but its tokens count in the denominator.

Suffixes say what an index runs over: P the prompts of a step, G the replies to one prompt.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from cascade_rl.errors import StageError
from cascade_rl.grading.services import with_judge
from cascade_rl.model.checkpoint import load_directory
from cascade_rl.recipe import FullPhase, RLStage
from cascade_rl.train.diagnostics import describe
from cascade_rl.train.earned import advantages_of, rewarded, rewards_of
from cascade_rl.train.gather import gather
from cascade_rl.train.learned_reward import MODEL, serve
from cascade_rl.train.learner import lr_factor
from cascade_rl.train.loop import Steps
from cascade_rl.train.pool import PromptPool
from cascade_rl.train.stage_run import StageRun, Trained
from cascade_rl.train.update import REFERENCE, update_on
from cascade_rl.types import Pools, StepReport


def train(run: StageRun[RLStage], data: Pools) -> Trained:
    """Run an RL stage on the problems of each of its data entries."""
    stage = run.stage
    pool = PromptPool(stage, data.entries, run.seed)
    with at_work(run, data) as run:
        steps = Steps(run, pool, partial(label, stage))
        for step, learner in steps:
            phase = phase_at(stage, step)
            counted = Counter(run.world.services.counts)  # up to here: the step's own come on top

            # P can be less than prompts_per_step: a pool may be smaller, a filter may find too few
            found = gather(run, pool, phase, step)
            groups_P = found.groups

            # a group is its own baseline: no value model, and nothing to learn where all earned the same
            rewards_PG = rewards_of(groups_P, stage, phase, pool.switch_rules, pool.scored)
            advantages_PG = advantages_of(rewards_PG, stage, found.trains)

            # here alone the weights move: the next step samples from the new ones
            factor = lr_factor(stage, step, stage.steps)
            begin = time.perf_counter()
            update = update_on(learner, stage, phase, groups_P, advantages_PG, factor)
            seconds = found.seconds | {"update": time.perf_counter() - begin}

            pool.record(groups_P)  # what the epoch filter goes by
            if step in (0, stage.steps - 1):
                run.book.samples(step, rewarded(groups_P, rewards_PG))
            for text in pool.take_notes():
                run.note(step, text)
            metrics = describe(groups_P, rewards_PG, advantages_PG)
            metrics |= {"lr": stage.lr * factor, "rounds": found.rounds} | update
            steps.done(StepReport(step, metrics, seconds, run.world.services.counts - counted))
        return Trained(steps.finish())


@contextmanager
def at_work(run: StageRun[RLStage], data: Pools) -> Iterator[StageRun[RLStage]]:
    """The run with all that its rewards and its loss ask: a learned reward, a judge, the KL term's reference.

    The models are dropped when the stage has ended well; after a fault their workers may not answer any more.
    """
    stage = run.stage
    replicas, services = run.world.replicas, run.world.services
    extra = []  # names of the models that this stage adds to the workers'
    # the problems of an entry are of one domain, so that its first speaks for all
    learned = any(run.domains[problems[0].domain].learned for problems in data.entries)
    if learned or stage.adds_scores():
        if run.reward_model is None:
            raise StageError(f"{stage.name}: its reward is learned, but there is no reward model")
        services = replace(services, reward_model=serve(run.world, run.reward_model))
        extra.append(MODEL)
    if stage.judge:
        services = with_judge(services, stage.judge)
    if stage.kl_coefficient:
        # the weights that the stage began with, also after a resume: not those of the state it goes on from
        replicas.add_model(REFERENCE, run.world.config, load_directory(run.start)[2], train=False)
        extra.append(REFERENCE)
    # a new world and not the run's own changed: other stages, and the evaluation, go on with that
    yield replace(run, world=replace(run.world, services=services))
    for name in extra:
        replicas.drop_model(name)


def phase_at(stage: RLStage, step: int) -> FullPhase:
    """The sub-stage of the curriculum that a step belongs to, with every key filled in."""
    return next(phase for start, end, phase in stage.phases() if start <= step < end)


def label(stage: RLStage, step: int) -> str:
    """What the journal calls the sub-stage."""
    if not stage.curriculum:
        return ""
    phase = phase_at(stage, step)
    drawn = f", of {', '.join(phase.data)}" if phase.data else ""
    return f"{phase.max_response_tokens} tokens, overlong {phase.overlong}{drawn}"
