"""The benchmark runner.

The report's protocol (arXiv 2512.13607, evaluation): k samples per problem at temperature 0.6 and top-p 0.95,
averaged; and one greedy reply. Each mode is measured on all problems. Accuracy is the domain's benchmark
verdict, clamped to [0, 1]. Every reply stays in the denominator: a grader that fails is asked once more; if
more than one in a hundred verdicts still fail there is no score at all, and below that a failed verdict
counts as wrong and is counted aloud.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.domain import HeldOut, Services
from cascade_rl.errors import GraderFailure
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.protocols import GREEDY, Sampler, Sampling, SamplingRule
from cascade_rl.scores.samples import Sample, mode_score, to_line
from cascade_rl.types import BenchmarkScore, Mode, Problem, Rollout, Verdict

MAX_FAILED = 0.01  # of all verdicts; beyond it there is no score


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """A score with its samples, and how many of all verdicts failed twice and therefore count as wrong."""

    score: BenchmarkScore
    failed: int
    samples: tuple[Sample, ...]

    @property
    def verdicts(self) -> int:
        """How many there were."""
        return len(self.samples)

    def answers(self, problems: Sequence[Problem]) -> Iterator[dict[str, Any]]:
        """For reading: one reply of the k to each of these problems in each mode, with its prompt."""
        prompts = {problem.id: problem.prompt_text for problem in problems}
        for one in self.samples:
            if one.problem in prompts and one.sample == 0 and not one.greedy:
                yield {**to_line(one), "prompt": prompts[one.problem]}


Request = tuple[list[Problem], Sampling]


def run_benchmark(
    benchmark: HeldOut, sampler: Sampler, services: Services, seed: tuple[int | str, ...] = (0,)
) -> BenchmarkRun:
    """Sample, grade and score; equal seeds over stages make the comparison between stages tighter.

    Raises GraderFailure when more than `MAX_FAILED` of the verdicts could not be given. Must not be called
    from inside a running event loop.
    """
    asked = [(mode, *one) for mode in benchmark.modes for one in requests(benchmark, mode, seed)]
    # one call for all, so that a sampler can decode short and long modes side by side
    groups = sampler.sample_many([request for _, request, _ in asked])
    found = zip(asked, groups, strict=True)
    replies = [
        one for (mode, request, greedy), each in found for one in _replies(request, each, mode, greedy)
    ]
    domain = benchmark.domain
    # A benchmark with a rule of its own asks no reward model, also where RL does; then it is graded
    # concurrently in the grading thread, not as one batch here.
    verdicts = grade_all(
        domain.benchmark_grade,
        [(reply.problem, reply.rollout) for reply in replies],
        services,
        learned=domain.learned and domain.score is None,
    )
    samples = [reply.graded(verdict) for reply, verdict in zip(replies, verdicts, strict=True)]
    failed = count_failed(benchmark.name, samples)
    modes = {mode: mode_score(samples, mode) for mode in benchmark.modes}
    return BenchmarkRun(BenchmarkScore(benchmark.headline, modes), failed, tuple(samples))


def requests(benchmark: HeldOut, mode: Mode, seed: tuple[int | str, ...]) -> list[tuple[Request, bool]]:
    """The k samples of all problems in one mode, then (True) the greedy reply if it is asked for.

    Both are from the same seed, so that the same weights always give the same replies.
    """
    spec = benchmark.spec
    problems = [problem.in_mode(mode) for problem in benchmark.problems]
    seed = (*seed, "benchmark", benchmark.name, str(mode))
    rule = SamplingRule(spec.temperature, spec.top_p, min_p=spec.min_p)
    return [
        ((problems, Sampling(n, spec.max_response_tokens, r, spec.max_prompt_tokens, seed)), greedy)
        for n, greedy in sizes(benchmark, mode)
        for r in [GREEDY if greedy else rule]
    ]


def sizes(benchmark: HeldOut, mode: Mode) -> list[tuple[int, bool]]:
    """How many replies a problem gets in a mode: (k, False), and (1, True) where a greedy one is asked."""
    spec = benchmark.spec
    # the other mode is a look aside, at half the cost where the recipe says so
    k = spec.k if mode is benchmark.headline else spec.k_other_mode or spec.k
    return [(k, False), *([(1, True)] if spec.greedy else [])]


@dataclass(frozen=True, slots=True)
class _Reply:
    """A reply that is still to be graded."""

    problem: Problem
    rollout: Rollout
    mode: Mode
    number: int
    greedy: bool

    def graded(self, verdict: Verdict) -> Sample:
        """With its verdict."""
        reply = self.rollout
        return Sample(
            self.problem.id,
            self.mode,
            self.number,
            reply.text,
            reply.stop,
            reply.tokens,
            verdict,
            greedy=self.greedy,
        )


def _replies(asked: Request, groups: Sequence[tuple[Rollout, ...]], mode: Mode, greedy: bool) -> list[_Reply]:
    problems, sampling = asked
    sizes = {len(group) for group in groups}
    if len(groups) != len(problems) or sizes != {sampling.n}:
        raise ValueError(
            f"the sampler gave {len(groups)} groups of {sorted(sizes)} for {len(problems)} problems of "
            f"{sampling.n}"
        )
    return [
        _Reply(problem, rollout, mode, number, greedy)
        for problem, group in zip(problems, groups, strict=True)
        for number, rollout in enumerate(group)
    ]


def count_failed(name: str, samples: Sequence[Sample]) -> int:
    """How many verdicts could not be given; GraderFailure where they are more than `MAX_FAILED` of all."""
    # None only: a reward of 0 is a verdict
    failed = [one for one in samples if one.verdict.reward is None]
    if len(failed) > MAX_FAILED * len(samples):
        first = failed[0]
        raise GraderFailure(
            f"benchmark {name}: the grader failed twice on {len(failed)} of {len(samples)} replies, more "
            f"than {MAX_FAILED:.0%}; the first is problem {first.problem}: {first.verdict.note or 'no note'}"
        )
    return len(failed)
