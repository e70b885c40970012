"""The matrix and what it says of retention."""

from __future__ import annotations

import json

import pytest

from cascade_rl.scores.matrix import benchmark_names, markdown, matrix, retention, retention_markdown
from cascade_rl.scores.statistics import Direction, score
from cascade_rl.types import BenchmarkScore, Mode, ModeScore, Scorecard

OWN = {"maths": "math-rl", "following": "if-rl"}
SECONDS = {"sft": 31.0, "if-rl": 12.5}


def measured(right: int, n: int = 200) -> BenchmarkScore:
    samples = {f"p{i}": [float(i < right)] for i in range(n)}
    average = score(samples)
    found = ModeScore(average, average, 0.01, 0.0, 31.2, {name: row[0] for name, row in samples.items()})
    return BenchmarkScore(Mode.THINKING, {Mode.THINKING: found})


def cards() -> list[Scorecard]:
    rows = {"sft": (80, 100), "if-rl": (80, 160), "math-rl": (140, 120), "swe-rl": (141, 122)}
    return [Scorecard(s, {"maths": measured(m), "following": measured(f)}) for s, (m, f) in rows.items()]


def test_matrix_is_the_documented_record() -> None:
    data = json.loads(json.dumps(matrix(cards(), OWN, SECONDS)))
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
    data = matrix(late, {}, {})
    assert benchmark_names(late) == ["maths", "chess"]
    assert data["benchmarks"]["chess"]["own_stage"] is None
    assert list(data["benchmarks"]["chess"]["scores"]) == ["rl"]
    assert "| chess |  | 1.0 |" in markdown(late, {})


def test_retention_against_own_stage_and_best() -> None:
    maths, following = retention(cards(), OWN)
    assert (maths.own_stage, maths.best_stage, maths.final) == ("math-rl", "math-rl", "swe-rl")
    assert maths.from_own is not None and maths.from_own.change == pytest.approx(0.005)
    assert maths.from_own.verdict is Direction.SAME
    assert following.best_stage == "if-rl"
    assert following.from_best is not None and following.from_best.change == pytest.approx(-0.19)
    assert following.from_best.verdict is Direction.LOSS


def test_nothing_is_retained_before_there_is_a_past() -> None:
    (only,) = retention([Scorecard("sft", {"maths": measured(3)})], OWN)
    assert (only.from_own, only.best_stage, only.from_best) == (None, None, None)


def test_markdown_has_arrows_where_the_interval_excludes_zero() -> None:
    lines = markdown(cards(), OWN).splitlines()
    assert lines[0] == "| benchmark | sft | if-rl | math-rl | swe-rl |"
    assert lines[2] == "| maths | 40.0 | 40.0 | **70.0** ↑ | 70.5 |"
    assert lines[3] == "| following | 50.0 | **80.0** ↑ | 60.0 ↓ | 61.0 |"


def test_markdown_escapes_bars_in_names() -> None:
    table = markdown([Scorecard("a|b", {"x|y": measured(4)})], {})
    assert table.splitlines()[2].startswith("| x\\|y |")


def test_retention_markdown() -> None:
    lines = retention_markdown(retention(cards(), OWN)).splitlines()
    assert lines[2].startswith("| maths | math-rl | +0.5 (")
    assert "| if-rl | -19.0 (" in lines[3]


def test_a_stage_without_new_weights_repeats_its_column() -> None:
    first = cards()[0]
    data = matrix([first, Scorecard("reward-model", first.benchmarks)], OWN, {})
    scores = data["benchmarks"]["maths"]["scores"]
    assert scores["sft"] == scores["reward-model"]


@pytest.mark.parametrize("wrong", [[], [cards()[0], cards()[0]]])
def test_stages_must_be_there_and_distinct(wrong: list[Scorecard]) -> None:
    with pytest.raises(ValueError, match="distinct stages"):
        matrix(wrong, OWN, {})
