"""A plan after a run: what the run says goes before what is assumed, and what a user says before both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_run import build_run, write_lines

from cascade_rl.errors import InputError
from cascade_rl.model.peaks import machine_name
from cascade_rl.plan.expected import ASSUMED, stated_lengths
from cascade_rl.plan.hardware import HARDWARE
from cascade_rl.plan.like import Like
from cascade_rl.plan.measured import read_measured
from cascade_rl.plan.shapes import recipe_shape
from cascade_rl.plan.stage_plan import setting_of
from cascade_rl.plan.step_time import UPDATE
from cascade_rl.plan.total import make_plan
from cascade_rl.recipe.reading import read_recipe

PLACES = {"length_p50": 10.0, "length_p95": 20.0, "length_max": 30.0}
CPU = replace(HARDWARE["h100"], name="here", device="cpu", cores=2, flops=4e11, head=1e11, bytes=2e10, node=1)


@pytest.fixture(scope="module")
def recipe():
    return read_recipe("tiny", [])


@pytest.fixture
def made(tmp_path):
    """A run whose math-rl had replies of 12 tokens at its first limit and of 15 at its second."""
    build_run(tmp_path)
    folder = next((tmp_path / "stages").glob("*-math-rl"))
    steps = [(64, 11.0), (64, 13.0), (112, 15.0)]
    lines = [
        {
            "kind": "step",
            "step": i,
            "phase": f"{limit} tokens, overlong mask",
            "metrics": PLACES | {"length": mean},
        }
        for i, (limit, mean) in enumerate(steps)
    ]
    write_lines(folder / "journal.jsonl", lines)
    return tmp_path


def renamed(folder, device: str, name: str):
    """The same run as if a machine of this name had written its timings."""
    run = read_measured(folder)
    first = {"step": 0, "seconds": {}, "machine": {"device": device, "name": name}}
    return replace(run, timings={stage: [first, *rows] for stage, rows in run.timings.items()})


def test_lengths_are_those_of_the_run_at_each_limit(made, recipe):
    known, stage = Like(read_measured(made), recipe), recipe.stage("math-rl")
    assert known.replies(stage, 64, 0, 22).mean == 12.0
    assert known.replies(stage, 112, 22, 45).mean == 15.0
    # a limit that no step had: all steps of the stage
    assert known.replies(stage, 80, 0, 45).mean == 13.0
    plan = make_plan(recipe, setting_of(recipe, CPU, None), None, known)
    first = next(each.phase for each in plan.phases if each.phase.name == "math-rl 0-22")
    assert first.sampled_tokens / len(first.sampled) == pytest.approx(12, abs=0.5)


def test_groups_with_a_gradient_are_as_many_as_in_the_run(made, recipe):
    run = read_measured(made)
    assert run.signal("math-rl") is None
    assert Like(run, recipe).signal(recipe.stage("math-rl")) == ASSUMED.signal(recipe.stage("math-rl"))
    folder = next((made / "stages").glob("*-math-rl"))
    lines = [
        {"kind": "step", "step": step, "phase": "", "metrics": {"signal": share}}
        for step, share in enumerate((0.125, 0.25, 0.75))
    ]
    write_lines(folder / "journal.jsonl", lines)
    known = Like(read_measured(made), recipe)
    assert known.signal(recipe.stage("math-rl")) == (0.375, "measured: tiny, math-rl: 38%")


def test_what_a_user_says_goes_before_the_run(made, recipe):
    said = stated_lengths(recipe, ["math-rl:mean=40"])
    known = Like(read_measured(made), recipe, said)
    assert known.replies(recipe.stage("math-rl"), 64, 0, 22).mean == pytest.approx(40)
    with pytest.raises(InputError, match="the RL stages are rlhf, if-rl"):
        stated_lengths(recipe, ["sft-1:mean=40"])


def test_samples_make_the_tokens_of_the_run_s_updates(made, recipe):
    run = read_measured(made)
    spread = Like(run, recipe).samples("sft-1", 256)
    size = recipe.stage("sft-1").batch_size
    assert spread.mean * size == pytest.approx(min(run.trained("sft-1"), 0.98 * 256 * size), rel=1e-6)


def test_speed_is_the_run_s_on_such_a_machine_alone(made, recipe):
    shape, run = recipe_shape(recipe), renamed(made, "cpu", "A Processor")
    found = Like(run, recipe).efficiency("local", CPU, shape)
    rates = run.rates()
    assert (found.update, found.each_update) == (rates["update"].fraction, rates["update"].fixed)
    assert (found.rollout, found.each_pass) == (rates["rollout"].fraction, rates["rollout"].fixed)
    assert "A Processor, 2 workers" in found.source
    usual = ASSUMED.efficiency("local", HARDWARE["h100"], shape)
    assert Like(run, recipe).efficiency("local", HARDWARE["h100"], shape) == usual
    assert Like(run, recipe).efficiency("verl", CPU, shape) == ASSUMED.efficiency("verl", CPU, shape)


def test_rates_are_the_run_s_on_the_machine_of_that_name_alone(made, recipe):
    here = machine_name(torch.device("cpu"))
    same = Like(renamed(made, "cpu", here), recipe).machine(CPU)
    # 400 GFLOP/s of two workers (tests/fake_run.py), of as many cores
    assert (same.flops, same.head, same.bytes) == (400e9, 100e9, 20e9) if here else same == CPU
    assert Like(renamed(made, "cpu", here), recipe).machine(replace(CPU, cores=8)).flops == (
        1600e9 if here else 4e11
    )
    assert Like(renamed(made, "cpu", "Another"), recipe).machine(CPU) == CPU


def test_seconds_beside_the_limit_are_those_of_the_run(made, recipe):
    setting = setting_of(recipe, CPU, None)
    run = read_measured(made)
    known = Like(run, recipe)

    class Slower(Like):
        def efficiency(self, engine, hardware, shape):
            return replace(super().efficiency(engine, hardware, shape), each_update=1.0)

    before, after = (make_plan(recipe, setting, None, each) for each in (known, Slower(run, recipe)))
    gap = run.rates()["update"].fixed
    for one, other in zip(before.phases, after.phases, strict=True):
        if UPDATE in one.time.seconds:
            assert other.time.seconds[UPDATE] - one.time.seconds[UPDATE] == pytest.approx(1.0 - gap)
