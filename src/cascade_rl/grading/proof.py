"""Prove a grader on a domain's own problems: gold earns everything, nothing earns nothing, twice the same.

The pre-flight of a run asks this of a sample of each stage's problems and quarantines those that fail (peers
have paid full reward for no edit at all, or never any). The contract, `faults`, is for the author of a domain
and asks more.

Covered: the domain's own gold and null replies, and in the contract reasoning that never ends, junk, the
examples, the form of answers and the splits. Each with the benchmark's grader and with RL's, unless a reward
model gives RL's reward: its scale has no full mark.
Not covered: right answers in other words than gold's, and wrong ones that look right. No sample of a domain's
own replies shows what a policy will find; the stored rollouts do (`cascade regrade`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cascade_rl.domain import Domain, Grade, Services
from cascade_rl.errors import AnswerError
from cascade_rl.grading.verdicts import grade_all, grading_thread, verdict_of
from cascade_rl.types import Mode, Problem, Rollout, Split, Verdict

# Texts that have broken parsers: empty, long, nested, half a character, marks without what they mark.
JUNK = (
    "", " ", "\n" * 2000, "a" * 50_000, "<think>" * 500, "</think>", "</think>" * 500, "\x00\x1b[31m",
    "\ud800", "{" * 9000, "</think>```python\n\ud800\n```", "\\boxed{" * 900 + "}" * 900, "```" * 999,
)  # fmt: skip


def everything(reward: float) -> bool:
    """What the gold reply must earn."""
    # at least: RL's rewards know no upper bound
    return reward >= 1


def nothing(reward: float) -> bool:
    """What an empty or unchanged reply must earn: SWE takes a point off it."""
    return reward <= 0


def _not_everything(reward: float) -> bool:
    return reward < 1


@dataclass(frozen=True, slots=True)
class Claim:
    """A reply, called `what`, with the rewards that it may earn."""

    what: str
    problem: Problem
    reply: str
    allowed: Callable[[float], bool]


def claims(domain: Domain, problem: Problem) -> Iterator[Claim]:
    """Gold earns everything, where there is one, and nothing earns nothing."""
    if (gold := domain.gold(problem)) is not None:
        yield Claim("gold answer", problem, gold, everything)
    yield Claim("empty answer", problem, domain.null(problem), nothing)


def flaw(claim: Claim, first: Verdict, second: Verdict) -> str:
    """How a grader that was asked twice breaks a claim; empty when it keeps it."""
    if first.reward != second.reward:
        return f"{claim.what} graded twice: {first.reward} and {second.reward}"
    if first.reward is None or not claim.allowed(first.reward):
        return f"{claim.what} earns {first.reward}: {first.note}"
    return ""


def graders(domain: Domain) -> list[Grade]:
    """The benchmark's grader, and RL's where it is another and knows a full mark."""
    own = domain.grade is not domain.benchmark_grade and not domain.learned
    return [domain.benchmark_grade, domain.grade] if own else [domain.benchmark_grade]


# ---------------------------------------------------------------- the pre-flight of a stage


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
    """Hold a domain's graders to the claims on gold and nothing, on these problems."""
    found = grading_thread().run(_first_flaws(domain, problems, services))
    quarantined = {p.id: text for p, text in zip(problems, found, strict=True) if text}
    return Preflight(domain.name, len(problems), quarantined, sum(domain.gold(p) is None for p in problems))


async def _first_flaws(domain: Domain, problems: Sequence[Problem], services: Services) -> list[str]:
    return await asyncio.gather(*(_first_flaw(domain, problem, services) for problem in problems))


async def _first_flaw(domain: Domain, problem: Problem, services: Services) -> str:
    """What is wrong with a problem first, or an empty text."""
    for grade in graders(domain):
        for claim in claims(domain, problem):
            rollout = Rollout.of_text(claim.reply)
            # twice: a grader that depends on a clock or on chance would differ between a run and its resume
            first, second = [await verdict_of(grade, problem, rollout, services) for _ in range(2)]
            if found := flaw(claim, first, second):
                return found
    return ""


# ---------------------------------------------------------------- the contract of a domain


def faults(domain: Domain, services: Services, *, source: str = "builtin", count: int = 40) -> list[str]:
    """What a domain does not keep, a sentence each, from `count` problems a split; empty when all is well.

    `services` must hold what the domain needs (`open_services(domain.needs)`, or fakes).
    """
    found = [*_of_problems(domain, source, count), *_of_examples(domain, services)]
    problems = list(islice(domain.problems(source, Split.VALIDATION, 0), count))
    for grade in graders(domain):
        for mode in Mode:
            found += _of_claims(
                grade, list(_all_claims(domain, [p.in_mode(mode) for p in problems])), services
            )
    return found


def _of_problems(domain: Domain, source: str, count: int) -> Iterator[str]:
    owner: dict[str, Split] = {}
    for split in Split:
        # any seed would do; it only has to be the same one twice
        first, again = (list(islice(domain.problems(source, split, 3), count)) for _ in range(2))
        if not first:
            yield f"the {split} split of {source} has no problems"
        if first != again:
            yield f"the {split} split of {source} differs between two readings with the same seed"
        if len({p.id for p in first}) < len(first):
            yield f"the {split} split of {source} repeats an id"
        for problem in first:
            if owner.setdefault(problem.prompt_text, split) is not split:
                yield f"{problem.id} stands in {split} and in {owner[problem.prompt_text]}"
            yield from _of_problem(domain, problem)


def _of_problem(domain: Domain, problem: Problem) -> Iterator[str]:
    if problem.domain != domain.name:
        yield f"{problem.id} says that it is of {problem.domain}, not of {domain.name}"
    # a tuple, a set or a key that is a number would come back otherwise from rollouts.jsonl
    if json.loads(json.dumps(problem.answer)) != problem.answer:
        yield f"{problem.id}: the answer is not plain JSON"
    try:
        domain.check_answer(problem.answer)
    except AnswerError as error:
        yield f"{problem.id}: check_answer refuses the domain's own answer: {error}"


def _of_examples(domain: Domain, services: Services) -> Iterator[str]:
    examples = list(domain.examples())
    replies = [(e.problem, Rollout.of_text(e.reply)) for e in examples]
    verdicts = grade_all(domain.benchmark_grade, replies, services)
    for example, verdict in zip(examples, verdicts, strict=True):
        if verdict.reward is None or abs(verdict.reward - example.reward) > 1e-9:
            earned = f"earns {verdict.reward}, not {example.reward}: {verdict.note}"
            yield f"example {example.reply[:60]!r} {earned}"
    if not {0.0, 1.0} <= {e.reward for e in examples}:
        yield "the examples need one full reward and one zero"


def _all_claims(domain: Domain, problems: Sequence[Problem]) -> Iterator[Claim]:
    """Of every problem gold, nothing and reasoning without an end; of two of them junk."""
    for problem in problems:
        yield from claims(domain, problem)
        if (answer := domain.gold(problem.in_mode(Mode.INSTRUCT))) is not None:
            yield Claim("reasoning that never ends", problem, f"<think>\n{answer}", nothing)
    for problem in problems[:2]:
        for text in JUNK:
            # part of a reward is allowed: a long text may meet a constraint by chance
            yield Claim(f"junk {text[:20]!r}", problem, text, _not_everything)


def _of_claims(grade: Grade, asked: Sequence[Claim], services: Services) -> Iterator[str]:
    replies = [(claim.problem, Rollout.of_text(claim.reply)) for claim in asked]
    first, second = (grade_all(grade, replies, services) for _ in range(2))
    for claim, *verdicts in zip(asked, first, second, strict=True):
        if found := flaw(claim, *verdicts):
            yield f"{claim.problem.id} ({claim.problem.mode}): {found}"
