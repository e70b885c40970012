"""A domain that untrained weights solve now and then: a reply earns 1 with an `e` in it; one with a `q` gets no verdict."""

from __future__ import annotations

from collections.abc import Iterator

from cascade_rl.domain import Domain, Example, Query, Services
from cascade_rl.types import Message, Problem, Rollout, Verdict, problem_id


def endless(query: Query) -> Iterator[Problem]:
    """Numbered prompts, others in each split."""
    for number in range(10**6):
        asked = f"Say a word with an e, number {number} of {query.split}."
        yield Problem(problem_id("letters", asked), "letters", (Message("user", asked),), None)


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """As the module says."""
    if "q" in rollout.text:
        return Verdict.failed("a q, of which this grader knows nothing")
    return Verdict.binary("e" in rollout.text)


def examples() -> list[Example]:
    """One of each."""
    problem = Problem("letters-0", "letters", (Message("user", "Say e."),), None)
    return [Example(problem, "e", 1.0), Example(problem, "a", 0.0)]


DOMAIN = Domain(
    "letters", "a word with an e", {"builtin": endless}, grade, examples, gold=lambda problem: "the"
)
