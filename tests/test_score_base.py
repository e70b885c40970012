"""The model that a run begins with as a row of the matrix: scored like a stage, compared with, never trained."""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from fake_run import Page
from plans import plan_of, recipe_of
from rich.console import Console
from score_cards import measured
from small_run import RECIPE, go

from cascade_rl.cascade import scoring
from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.cascade.evaluate import evaluate_checkpoint
from cascade_rl.data.abilities import check_recipe
from cascade_rl.errors import RecipeError
from cascade_rl.plan.left import left_of, steps_done
from cascade_rl.recipe import Dip, Gate
from cascade_rl.recipe.explain import explain
from cascade_rl.report import write_report
from cascade_rl.report.compare_things import read_things
from cascade_rl.report.status import run_status
from cascade_rl.report.terminal import StatusTable, matrix_table
from cascade_rl.scores.as_json import from_json, matrix_from_json, mode_to_json
from cascade_rl.scores.gate import decide
from cascade_rl.scores.statistics import Direction
from cascade_rl.testing import QuietScreen
from cascade_rl.types import Scorecard

KILLED = Path(__file__).parent / "faults" / "killed_run.py"
STAGES = ("sft", "reward", "rlhf")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model directory: what a run from scratch began with."""
    recipe = copy.deepcopy(RECIPE)
    recipe["stages"], recipe["benchmarks"] = recipe["stages"][:1], []
    folder = tmp_path_factory.mktemp("made")
    go(folder, recipe)
    return folder / "base"


def recipe_on(model: Path, **more: Any) -> dict[str, Any]:
    """The small recipe on that model, with two benchmarks of which one is asked in both modes."""
    found = copy.deepcopy(RECIPE)
    found["model"] = {"init": str(model)}
    maths = {"name": "maths", "domain": "maths", "problems": 3, "k": 2, "max_prompt_tokens": 400}
    found["benchmarks"] = [*found["benchmarks"], {**maths, "max_response_tokens": 5}]
    return found | more


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose recipe scores the base."""
    folder = tmp_path_factory.mktemp("run") / "run"
    go(folder, recipe_on(model, score_base=True))
    return folder


@pytest.fixture(scope="module")
def without(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run without the key."""
    folder = tmp_path_factory.mktemp("without") / "run"
    go(folder, recipe_on(model))
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def scored_files(run: Path) -> dict[str, bytes]:
    """All that evaluations left, and the weights: everything but times."""
    names = (
        "base/eval/*",
        "base/scorecard.json",
        "stages/*/eval/*",
        "stages/*/scorecard.json",
        "stages/*/gate.json",
    )
    paths = [path for name in names for path in run.glob(name)]
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


def weights(run: Path) -> list[str]:
    return [(row["weights"], row["key"]) for row in read(run / "ledger.json")["stages"]]


def test_a_recipe_without_the_key_is_the_one_that_it_was() -> None:
    # written down before the key was there
    assert check_recipe(RECIPE).hash == "76cd1db8d5759024"
    assert check_recipe({**RECIPE, "score_base": False}).hash == "76cd1db8d5759024"
    assert "score_base" not in check_recipe(RECIPE).model_dump()


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"model": RECIPE["model"]}, "score_base", "model from scratch has learnt nothing"),
        ({"benchmarks": []}, "score_base", "no benchmarks"),
        ({"stages": [{**RECIPE["stages"][0], "name": "base"}]}, "stages.base", "name the stage otherwise"),
        ({"gate": {"dips": [{"benchmark": "maths", "at": "base", "until": "rlhf"}]}}, "gate.dips.0", "nothing before"),
        ({"gate": {"waivers": [{"benchmark": "maths", "stage": "base", "reason": "we know of it"}]}},
         "gate.waivers.0", "nothing before it"),
        ({"gate": {"dips": [{"benchmark": "maths", "at": "sft", "until": "rlhf"}]}, "score_base": False},
         "gate.dips.0", "set score_base: true"),
    ],
)  # fmt: skip
def test_what_can_not_be_asked_is_refused(model: Path, change: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(RecipeError) as error:
        check_recipe(recipe_on(model, score_base=True) | change)
    assert f"{path}: " in str(error.value) and words in " ".join(str(error.value).split())


def test_a_stage_may_be_called_base_where_nobody_asks(model: Path) -> None:
    check_recipe(recipe_on(model) | {"stages": [{**RECIPE["stages"][0], "name": "base"}]})


def test_its_row_is_what_an_evaluation_of_the_same_directory_says(model: Path, run: Path) -> None:
    recipe = check_recipe(recipe_on(model, score_base=True))
    found = {one.name: one.score for one in evaluate_checkpoint(model, recipe)}
    assert set(found) == {"alignment", "maths"}
    matrix = read(run / "matrix.json")
    assert matrix["stages"] == ["base", *STAGES] and list(matrix["seconds"]) == ["base", *STAGES]
    for name, score in found.items():
        assert from_json(read(run / f"base/eval/{name}.json")) == (name, score)
        cells = {str(mode): mode_to_json(one) for mode, one in score.modes.items()}
        assert matrix["benchmarks"][name]["modes"]["base"] == cells
    # and not what any other weights say to the same prompts
    kept = [(run / f"{folder}/eval/maths.answers.jsonl").read_text() for folder in ("base", "stages/01-sft")]
    prompts, replies = (
        [[json.loads(x)[key] for x in text.splitlines()] for text in kept] for key in ("prompt", "text")
    )
    assert prompts[0] == prompts[1] and replies[0] != replies[1]


def test_a_stage_that_leaves_the_policy_has_the_same_row(model: Path, tmp_path: Path) -> None:
    recipe = recipe_on(model, score_base=True)
    recipe["stages"] = [recipe["stages"][1]]
    go(tmp_path / "run", recipe)
    (alone, folder) = (
        read(tmp_path / f"run/{at}/scorecard.json")["benchmarks"] for at in ("base", "stages/01-reward")
    )
    assert alone == folder
    verdicts = {cell["verdict"] for cell in read(tmp_path / "run/stages/01-reward/gate.json")["cells"]}
    assert verdicts == {"same"}


def test_nothing_is_trained_otherwise(run: Path, without: Path) -> None:
    assert weights(run) == weights(without)
    one, two = scored_files(run), scored_files(without)
    assert {name for name in one if name not in two} == {
        "base/eval/alignment.json", "base/eval/alignment.answers.jsonl",
        "base/eval/maths.json", "base/eval/maths.answers.jsonl", "base/scorecard.json",
    }  # fmt: skip
    assert all(one[name] == two[name] for name in two if "gate" not in name)


def test_the_key_on_a_finished_run_scores_it_and_trains_nothing(
    model: Path, run: Path, without: Path, tmp_path: Path
) -> None:
    late = tmp_path / "late"
    shutil.copytree(without, late)
    ledger = (late / "ledger.json").read_bytes()
    notes = go(late, recipe_on(model, score_base=True), accept_changes=True)
    assert [note for note in notes if note.endswith("kept")] == [f"{name} is done: kept" for name in STAGES]
    assert (late / "ledger.json").read_bytes() == ledger and not list(late.rglob("*.old-*"))
    assert scored_files(late) == scored_files(run)
    # again: it is done, and its seconds are those of the first time
    before = read(late / "matrix.json")
    assert "base is done: kept" in go(late, recipe_on(model, score_base=True))
    assert read(late / "matrix.json") == before


def test_killed_in_the_middle_it_ends_the_same(model: Path, run: Path, tmp_path: Path) -> None:
    recipe, folder = recipe_on(model, score_base=True), tmp_path / "killed"
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(recipe))
    command = [sys.executable, str(KILLED), "evaluation", "2", "run", str(file), "--out", str(folder)]
    done = subprocess.run(
        command, capture_output=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    # the second one had been sampled, and no word of it was written
    assert sorted(path.name for path in (folder / "base/eval").iterdir()) == [
        "alignment.answers.jsonl",
        "alignment.json",
    ]
    assert not (folder / "base/scorecard.json").exists() and not (folder / "stages").exists()
    assert run_status(folder).stages[0].state == "started"
    go(folder, recipe)
    assert scored_files(folder) == scored_files(run) and weights(folder) == weights(run)


def card(stage: str, maths: int, following: int) -> Scorecard:
    return Scorecard(stage, {"maths": measured(maths), "following": measured(following)})


def test_the_first_stage_is_held_against_it() -> None:
    order = ["base", "sft", "rl"]
    # 200 problems, nested: 120 -> 80 loses 40 and gains none. Paired differences -1 x 40, 0 x 160 have the
    # mean -0.2 and the standard error sqrt((0.2 - 0.04) / 199) = 0.0284: from about -25.6 to -14.4 points.
    result = decide([card("base", 120, 80), card("sft", 80, 120)], order, Gate())
    cells = {cell.benchmark: cell for cell in result.cells}
    assert {name: (c.before, c.verdict) for name, c in cells.items()} == {
        "maths": ("base", Direction.LOSS), "following": ("base", Direction.GAIN),
    }  # fmt: skip
    assert cells["maths"].change == pytest.approx(-0.2) and not result.passed
    assert cells["maths"].low == pytest.approx(-0.256, abs=0.01) and cells["maths"].high == pytest.approx(
        -0.144, abs=0.01
    )
    assert result.notes[0].startswith("maths fell by 20.0 points from base to sft")
    # a dip may be declared for the first stage now
    dip = Gate(dips=[Dip(benchmark="maths", at="sft", until="rl", most=0.3)])
    assert decide([card("base", 120, 80), card("sft", 80, 120)], order, dip).passed


def test_it_may_be_the_best_so_far() -> None:
    cards = [card("base", 120, 80), card("sft", 114, 80), card("rl", 107, 80)]
    cells = [c for c in decide(cards, ["base", "sft", "rl", "last"], Gate()).cells if c.benchmark == "maths"]
    assert [(c.before, c.change) for c in cells] == [
        ("sft", pytest.approx(-7 / 200)),
        ("base", pytest.approx(-13 / 200)),
    ]
    assert [c.fails for c in cells] == [False, True]


def test_a_run_tells_the_first_loss(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores by hand: the base solves 120 of 200, the first stage 80, the others 81."""
    right = iter((120, 80, 81))

    def score(*_: object) -> tuple[SimpleNamespace, None]:
        return SimpleNamespace(
            score=measured(next(right)), failed=0, verdicts=200, answers=lambda _: []
        ), None

    monkeypatch.setattr(scoring, "score_benchmark", score)
    recipe = recipe_on(model, score_base=True)
    del recipe["benchmarks"][1]
    done = run_cascade(check_recipe(recipe), tmp_path / "run", QuietScreen())
    assert done.verdicts["sft", "alignment"] == "loss" and done.verdicts["rlhf", "alignment"] == "same"
    assert ("base", "alignment") not in done.verdicts
    gate = read(tmp_path / "run/stages/01-sft/gate.json")
    assert [cell["before"] for cell in gate["cells"]] == ["base"] and not gate["passed"]
    last = read(tmp_path / "run/stages/03-rlhf/gate.json")
    assert sorted(cell["before"] for cell in last["cells"]) == ["base", "reward"]
    table = drawn(matrix_table(matrix_from_json(done.matrix), done.verdicts))
    assert next(line for line in table.splitlines() if "alignment" in line).split()[:3] == [
        "alignment",
        "60.0",
        "40.0▼",
    ]
    card_text = (tmp_path / "run/stages/01-sft/checkpoint/README.md").read_text()
    assert "| benchmark | base | sft |" in card_text and "| 60.0 | 40.0 ↓ |" in card_text
    cells = {
        a["data-stage"]: (a["class"], text)
        for a, text in Page(write_report(tmp_path / "run").read_text()).find("cell")
    }
    assert cells["base"][1].startswith("60.0") and "loss" in cells["sft"][0].split()


def drawn(thing: object) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(thing)
    return console.export_text()


def test_page_status_and_comparison_have_it_once(run: Path) -> None:
    page = Page(write_report(run).read_text())
    cells = [(a["data-benchmark"], a["data-stage"]) for a, _ in page.find("cell")]
    assert cells.count(("maths", "base")) == 1 and cells.index(("maths", "base")) < cells.index(
        ("maths", "sft")
    )
    found = run_status(run)
    assert [row.stage for row in found.stages] == ["base", *STAGES] and found.stages[0].state == "done"
    assert found.stages[0].scores == tuple(
        row["scores"]["base"]["mean"] for row in read(run / "matrix.json")["benchmarks"].values()
    )
    lines = drawn(StatusTable(found)).splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("base")] == [["base", "done"]]
    whole, alone, folder = read_things([str(run), f"{run}:base", f"{run}/base/eval"], ["run", "base", "same"])
    assert alone.place.stage == "base" and set(alone.results) == {"alignment", "maths"}
    assert alone.results == folder.results and whole.place.stage == "rlhf"


def test_own_pairs_wait_for_their_reward_model(model: Path, tmp_path: Path) -> None:
    pairs = [{"prompt": f"What of {n}?", "chosen": f"{n} is fine.", "rejected": "no"} for n in range(60)]
    rows = tmp_path / "pairs.jsonl"
    rows.write_text("\n".join(map(json.dumps, pairs)))
    recipe = recipe_on(model, score_base=True)
    recipe["stages"] = recipe["stages"][:2]
    recipe["benchmarks"][1] = {"name": "taste", "source": f"jsonl:{rows}", "map": "trl-preference", "problems": 4, "k": 1,
                               "max_prompt_tokens": 400, "max_response_tokens": 4}  # fmt: skip
    go(tmp_path / "run", recipe)
    scores = read(tmp_path / "run/matrix.json")["benchmarks"]
    assert set(scores["alignment"]["scores"]) == {"base", "sft", "reward"} and set(
        scores["taste"]["scores"]
    ) == {"reward"}
    assert run_status(tmp_path / "run").stages[0].scores[1] is None
    planned = plan_of(check_recipe(recipe))
    assert [part.label for part in planned.phases[0].phase.parts] == ["alignment"]


def test_a_plan_counts_it(run: Path) -> None:
    recipe = recipe_of("smollm2-135m")
    scoring_it = recipe.model_copy(update={"score_base": True})
    plain, more = plan_of(recipe), plan_of(scoring_it)
    once = next(phase for phase in plain.phases if phase.phase.kind == "evaluation").seconds
    assert more.stage_seconds()["base"] == pytest.approx(once) and more.seconds == pytest.approx(
        plain.seconds + once
    )
    assert explain(scoring_it).count("before the first and after each stage") == 1
    own = check_recipe(yaml.safe_load((run / "recipe.yaml").read_text()))
    assert left_of(plan_of(own), steps_done(own, run)).seconds == 0
    (run / "base/scorecard.json").rename(run / "base/scorecard.txt")
    try:
        left = left_of(plan_of(own), steps_done(own, run))
        assert left.seconds == pytest.approx(plan_of(own).stage_seconds()["base"])
    finally:
        (run / "base/scorecard.txt").rename(run / "base/scorecard.json")
