"""RL of one domain (or a mixture): GRPO, by default with exactly one update for each batch of rollouts.

Source: arXiv 2512.13607. No old log-probabilities are computed: with one update the ratio is 1 by construction, with
more it is taken against those that the rollouts recorded. A group whose rewards are all equal has no advantage and
costs nothing, but its tokens count in the denominator.

Suffixes say what an index runs over: P the prompts of a step, G the replies to one prompt, B the rows of an update.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from cascade_rl.errors import StageError
from cascade_rl.grading.services import with_judge
from cascade_rl.model.checkpoint import load_directory
from cascade_rl.protocols import Sampling
from cascade_rl.recipe import FullPhase, RLStage
from cascade_rl.rollout.collect import collect
from cascade_rl.train.advantage import final_rewards, group_advantage
from cascade_rl.train.diagnostics import describe, has_signal
from cascade_rl.train.learned_reward import MODEL, serve
from cascade_rl.train.learner import lr_factor
from cascade_rl.train.loop import Steps
from cascade_rl.train.pool import PromptPool
from cascade_rl.train.stage_run import StageRun, Trained
from cascade_rl.train.update import REFERENCE, rule_of, update_on
from cascade_rl.types import Group, Pools, Problem, StepReport, Verdict
from cascade_rl.verify.script import switches

MAX_FAILED = 0.2  # of a round's verdicts: a grader that fails more often is broken, not unlucky

Rewards = list[list[float | None]]  # [P][G]; None: not graded, so that it enters neither baseline nor loss


def train(run: StageRun, data: Pools) -> Trained:
    """Run an RL stage on the problems of each of its data entries."""
    stage: RLStage = run.stage
    pool = PromptPool(stage, data.entries, run.seed)
    with at_work(run, data) as run:
        steps = Steps(run, pool, partial(label, stage))
        for step, learner in steps:
            phase, counted = phase_at(stage, step), Counter(run.world.services.counts)
            found = gather(run, pool, phase, step)
            groups_P = found.groups
            rewards_PG = rewards_of(groups_P, stage, phase, pool.switch_rules)
            advantages_PG = [
                group_advantage(r_G, stage.reward_shaping, stage.advantage) for r_G in rewards_PG
            ]
            factor, begin = lr_factor(stage, step, stage.steps), time.perf_counter()
            update = update_on(learner, stage, phase, groups_P, advantages_PG, factor)
            seconds = found.seconds | {"update": time.perf_counter() - begin}
            pool.record(groups_P)
            if step in (0, stage.steps - 1):
                run.book.samples(step, rewarded(groups_P, rewards_PG))
            for text in pool.take_notes():
                run.note(step, text)
            metrics = describe(groups_P, rewards_PG, advantages_PG)
            metrics |= {"lr": stage.lr * factor, "rounds": found.rounds} | update
            steps.done(StepReport(step, metrics, seconds, run.world.services.counts - counted))
        return Trained(steps.finish())


@contextmanager
def at_work(run: StageRun, data: Pools) -> Iterator[StageRun]:
    """The run with all that its rewards and its loss ask: a learned reward, a judge, the reference of the KL term.

    The models are dropped when the stage has ended well; after a fault their workers may not answer any more.
    """
    stage: RLStage = run.stage
    replicas, services = run.world.replicas, run.world.services
    extra = []
    if any(run.domains[pool[0].domain].learned for pool in data.entries):
        if run.reward_model is None:
            raise StageError(f"{stage.name}: its reward is learned, but there is no reward model")
        services = replace(services, reward_model=serve(run.world, run.reward_model))
        extra.append(MODEL)
    if stage.judge:
        services = with_judge(services, stage.judge)
    if stage.kl_coefficient:
        replicas.add_model(REFERENCE, run.world.config, load_directory(run.start)[2], train=False)
        extra.append(REFERENCE)
    yield replace(run, world=replace(run.world, services=services))
    for name in extra:
        replicas.drop_model(name)


def phase_at(stage: RLStage, step: int) -> FullPhase:
    """The sub-stage of the curriculum that a step belongs to, with every key filled in."""
    return next(phase for start, end, phase in stage.phases() if start <= step < end)


def label(stage: RLStage, step: int) -> str:
    """What the journal calls the sub-stage."""
    phase = phase_at(stage, step)
    return f"{phase.max_response_tokens} tokens, overlong {phase.overlong}" if stage.curriculum else ""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Graded groups for one step, after how many rounds, and what took how long."""

    groups: list[Group]
    rounds: int
    seconds: Mapping[str, float]


def gather(run: StageRun, pool: PromptPool, phase: FullPhase, step: int) -> Gathered:
    """The groups of one step; with the batch filter refilled until all carry signal, `max_rounds` at most."""
    stage: RLStage = run.stage
    rounds = stage.filter.max_rounds if stage.filter.kind == "batch" else 1
    kept: list[Group] = []
    seconds = {"rollout": 0.0, "grading": 0.0}
    for number in range(rounds):
        problems = unique(pool.draw(stage.prompts_per_step - len(kept)))
        sampling = sampling_of(stage, phase, (run.seed, stage.name, step, number))
        found = collect(problems, run.domains, run.world.sampler, run.world.services, sampling)
        seconds["rollout"] += found.rollout_s
        seconds["grading"] += found.grading_s
        run.book.rollouts(step, found.groups)
        check_failures(stage.name, found.groups)
        if stage.filter.kind != "batch":
            return Gathered(found.groups, 1, seconds)
        kept += with_signal(found.groups, phase)
        if len(kept) >= stage.prompts_per_step:
            return Gathered(kept, number + 1, seconds)
    run.note(
        step,
        f"dynamic filtering: {len(kept)} of {stage.prompts_per_step} groups with signal in {rounds} rounds",
    )
    return Gathered(kept or found.groups, rounds, seconds)


def sampling_of(stage: RLStage, phase: FullPhase, seed: tuple[int | str, ...]) -> Sampling:
    """How a phase samples."""
    return Sampling(
        stage.rollouts_per_prompt, phase.max_response_tokens, rule_of(phase), phase.max_prompt_tokens, seed
    )


def with_signal(groups: Sequence[Group], phase: FullPhase) -> list[Group]:
    """The groups whose answers differ in reward: lengths alone are no signal (DAPO filters by correctness)."""
    rule = "score" if phase.overlong == "penalty" else phase.overlong
    earned = final_rewards(groups, rule, ["off"] * len(groups), switches)
    return [g for g, row in zip(groups, earned, strict=True) if has_signal(group_advantage(row))]


def rewards_of(
    groups: Sequence[Group], stage: RLStage, phase: FullPhase, switch_rules: Mapping[str, str | float]
) -> Rewards:
    """What each reply earns, by the stage's rules for length and for foreign script (`switch_rules` by problem id)."""
    rules = [switch_rules[group.problem.id] for group in groups]
    limits = (phase.max_response_tokens, stage.overlong_buffer or 0)
    return final_rewards(groups, phase.overlong, rules, switches, *limits)


def unique(problems: Sequence[Problem]) -> list[Problem]:
    """Without repeats: a pool smaller than the batch wraps around within one draw, and twins would share their samples."""
    return list({(p.id, p.mode): p for p in problems}.values())


def check_failures(name: str, groups: Sequence[Group]) -> None:
    """Raise StageError when more than a fifth of the verdicts could not be given."""
    notes = [v.note for g in groups for v in g.verdicts if v.reward is None]
    total = sum(len(g.verdicts) for g in groups)
    if len(notes) > MAX_FAILED * total:
        raise StageError(
            f"{name}: the grader failed on {len(notes)} of {total} replies; the first: {notes[0]}"
        )


def rewarded(groups: Sequence[Group], rewards: Sequence[Sequence[float | None]]) -> list[Group]:
    """The groups with the rewards that RL used, for people to read."""

    def changed(verdict: Verdict, reward: float | None) -> Verdict:
        if reward is None or verdict.reward is None:
            return verdict
        return replace(verdict, reward=reward)

    return [replace(g, verdicts=tuple(changed(v, r) for v, r in zip(g.verdicts, row, strict=True)))
            for g, row in zip(groups, rewards, strict=True)]  # fmt: skip
