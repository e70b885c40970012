"""From problems to graded groups: each group is graded as soon as it is sampled, while others still decode.

Rewards of a reward model are the exception: it runs on the workers that sample, whose pipes belong to one
thread, and it scores best in one batch. They are graded when sampling has ended. Either way the verdicts are
the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from cascade_rl.domain import Domain, Services
from cascade_rl.grading.verdicts import grade_all, grading_thread
from cascade_rl.protocols import Sampler, Sampling
from cascade_rl.types import Group, Problem, Rollout, Verdict


@dataclass(frozen=True, slots=True)
class Collected:
    """Graded groups, in the order of their problems; `grading_s` are the seconds after sampling ended."""

    groups: list[Group]
    rollout_s: float
    grading_s: float


def collect(
    problems: Sequence[Problem],
    domains: Mapping[str, Domain],
    sampler: Sampler,
    services: Services,
    sampling: Sampling,
) -> Collected:
    """Sample and grade; a verdict whose reward is None stays so."""
    start = time.perf_counter()
    early: dict[int, Future[tuple[Verdict, ...]]] = {}

    # heard in any thread, one call for each index: it must return at once, or decoding would wait
    def finished(index: int, rollouts: tuple[Rollout, ...]) -> None:
        domain = domains[problems[index].domain]
        if not domain.learned:
            pairs = [(problems[index], rollout) for rollout in rollouts]
            early[index] = grading_thread().submit(domain.grade, pairs, services)

    rollouts = sampler.sample(problems, sampling, finished)  # [P] of [G]
    sampled = time.perf_counter()
    # learned rewards, and whatever a sampler did not tell of on its way
    late = [index for index in range(len(problems)) if index not in early]
    verdicts = _grade_late(late, problems, rollouts, domains, services)
    verdicts |= {index: graded.result() for index, graded in early.items()}
    groups = [Group(p, r, verdicts[i]) for i, (p, r) in enumerate(zip(problems, rollouts, strict=True))]
    return Collected(groups, sampled - start, time.perf_counter() - sampled)


def _grade_late(
    indices: Sequence[int],
    problems: Sequence[Problem],
    rollouts: Sequence[tuple[Rollout, ...]],
    domains: Mapping[str, Domain],
    services: Services,
) -> dict[int, tuple[Verdict, ...]]:
    """The verdicts of whole groups by their index, a batch for each domain."""
    found: dict[int, tuple[Verdict, ...]] = {}
    for name in dict.fromkeys(problems[i].domain for i in indices):
        chosen = [i for i in indices if problems[i].domain == name]
        pairs = [(problems[i], rollout) for i in chosen for rollout in rollouts[i]]
        verdicts = iter(grade_all(domains[name].grade, pairs, services, learned=domains[name].learned))
        found |= {i: tuple(next(verdicts) for _ in rollouts[i]) for i in chosen}
    return found
