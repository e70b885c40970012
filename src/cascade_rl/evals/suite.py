"""One benchmark measured into a folder: every reply stored as it is graded, so that a kill costs no reply.

NAME.settings.json   how replies are drawn, and of which model: a folder goes on only with the same
NAME.problems.jsonl  what was asked
NAME.samples.jsonl   the graded replies (`scores/samples`), at the end in the order of the problems
NAME.json            the score, its statistics, and all of the above that a reader needs

A group of replies is the unit: one that was cut off is drawn anew, which gives the same replies, since each
is drawn by its own generator. A server that knows no seeds may give others; those that are stored stay.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from cascade_rl.chat import split_reply
from cascade_rl.domain import HeldOut, Services
from cascade_rl.evals.benchmark import count_failed, requests
from cascade_rl.evals.shelf import Shelf
from cascade_rl.grading.verdicts import grade_all, grading_thread
from cascade_rl.protocols import Sampler
from cascade_rl.scores.passes import statistics_of
from cascade_rl.scores.samples import Sample, mode_score
from cascade_rl.types import BenchmarkScore, Mode, Problem, Rollout, Verdict

Waiting = Callable[[str, float | None], None]
Answer = Callable[[Problem, str], str | None]
# (samples, the `meta` of each problem by its id) -> what stands beside the score
Also = Callable[[Sequence[Sample], Mapping[str, Mapping[str, Any]]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Measured:
    """A benchmark's score; `failed` verdicts count as wrong, `kept` replies were there already.

    `requests` are what a server was asked and said this time: `requests`, `retries`, `prompt_tokens`, ...
    """

    name: str
    score: BenchmarkScore
    statistics: Mapping[str, Any]
    failed: int
    samples: int
    kept: int
    seconds: float
    requests: Mapping[str, int]
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Asking:
    """What a benchmark adds to its problems.

    seed      of all replies
    answer    a reply's short answer, for cons@k
    also      what else the samples say, beside the score
    counts    what a server was asked and said so far: requests, retries, tokens
    in_batch  grade in the calling thread, all at once: a reward model runs on the workers that sample
    """

    seed: tuple[int | str, ...] = ("evaluation",)
    answer: Answer | None = None
    also: Also | None = None
    in_batch: bool = False
    counts: Callable[[], Mapping[str, int]] = dict


def measure(
    held: HeldOut,
    sampler: Sampler,
    services: Services,
    shelf: Shelf,
    asking: Asking,
    waiting: Waiting = lambda what, share: None,
) -> Measured:
    """Draw what is missing in the folder, grade, store and score.

    Raises GraderFailure when more than a hundredth of the verdicts could not be given (all replies are stored
    then, and a new try asks for verdicts alone), and what the sampler raises.
    """
    begin = time.perf_counter()
    kept, before = len(shelf.samples), Counter(asking.counts())
    for mode in held.modes:
        for (problems, sampling), greedy in requests(held, mode, asking.seed):
            missing = [problem for problem in problems if not shelf.has(problem.id, mode, greedy)]
            drawing = _Drawing(held, services, shelf, asking, waiting, mode, greedy, begin - shelf.seconds)
            drawing.draw(sampler, missing, sampling)
    again = [one for one in shelf.samples if one.verdict.reward is None]
    if kept and again:
        # of an earlier try whose grader, or machine, was at fault: the reply is there, the verdict is not
        shelf.replace(_graded_anew(held, services, again, asking))
    asked = Counter(asking.counts())
    asked.subtract(before)
    # a folder in which nothing was missing took what it took
    spent = time.perf_counter() - begin if len(shelf.samples) > kept else 0.0
    return _scored(held, shelf, asking, kept, spent, asked)


def measure_again(held: HeldOut, services: Services, shelf: Shelf, asking: Asking) -> Measured:
    """The stored replies of a folder judged by today's grader, without a new reply.

    Raises GraderFailure as `measure` does; then the folder is as it was.
    """
    before = {one.key: one.verdict.reward for one in shelf.samples}
    judged = _graded_anew(held, services, shelf.samples, asking)
    # before anything is replaced: verdicts that a grader could give are not lost to a day when it can't
    count_failed(held.name, judged)
    shelf.replace(judged)
    changed = sum(before[one.key] != one.verdict.reward for one in judged)
    # no reply was drawn: what they took stays as it was
    found = _scored(held, shelf, asking, len(before), 0.0)
    return replace(found, changed=changed)


@dataclass(slots=True)
class _Drawing:
    """The replies to some problems in one mode, each group graded and stored as soon as it is there.

    `begin` is when the benchmark began by this clock, less what earlier tries took.
    """

    held: HeldOut
    services: Services
    shelf: Shelf
    asking: Asking
    waiting: Waiting
    mode: Mode
    greedy: bool
    begin: float

    def draw(self, sampler: Sampler, problems: Sequence[Problem], sampling: Any) -> None:
        """Ask for them all; what a sampler raises comes after the groups that did end were stored."""
        if not problems:
            return
        under_way: list[Future[None]] = []
        late: list[tuple[int, tuple[Rollout, ...], float]] = []
        told = set[int]()

        # heard in any thread; it returns at once, or decoding would wait
        def finished(index: int, rollouts: tuple[Rollout, ...]) -> None:
            told.add(index)
            seconds = time.perf_counter() - self.begin
            if self.asking.in_batch:
                late.append((index, rollouts, seconds))
            else:
                under_way.append(grading_thread().begin(self._grade(problems[index], rollouts, seconds)))

        try:
            groups = sampler.sample(problems, sampling, finished)
            for index in [index for index in range(len(problems)) if index not in told]:
                finished(index, groups[index])
        finally:
            # also where the sampler gave up: what came is kept, and a fault of storing it is raised here
            for index, rollouts, seconds in late:
                self._store_batch(problems[index], rollouts, seconds)
            for stored in under_way:
                stored.result()

    async def _grade(self, problem: Problem, rollouts: tuple[Rollout, ...], seconds: float) -> None:
        pairs = [(problem, rollout) for rollout in rollouts]
        grade = self.held.domain.benchmark_grade
        self._store(problem, rollouts, await grading_thread().graded(grade, pairs, self.services), seconds)

    def _store_batch(self, problem: Problem, rollouts: tuple[Rollout, ...], seconds: float) -> None:
        pairs = [(problem, rollout) for rollout in rollouts]
        verdicts = grade_all(self.held.domain.benchmark_grade, pairs, self.services, learned=True)
        self._store(problem, rollouts, verdicts, seconds)

    def _store(
        self,
        problem: Problem,
        rollouts: tuple[Rollout, ...],
        verdicts: Sequence[Verdict],
        seconds: float,
    ) -> None:
        samples = [
            Sample(
                problem.id,
                self.mode,
                number,
                rollout.text,
                rollout.stop,
                rollout.tokens,
                verdict,
                _answer(problem, rollout.text, self.mode, self.asking.answer),
                greedy=self.greedy,
                seconds=seconds,
            )
            for number, (rollout, verdict) in enumerate(zip(rollouts, verdicts, strict=True))
        ]
        self.shelf.add(samples)
        share = self.shelf.share
        self.waiting(f"{self.held.name}: {self.shelf.done} of {self.shelf.groups} problems", share)


def _answer(problem: Problem, text: str, mode: Mode, answer: Answer | None) -> str | None:
    said = split_reply(text, mode).answer
    return answer(problem, said) if answer and said is not None else None


def _graded_anew(
    held: HeldOut, services: Services, samples: Sequence[Sample], asking: Asking
) -> list[Sample]:
    problems = {problem.id: problem for problem in held.problems}
    pairs = [
        (problems[one.problem].in_mode(one.mode), Rollout.of_text(one.text, one.stop, one.tokens))
        for one in samples
    ]
    grade = held.domain.benchmark_grade
    verdicts = grade_all(grade, pairs, services, learned=asking.in_batch)
    return [
        replace(one, verdict=verdict, answer=_answer(problem, one.text, one.mode, asking.answer))
        for one, verdict, (problem, _) in zip(samples, verdicts, pairs, strict=True)
    ]


def _scored(
    held: HeldOut,
    shelf: Shelf,
    asking: Asking,
    kept: int,
    seconds: float,
    asked: Mapping[str, int] | None = None,
) -> Measured:
    shelf.tidy()
    failed = count_failed(held.name, shelf.samples)
    found = BenchmarkScore(held.headline, {mode: mode_score(shelf.samples, mode) for mode in held.modes})
    meta = {problem.id: problem.meta for problem in held.problems}
    groups = {name: str(said["group"]) for name, said in meta.items() if "group" in said}
    told: dict[str, Any] = {str(mode): statistics_of(shelf.samples, mode, groups) for mode in held.modes}
    if asking.also:
        told["also"] = dict(asking.also(shelf.samples, meta))
    seconds += shelf.seconds
    shelf.finish(
        found, {"statistics": told, "failed": failed, "seconds": seconds, "requests": dict(asked or {})}
    )
    return Measured(held.name, found, told, failed, len(shelf.samples), kept, seconds, dict(asked or {}))
