"""The numbers that tell a healthy run from a dying one, and the alarms that read them."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import Policy, stage_run, toy_domain, toy_problem

from cascade_rl.errors import Interrupted
from cascade_rl.recipe import RLStage
from cascade_rl.run.alarms import RULES, broken_steps, warnings
from cascade_rl.run.journal import read_lines
from cascade_rl.testing import ScriptedSampler, text_rollout
from cascade_rl.train import rl
from cascade_rl.train.diagnostics import describe, repetition, update_metrics
from cascade_rl.train.update import update_on
from cascade_rl.types import Group, Outcome, Pools, Split, Verdict


def stage_of(**keys) -> RLStage:
    base = {"name": "x", "kind": "rl", "steps": 1, "data": [{"domain": "toy"}], "prompts_per_step": 4}
    return RLStage.model_validate(base | keys)


# ---------------------------------------------------------------- numbers


@given(st.lists(st.integers(0, 3), max_size=40))
def test_repetition_is_the_share_of_ngrams_seen_before(ids):
    grams = [tuple(ids[i : i + 4]) for i in range(len(ids) - 3)]
    seen = sum(gram in grams[:i] for i, gram in enumerate(grams))
    assert repetition(ids) == pytest.approx(seen / len(grams) if len(grams) > 1 else 0.0)


def test_describe_by_hand():
    texts, stops = ("a", "bb", "ccccccc", "dddddddddddd"), (9, 9, 9, 8)
    rollouts = tuple(text_rollout(t, n) for t, n in zip(texts, stops, strict=True))
    verdicts = (
        Verdict(1.0, Outcome.RIGHT, {"format": 1.0}), Verdict(0.0, Outcome.UNPARSEABLE, {"format": 0.0}),
        Verdict(0.0, Outcome.TIMEOUT), Verdict.failed("x"),
    )  # fmt: skip
    found = describe(
        [Group(toy_problem(0), rollouts, verdicts)], [[1.0, 0.0, 0.0, None]], [[2.0, -1.0, -1.0, None]]
    )
    wanted = {
        "reward": 1 / 3, "reward_min": 0.0, "reward_max": 1.0, "length": (2 + 3 + 8 + 8) / 4, "length_p50": 5.5,
        "length_max": 8, "length_ended": 13 / 3, "clipped": 0.25, "unparseable": 0.25, "timeout": 0.25, "failed": 0.25,
        "advantage": 4 / 3, "part/toy/format": 0.5, "signal": 1.0, "repetition": (3 / 5 + 4 / 5) / 4,
    }  # fmt: skip
    assert {key: found[key] for key in wanted} == pytest.approx(wanted)


def test_update_metrics_are_means_over_tokens_and_the_mismatch_is_that_of_the_first_update():
    made = [{"loss": 1.0, "grad_norm": 2.0, "skipped": 0.0, "tokens": 10.0, "ratio": 11.0, "ratio_max": 1.5,
             "ratio_square": 14.0, "update_ratio": 0.004,
             "mismatch": 0.1, "mismatch_max": 0.2, "mismatch_kl": 0.01, "touched": 2.0, "kl": 0.3},
            {"loss": 3.0, "grad_norm": 0.5, "skipped": 1.0, "tokens": 30.0, "ratio": 33.0, "ratio_max": 1.2,
             "ratio_square": 41.0, "update_ratio": 0.0,
             "mismatch": 9.0, "mismatch_max": 3.0, "mismatch_kl": 1.0, "touched": 6.0, "kl": 0.1}]  # fmt: skip
    found = update_metrics(made, stage_of(loss="ppo_clip", updates_per_batch=2, kl_coefficient=0.1))
    assert found == pytest.approx({
        "loss": 2.0, "grad_norm": 1.25, "skipped": 0.5, "grad_clipped": 0.5, "kl": 0.2, "ratio": 1.1, "ratio_max": 1.5,
        "mismatch": 0.01, "mismatch_max": 0.2, "mismatch_kl": 0.001, "clip_fraction": 0.2,
        "ess": 44.0**2 / (40 * 55), "update_ratio": 0.002,
    })  # fmt: skip
    assert "clip_fraction" not in update_metrics(made[:1], stage_of()) and "kl" not in update_metrics(
        made[:1], stage_of()
    )
    assert update_metrics([], stage_of()) == dict.fromkeys(
        ("loss", "grad_norm", "update_ratio", "skipped"), 0.0
    )


# ---------------------------------------------------------------- several updates


class Recorder:
    """A learner that only notes what it was given."""

    def __init__(self) -> None:
        self.rows, self.objectives = [], []

    def policy_step(self, rows, objective, factor):
        self.rows.append(rows)
        self.objectives.append(objective)
        return dict.fromkeys(("loss", "grad_norm", "update_ratio", "skipped", "tokens"), 0.0)


def groups_of(count: int, size: int = 2) -> list[Group]:
    texts = ["yes", "perhaps"][:size]
    verdicts = tuple(Verdict.binary(i == 0) for i in range(size))
    return [Group(toy_problem(n), tuple(text_rollout(t) for t in texts), verdicts) for n in range(count)]


@pytest.mark.parametrize("updates", [1, 2, 3, 4])
def test_every_prompt_is_in_exactly_one_update_and_weights_are_those_of_its_part(updates):
    keys = {"loss": "ppo_clip"} if updates > 1 else {}
    stage, learner, groups = stage_of(updates_per_batch=updates, **keys), Recorder(), groups_of(4)
    advantages = [[1.0, -1.0]] * 4
    found = update_on(learner, stage, stage.phases()[0][2], groups, advantages, 1.0)
    assert len(learner.rows) == updates
    assert sum(map(len, learner.rows)) == 8 and found["tokens"] == 4 * (4 + 8)
    for rows in learner.rows:
        assert sum(row.weight * (len(row.ids) - row.start) for row in rows) == pytest.approx(1)
    assert learner.objectives[0].surrogate.loss == stage.loss


def test_a_part_without_gradient_is_no_update():
    stage, learner = stage_of(updates_per_batch=2, loss="cispo"), Recorder()
    advantages = [[0.0, 0.0], [None, None], [1.0, -1.0], [0.0, 0.0]]
    found = update_on(learner, stage, stage.phases()[0][2], groups_of(4), advantages, 1.0)
    assert [len(rows) for rows in learner.rows] == [2]
    assert found["tokens"] == 3 * (4 + 8), "what was not graded does not count, what has no spread does"


# ---------------------------------------------------------------- alarms


def told(metric: str, values: list[float]) -> set[str]:
    return {
        rule.title
        for rule in RULES
        if rule.metric == metric and broken_steps(rule, values)[-1:] == [len(values) - 1]
    }


@pytest.mark.parametrize(
    ("metric", "healthy", "broken"),
    [
        ("signal", [0.5, 0.1], [0.5, 0.09]), ("signal", [0.5], [0.0]), ("clipped", [0.3], [0.31]),
        ("leak", [0.1, 0.1, 0.1, 0.2], [0.0, 0.1, 0.2, 0.21]), ("leak", [0.3, 0.3, 0.3, 0.59], [0.3, 0.3, 0.3, 0.61]),
        ("entropy", [0.5, 0.06], [0.5, 0.04]), ("entropy", [1.0, 1.0, 1.0, 2.9], [1.0, 1.0, 1.0, 3.1]),
        ("ratio", [1.04], [1.06]), ("ratio", [0.96], [0.94]), ("mismatch_kl", [1e-4], [2e-3]), ("grad_norm", [0.1], [0.0]),
        ("grad_norm", [0.1], [float("nan")]), ("failed", [0.01], [0.02]), ("skipped", [0.0], [1.0]),
        ("length", [10.0] * 20 + [19.0], [10.0] * 20 + [21.0]), ("length", [10.0] * 20 + [6.0], [10.0] * 20 + [4.0]),
        ("length", [10.0] * 19 + [21.0], [10.0] * 20 + [21.0]),
    ],
)  # fmt: skip
def test_each_rule_at_its_threshold(metric, healthy, broken):
    assert not told(metric, healthy)
    assert len(told(metric, broken)) == 1


def test_a_warning_comes_once_and_again_after_twenty_quiet_steps():
    history = [
        {"clipped": 0.1},
        {"clipped": 0.5},
        {"clipped": 0.6},
        *[{"clipped": 0.1}] * 20,
        {"clipped": 0.7},
    ]
    found = [warnings(history[: i + 1]) for i in range(len(history))]
    assert [i for i, lines in enumerate(found) if lines] == [1, 23]
    assert found[1] == [
        "alarm: More than 30 % clipped (clipped 0.5): replies hit the token limit before they could answer"
    ]


def test_the_journal_holds_the_diagnostics_and_the_alarms_also_after_a_resumption(tmp_path):
    domain, journals = toy_domain(), []
    for stops in ([], [False, False, True]):
        policy, folder = Policy(scale=0.1), tmp_path / str(len(stops))
        stage = stage_of(steps=5, save_every=1, max_response_tokens=8)
        problems = list(islice(domain.problems("builtin", Split.RL, 0), 8))

        def go(policy=policy, stage=stage, folder=folder, problems=problems, **extra) -> None:
            sampler = ScriptedSampler(
                lambda problem: ["odd", "even", "much too long a reply", "also too long"]
            )
            with stage_run(folder, stage, {"toy": domain}, policy, sampler, **extra) as run:
                rl.train(run, Pools((tuple(problems),)))

        if stops:
            with pytest.raises(Interrupted):
                go(stop_asked=iter(stops).__next__)
        go()
        journals.append((folder / "journal.jsonl").read_bytes())
    assert journals[0] == journals[1]
    lines = list(read_lines(tmp_path / "0" / "journal.jsonl"))
    steps = [line["metrics"] for line in lines if line["kind"] == "step"]
    assert len(steps) == 5 and json.dumps(steps)
    assert {
        "ratio",
        "ess",
        "update_ratio",
        "mismatch",
        "mismatch_max",
        "mismatch_kl",
        "length_p95",
        "repetition",
        "unparseable",
    } <= set(steps[0])
    notes = [(line["step"], line["text"]) for line in lines if line["kind"] == "note"]
    assert [step for step, text in notes if "More than 30 % clipped" in text] == [0]
    assert [step for step, text in notes if "Sampler and trainer differ" in text] == [0], (
        "scripted replies, not sampled"
    )
