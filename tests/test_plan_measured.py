"""What a run directory says of speed: rates that are put in come out, and only from what says all of it."""

from __future__ import annotations

import pytest
from fake_run import build_run, write_lines
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.errors import InputError
from cascade_rl.plan.measured import Rate, Taken, rate, read_measured, taken

PEAKS = {"flops": 1e12, "head_flops": 1e12, "bytes": 1e10, "workers": 2, "cache": 0}


def row(step: int, seconds: float, bound: float | None, passes: int) -> dict:
    part = {"tokens": 5, "passes": passes} | ({} if bound is None else {"bound_s": bound})
    return {"step": step, "seconds": {"rollout": seconds}, "work": {"prefill": part, "decode": part}}


@given(st.floats(0.05, 0.95), st.floats(1e-4, 1e-2), st.integers(0, 5))
def test_rates_that_are_put_in_come_out(fraction, fixed, seed):
    true = Rate(fraction, fixed)
    steps = [Taken(true.seconds(b, p), b, p) for b, p in ((1 + seed, 40), (2, 300), (0.3, 90), (4, 10))]
    found = rate(steps)
    assert found.fraction == pytest.approx(fraction, rel=1e-5)
    assert found.fixed == pytest.approx(fixed, rel=1e-3)


def test_steps_that_are_alike_give_the_fraction_alone():
    assert rate([Taken(2.0, 0.5, 10)] * 4) == Rate(0.25)
    # faster with more passes: noise, not a cost below nothing
    assert rate([Taken(1.0, 0.5, 100), Taken(2.0, 0.5, 10)]).fixed == 0.0
    assert rate([]) is None


def test_the_first_step_and_what_says_half_are_left_out():
    rows = [
        {"step": 0, "seconds": {}, "peaks": PEAKS},
        row(0, 99.0, 0.1, 8),
        row(1, 3.0, 0.25, 8),
        row(2, 4.0, None, 8),
        {"step": 2, "seconds": {"save": 1.0}},
    ]
    # two parts of a quarter second each, whose 16 passes two workers share
    assert taken(rows, "rollout") == [Taken(3.0, 0.5, 8.0)]
    assert taken(rows, "update") == []


def test_a_run_says_its_rates_its_verdicts_and_its_lengths(tmp_path):
    build_run(tmp_path)
    run = read_measured(tmp_path)
    assert run.rates()["update"].fraction > 0
    assert run.peaks["workers"] == 2
    assert (run.named, run.device) == ("", "")
    assert run.lengths("nowhere", 40) is None


def test_a_stage_with_two_limits_is_measured_by_limit(tmp_path):
    build_run(tmp_path)
    folder = next((tmp_path / "stages").glob("*-math-rl"))
    places = {"length_p50": 10.0, "length_p95": 20.0, "length_max": 30.0}
    lines = [
        {
            "kind": "step",
            "step": i,
            "phase": f"{limit} tokens, overlong mask",
            "metrics": places | {"length": mean},
        }
        for i, (limit, mean) in enumerate([(64, 11.0), (64, 13.0), (112, 15.0)])
    ]
    write_lines(folder / "journal.jsonl", lines)
    run = read_measured(tmp_path)
    assert (run.lengths("math-rl", 64).mean, run.lengths("math-rl", 112).mean) == (12.0, 15.0)
    # 6 is no beginning of 64
    assert run.lengths("math-rl", 6) is None
    assert run.lengths("math-rl", 64).said == "measured: tiny, math-rl, 2 steps"


def test_what_was_never_trained_says_nothing(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x")
    with pytest.raises(InputError, match="has trained no stage yet"):
        read_measured(tmp_path)
