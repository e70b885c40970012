"""What every domain owes, as a check that the author of one can run: `faults(domain)` lists what it does not keep.

The same promises as tests/contracts/test_domains.py holds the shipped domains to, on a smaller sample. Rewards are
those of the benchmark's grader; RL's own grader is asked too unless a reward model gives its reward.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice

from cascade_rl.domain import Domain, Grade, Services
from cascade_rl.errors import AnswerError
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.types import Mode, Problem, Rollout, Split, Verdict

JUNK = ("", " ", "\n" * 2000, "a" * 50_000, "<think>" * 500, "</think>", "</think>" * 500, "\x00\x1b[31m", "\ud800", "{" * 9000,
        "</think>```python\n\ud800\n```", "\\boxed{" * 900 + "}" * 900, "```" * 999)  # fmt: skip


def faults(domain: Domain, services: Services, *, source: str = "builtin", count: int = 40) -> list[str]:
    """What a domain does not keep, a sentence each, from `count` problems a split; empty when all is well.

    `services` must hold what the domain needs (`open_services(domain.needs)`, or fakes).
    """
    found = [*_of_problems(domain, source, count), *_of_examples(domain, services)]
    problems = list(islice(domain.problems(source, Split.VALIDATION, 0), count))
    graders = [domain.benchmark_grade] + ([domain.grade] if domain.score and not domain.learned else [])
    for grade in graders:
        for mode in Mode:
            found += _of_replies(domain, grade, [p.in_mode(mode) for p in problems], services)
    return found


def _of_problems(domain: Domain, source: str, count: int) -> Iterator[str]:
    owner: dict[str, Split] = {}
    for split in Split:
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
    if json.loads(json.dumps(problem.answer)) != problem.answer:
        yield f"{problem.id}: the answer is not plain JSON"
    try:
        domain.check_answer(problem.answer)
    except AnswerError as error:
        yield f"{problem.id}: check_answer refuses the domain's own answer: {error}"


def _of_examples(domain: Domain, services: Services) -> Iterator[str]:
    examples = list(domain.examples())
    verdicts = _ask(domain.benchmark_grade, [(e.problem, e.reply) for e in examples], services)
    for example, verdict in zip(examples, verdicts, strict=True):
        if verdict.reward is None or abs(verdict.reward - example.reward) > 1e-9:
            yield f"example {example.reply[:60]!r} earns {verdict.reward}, not {example.reward}: {verdict.note}"
    if not {0.0, 1.0} <= {e.reward for e in examples}:
        yield "the examples need one full reward and one zero"


def _of_replies(
    domain: Domain, grade: Grade, problems: Sequence[Problem], services: Services
) -> Iterator[str]:
    """Gold, nothing, reasoning without an end, junk."""
    golds = [(p, gold) for p in problems if (gold := domain.gold(p)) is not None]
    for (problem, _), verdict in zip(golds, _ask(grade, golds, services), strict=True):
        if verdict.reward != 1:
            yield f"{problem.id} ({problem.mode}): the gold reply earns {verdict.reward}: {verdict.note}"
    answers = [(p, domain.gold(p.in_mode(Mode.INSTRUCT))) for p in problems]
    endless = [(p, f"<think>\n{answer}") for p, answer in answers if answer is not None]
    nothing = [
        ("the null reply", [(p, domain.null(p)) for p in problems]),
        ("reasoning that never ends", endless),
    ]
    for what, pairs in nothing:
        for (problem, _), verdict in zip(pairs, _ask(grade, pairs, services), strict=True):
            if verdict.reward is None or verdict.reward > 0:
                yield f"{problem.id} ({problem.mode}): {what} earns {verdict.reward}: {verdict.note}"
    junk = [(p, text) for p in problems[:2] for text in JUNK]
    for (problem, text), verdict in zip(junk, _ask(grade, junk, services), strict=True):
        if verdict.reward is None or verdict.reward >= 1:
            yield f"{problem.id} ({problem.mode}): junk {text[:20]!r} earns {verdict.reward}: {verdict.note}"


def _ask(grade: Grade, pairs: Sequence[tuple[Problem, str]], services: Services) -> tuple[Verdict, ...]:
    return grade_all(grade, [(problem, Rollout.of_text(reply)) for problem, reply in pairs], services)
