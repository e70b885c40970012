"""Data that were mended while a stage was under way: refused with the way out, then begun anew with leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_run import changed, go

from cascade_rl.errors import Interrupted, StageError, StartedOtherwise
from cascade_rl.run.ledger import Ledger


def rows(path: Path, first: str) -> None:
    """Sixty sums, the first with a text of its own."""
    lines = [{"prompt": f"What is {n} + 1?", "answer": str(n + 1), "split": "rl"} for n in range(60)]
    lines[0]["prompt"] = first
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def recipe(tmp_path):
    rows(tmp_path / "sums.jsonl", "What is 0 plus 1?")
    recipe = changed()
    recipe["stages"] = [recipe["stages"][0], recipe["stages"][2] | {"name": "sums"}]
    recipe["stages"][1]["data"] = [{"domain": "maths", "source": f"file:{tmp_path / 'sums.jsonl'}"}]
    return recipe


def begun(run: Path, recipe: dict) -> None:
    """Stopped in the middle of the second stage."""
    states = run / "stages/02-sums/state"
    with pytest.raises(Interrupted):
        go(run, recipe, stop_asked=states.is_dir)


def test_an_unfinished_stage_is_set_aside_and_begun_anew(recipe, tmp_path):
    run = tmp_path / "run"
    begun(run, recipe)
    journal = (run / "stages/02-sums/journal.jsonl").read_bytes()
    rows(tmp_path / "sums.jsonl", "What is 0 + 1?")
    for _ in range(2):  # a refusal changes nothing
        with pytest.raises(
            StartedOtherwise, match=r"02-sums was started with other data; --accept-changes sets"
        ):
            go(run, recipe)
    notes = go(run, recipe, accept_changes=True)
    assert "sft is done: kept" in notes
    assert any("set aside as" in note and "02-sums.old-1" in note for note in notes)
    assert any(note.startswith("sums is begun anew:") for note in notes)
    assert (run / "stages/02-sums.old-1/journal.jsonl").read_bytes() == journal
    assert [entry.checkpoint.stage for entry in Ledger(run).entries] == ["sft", "sums"]
    # the same as a run that knew only these data
    go(tmp_path / "other", recipe)
    for name in ("journal.jsonl", "rollouts.jsonl", "checkpoint/model.safetensors"):
        one, other = (folder / "stages/02-sums" / name for folder in (run, tmp_path / "other"))
        assert one.read_bytes() == other.read_bytes(), name
    assert "sums is done: kept" in go(run, recipe), "and once is enough"


def test_stages_after_it_go_with_it(recipe, tmp_path):
    """The first stage is found to have begun otherwise when all is done: the base model stays as it is."""
    run = tmp_path / "run"
    go(run, recipe)
    base = (run / "base/model.safetensors").stat().st_ino
    path = run / "stages/01-sft/preflight.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"made": "another"}))
    with pytest.raises(StartedOtherwise, match="01-sft was started with other data"):
        go(run, recipe)
    notes = go(run, recipe, accept_changes=True)
    assert sum("set aside as" in note for note in notes) == 2
    assert (run / "base/model.safetensors").stat().st_ino == base
    assert len(Ledger(run).entries) == 2


def test_another_machine_is_refused_whatever_is_accepted(recipe, tmp_path):
    run = tmp_path / "run"
    begun(run, recipe)
    path = run / "stages/02-sums/stage.json"
    record = json.loads(path.read_text())
    record["key"], record["lineage"]["precision"] = "0" * 16, "bf16"
    path.write_text(json.dumps(record))
    with pytest.raises(StageError, match=r"other settings \(precision\); --accept-changes does not cover"):
        go(run, recipe, accept_changes=True)
    assert not list(run.glob("stages/*.old-*"))
