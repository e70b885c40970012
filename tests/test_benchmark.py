"""The runner with scripted replies: exact numbers, denominators, leaks, both modes, graders that fail."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter

import pytest

from cascade_rl.chat import thinking_reply
from cascade_rl.data.abilities import load_recipe
from cascade_rl.data.heldout import gather_benchmarks, gather_probes
from cascade_rl.domain import Domain, HeldOut, Services
from cascade_rl.errors import GraderFailure
from cascade_rl.evals.benchmark import run_benchmark
from cascade_rl.protocols import Execution, Program, Sampling, SamplingRule
from cascade_rl.recipe import BenchmarkSpec
from cascade_rl.scores.as_json import from_json, scorecard_from_json, scorecard_to_json, to_json
from cascade_rl.scores.statistics import wilson
from cascade_rl.testing import END_ID, FakeRewardModel, FakeSandbox, ScriptedSampler, text_rollout
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Scorecard, Stop, Verdict


def problem(i: int) -> Problem:
    return Problem(f"toy-{i}", "toy", (Message("user", f"say {i}"),), str(i))


PROBLEMS = tuple(problem(i) for i in range(4))


async def grade_last_word(asked: Problem, rollout: Rollout, services: Services) -> Verdict:
    return Verdict.binary(rollout.text.split()[-1:] == [asked.answer])


def toy(grade=grade_last_word, **extra) -> Domain:
    sources = {"builtin": lambda query: iter(PROBLEMS)}
    return Domain("toy", "says a number", sources, grade, lambda: (), lambda p: p.answer, **extra)


def bench(domain: Domain, problems: tuple[Problem, ...], **spec) -> HeldOut:
    """A benchmark in one mode, unless the specification says otherwise."""
    return HeldOut(
        BenchmarkSpec(**{"name": "toy", "domain": "toy", "both_modes": False, **spec}), domain, problems
    )


def thought(answer: str) -> str:
    return thinking_reply("hm", answer)


def test_exact_numbers_of_one_mode() -> None:
    replies = {
        "toy-0": [thought("0"), thought("0"), thought("0"), thought("0")],
        "toy-1": [thought("1"), thought("9"), thought("9"), thought("9")],
        "toy-2": [thought("9"), thought("2"), thought("2"), thought("9")],
        "toy-3": ["3", thought("9"), thought("9"), thought("9")],  # right, but without its think block
    }
    sampler = ScriptedSampler(replies)
    run = run_benchmark(bench(toy(), PROBLEMS, k=4), sampler, Services(), (7,))
    mode = run.score.modes[Mode.THINKING]
    assert dict(mode.per_problem) == {"toy-0": 1.0, "toy-1": 0.25, "toy-2": 0.5, "toy-3": 0.25}
    assert (mode.average.mean, mode.average.n, mode.average.k) == (0.5, 4, 4)
    assert mode.average.low < 0.5 < mode.average.high
    assert (mode.greedy.mean, mode.greedy.n, mode.greedy.k) == (0.75, 4, 1)
    assert (mode.greedy.low, mode.greedy.high) == pytest.approx(wilson(3, 4))
    assert (mode.leak, mode.clipped) == (1 / 16, 0.0)
    assert mode.mean_tokens == pytest.approx((15 * (len(thought("0")) + 1) + 2) / 16)
    assert run.score.score is mode.average
    assert (run.failed, run.verdicts) == (0, 20)


def test_sampling_follows_the_protocol_of_the_report() -> None:
    sampler = ScriptedSampler(lambda asked: thought(asked.answer))
    benchmark = bench(toy(), PROBLEMS, k=8, min_p=0.1, max_response_tokens=64, max_prompt_tokens=128)
    run_benchmark(benchmark, sampler, Services(), (7, "math-rl"))
    (ids, sampled), (_, greedy) = sampler.asked
    assert ids == tuple(p.id for p in PROBLEMS)
    assert (sampled.n, sampled.rule) == (8, SamplingRule(0.6, 0.95, min_p=0.1))
    assert (greedy.n, greedy.rule) == (1, SamplingRule(temperature=0.0))
    assert {s.max_new_tokens for s in (sampled, greedy)} == {64}
    assert {s.max_prompt_tokens for s in (sampled, greedy)} == {128}
    assert sampled.seed[:2] == (7, "math-rl")


def test_both_modes_are_measured_on_all_problems() -> None:
    def reply(asked: Problem) -> str:
        return thought(asked.answer) if asked.mode is Mode.THINKING else thought("9")

    benchmark = bench(toy(), PROBLEMS, k=2, both_modes=True, mode=Mode.INSTRUCT)
    run = run_benchmark(benchmark, ScriptedSampler(reply), Services())
    thinking, instruct = run.score.modes[Mode.THINKING], run.score.modes[Mode.INSTRUCT]
    assert (thinking.average.mean, thinking.leak) == (1.0, 0.0)
    assert (instruct.average.mean, instruct.leak) == (0.0, 1.0)
    assert run.score.score is instruct.average
    assert (thinking.average.n, run.verdicts) == (4, 24)


def test_clipped_replies_count_as_clipped_leaking_and_whatever_the_grader_says() -> None:
    sampler = ScriptedSampler(lambda asked: thought(asked.answer))
    run = run_benchmark(bench(toy(), PROBLEMS, k=2, max_response_tokens=9), sampler, Services())
    mode = run.score.modes[Mode.THINKING]
    assert (mode.clipped, mode.leak, mode.mean_tokens, mode.average.mean) == (1.0, 1.0, 9.0, 0.0)


def test_rewards_are_clamped_and_the_benchmarks_own_verdict_is_used() -> None:
    async def rl(asked: Problem, rollout: Rollout, services: Services) -> Verdict:
        raise AssertionError("the reward of RL is not the benchmark's")

    async def own(asked: Problem, rollout: Rollout, services: Services) -> Verdict:
        rewards = {"0": 3.0, "1": -2.0, "2": 0.5, "3": 1.0}
        return Verdict(rewards[asked.answer], Outcome.PARTIAL)

    run = run_benchmark(bench(toy(rl, score=own), PROBLEMS, k=1), ScriptedSampler(lambda p: "x"), Services())
    assert dict(run.score.modes[Mode.THINKING].per_problem) == {
        "toy-0": 1.0,
        "toy-1": 0.0,
        "toy-2": 0.5,
        "toy-3": 1.0,
    }


def flaky(failures: Counter[str], reward: float | None = None):
    """A grader that fails `failures[id]` times on a problem, with None or with a reward that is no number."""

    async def grade(asked: Problem, rollout: Rollout, services: Services) -> Verdict:
        if failures[asked.id] > 0:
            failures[asked.id] -= 1
            return Verdict.failed("judge is away") if reward is None else Verdict(reward, Outcome.PARTIAL)
        return Verdict.binary(True)

    return grade


def test_a_failed_verdict_is_asked_for_once_more() -> None:
    domain = toy(flaky(Counter({"toy-2": 1})))
    run = run_benchmark(bench(domain, PROBLEMS, k=1), ScriptedSampler(lambda p: "x"), Services())
    assert (run.score.score.mean, run.failed) == (1.0, 0)


@pytest.mark.parametrize(("reward", "note"), [(None, "judge is away"), (math.nan, "the reward is nan")])
def test_too_many_failures_give_no_score_but_a_name(reward: float | None, note: str) -> None:
    domain = toy(flaky(Counter({"toy-2": 99}), reward))
    with pytest.raises(
        GraderFailure, match=rf"2 of 8 replies, more than 1%; the first is problem toy-2: {note}"
    ):
        run_benchmark(bench(domain, PROBLEMS, k=1), ScriptedSampler(lambda p: "x"), Services())


def test_a_rare_failure_stays_in_the_denominator_and_is_counted() -> None:
    many = tuple(problem(i) for i in range(100))
    domain = toy(flaky(Counter({"toy-7": 2})))  # the sampled reply fails twice, the greedy one is graded
    run = run_benchmark(bench(domain, many, k=1), ScriptedSampler(lambda p: "x"), Services())
    score, greedy = run.score.score, run.score.modes[Mode.THINKING].greedy
    assert (run.failed, run.verdicts, score.n, score.mean, greedy.mean) == (1, 200, 100, 0.99, 1.0)
    domain = toy(flaky(Counter({"toy-7": 4})))
    run = run_benchmark(bench(domain, many, k=1), ScriptedSampler(lambda p: "x"), Services())
    assert (run.failed, run.score.score.n, run.score.score.mean) == (2, 100, 0.99)


def test_a_broken_grader_is_not_a_wrong_answer() -> None:
    async def broken(asked: Problem, rollout: Rollout, services: Services) -> Verdict:
        raise RuntimeError("a fault of the domain")

    with pytest.raises(
        GraderFailure, match=r"8 of 8 replies.*the grader raised RuntimeError: a fault of the domain"
    ):
        run_benchmark(bench(toy(broken), PROBLEMS, k=1), ScriptedSampler(lambda p: "x"), Services())


def test_replies_are_graded_concurrently() -> None:
    waiting, most = 0, 0

    async def slow(asked: Problem, rollout: Rollout, services: Services) -> Verdict:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.001)
        waiting -= 1
        return Verdict.binary(True)

    run_benchmark(bench(toy(slow), PROBLEMS, k=4), ScriptedSampler(lambda p: "x"), Services())
    assert most == 20


def test_a_sampler_that_drops_replies_is_caught() -> None:
    class Forgetful(ScriptedSampler):
        def sample(self, problems, sampling):
            return super().sample(problems[1:], sampling)

    with pytest.raises(ValueError, match=r"3 groups of .* for 4 problems"):
        run_benchmark(bench(toy(), PROBLEMS), Forgetful(lambda p: "x"), Services())


@pytest.mark.parametrize(
    ("problems", "message"),
    [((), "needs problems"), ((PROBLEMS[0], PROBLEMS[0]), "1 problems have an id that came before")],
)
def test_benchmarks_refuse_what_can_not_be_measured(problems: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench(toy(), problems)
    with pytest.raises(ValueError, match=r"k\n.*greater than 0"):
        bench(toy(), PROBLEMS, k=0)


@pytest.mark.parametrize("own", list(Mode))
@pytest.mark.parametrize("said", [None, *Mode])
@pytest.mark.parametrize("both", [True, False])
def test_the_headline_is_always_measured(own: Mode, said: Mode | None, both: bool) -> None:
    found = bench(toy(headline=own), PROBLEMS, mode=said, both_modes=both)
    assert found.headline is (own if said is None else said)
    assert set(found.modes) == (set(Mode) if both else {found.headline})


def test_each_mode_has_its_own_number_of_samples_and_its_own_seed() -> None:
    sampler = ScriptedSampler(lambda asked: thought(asked.answer))
    run_benchmark(bench(toy(), PROBLEMS, k=3, k_other_mode=2, both_modes=True), sampler, Services(), (7,))
    asked = [(s.n, s.rule.temperature, s.seed) for _, s in sampler.asked]
    thinking, instruct = ((7, "benchmark", "toy", mode) for mode in ("thinking", "instruct"))
    assert asked == [(3, 0.6, thinking), (1, 0.0, thinking), (2, 0.6, instruct), (1, 0.0, instruct)]


def test_probes_are_cheap_and_use_no_held_out_problem() -> None:
    overrides = ["gate.policy=best", "gate.probe_problems=5", "benchmarks.following.temperature=0.7"]
    recipe = load_recipe("tiny", overrides)
    probes, benchmarks = gather_probes(recipe), gather_benchmarks(recipe)
    assert [b.spec for b in benchmarks] == recipe.benchmarks
    for probe, benchmark in zip(probes, benchmarks, strict=True):
        assert len(probe.problems) == 5 and len(benchmark.problems) == benchmark.spec.problems
        assert (probe.name, probe.modes, probe.spec.k) == (benchmark.name, (benchmark.headline,), 1)
        rule = ("temperature", "top_p", "min_p", "max_prompt_tokens", "max_response_tokens")
        assert all(getattr(probe.spec, key) == getattr(benchmark.spec, key) for key in rule)
        assert not {p.id for p in probe.problems} & {p.id for p in benchmark.problems}
    assert gather_probes(load_recipe("tiny", [])) == ()


def test_scores_survive_their_files() -> None:
    benchmark = bench(toy(), PROBLEMS, k=3, both_modes=True)
    found = run_benchmark(benchmark, ScriptedSampler(lambda p: [thought(p.answer), "9"]), Services()).score
    data = json.loads(json.dumps(to_json("toy", found)))
    assert list(data) == ["benchmark", "headline", "modes"]
    assert list(data["modes"]["thinking"]) == [
        "avg",
        "greedy",
        "leak",
        "clipped",
        "mean_tokens",
        "per_problem",
    ]
    assert list(data["modes"]["thinking"]["avg"]) == ["mean", "low", "high", "n", "k"]
    assert from_json(data) == ("toy", found)
    card = Scorecard("math-rl", {"toy": found})
    assert scorecard_from_json(json.loads(json.dumps(scorecard_to_json(card)))) == card


def test_broken_files_say_what_they_lack() -> None:
    with pytest.raises(ValueError, match="evaluation 'toy' has no key 'modes'"):
        from_json({"benchmark": "toy", "headline": "thinking"})
    with pytest.raises(ValueError, match="headline instruct is not among"):
        from_json({"benchmark": "toy", "headline": "instruct", "modes": {}})
    with pytest.raises(ValueError, match="scorecard has no benchmarks"):
        scorecard_from_json({"stage": "sft"})


# --- the fakes


def test_scripted_rollouts_are_aligned_and_cut() -> None:
    whole = text_rollout("né", prompt="q")
    assert (whole.ids, whole.stop, whole.text) == ((*"né".encode(), END_ID), Stop.END, "né")
    assert whole.prompt_ids == (ord("q"),)
    cut = text_rollout("né", 2)
    assert (len(cut.ids), cut.stop, cut.text) == (2, Stop.LENGTH, "n")


def test_scripted_replies_rotate_over_samples_and_name_what_is_missing() -> None:
    sampler = ScriptedSampler({"toy-0": ["a", "b"]})
    ((*rollouts,),) = sampler.sample(PROBLEMS[:1], Sampling(3, 10))
    assert [r.text for r in rollouts] == ["a", "b", "a"]
    with pytest.raises(KeyError, match="toy-1"):
        sampler.sample(PROBLEMS[1:2], Sampling(1, 10))


def test_fake_services() -> None:
    program = Program({"main.py": "print(1)"}, "main.py")
    fixed, scripted = FakeSandbox("1\n"), FakeSandbox(lambda p: Execution("", "boom", 1))
    assert asyncio.run(fixed.run(program)) == Execution("1\n", "", 0)
    assert asyncio.run(scripted.run(program)).exit_code == 1
    assert fixed.programs == [program]
    model = FakeRewardModel(lambda messages, answer: len(answer))
    assert asyncio.run(model.score(PROBLEMS[0].messages, "four")) == 4.0
    assert asyncio.run(FakeRewardModel(0.5).score((), "x")) == 0.5
    assert model.asked == [(PROBLEMS[0].messages, "four")]


def test_the_fakes_need_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, cascade_rl.testing, cascade_rl.evals.benchmark; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
