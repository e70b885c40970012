"""What each reply of a step earns by the rules of its stage, and its advantage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from cascade_rl.recipe import FullPhase, RLStage
from cascade_rl.train.advantage import final_rewards, group_advantage
from cascade_rl.train.preferred import joined
from cascade_rl.types import Group, Verdict
from cascade_rl.verify.script import switches

Rewards = list[list[float | None]]  # [P][G]; None: not graded or masked, so in neither baseline nor loss


def rewards_of(
    groups: Sequence[Group],
    stage: RLStage,
    phase: FullPhase,
    switch_rules: Mapping[str, str | float],
    scored: Collection[str] = (),
) -> Rewards:
    """What each reply earns, by the rules for length and foreign script (`switch_rules` by problem id).

    In the groups of the problems `scored` with the reward model's score, before any penalty.
    """
    rules = [switch_rules[group.problem.id] for group in groups]
    limits = (phase.max_response_tokens, stage.overlong_buffer or 0)

    def score(group: Group, row: Sequence[float | None]) -> list[float | None]:
        return joined(row, group.verdicts) if group.problem.id in scored else [*row]

    return final_rewards(groups, phase.overlong, rules, switches, *limits, score=score)


def advantages_of(rewards: Rewards, stage: RLStage, trains: bool) -> Rewards:
    """Each reply's advantage inside its group; 0 of all that have one where nothing is to be learnt."""
    if not trains:
        return [[None if r is None else 0.0 for r in r_G] for r_G in rewards]
    return [group_advantage(r_G, stage.reward_shaping, stage.advantage) for r_G in rewards]


def rewarded(groups: Sequence[Group], rewards: Sequence[Sequence[float | None]]) -> list[Group]:
    """The groups with the rewards that RL used, for people to read."""

    def changed(verdict: Verdict, reward: float | None) -> Verdict:
        if reward is None or verdict.reward is None:
            return verdict
        return replace(verdict, reward=reward)

    return [
        replace(group, verdicts=tuple(map(changed, group.verdicts, row_G)))
        for group, row_G in zip(groups, rewards, strict=True)
    ]
