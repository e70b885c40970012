"""From problems to graded groups: sample, then grade everything at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cascade_rl.domain import Domain, Services
from cascade_rl.protocols import Sampler, Sampling
from cascade_rl.types import Group, Problem, Rollout, Verdict


@dataclass(frozen=True, slots=True)
class Collected:
    """Graded groups, in the order of their problems, and how long each part took."""

    groups: list[Group]
    rollout_s: float
    grading_s: float


def collect(
    problems: Sequence[Problem], domains: Mapping[str, Domain], sampler: Sampler, services: Services, sampling: Sampling
) -> Collected:
    """Sample and grade; a verdict whose reward is None stays so."""
    start = time.perf_counter()
    rollouts = sampler.sample(problems, sampling)
    sampled = time.perf_counter()
    verdicts = asyncio.run(grade_all(problems, rollouts, domains, services))
    groups = [Group(p, r, v) for p, r, v in zip(problems, rollouts, verdicts, strict=True)]
    return Collected(groups, sampled - start, time.perf_counter() - sampled)


async def grade_all(
    problems: Sequence[Problem],
    rollouts: Sequence[tuple[Rollout, ...]],
    domains: Mapping[str, Domain],
    services: Services,
) -> list[tuple[Verdict, ...]]:
    """RL's verdicts for all rollouts, concurrently."""
    flat = [domains[p.domain].grade(p, r, services) for p, group in zip(problems, rollouts, strict=True) for r in group]
    verdicts = iter(await asyncio.gather(*flat))
    return [tuple(next(verdicts) for _ in group) for group in rollouts]
