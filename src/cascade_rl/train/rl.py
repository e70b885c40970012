"""RL of one domain (or a mixture): GRPO, by default with exactly one update for each batch of rollouts.

Source: arXiv 2512.13607. No old log-probabilities are computed: with one update the ratio is 1 by construction, with
more it is taken against those that the rollouts recorded. A group whose rewards are all equal has no advantage and
costs nothing, but its tokens count in the denominator.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from cascade_rl.errors import StageError
from cascade_rl.protocols import Sampling, SamplingRule
from cascade_rl.recipe import Phase, RLStage
from cascade_rl.rollout.collect import collect
from cascade_rl.train.advantage import final_rewards, group_advantage
from cascade_rl.train.batch import Row
from cascade_rl.train.diagnostics import describe, has_signal, update_metrics
from cascade_rl.train.learner import Learner, lr_factor
from cascade_rl.train.loop import StageRun, Steps, run_steps
from cascade_rl.train.loss import Surrogate, token_weights
from cascade_rl.train.objective import Objective, Teacher
from cascade_rl.train.pool import PromptPool
from cascade_rl.types import Group, Problem, StepReport, Verdict
from cascade_rl.verify.script import switches

MAX_FAILED = 0.2


def train_rl(run: StageRun, problems: Sequence[Sequence[Problem]]) -> int:
    """Run an RL stage on the problems of each of its data entries; returns the step that is handed over."""
    stage: RLStage = run.stage
    pool = PromptPool(stage, problems, run.seed)
    rules = {p.id: data.code_switch for data, found in zip(stage.data, problems, strict=True) for p in found}

    def one_step(step: int, learner: Learner) -> StepReport:
        phase, before = phase_at(stage, step), Counter(run.services.counts)
        groups, rounds, clock = gather(run, pool, phase, step)
        switching = [rules[g.problem.id] for g in groups]
        limits = (phase.max_response_tokens, stage.overlong_buffer or 0)
        rewards = final_rewards(groups, phase.overlong, switching, switches, *limits)
        advantages = [group_advantage(row, stage.reward_shaping, stage.advantage) for row in rewards]
        begin = time.perf_counter()
        factor = lr_factor(stage, step, stage.steps)
        update = update_on(learner, stage, phase, groups, advantages, factor)
        clock["update"] = time.perf_counter() - begin
        pool.record(groups)
        if step in (0, stage.steps - 1):
            run.write_samples(step, rewarded(groups, rewards))
        for note in pool.notes:
            run.note(step, note)
        pool.notes.clear()
        metrics = describe(groups, rewards, advantages) | {"lr": stage.lr * factor, "rounds": rounds} | update
        return StepReport(step, metrics, clock, run.services.counts - before)

    return run_steps(run, Steps(one_step, lambda step: label(stage, step), pool.state, pool.restore))


def phase_at(stage: RLStage, step: int) -> Phase:
    """The sub-stage of the curriculum that a step belongs to, with every key filled in."""
    return next(phase for start, end, phase in stage.phases() if start <= step < end)


def label(stage: RLStage, step: int) -> str:
    """What the journal calls the sub-stage."""
    phase = phase_at(stage, step)
    return f"{phase.max_response_tokens} tokens, overlong {phase.overlong}" if stage.curriculum else ""


def gather(
    run: StageRun, pool: PromptPool, phase: Phase, step: int
) -> tuple[list[Group], int, dict[str, float]]:
    """Graded groups for one step; with the batch filter refilled until all carry signal, `max_rounds` at most."""
    stage = run.stage
    rounds = stage.filter.max_rounds if stage.filter.kind == "batch" else 1
    kept: list[Group] = []
    clock = {"rollout": 0.0, "grading": 0.0}
    for number in range(rounds):
        sampling = Sampling(
            stage.rollouts_per_prompt,
            phase.max_response_tokens,
            rule_of(phase),
            phase.max_prompt_tokens,
            (run.seed, stage.name, step, number),
        )
        problems = unique(pool.draw(stage.prompts_per_step - len(kept)))
        found = collect(problems, run.domains, run.sampler, run.services, sampling)
        clock["rollout"] += found.rollout_s
        clock["grading"] += found.grading_s
        run.write_rollouts(step, found.groups)
        check_failures(stage.name, found.groups)
        if stage.filter.kind != "batch":
            return found.groups, 1, clock
        # whether the answers differ, not their lengths: the penalty alone is no signal (DAPO filters by correctness)
        rule = "score" if phase.overlong == "penalty" else phase.overlong
        earned = final_rewards(found.groups, rule, ["off"] * len(found.groups), switches)
        kept += [g for g, row in zip(found.groups, earned, strict=True) if has_signal(group_advantage(row))]
        if len(kept) >= stage.prompts_per_step:
            return kept, number + 1, clock
    run.note(
        step,
        f"dynamic filtering: {len(kept)} of {stage.prompts_per_step} groups with signal in {rounds} rounds",
    )
    return kept or found.groups, rounds, clock


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


def update_on(
    learner: Learner,
    stage: RLStage,
    phase: Phase,
    groups: Sequence[Group],
    advantages: Sequence,
    factor: float,
) -> dict[str, float]:
    """The update of a step, or `updates_per_batch` of them, each on its share of the prompts; what the journal keeps."""
    objective = objective_of(stage, phase)
    found, tokens = [], 0
    for part in range(stage.updates_per_batch):
        begin, end = (len(groups) * (part + n) // stage.updates_per_batch for n in (0, 1))
        rows, counted = make_rows(groups[begin:end], advantages[begin:end], stage, phase.max_response_tokens)
        tokens += counted
        if rows:
            found.append(learner.policy_step(rows, objective, factor))
    return update_metrics(found, stage) | {"tokens": tokens}


def objective_of(stage: RLStage, phase: Phase) -> Objective:
    """The objective that a stage's keys ask for, on the distribution that a phase samples from."""
    low, high = {"tis": (0.0, stage.tis_cap), "icepop": (stage.icepop_low, stage.icepop_high)}.get(
        stage.rollout_correction, (0.0, 0.0)
    )
    surrogate = Surrogate(
        stage.loss, stage.clip_low or 0.0, stage.clip_high or 0.0, stage.rollout_correction, low, high
    )
    teachers = (Teacher("reference", stage.kl_coefficient),) if stage.kl_coefficient else ()
    return Objective(surrogate, rule_of(phase), teachers)


def rule_of(phase: Phase) -> SamplingRule:
    """The distribution that a phase samples from and trains on."""
    return SamplingRule(phase.temperature, phase.top_p, phase.top_k, phase.min_p)


def make_rows(
    groups: Sequence[Group], advantages: Sequence[Sequence[float | None]], stage: RLStage, limit: int
) -> tuple[list[Row], int]:
    """Rows that have a gradient, and how many response tokens count in the denominator."""
    scored = [
        (rollout, a)
        for group, row in zip(groups, advantages, strict=True)
        for rollout, a in zip(group.rollouts, row, strict=True)
        if a is not None
    ]
    lengths = [len(rollout.ids) for rollout, _ in scored]
    weights = token_weights(lengths, stage.aggregation, limit)
    rows = [
        Row.of(rollout.prompt_ids, rollout.ids, weight, a, rollout.logprobs)
        for (rollout, a), weight in zip(scored, weights, strict=True)
        if a != 0 or stage.kl_coefficient
    ]
    return rows, sum(lengths)


def rewarded(groups: Sequence[Group], rewards: Sequence[Sequence[float | None]]) -> list[Group]:
    """The groups with the rewards that RL used, for people to read."""

    def changed(verdict: Verdict, reward: float | None) -> Verdict:
        if reward is None or verdict.reward is None:
            return verdict
        return replace(verdict, reward=reward)

    return [replace(g, verdicts=tuple(changed(v, r) for v, r in zip(g.verdicts, row, strict=True)))
            for g, row in zip(groups, rewards, strict=True)]  # fmt: skip
