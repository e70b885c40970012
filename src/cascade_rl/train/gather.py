"""Graded groups for one step of RL: prompts drawn, sampled, graded; refilled where a filter asks for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.errors import StageError
from cascade_rl.protocols import Sampling
from cascade_rl.recipe import FullPhase, RLStage
from cascade_rl.rollout.collect import collect
from cascade_rl.train.advantage import final_rewards, group_advantage
from cascade_rl.train.diagnostics import has_signal
from cascade_rl.train.pool import PromptPool
from cascade_rl.train.preferred import with_scores
from cascade_rl.train.stage_run import StageRun
from cascade_rl.train.update import rule_of
from cascade_rl.types import Group, Problem
from cascade_rl.verify.script import switches

MAX_FAILED = 0.2  # of a round's verdicts: a grader that fails more often is broken, not unlucky


@dataclass(frozen=True, slots=True)
class Gathered:
    """Graded groups for one step, after how many rounds, and how many seconds went where.

    trains  False for groups that a filter has found no signal in: they are described, and move nothing
    """

    groups: list[Group]
    rounds: int
    seconds: dict[str, float]
    trains: bool = True


def gather(run: StageRun[RLStage], pool: PromptPool, phase: FullPhase, step: int) -> Gathered:
    """The groups of one step; with the batch filter refilled until all carry signal, `max_rounds` at most."""
    stage = run.stage
    rounds = stage.filter.max_rounds if stage.filter.kind == "batch" else 1
    kept: list[Group] = []
    seconds = {"rollout": 0.0, "grading": 0.0}
    for number in range(rounds):
        missing = stage.prompts_per_step - len(kept)
        problems = unique(pool.draw(missing, phase.data))  # what is missing, no more
        # with the round in the seed: a problem that is drawn again must not get the same replies again
        sampling = sampling_of(stage, phase, (run.seed, stage.name, step, number))
        found = collect(problems, run.domains, run.world.sampler, run.world.services, sampling)
        seconds["rollout"] += found.rollout_s
        begin = time.perf_counter()
        groups = with_scores(found.groups, pool.scored, run.world.services)
        seconds["grading"] += found.grading_s + time.perf_counter() - begin
        run.book.rollouts(step, groups)  # with those that are filtered out or end the stage
        check_failures(stage.name, groups)
        if stage.filter.kind != "batch":
            return Gathered(groups, 1, seconds)
        kept += with_signal(groups, phase)
        if len(kept) >= stage.prompts_per_step:
            return Gathered(kept, number + 1, seconds)
    run.note(
        step,
        f"dynamic filtering: {len(kept)} of {stage.prompts_per_step} groups with signal in {rounds} rounds",
    )
    # The last round rather than nothing, so that the step can be described. A penalty for length or script
    # may yet tell its replies apart: the filter asks for another signal.
    return Gathered(kept or groups, rounds, seconds, trains=bool(kept))


def sampling_of(stage: RLStage, phase: FullPhase, seed: tuple[int | str, ...]) -> Sampling:
    """How a phase samples."""
    return Sampling(
        stage.rollouts_per_prompt, phase.max_response_tokens, rule_of(phase), phase.max_prompt_tokens, seed
    )


def with_signal(groups: Sequence[Group], phase: FullPhase) -> list[Group]:
    """The groups whose answers differ in reward; lengths are no signal (DAPO filters by correctness).

    Nor are the scores of a reward model: by them every group of right replies would pass.
    """
    # before the length penalty, which let groups of nothing but wrong replies pass (docs/LOG.md); a reply
    # that is masked or zeroed for its length is judged as it trains
    rule = "score" if phase.overlong == "penalty" else phase.overlong
    earned = final_rewards(groups, rule, ["off"] * len(groups), switches)
    return [g for g, row in zip(groups, earned, strict=True) if has_signal(group_advantage(row))]


def unique(problems: Sequence[Problem]) -> list[Problem]:
    """Without repeats: a pool smaller than the batch wraps around in one draw, and twins share replies."""
    return list({(p.id, p.mode): p for p in problems}.values())


def check_failures(name: str, groups: Sequence[Group]) -> None:
    """Raise StageError when more than a fifth of the verdicts could not be given."""
    notes = [v.note for g in groups for v in g.verdicts if v.reward is None]
    total = sum(len(g.verdicts) for g in groups)
    if len(notes) > MAX_FAILED * total:
        raise StageError(
            f"{name}: the grader failed on {len(notes)} of {total} replies; the first: {notes[0]}"
        )
