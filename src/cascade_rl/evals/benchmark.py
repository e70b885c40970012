"""The benchmark runner, and how a benchmark's scores are written.

The report's protocol (arXiv 2512.13607, evaluation): k samples per problem at temperature 0.6 and top-p 0.95, averaged;
and one greedy reply. Each mode is measured on all problems. Accuracy is the domain's benchmark verdict, clamped to
[0, 1]. Every reply stays in the denominator: a grader that fails is asked once more; if more than one in a hundred
verdicts still fail there is no score at all, and below that a failed verdict counts as wrong and is counted aloud.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from cascade_rl.chat import leaks
from cascade_rl.domain import Domain, Services
from cascade_rl.evals.statistics import score
from cascade_rl.grading import grade_all
from cascade_rl.protocols import Sampler, Sampling
from cascade_rl.types import (
    BenchmarkScore,
    Mode,
    ModeScore,
    Problem,
    Rollout,
    Score,
    Scorecard,
    Stop,
    Verdict,
)

MAX_FAILED = 0.01


class GraderFailure(RuntimeError):
    """Too many verdicts could not be given: there is no score, since a failure is not a wrong answer."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A fixed set of held-out problems of one domain with the way replies are drawn.

    `k` samples per problem in the headline mode, `k_other_mode` (the same if None) in the other.
    """

    name: str
    domain: Domain
    problems: tuple[Problem, ...]
    k: int = 4
    k_other_mode: int | None = None
    modes: tuple[Mode, ...] = (Mode.THINKING,)
    headline: Mode = Mode.THINKING
    temperature: float = 0.6
    top_p: float = 0.95
    min_p: float = 0.0
    max_new_tokens: int = 1024
    max_prompt_tokens: int = 1_000_000

    def __post_init__(self) -> None:
        if self.headline not in self.modes:
            raise ValueError(f"benchmark {self.name}: headline {self.headline} is not among {', '.join(self.modes)}")
        if not self.problems or self.k < 1:
            raise ValueError(f"benchmark {self.name}: needs problems and k >= 1, has {len(self.problems)} and {self.k}")
        repeated = len(self.problems) - len({problem.id for problem in self.problems})
        if repeated:
            raise ValueError(f"benchmark {self.name}: {repeated} problems have an id that came before")


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """A score, and how many of all its verdicts failed twice and therefore count as wrong."""

    score: BenchmarkScore
    failed: int
    verdicts: int


@dataclass(frozen=True, slots=True)
class _Reply:
    problem: Problem
    rollout: Rollout
    greedy: bool


def run_benchmark(
    benchmark: Benchmark, sampler: Sampler, services: Services, seed: tuple[int | str, ...] = (0,)
) -> BenchmarkRun:
    """Sample, grade and score; equal seeds over stages make the comparison between stages tighter.

    Raises GraderFailure when more than `MAX_FAILED` of the verdicts could not be given. Must not be called from
    inside a running event loop.
    """
    replies = _sample(benchmark, sampler, seed)
    every, domain = list(chain(*replies.values())), benchmark.domain
    pairs = [(reply.problem, reply.rollout) for reply in every]
    verdicts = grade_all(domain.benchmark_grade, pairs, services, learned=domain.learned and domain.score is None)
    failed = _count_failed(benchmark.name, list(zip(every, verdicts, strict=True)))
    rewards = iter([_accuracy(verdict) for verdict in verdicts])
    modes = {mode: _mode_score(found, [next(rewards) for _ in found], mode) for mode, found in replies.items()}
    return BenchmarkRun(BenchmarkScore(benchmark.headline, modes), failed, len(verdicts))


def _sample(benchmark: Benchmark, sampler: Sampler, seed: tuple[int | str, ...]) -> dict[Mode, list[_Reply]]:
    """For each mode the k samples of every problem, then the greedy replies; all are asked for at once."""
    asked = [request for mode in benchmark.modes for request in _requests(benchmark, mode, seed)]
    found = iter(zip(asked, sampler.sample_many(asked), strict=True))
    return {mode: [*_replies(*next(found), False), *_replies(*next(found), True)] for mode in benchmark.modes}


def _requests(
    benchmark: Benchmark, mode: Mode, seed: tuple[int | str, ...]
) -> tuple[tuple[list[Problem], Sampling], tuple[list[Problem], Sampling]]:
    problems = [problem.in_mode(mode) for problem in benchmark.problems]
    seed = (*seed, "benchmark", benchmark.name, str(mode))
    limits = {"max_new_tokens": benchmark.max_new_tokens, "max_prompt_tokens": benchmark.max_prompt_tokens}
    k = benchmark.k if mode is benchmark.headline else benchmark.k_other_mode or benchmark.k
    rule = {"temperature": benchmark.temperature, "top_p": benchmark.top_p, "min_p": benchmark.min_p}
    sampled = Sampling(k, seed=seed, **rule, **limits)
    greedy = Sampling(1, temperature=0.0, seed=seed, **limits)
    return (problems, sampled), (problems, greedy)


def _replies(
    asked: tuple[Sequence[Problem], Sampling], groups: Sequence[tuple[Rollout, ...]], greedy: bool
) -> list[_Reply]:
    problems, sampling = asked
    sizes = {len(group) for group in groups}
    if len(groups) != len(problems) or sizes != {sampling.n}:
        raise ValueError(
            f"the sampler gave {len(groups)} groups of {sorted(sizes)} for {len(problems)} problems of {sampling.n}"
        )
    return [_Reply(p, rollout, greedy) for p, group in zip(problems, groups, strict=True) for rollout in group]


def _count_failed(name: str, graded: Sequence[tuple[_Reply, Verdict]]) -> int:
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
    """Leaks, clipping and length are those of the k samples; the greedy replies give the greedy score only."""
    sampled, greedy = _by_problem(replies, rewards, greedy=False), _by_problem(replies, rewards, greedy=True)
    rollouts = [reply.rollout for reply in replies if not reply.greedy]
    return ModeScore(
        average=score(sampled),
        greedy=score(greedy),
        leak=_mean(leaks(rollout.text, mode) for rollout in rollouts),
        clipped=_mean(rollout.stop is Stop.LENGTH for rollout in rollouts),
        mean_tokens=_mean(len(rollout.ids) for rollout in rollouts),
        per_problem={name: _mean(values) for name, values in sampled.items()},
    )


def _by_problem(replies: Sequence[_Reply], rewards: Sequence[float], *, greedy: bool) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for reply, reward in zip(replies, rewards, strict=True):
        if reply.greedy is greedy:
            found.setdefault(reply.problem.id, []).append(reward)
    return found


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


def score_to_json(found: Score) -> dict[str, Any]:
    """A score as it stands in every file of a run."""
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n, "k": found.k}


def mode_to_json(found: ModeScore) -> dict[str, Any]:
    """A mode's numbers without those per problem, as in matrix.json."""
    return {
        "avg": score_to_json(found.average),
        "greedy": score_to_json(found.greedy),
        "leak": found.leak,
        "clipped": found.clipped,
        "mean_tokens": found.mean_tokens,
    }


def to_json(name: str, found: BenchmarkScore) -> dict[str, Any]:
    """The content of eval/NAME.json."""
    modes = {str(mode): mode_to_json(m) | {"per_problem": dict(m.per_problem)} for mode, m in found.modes.items()}
    return {"benchmark": name, "headline": str(found.headline), "modes": modes}


def from_json(data: Mapping[str, Any]) -> tuple[str, BenchmarkScore]:
    """The name and the score of an eval/NAME.json; ValueError naming the file's fault."""
    try:
        modes = {Mode(name): _mode_from_json(mode) for name, mode in data["modes"].items()}
        found = BenchmarkScore(Mode(data["headline"]), modes)
        name = data["benchmark"]
    except KeyError as error:
        raise ValueError(f"evaluation {data.get('benchmark', '')!r} has no key {error}") from None
    if found.headline not in modes:
        raise ValueError(f"evaluation {name!r}: headline {found.headline} is not among {', '.join(modes)}")
    return name, found


def scorecard_to_json(card: Scorecard) -> dict[str, Any]:
    """The content of scorecard.json."""
    return {"stage": card.stage, "benchmarks": {name: to_json(name, found) for name, found in card.benchmarks.items()}}


def scorecard_from_json(data: Mapping[str, Any]) -> Scorecard:
    """The scorecard of a scorecard.json."""
    missing = {"stage", "benchmarks"} - set(data)
    if missing:
        raise ValueError(f"scorecard has no {', '.join(sorted(missing))}")
    return Scorecard(data["stage"], dict(from_json(found) for found in data["benchmarks"].values()))


def _mode_from_json(data: Mapping[str, Any]) -> ModeScore:
    numbers = {key: float(data[key]) for key in ("leak", "clipped", "mean_tokens")}
    per_problem = {name: float(value) for name, value in data["per_problem"].items()}
    average, greedy = _score_from_json(data["avg"]), _score_from_json(data["greedy"])
    return ModeScore(average, greedy, **numbers, per_problem=per_problem)


def _score_from_json(data: Mapping[str, Any]) -> Score:
    shares = (float(data[key]) for key in ("mean", "low", "high"))
    return Score(*shares, int(data["n"]), int(data["k"]))
