"""How long a reply was: a count that a server may give without ids, and that is never 0 for "nobody knows"."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from tiny import toy_problem

from cascade_rl.domain import Domain, HeldOut, Services
from cascade_rl.evals.benchmark import run_benchmark
from cascade_rl.recipe import BenchmarkSpec
from cascade_rl.report.matrix_page import VIEWS
from cascade_rl.report.numbers import DASH
from cascade_rl.run.files import dumps
from cascade_rl.scores.as_json import from_json, matrix_from_json, matrix_to_json, to_json
from cascade_rl.scores.matrix import Matrix, ModeCell, Row
from cascade_rl.testing import ScriptedSampler
from cascade_rl.train.advantage import final_rewards
from cascade_rl.train.diagnostics import describe, lengths
from cascade_rl.types import Group, Mode, Rollout, Stop, Verdict

PROBLEMS = [toy_problem(n) for n in range(2)]


def sampled(count: int, stop: Stop = Stop.END) -> Rollout:
    return Rollout((1, 2), (3,) * count, (-1.0,) * count, "a", stop)


def test_the_ids_say_how_long_a_sampled_reply_is():
    assert (sampled(3).tokens, sampled(0).tokens) == (3, 0)
    assert replace(sampled(3), ids=(3,), logprobs=(-1.0,), tokens=None).tokens == 1
    with pytest.raises(ValueError, match="has 3 ids, but it says 4 tokens"):
        replace(sampled(3), tokens=4)
    with pytest.raises(ValueError, match="1 tokens"):
        Rollout((1,), (), (), "", Stop.END, tokens=1)


def test_a_reply_without_ids_is_as_long_as_its_server_says_or_nobody_knows():
    assert Rollout.of_text("a b").tokens is None
    assert Rollout.of_text("a b", tokens=7).tokens == 7


def test_lengths_are_of_the_replies_whose_length_is_known():
    found = lengths([sampled(2), Rollout.of_text("a", Stop.LENGTH, 8), Rollout.of_text("a")])
    assert (found["length"], found["length_max"], found["length_ended"]) == (5.0, 8, 2.0)
    assert all(math.isnan(value) for value in lengths([Rollout.of_text("a")]).values())


def test_a_step_of_unknown_lengths_is_told_as_nan_and_its_other_numbers_stand():
    verdicts = (Verdict.binary(True), Verdict.binary(False))
    group = Group(PROBLEMS[0], (Rollout.of_text("a"), Rollout.of_text("b")), verdicts)
    found = describe([group], [[1.0, 0.0]], [[1.0, -1.0]])
    assert found["reward"] == 0.5 and found["signal"] == 1.0 and found["repetition"] == 0.0
    assert json.loads(dumps(found))["length"] == "nan"


def test_the_penalty_for_length_spares_what_has_no_length():
    rollouts = (sampled(100), Rollout.of_text("a", tokens=100), Rollout.of_text("a"))
    group = Group(PROBLEMS[0], rollouts, (Verdict.binary(True),) * 3)
    (found,) = final_rewards([group], "penalty", ["off"], lambda prompt, text: False, limit=100, buffer=50)
    assert found == [0.0, 0.0, 1.0]


class Server:
    """A sampler whose replies are text; it counts the tokens of those of the first problem alone, if at all."""

    def __init__(self, counts: bool) -> None:
        self.inner, self.counts = ScriptedSampler(lambda problem: "yes"), counts

    def sample_many(self, asked):
        def served(problem, rollout):
            known = self.counts and problem is not None and problem.id == PROBLEMS[0].id
            return Rollout.of_text(rollout.text, tokens=12 if known else None)

        return [
            [
                tuple(served(problem, rollout) for rollout in group)
                for problem, group in zip(problems, groups, strict=True)
            ]
            for (problems, _), groups in zip(asked, self.inner.sample_many(asked), strict=True)
        ]


async def _right(problem, rollout, services) -> Verdict:
    return Verdict.binary(True)


def measured(counts: bool):
    domain = Domain(
        "toy", "a toy", {"builtin": lambda query: iter(PROBLEMS)}, _right, lambda: (), lambda p: "yes"
    )
    spec = BenchmarkSpec(name="toy", domain="toy", k=2, both_modes=False)
    run = run_benchmark(HeldOut(spec, domain, tuple(PROBLEMS)), Server(counts), Services())
    return run.score


def test_the_mean_of_a_benchmark_is_over_what_is_known():
    assert measured(counts=True).modes[Mode.THINKING].mean_tokens == 12.0


def test_an_unknown_mean_survives_the_files_and_is_a_dash_in_the_report():
    written = json.loads(dumps(to_json("toy", measured(counts=False))))
    assert written["modes"]["thinking"]["mean_tokens"] == "nan"
    _, again = from_json(written)
    assert math.isnan(again.modes[Mode.THINKING].mean_tokens)
    found = again.modes[Mode.THINKING]
    cell = ModeCell(found.average, found.greedy, found.leak, found.clipped, found.mean_tokens)
    matrix = Matrix(("sft",), (Row("toy", None, Mode.THINKING, {}, {"sft": {Mode.THINKING: cell}}),), {})
    (row,) = matrix_from_json(json.loads(dumps(matrix_to_json(matrix)))).rows
    (tokens,) = (view for view in VIEWS if view.name == "Tokens")
    assert tokens.cell(row.modes["sft"][Mode.THINKING]) == DASH
