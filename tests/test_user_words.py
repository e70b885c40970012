"""What a user reads at 80 columns, and what is said to who mistypes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from cascade_rl.benchmarks import benchmark_names, load_benchmark, suite_names
from cascade_rl.cli import models
from cascade_rl.cli.models import origins
from cascade_rl.cli.suite_table import suite_table
from cascade_rl.data.suites import suite_specs
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.evals.suite import Measured
from cascade_rl.model.pretrained import find_model
from cascade_rl.types import BenchmarkScore, Mode, ModeScore, Score


def measured(name: str) -> Measured:
    """A result as wide as they come."""
    score = Score(mean=0.456, low=0.4012, high=0.5123, n=14042, k=64)
    told = {
        "k": 64, "problems": 14042, "pass": {"64": 1.0}, "cons": {"mean": 1.0},
        "standard_error": {"64": {"samples": 0.1234, "problems": 0.1}},
    }  # fmt: skip
    mode = ModeScore(average=score, greedy=None, leak=1.0, clipped=1.0, mean_tokens=32768.0, per_problem={})
    found = BenchmarkScore(Mode.THINKING, {Mode.THINKING: mode})
    return Measured(name, found, {"thinking": told}, 0, 1, 0, 1.0, {})


def test_no_number_of_the_table_is_cut_at_80_columns():
    shown = Console(file=io.StringIO(), width=80)
    shown.print(suite_table([measured("livecodebench_pro_25q1"), measured("mmlu")]))
    text = shown.file.getvalue()
    assert "…" not in text and text.count("40.1-51.2") == 2 and text.count("14042 x 64") == 2
    assert max(map(len, text.splitlines())) <= 80
    # a long name is folded, nothing of it is lost
    firsts = [line.split(" ")[0] for line in text.splitlines()[1:3]]
    assert "".join(firsts).startswith("livecodebench_pro_25q1")


def test_every_benchmark_is_listed_with_its_licence_and_origin(monkeypatch):
    shown = Console(file=io.StringIO(), width=80)
    monkeypatch.setattr("cascade_rl.cli.app.console", shown)
    models.benchmarks()
    text = shown.file.getvalue()
    words = " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    for name in benchmark_names():
        found = load_benchmark(name)
        assert f"{found.licence}. From {', '.join(origins(found)) or 'a path of yours'}" in words
        for source in found.sources:
            assert source.partition(":")[2].partition("@")[0].partition("/jsonl")[0].split("/")[0] in words


def test_every_wrong_change_is_told_with_the_word_that_is_meant():
    with pytest.raises(RecipeError) as error:
        suite_specs(["asdiv"], ["problms=2", "k=x"])
    text = str(error.value)
    assert "asdiv.problms: unknown key; did you mean problems?" in text
    assert "asdiv.k: " in text and "(got 'x')" in text


def test_every_unknown_name_is_told_and_the_known_ones_once():
    with pytest.raises(InputError) as error:
        suite_names("asdvi,mmlu,ifevl")
    text = str(error.value)
    assert "did you mean asdiv?" in text and "did you mean ifeval?" in text and text.count("known:") == 1


def test_a_run_in_place_of_a_checkpoint_is_told_its_checkpoint(tmp_path: Path):
    there = tmp_path / "stages" / "01-sft" / "checkpoint"
    there.mkdir(parents=True)
    (there / "config.json").write_text("{}")
    for given in (tmp_path, there.parent):
        with pytest.raises(InputError, match=f"name one of them, such as {there}"):
            find_model(str(given), note=print, waiting=print)
