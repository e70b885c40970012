"""How far a run is: read from its files, as a record and as the table of `cascade status`."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fake_run import write_json, write_lines
from rich.console import Console

from cascade_rl.data.abilities import load_recipe
from cascade_rl.errors import InputError
from cascade_rl.report import write_report
from cascade_rl.report.card_tables import matrix_markdown
from cascade_rl.report.read import read_run
from cascade_rl.report.records import DONE, HELD, RUNNING
from cascade_rl.report.status import RunStatus, StageStatus, run_status
from cascade_rl.report.terminal import StatusTable
from cascade_rl.scores.as_json import gate_to_json, scorecard_to_json
from cascade_rl.scores.gate import decide
from cascade_rl.scores.statistics import published_score
from cascade_rl.types import BenchmarkScore, Mode, ModeScore, Scorecard

GOLDEN = Path(__file__).parent / "golden"


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
    console.print(StatusTable(run_status(run)))
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


def test_a_recipe_that_is_none_is_told_in_one_line(run: Path) -> None:
    (run / "recipe.yaml").write_text("stages: [{steps: 3}]", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"recipe.yaml is no recipe of a run: \S+: .* \(and \d more\)"
    ) as told:
        run_status(run)
    assert "\n" not in str(told.value)


def test_a_damaged_sample_costs_the_status_nothing(run: Path) -> None:
    (run / "stages/01-sft-1/samples.jsonl").write_text("{\n", encoding="utf-8")
    assert run_status(run).stages[0].state == "done"


LONG = "following fell by 15.0 points since sft-1 (not excused); maths fell by 8.0 points since reward-model (not excused)"
SIX = RunStatus(
    ("alignment", "following", "maths", "coding", "humaneval", "swe"),
    (
        StageStatus("reward-model", "done", 160, 160, (0.512, 0.4, 0.305, 0.1, 0.055, 0.0), "passed"),
        StageStatus("rlhf", "held", 60, 60, (1.0, 0.25, 0.305, 0.1, 0.055, 0.0), LONG),
        StageStatus("math-rl", "started", 12, 1000, (None,) * 6, ""),
    ),
)
AT_60 = """
stage        state   steps   gate
reward-model done    160/160 passed
rlhf         held    60/60   failed
math-rl      started 12/1000

stage        alignment following maths coding humaneval swe
reward-model 51.2      40.0      30.5  10.0   5.5       0.0
rlhf         100.0     25.0      30.5  10.0   5.5       0.0
math-rl
gate after rlhf: following fell by 15.0 points since sft-1
(not excused); maths fell by 8.0 points since reward-model
(not excused)
"""
AT_80 = """
                             alignm follow              humane
stage        state   steps   ent    ing    maths coding val    swe gate
reward-model done    160/160 51.2   40.0   30.5  10.0   5.5    0.0 passed
rlhf         held    60/60   100.0  25.0   30.5  10.0   5.5    0.0 failed
math-rl      started 12/1000
gate after rlhf: following fell by 15.0 points since sft-1 (not excused); maths
fell by 8.0 points since reward-model (not excused)
"""
AT_120 = """
stage        state   steps   alignment following maths coding humaneval swe gate
reward-model done    160/160 51.2      40.0      30.5  10.0   5.5       0.0 passed
rlhf         held    60/60   100.0     25.0      30.5  10.0   5.5       0.0 failed
math-rl      started 12/1000
gate after rlhf: following fell by 15.0 points since sft-1 (not excused); maths fell by 8.0 points since reward-model
(not excused)
"""


@pytest.mark.parametrize(("width", "shown"), [(60, AT_60), (80, AT_80), (120, AT_120)])
def test_it_is_readable_at_any_width(width: int, shown: str) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(StatusTable(SIX))
    text = console.export_text()
    assert [line.rstrip() for line in text.splitlines()] == shown.strip("\n").splitlines()
    assert "…" not in text, "nothing is cut"


def test_what_a_tracker_has_not_had_is_told(run: Path) -> None:
    write_json(run / "track" / "wandb.json", {"id": "1", "attempt": 1, "stages": {}, "fault": "no route"})
    write_json(run / "track" / "trackio.json", {"id": "1", "attempt": 1, "stages": {}})
    (run / "track" / "tensorboard.json").write_text("{", encoding="utf-8")  # costs the status nothing
    for width in (60, 300):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(StatusTable(run_status(run)))
        assert console.export_text().endswith("wandb: no route; `cascade track` sends the rest\n")


MANY = (
    *SIX.benchmarks,
    "knowledge",
    "ifeval",
    "ifbench",
    "mmlu-pro",
    "gpqa-diamond",
    "own-questions-of-the-lab",
)
CROWD = RunStatus(
    MANY,
    (
        StageStatus("sft-on-our-own-support-chats", "done", 16000, 16000, (0.512,) * 12, "passed"),
        StageStatus("reward-model", "done", 160, 160, tuple(n / 12 for n in range(12)), "passed"),
        StageStatus("rlhf", "held", 60, 60, (1.0,) * 12, LONG),
        StageStatus("math-rl", "started", 12, 1000, (None,) * 12, ""),
    ),
)
NOTHING = RunStatus((), tuple(replace(row, scores=()) for row in CROWD.stages))


@pytest.mark.parametrize("width", [40, 60, 80, 120, 160])
@pytest.mark.parametrize(("name", "found"), [("crowd", CROWD), ("nothing", NOTHING)])
def test_many_benchmarks_none_and_long_names(width: int, name: str, found: RunStatus) -> None:
    """Beside the texts on file: no score and no name is cut, and nothing is wider than the terminal."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(StatusTable(found))
    text = "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"
    assert text == (GOLDEN / f"status-{name}-{width}.txt").read_text(encoding="utf-8")
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    shown = [f"{share * 100:.1f}" for row in found.stages for share in row.scores if share is not None]
    assert Counter(re.findall(r"\d+\.\d(?! points)", text)) >= Counter(shown)


def test_a_run_that_its_gate_stopped_says_so(run: Path) -> None:
    """The ledger has the stage by then; under `warn` the same fall is no halt."""
    names = [stage.name for stage in load_recipe("tiny").stages]
    rows = [{"stage": name, "key": "k"} for name in names[:2]]
    write_json(run / "ledger.json", {"stages": rows})
    assert [row.state for row in run_status(run).stages[:2]] == ["done", "done"]
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("policy: warn", "policy: stop"))
    found = run_status(run)
    assert [row.state for row in found.stages[:3]] == ["done", "held", "started"]
    assert [stage.status for stage in read_run(run).stages[:3]] == [DONE, HELD, RUNNING]
    assert "held by its gate" in write_report(run).read_text()


def test_a_card_of_a_mode_that_was_not_measured_before_has_no_arrow() -> None:
    average = published_score(0.5, 1000)
    score = ModeScore(average, average, 0.0, 0.0, 1.0, {})
    cards = [Scorecard(str(mode), {"maths": BenchmarkScore(mode, {mode: score})}) for mode in Mode]
    assert "| maths | 50.0 | 50.0 |" in matrix_markdown(cards, {})
