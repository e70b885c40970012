"""How far a run is: read from its files, as a record and as the table of `cascade status`."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml
from fake_run import write_json, write_lines
from rich.console import Console

from cascade_rl.data.abilities import load_recipe
from cascade_rl.errors import InputError
from cascade_rl.report.status import StageStatus, run_status
from cascade_rl.report.terminal import status_table
from cascade_rl.scores.as_json import gate_to_json, scorecard_to_json
from cascade_rl.scores.gate import decide
from cascade_rl.scores.statistics import published_score
from cascade_rl.types import BenchmarkScore, Mode, ModeScore, Scorecard


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The first stage done, the second evaluated but not yet in the ledger, the third at step 2 of many."""
    recipe = load_recipe("tiny", [])
    text = yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False)
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    names, cards = [stage.name for stage in recipe.stages], []
    for i, mean in enumerate((0.5, 0.25)):
        average = published_score(mean, 1000)
        modes = {Mode.THINKING: ModeScore(average, average, 0.0, 0.0, 1.0, {})}
        cards.append(Scorecard(names[i], {"maths": BenchmarkScore(Mode.THINKING, modes)}))
        gate = recipe.gate.model_copy(update={"dips": []})
        here = tmp_path / "stages" / f"{i + 1:02d}-{names[i]}"
        write_json(here / "scorecard.json", scorecard_to_json(cards[-1]))
        write_json(here / "gate.json", gate_to_json(decide(cards, names, gate)))
        write_json(here / "stage.json", {"stage": names[i]})
    write_json(tmp_path / "ledger.json", {"stages": [{"stage": names[0], "key": "k"}]})
    here = tmp_path / "stages" / f"03-{names[2]}"
    write_json(here / "stage.json", {"stage": names[2]})
    write_lines(here / "journal.jsonl", [{"kind": "step", "step": i, "metrics": {}} for i in (0, 1)])
    return tmp_path


def test_status_is_what_the_files_say(run: Path) -> None:
    recipe = load_recipe("tiny", [])
    found = run_status(run)
    assert found.benchmarks == tuple(b.name for b in recipe.benchmarks)
    assert [row.stage for row in found.stages] == [stage.name for stage in recipe.stages]
    assert [row.planned for row in found.stages] == [stage.planned_steps for stage in recipe.stages]
    assert [row.state for row in found.stages] == ["done", "started", "started"] + ["to do"] * (
        len(recipe.stages) - 3
    )
    assert [row.steps for row in found.stages[:4]] == [0, 0, 2, 0]
    maths = found.benchmarks.index("maths")
    assert [row.scores[maths] for row in found.stages[:3]] == [0.5, 0.25, None]
    assert found.stages[0].gate == "passed" and found.stages[1].gate.startswith("maths fell by 25.0 points")
    last = recipe.stages[-1]
    nothing = (None,) * len(recipe.benchmarks)
    assert found.stages[-1] == StageStatus(last.name, "to do", 0, last.planned_steps, nothing, "")


def test_the_table_has_a_row_a_stage(run: Path) -> None:
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(status_table(run_status(run)))
    head, *rows = console.export_text().splitlines()
    assert head.split()[:3] == ["stage", "state", "steps"] and len(rows) == len(run_status(run).stages)
    planned = load_recipe("tiny", []).stages
    assert rows[0].split() == [planned[0].name, "done", f"0/{planned[0].planned_steps}", "50.0", "passed"]
    assert rows[2].split() == [planned[2].name, "started", f"2/{planned[2].planned_steps}"]


def test_a_folder_without_a_recipe_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no run directory: it has no recipe\.yaml"):
        run_status(tmp_path)


@pytest.mark.parametrize(
    "file", ["ledger.json", "stages/01-sft-1/gate.json", "stages/01-sft-1/scorecard.json"]
)
def test_a_damaged_file_that_the_status_is_made_of_is_named(run: Path, file: str) -> None:
    assert (run / file).exists()
    (run / file).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=rf"{file} is no file of a run: Expecting property name"):
        run_status(run)


@pytest.mark.parametrize(("content", "why"), [("a: [1", "while parsing"), ("2020-13-45", "month must be in")])
def test_a_recipe_that_is_no_yaml_is_named(run: Path, content: str, why: str) -> None:
    (run / "recipe.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=rf"recipe.yaml is no file of a run: {why}"):
        run_status(run)


def test_a_damaged_sample_costs_the_status_nothing(run: Path) -> None:
    (run / "stages/01-sft-1/samples.jsonl").write_text("{\n", encoding="utf-8")
    assert run_status(run).stages[0].state == "done"
