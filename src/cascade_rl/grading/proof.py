"""Before a stage: does the grader tell right from nothing on the stage's own problems?

On a sample of real problems the gold answer must earn full reward and an empty or unchanged answer none, twice with
the same result. Problems that fail are quarantined and counted; too many stop the run (peers have paid full reward
for no edit at all, or never any).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.domain import Domain, Grade, Services
from cascade_rl.grading.verdicts import grading_thread, verdict_of
from cascade_rl.types import Problem, Rollout, Verdict


@dataclass(frozen=True, slots=True)
class Preflight:
    """How many problems were tried, which failed and why, and how many have no known gold answer."""

    domain: str
    tried: int
    quarantined: dict[str, str]
    without_gold: int

    def bad_share(self) -> float:
        """Quarantined among tried."""
        return len(self.quarantined) / max(1, self.tried)


def preflight(domain: Domain, problems: Sequence[Problem], services: Services) -> Preflight:
    """Grade gold and null replies of these problems, twice, with the benchmark's and with RL's grader.

    RL's grader is left out where it is a learned reward model, whose scale has no full mark.
    """
    graders = [domain.benchmark_grade]
    if domain.grade is not domain.benchmark_grade and not domain.learned:
        graders.append(domain.grade)
    faults = grading_thread().run(_all_faults(domain, graders, problems, services))
    quarantined = {p.id: fault for p, fault in zip(problems, faults, strict=True) if fault}
    return Preflight(domain.name, len(problems), quarantined, sum(domain.gold(p) is None for p in problems))


async def _all_faults(
    domain: Domain, graders: Sequence[Grade], problems: Sequence[Problem], services: Services
) -> list[str]:
    return await asyncio.gather(*(_fault(domain, graders, problem, services) for problem in problems))


async def _fault(domain: Domain, graders: Sequence[Grade], problem: Problem, services: Services) -> str:
    """What is wrong with a problem, or an empty text."""
    gold = domain.gold(problem)
    for grade in graders:
        for reply, what in ((gold, "gold"), (domain.null(problem), "empty")):
            if reply is None:
                continue
            first, second = [
                await verdict_of(grade, problem, Rollout.of_text(reply), services) for _ in range(2)
            ]
            if first.reward != second.reward:
                return f"{what} answer graded twice: {first.reward} and {second.reward}"
            if fault := _wrong(what, first):
                return fault
    return ""


def _wrong(what: str, verdict: Verdict) -> str:
    if verdict.reward is None:
        return f"{what} answer: the grader failed: {verdict.note}"
    if what == "gold" and verdict.reward < 1:
        return f"gold answer earns {verdict.reward}: {verdict.note}"
    if what == "empty" and verdict.reward > 0:
        return f"empty answer earns {verdict.reward}"
    return ""
