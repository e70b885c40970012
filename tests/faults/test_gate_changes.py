"""A gate that changes between two commands: what is done stays, and the records tell the truth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_run import changed, go

from cascade_rl.errors import GateClosed
from cascade_rl.report.status import run_status
from cascade_rl.run.ledger import Ledger

RECIPE = changed()
RECIPE["benchmarks"][0]["problems"] = 12  # enough for a fall to be one


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    go(run, RECIPE)
    return run


@pytest.fixture
def run(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_policy_best_chooses_no_step_of_what_is_done(run):
    before = Ledger(run).entries
    best = {"policy": "best", "probe_every": 1, "probe_problems": 2}
    notes = go(run, RECIPE | {"gate": best}, accept_changes=True)
    told = [
        note.partition(" was trained")[0] for note in notes if "without probes: policy best leaves" in note
    ]
    assert told == ["sft", "rlhf"], "a reward model is never probed"
    assert Ledger(run).entries == before


def test_a_run_that_was_stopped_is_held_until_a_waiver(run):
    path = run / "stages/01-sft/eval/alignment.json"
    found = json.loads(path.read_text())
    for mode in found["modes"].values():
        mode["avg"] |= {"mean": 1.0, "low": 0.9, "high": 1.0}
        mode["per_problem"] = dict.fromkeys(mode["per_problem"], 1.0)
    path.write_text(json.dumps(found))
    stop = RECIPE | {"gate": {"policy": "stop", "band": 0.0}}
    with pytest.raises(GateClosed, match="the gate is closed after"):
        go(run, stop, accept_changes=True)
    states = [row.state for row in run_status(run).stages]
    held = states.index("held")
    assert "held" not in states[:held] and states[:held] == ["done"] * held
    waived = [
        {"benchmark": "alignment", "stage": s, "reason": "made up by a test"} for s in ("reward", "rlhf")
    ]
    go(run, stop | {"gate": stop["gate"] | {"waivers": waived}}, accept_changes=True)
    assert [row.state for row in run_status(run).stages] == ["done"] * 3
