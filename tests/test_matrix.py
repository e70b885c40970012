"""The matrix, its file, and how the model card tells it."""

from __future__ import annotations

import json

import pytest
from score_cards import OWN, cards, measured

from cascade_rl.recipe.scoring import Gate
from cascade_rl.report.card import Card, card_text
from cascade_rl.report.card_tables import matrix_markdown, retention_markdown
from cascade_rl.scores.as_json import matrix_from_json, matrix_to_json
from cascade_rl.scores.gate import decide
from cascade_rl.scores.matrix import benchmark_names, matrix
from cascade_rl.scores.retention import retentions
from cascade_rl.types import Scorecard

SECONDS = {"sft": 31.0, "if-rl": 12.5}


def test_matrix_is_the_documented_record() -> None:
    data = json.loads(json.dumps(matrix_to_json(matrix(cards(), OWN, SECONDS))))
    assert list(data) == ["stages", "benchmarks", "seconds"]
    assert data["stages"] == ["sft", "if-rl", "math-rl", "swe-rl"]
    assert data["seconds"] == SECONDS
    maths = data["benchmarks"]["maths"]
    assert list(maths) == ["own_stage", "headline", "scores", "modes"]
    assert (maths["own_stage"], maths["headline"]) == ("math-rl", "thinking")
    assert maths["scores"]["math-rl"]["mean"] == 0.7
    assert set(maths["scores"]["sft"]) == {"mean", "low", "high", "n", "k"}
    assert set(maths["modes"]["sft"]["thinking"]) == {"avg", "greedy", "leak", "clipped", "mean_tokens"}


def test_benchmarks_without_an_own_stage_or_measured_late_have_their_place() -> None:
    late = [
        Scorecard("sft", {"maths": measured(1)}),
        Scorecard("rl", {"chess": measured(2), "maths": measured(1)}),
    ]
    data = matrix_to_json(matrix(late, {}, {}))
    assert benchmark_names(late) == ["maths", "chess"]
    assert data["benchmarks"]["chess"]["own_stage"] is None
    assert list(data["benchmarks"]["chess"]["scores"]) == ["rl"]
    assert "| chess | not scored | 1.0 |" in matrix_markdown(late, {})


def test_the_matrix_comes_back_from_its_file() -> None:
    found = matrix(cards(), OWN, SECONDS)
    data = json.loads(json.dumps(matrix_to_json(found)))
    assert matrix_from_json(data) == found
    del data["benchmarks"]["maths"]["scores"]["sft"]["low"]
    with pytest.raises(ValueError, match="matrix has no key 'low'"):
        matrix_from_json(data)
    for other in ([], {"stages": [], "benchmarks": {"maths": 1}, "seconds": {}}):
        with pytest.raises(ValueError, match="matrix has another shape"):
            matrix_from_json(other)
    for wrong in (True, "nan", 1e999):
        with pytest.raises(ValueError, match="is no number"):
            matrix_from_json({"stages": [], "benchmarks": {}, "seconds": {"sft": wrong}})


def test_markdown_has_arrows_where_the_interval_excludes_zero() -> None:
    lines = matrix_markdown(cards(), OWN).splitlines()
    assert lines[0] == "| benchmark | sft | if-rl | math-rl | swe-rl |"
    assert lines[2] == "| maths | 40.0 | 40.0 | **70.0** ↑ | 70.5 |"
    assert lines[3] == "| following | 50.0 | **80.0** ↑ | 60.0 ↓ | 61.0 |"


def test_markdown_escapes_bars_in_names() -> None:
    table = matrix_markdown([Scorecard("a|b", {"x|y": measured(4)})], {})
    assert table.splitlines()[2].startswith("| x\\|y |")


def test_retention_markdown() -> None:
    lines = retention_markdown(retentions(cards(), OWN)).splitlines()
    assert lines[2].startswith("| maths | math-rl | +0.5 (")
    assert "| if-rl | -19.0 (" in lines[3]


def test_a_benchmark_that_no_stage_trains_is_held_against_its_first_score() -> None:
    (line,) = retention_markdown(retentions(cards(), {"maths": "math-rl"})).splitlines()[3:]
    assert line.startswith("| following | none; first score sft | +11.0 (")


def test_the_card_tells_stage_scores_and_gate() -> None:
    facts = {
        "stage": "swe-rl",
        "lineage": {"run": "tiny", "seed": 3, "parent": None},
        "data": ["swe: 8 problems"],
        "settings": {"lr": 0.1},
    }
    gate = decide(cards()[:3], ["sft", "if-rl", "math-rl", "swe-rl"], Gate())
    text = card_text(Card(facts, cards(), OWN, gate))
    assert text.startswith("---\nlibrary_name: transformers\n") and text.endswith("lr: 0.1\n```\n")
    assert "# tiny after swe-rl" in text and "| seed | 3 |" in text and "parent" not in text
    assert "**did not pass**\n- following -20.0 points since if-rl: not excused\n" in text
    assert matrix_markdown(cards(), OWN) in text and "- swe: 8 problems" in text


def test_a_stage_without_new_weights_repeats_its_column() -> None:
    first = cards()[0]
    data = matrix_to_json(matrix([first, Scorecard("reward-model", first.benchmarks)], OWN, {}))
    scores = data["benchmarks"]["maths"]["scores"]
    assert scores["sft"] == scores["reward-model"]


@pytest.mark.parametrize("wrong", [[], [cards()[0], cards()[0]]])
def test_stages_must_be_there_and_distinct(wrong: list[Scorecard]) -> None:
    with pytest.raises(ValueError, match="distinct stages"):
        matrix(wrong, OWN, {})
