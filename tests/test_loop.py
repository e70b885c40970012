"""The loop that all stages share: every step ends with a report, and what is kept between steps is a value."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import Policy, stage_run, toy_domain

from cascade_rl.data.demonstrations import provide
from cascade_rl.errors import StageError
from cascade_rl.recipe import RLStage, SFTStage
from cascade_rl.run.journal import read_lines
from cascade_rl.train import rl, sft
from cascade_rl.train.loop import MAX_SKIPPED, Best, Steps, Tally
from cascade_rl.train.state import latest_state, save_state
from cascade_rl.types import Pools, StepReport

SFT = SFTStage(name="sft", kind="sft", samples=8, batch_size=4, steps=3, lr=1e-3, data=[{"domain": "toy"}])
DOMAINS = {"toy": toy_domain()}


def test_a_step_without_a_report_is_a_fault_of_the_stage(tmp_path):
    with (
        stage_run(tmp_path, SFT, DOMAINS, Policy()) as run,
        pytest.raises(RuntimeError, match="step 0 ended without"),
    ):
        for _step, _learner in Steps(run):
            pass


def test_a_report_of_another_step_does_not_count(tmp_path):
    with (
        stage_run(tmp_path, SFT, DOMAINS, Policy()) as run,
        pytest.raises(RuntimeError, match="step 1 ended without"),
    ):
        steps = Steps(run)
        for _step, _learner in steps:
            steps.done(StepReport(0, {"skipped": 0.0}, {}))


def test_updates_that_stay_without_a_number_stop_the_stage(tmp_path):
    stage = SFT.model_copy(update={"steps": MAX_SKIPPED + 3})
    with stage_run(tmp_path, stage, DOMAINS, Policy()) as run, pytest.raises(StageError, match="not finite"):
        steps = Steps(run)
        for step, _learner in steps:
            steps.done(StepReport(step, {"loss": math.nan, "skipped": 1.0}, {}))
    lines = list(read_lines(tmp_path / "journal.jsonl"))
    assert sum(line["kind"] == "step" for line in lines) == MAX_SKIPPED
    assert sum("not finite: this update was skipped" in line.get("text", "") for line in lines) == MAX_SKIPPED


def test_the_tally_is_a_value_and_comes_back_from_its_state():
    tally = Tally()
    for metrics in ({"signal": 0.0}, {"signal": 0.5}, {"skipped": 1.0}, {"skipped": 1.0, "signal": 1.0}, {}):
        tally = tally.after(metrics)
    assert (tally.signal, tally.skipped, tally.in_a_row) == (2, 2, 0)
    row = {"signal": 2, "skipped": 2, "in_a_row": 0, "best": {"step": 3, "score": 0.5, "file": "best"}}
    assert Tally.of_json(row) == Tally(2, 2, 0, Best(3, 0.5, "best"))
    assert Tally.of_json(row | {"best": None}) == tally


def test_the_steps_of_a_stage_that_is_over_are_none(tmp_path):
    policy = Policy()
    with stage_run(tmp_path, SFT, DOMAINS, policy) as run:
        sft.train(run, provide(SFT, DOMAINS, 0))
    with stage_run(tmp_path, SFT, DOMAINS, policy) as run:
        assert list(Steps(run)) == []


@pytest.mark.parametrize("coefficient", [0.0, 0.1])
def test_what_a_stage_of_rl_adds_to_the_workers_goes_when_it_has_ended(tmp_path, coefficient):
    from cascade_rl.model.export import export

    policy, start = Policy(scale=0.1), tmp_path / "start"
    export(start, policy.raw, policy.config, policy.model.flat, policy.tokenizer)
    stage = RLStage(
        name="rl", kind="rl", steps=2, lr=1e-3, data=[{"domain": "toy"}], prompts_per_step=4, rollouts_per_prompt=4,
        max_response_tokens=8, kl_coefficient=coefficient,
    )  # fmt: skip
    problems = tuple(p for p, _ in zip(DOMAINS["toy"].problems("builtin", "rl", 0), range(8), strict=False))
    held = []
    rest = {"start": start, "stop_asked": lambda: held.append(sorted(policy.replicas.local.models)) or False}
    with stage_run(tmp_path / "run", stage, DOMAINS, policy, **rest) as run:
        rl.train(run, Pools((problems,)))
    assert held == [["policy", *["reference"] * bool(coefficient)]] * 2
    assert sorted(policy.replicas.local.models) == ["policy"]


@pytest.mark.parametrize("manifest", [b"{", b"\xff\xfe{"])
def test_a_state_whose_manifest_is_damaged_is_passed_over_for_the_one_before(tmp_path, manifest):
    for step in (1, 2):
        save_state(tmp_path, step, torch.zeros(3), lambda folder: None, {"step": step})
    whole, torn = tmp_path / "step-000001", tmp_path / "step-000002"
    (torn / "manifest.json").write_bytes(manifest)
    assert latest_state(tmp_path) == (whole, [torn])
