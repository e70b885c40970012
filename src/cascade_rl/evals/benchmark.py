"""The benchmark runner.

The report's protocol (arXiv 2512.13607, evaluation): k samples per problem at temperature 0.6 and top-p 0.95,
averaged; and one greedy reply. Each mode is measured on all problems. Accuracy is the domain's benchmark
verdict, clamped to [0, 1]. Every reply stays in the denominator: a grader that fails is asked once more; if
more than one in a hundred verdicts still fail there is no score at all, and below that a failed verdict
counts as wrong and is counted aloud.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from cascade_rl.chat import leaks
from cascade_rl.domain import HeldOut, Services
from cascade_rl.errors import GraderFailure
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.protocols import GREEDY, Sampler, Sampling, SamplingRule
from cascade_rl.scores.statistics import score
from cascade_rl.types import BenchmarkScore, Mode, ModeScore, Problem, Rollout, Stop, Verdict

MAX_FAILED = 0.01  # of all verdicts; beyond it there is no score


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """A score, and how many of all its verdicts failed twice and therefore count as wrong."""

    score: BenchmarkScore
    failed: int
    verdicts: int


Request = tuple[list[Problem], Sampling]


@dataclass(frozen=True, slots=True)
class _Reply:
    """One graded unit; the greedy reply of a problem is told from its k samples."""

    problem: Problem
    rollout: Rollout
    greedy: bool


def run_benchmark(
    benchmark: HeldOut, sampler: Sampler, services: Services, seed: tuple[int | str, ...] = (0,)
) -> BenchmarkRun:
    """Sample, grade and score; equal seeds over stages make the comparison between stages tighter.

    Raises GraderFailure when more than `MAX_FAILED` of the verdicts could not be given. Must not be called
    from inside a running event loop.
    """
    replies = _sample(benchmark, sampler, seed)
    every, domain = list(chain(*replies.values())), benchmark.domain
    pairs = [(reply.problem, reply.rollout) for reply in every]
    # A benchmark with a rule of its own asks no reward model, also where RL does; then it is graded
    # concurrently in the grading thread, not as one batch here.
    verdicts = grade_all(
        domain.benchmark_grade, pairs, services, learned=domain.learned and domain.score is None
    )
    failed = _count_failed(benchmark.name, list(zip(every, verdicts, strict=True)))
    # in the order of `every`, which is that of `replies`: mode by mode
    rewards = iter([_accuracy(verdict) for verdict in verdicts])
    modes = {
        mode: _mode_score(found, [next(rewards) for _ in found], mode) for mode, found in replies.items()
    }
    return BenchmarkRun(BenchmarkScore(benchmark.headline, modes), failed, len(verdicts))


def _sample(benchmark: HeldOut, sampler: Sampler, seed: tuple[int | str, ...]) -> dict[Mode, list[_Reply]]:
    """For each mode the k samples of every problem, then the greedy replies; all are asked for at once."""
    # one call for all, so that a sampler can decode short and long modes side by side
    asked = [(mode, *one) for mode in benchmark.modes for one in requests(benchmark, mode, seed)]
    groups = sampler.sample_many([request for _, request, _ in asked])
    replies: dict[Mode, list[_Reply]] = {mode: [] for mode in benchmark.modes}
    for (mode, request, greedy), found in zip(asked, groups, strict=True):
        replies[mode] += _replies(request, found, greedy)
    return replies


def requests(benchmark: HeldOut, mode: Mode, seed: tuple[int | str, ...]) -> list[tuple[Request, bool]]:
    """The k samples of all problems in one mode, then (True) the greedy reply if it is asked for.

    Both are from the same seed, so that the same weights always give the same replies.
    """
    spec = benchmark.spec
    problems = [problem.in_mode(mode) for problem in benchmark.problems]
    seed = (*seed, "benchmark", benchmark.name, str(mode))
    rule = SamplingRule(spec.temperature, spec.top_p, min_p=spec.min_p)
    # the other mode is a look aside, at half the cost where the recipe says so
    k = spec.k if mode is benchmark.headline else spec.k_other_mode or spec.k
    sampled = Sampling(k, spec.max_response_tokens, rule, spec.max_prompt_tokens, seed)
    greedy = Sampling(1, spec.max_response_tokens, GREEDY, spec.max_prompt_tokens, seed)
    return [((problems, sampled), False), *([((problems, greedy), True)] if spec.greedy else [])]


def _replies(asked: Request, groups: Sequence[tuple[Rollout, ...]], greedy: bool) -> list[_Reply]:
    problems, sampling = asked
    sizes = {len(group) for group in groups}
    if len(groups) != len(problems) or sizes != {sampling.n}:
        raise ValueError(
            f"the sampler gave {len(groups)} groups of {sorted(sizes)} for {len(problems)} problems of "
            f"{sampling.n}"
        )
    return [
        _Reply(p, rollout, greedy) for p, group in zip(problems, groups, strict=True) for rollout in group
    ]


def _count_failed(name: str, graded: Sequence[tuple[_Reply, Verdict]]) -> int:
    # None only: a reward of 0 is a verdict
    failed = [(reply.problem.id, verdict.note) for reply, verdict in graded if verdict.reward is None]
    if len(failed) > MAX_FAILED * len(graded):
        problem, note = failed[0]
        raise GraderFailure(
            f"benchmark {name}: the grader failed twice on {len(failed)} of {len(graded)} replies, more than "
            f"{MAX_FAILED:.0%}; the first is problem {problem}: {note or 'no note'}"
        )
    return len(failed)


def _accuracy(verdict: Verdict) -> float:
    return max(0.0, min(1.0, verdict.reward or 0.0))


def _mode_score(replies: Sequence[_Reply], rewards: Sequence[float], mode: Mode) -> ModeScore:
    """Leaks, clipping and length are those of the k samples; greedy replies give the greedy score only."""
    # [problems] lists of k and of 1 rewards
    sampled, greedy = _by_problem(replies, rewards, greedy=False), _by_problem(replies, rewards, greedy=True)
    rollouts = [reply.rollout for reply in replies if not reply.greedy]
    return ModeScore(
        average=score(sampled),
        greedy=score(greedy) if greedy else None,
        leak=_mean(leaks(rollout.text, mode) for rollout in rollouts),
        clipped=_mean(rollout.stop is Stop.LENGTH for rollout in rollouts),
        # replies of a server may not say how long they were
        mean_tokens=_mean(rollout.tokens for rollout in rollouts if rollout.tokens is not None),
        per_problem={name: _mean(values) for name, values in sampled.items()},
    )


def _by_problem(
    replies: Sequence[_Reply], rewards: Sequence[float], *, greedy: bool
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for reply, reward in zip(replies, rewards, strict=True):
        if reply.greedy is greedy:
            found.setdefault(reply.problem.id, []).append(reward)
    return found


def _mean(values: Iterable[float]) -> float:
    """NaN of nothing: what nobody knows is not 0."""
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else math.nan
