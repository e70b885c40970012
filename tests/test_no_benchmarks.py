"""A recipe without benchmarks trains, and everything that shows a run says plainly that nothing was measured."""

from __future__ import annotations

import json

import pytest
import yaml
from small_run import changed

from cascade_rl.cli import app
from cascade_rl.data.abilities import check_recipe
from cascade_rl.errors import RecipeError
from cascade_rl.report.read import read_run
from cascade_rl.report.status import run_status
from cascade_rl.rollout.open import longest


def bare(**more) -> dict:
    recipe = changed()
    del recipe["benchmarks"]
    return recipe | more


@pytest.mark.parametrize("recipe", [bare(), bare(benchmarks=[])])
def test_the_whole_way(cascade, tmp_path, monkeypatch, recipe):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    status, out, _ = cascade("check", "r.yaml")
    assert status == 0 and "no benchmarks: nothing is measured after the stages" in out
    status, out, err = cascade("run", "r.yaml", "--out", "run")
    assert status == 0, err
    assert out.count("nothing measured") == 3  # after each stage
    assert "The recipe has no benchmarks: nothing was measured." in out and "benchmark matrix" not in out
    run = tmp_path / "run"
    matrix = json.loads((run / "matrix.json").read_text())
    assert matrix["stages"] == ["sft", "reward", "rlhf"] and matrix["benchmarks"] == {}

    for width in (60, 80, 120):
        monkeypatch.setattr(app.console, "width", width)
        status, out, _ = cascade("status", "run")
        assert status == 0 and out.count("not measured") == 3 and "failed" not in out
    assert [row.gate for row in run_status(run).stages] == ["not measured"] * 3

    status, out, _ = cascade("report", "run")
    page = (run / "report.html").read_text()
    assert status == 0 and page.count("The recipe has no benchmarks: nothing was measured") == 2
    assert "No stage has been scored yet" not in page and not read_run(run).unread

    card = (run / "stages/03-rlhf/checkpoint/README.md").read_text()
    assert "The recipe has no benchmarks: nothing was measured." in card
    assert "nothing was measured after this stage" in card and "## Retention" not in card
    # 512 positions, and a prompt before the reply
    assert "max_new_tokens=256)" in card

    # the same command finds all of it done
    status, out, _ = cascade("run", "r.yaml", "--out", "run")
    assert status == 0 and out.count("is done: kept") == 3

    status, _, err = cascade("eval", "run/stages/03-rlhf/checkpoint", "--recipe", "r.yaml")
    assert status == 1 and "small has no benchmarks: there is nothing to score" in err


@pytest.mark.parametrize("policy", ["best", "stop"])
def test_a_gate_that_could_never_close_is_refused(policy):
    with pytest.raises(RecipeError) as told:
        check_recipe(bare(gate={"policy": policy}))
    assert [path for path, _ in told.value.problems] == ["gate.policy"]
    assert f"{policy} goes by benchmarks" in str(told.value)


def test_a_dip_of_nothing_is_refused():
    dips = [{"benchmark": "maths", "at": "reward", "until": "rlhf"}]
    with pytest.raises(RecipeError, match="no benchmark 'maths'; there are none"):
        check_recipe(bare(gate={"dips": dips}))


def test_memory_for_replies_is_that_of_the_stages():
    recipe = bare()
    assert longest(check_recipe(recipe)) == 400 + 4
    recipe["stages"] = recipe["stages"][:1]
    assert longest(check_recipe(recipe)) == 0
