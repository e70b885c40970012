"""The reward model that RL asks is the one that its stage exported: held by the ledger, part of the key."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from small_run import RECIPE, go

from cascade_rl.data.abilities import check_recipe
from cascade_rl.errors import Interrupted, StageError
from cascade_rl.run.ledger import Ledger, stage_key


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    go(run)
    return run


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """All done but RLHF, which was stopped before its last step."""
    run = tmp_path_factory.mktemp("begun") / "run"
    with pytest.raises(Interrupted):
        go(run, stop_asked=(run / "stages/03-rlhf/state").is_dir)
    return run


@pytest.fixture
def run(begun, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(begun, tmp_path / "run"))


def weights(run: Path) -> Path:
    return run / "stages/02-reward/reward_model/model.safetensors"


def turned(path: Path) -> None:
    """A head of the same shape that says the opposite."""
    state = load_file(path)
    state["score.weight"] = -state["score.weight"]
    save_file(state, path, metadata={"format": "pt"})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_the_ledger_holds_what_was_exported(whole):
    rows = json.loads((whole / "ledger.json").read_text())["stages"]
    assert [list(row.get("exports", {})) for row in rows] == [[], ["reward_model"], []]
    told = json.loads((whole / "stages/03-rlhf/stage.json").read_text())["lineage"]
    assert told["reward_model"] == rows[1]["exports"]["reward_model"]


@pytest.mark.parametrize("damage", [turned, cut, Path.unlink])
def test_another_reward_model_is_refused(run, damage):
    damage(weights(run))
    with pytest.raises(StageError, match=r"02-reward/reward_model .*; restore it, or move .*02-reward away"):
        go(run)


def test_rlhf_does_not_go_on_with_a_reward_model_that_was_trained_anew(run, monkeypatch):
    shutil.rmtree(run / "stages/02-reward")
    monkeypatch.setattr("cascade_rl.train.reward_body.HEAD_SCALE", 0.5)  # so that it comes out otherwise
    with pytest.raises(StageError, match="03-rlhf was started with other"):
        go(run)
    # trained, and in the ledger with its own checksum
    assert len(Ledger(run).entries) == 2 and weights(run).exists()


def test_a_stage_whose_folder_is_gone_is_trained_anew_and_the_rest_goes_on(run, whole):
    """Training is exact: the same reward model comes out, so RLHF resumes."""
    shutil.rmtree(run / "stages/02-reward")
    notes = go(run)
    assert any("02-reward is gone" in note for note in notes)
    assert "resuming rlhf at step 1 of 2" in notes
    assert weights(run).read_bytes() == weights(whole).read_bytes()
    assert Ledger(run).entries[2].checkpoint == Ledger(whole).entries[2].checkpoint


def test_a_ledger_of_an_older_version_goes_on_under_the_old_key(run):
    """It has no checksum of the reward model, and RLHF was begun under a key without it."""
    rows = json.loads((run / "ledger.json").read_text())
    del rows["stages"][1]["exports"]
    (run / "ledger.json").write_text(json.dumps(rows))
    stage = run / "stages/03-rlhf/stage.json"
    record = json.loads(stage.read_text())
    line = record["lineage"]
    recipe = check_recipe(RECIPE)
    settings = {k: line[k] for k in ("workers", "device", "precision", "sampler", "template")}
    settings["model"] = recipe.model.model_dump(mode="json")
    parts = (recipe, 2, settings, line["data"], line["incoming_weights"])
    assert record["key"] == stage_key(*parts, line["reward_model"]) != stage_key(*parts)
    record["key"] = stage_key(*parts)
    stage.write_text(json.dumps(record))
    assert "rlhf is done: kept" not in go(run)
    assert len(Ledger(run).entries) == 3
