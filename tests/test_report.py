"""The report tells what the run directory says: numbers, escaping, runs in progress, faults."""

from __future__ import annotations

import io
import json
import math
import os
import re
from pathlib import Path

import pytest
from fake_run import (
    HEADLINE,
    HOSTILE,
    MEANS,
    SCORED,
    STAGES,
    N,
    Page,
    build_run,
    gate,
    matrix,
    sample,
    score,
    scorecard,
    step_verdicts,
    write_json,
    write_lines,
)
from rich.console import Console

from cascade_rl.report import summary_line, write_report
from cascade_rl.report.alarms import alarms, ranges
from cascade_rl.report.charts import (
    Chart,
    Series,
    clock_ticks,
    line_chart,
    nice_ticks,
    short,
    sparkline,
    stacked_bars,
)
from cascade_rl.report.curves import title as title_of
from cascade_rl.report.numbers import duration, points
from cascade_rl.report.read import read_run
from cascade_rl.report.records import DONE, HELD, RUNNING, WAITING, Step
from cascade_rl.report.retention import matrix_retentions, run_retentions, verdict
from cascade_rl.report.samples_page import pairs
from cascade_rl.report.speed import efforts, speed_rows, spent_seconds
from cascade_rl.report.terminal import matrix_table, short_header, speed_table
from cascade_rl.scores.as_json import matrix_from_json, scorecard_from_json
from cascade_rl.scores.matrix import Matrix
from cascade_rl.scores.statistics import independent_change, paired_change


def page_of(run: Path) -> Page:
    """The written report, parsed."""
    return Page(write_report(run).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return build_run(tmp_path_factory.mktemp("report") / "tiny")


@pytest.fixture(scope="module")
def page(finished: Path) -> Page:
    """The page of a finished run."""
    return page_of(finished)


def test_every_cell_shows_the_mean_and_interval_of_its_score(page: Page) -> None:
    data = matrix()["benchmarks"]
    for name in MEANS:
        for stage in SCORED:
            ((_, text),) = page.find("cell", data_benchmark=name, data_stage=stage)
            score = data[name]["scores"][stage]
            assert f"{100 * score['mean']:.1f}" in text
            assert f"{100 * score['low']:.1f}–{100 * score['high']:.1f}" in text


def test_own_stage_cells_are_framed_and_verdicts_marked(page: Page) -> None:
    framed = {(a["data-benchmark"], a["data-stage"]) for a, _ in page.find("own") if "data-stage" in a}
    assert framed == {
        (name, row["own_stage"]) for name, row in matrix()["benchmarks"].items() if row["own_stage"]
    }
    for stage in SCORED:
        for cell in step_verdicts(stage).values():
            ((attrs, text),) = page.find("cell", data_benchmark=cell["benchmark"], data_stage=stage)
            assert (cell["verdict"] in attrs["class"].split()) == (cell["verdict"] != "same")
            sign = {"gain": "▲", "loss": "▽" if cell["excuse"] else "▼", "same": ""}[cell["verdict"]]
            assert sign in text
    ((dip, _),) = page.find("cell", data_benchmark="following", data_stage="rlhf")
    assert "excused" in dip["class"] and "declared dip" in dip["title"]


def test_the_page_stands_alone(finished: Path, page: Page) -> None:
    for tag, attrs in page.elements:
        assert tag not in {"script", "link", "img", "iframe", "object"}
        assert all(attrs.get(key, "#").startswith("#") for key in ("src", "href", "xlink:href"))
        assert not any(key.startswith("on") for key in attrs)
    text = (finished / "report.html").read_text(encoding="utf-8")
    assert "url(" not in text and "@import" not in text
    links = {attrs["href"].removeprefix("#") for tag, attrs in page.elements if tag == "a"}
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids)) and links <= set(ids)
    assert {"matrix", "time", "verdict", *(f"stage-{name}" for name in STAGES)} <= set(ids)


def test_curves_have_axes_meaning_and_tooltips(page: Page) -> None:
    curves = page.find("curve")
    assert {"Reward", "Entropy", "Clipped replies", "Policy-gradient loss", "Accuracy", "Margin"} <= {
        attrs["data-curve"] for attrs, _ in curves
    }
    loss = next(text for attrs, text in curves if attrs["data-curve"] == "Policy-gradient loss")
    assert "near 0 is healthy" in loss
    assert all("step" in text for _, text in curves)
    assert any("step 39\n" in text for _, text in page.find("hit"))
    lines = [attrs["d"] for tag, attrs in page.elements if tag == "path" and "line" in attrs.get("class", "")]
    assert lines and all(re.fullmatch(r"(M[\d. h]+|L[\d. ]+)+", d) for d in lines)


def test_alarms_are_told_and_marked(page: Page) -> None:
    told = " ".join(text for _, text in page.find("alarms"))
    for title in ("Reward without signal", "More than 30 % clipped", "Gradient norm is 0"):
        assert title in told
    assert len(page.find("mark")) >= 7


def test_samples_stand_side_by_side_with_thinking_apart(page: Page) -> None:
    assert len(page.find("sample")) == sum(6 * n for n in (1, 2, 1, 1, 1))
    assert any("carry 1" in text for _, text in page.find("thought"))
    assert all("<think>" not in text for _, text in page.find("sample"))
    ((_, text),) = page.find(id="stage-math-rl")
    assert text.index("reward 0.00") < text.index("reward 1.00")


def test_times_lineage_preflight_and_settings_are_shown(page: Page) -> None:
    ((_, time),) = page.find(id="time")
    assert "rollout" in time and "12 s" in time and "evaluation" in time
    ((_, text),) = page.find(id="stage-math-rl")
    for words in (
        "stages/05-if-rl/checkpoint",
        "9f2c9f2c9f2c",
        "weights only; fresh optimiser",
        "the gold answer earns no reward",
    ):
        assert words in text
    assert "0.95" in text and "max new tokens" in text


def test_hostile_text_is_only_text(tmp_path: Path) -> None:
    run = build_run(tmp_path / HOSTILE.replace("/", "_"), stages=STAGES[:4])
    odd = "</pre>\x00\u202e\ud800" + HOSTILE
    rows = [sample("rlhf", 0, 0, "alignment", HOSTILE), sample("rlhf", 9, 0, HOSTILE, odd)]
    path = run / "stages/04-rlhf/samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = matrix(STAGES[:4])
    data["benchmarks"][HOSTILE] = data["benchmarks"].pop("maths")
    write_json(run / "matrix.json", data)
    found = page_of(run)
    assert not {tag for tag, _ in found.elements} & {"script", "img"}
    assert any(HOSTILE in text for _, text in found.find("sample"))


def test_a_run_in_progress(tmp_path: Path) -> None:
    run = build_run(tmp_path / "r", stages=STAGES[:4], running="if-rl")
    with (run / "stages/05-if-rl/journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "step", "step": 7, "metr')
    with (run / "stages/05-if-rl/samples.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "reply": "\xc3')
    found = read_run(run)
    assert [s.status for s in found.stages] == [DONE] * 4 + [RUNNING] + [WAITING] * 3
    assert found.unread == () and len(found.stages[4].steps) == 7
    shown = page_of(run)
    assert "7 of 40 steps" in shown.find(id="stage-if-rl")[0][1]
    assert "swe-rl" in shown.find(id="waiting")[0][1]
    assert {a["href"][1:] for tag, a in shown.elements if tag == "a"} <= {
        a.get("id") for _, a in shown.elements
    }
    assert "−20.7" in shown.find(id="matrix")[0][1], (
        "far below its best, though its own stage is still to come"
    )
    assert "scratch, 4 layers, 192 wide" in shown.find("facts")[0][1]
    assert "4 of 8" in shown.find("facts")[0][1]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    run = build_run(tmp_path / "r", stages=STAGES[:2])
    path = run / "stages/01-sft-1/journal.jsonl"
    path.write_text("garbage\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    (run / "stages/02-sft-2/gate.json").write_text("{", encoding="utf-8")
    found = read_run(run)
    assert len(found.unread) == 2 and "line 1 is not JSON" in found.unread[0] + found.unread[1]
    assert len(found.stages[0].steps) == 40
    assert "gate.json" in page_of(run).find(id="unread")[0][1]


@pytest.mark.parametrize("left", [[], ["stages"], ["stages", "stages/01-sft-1"]])
def test_an_empty_run_says_so(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).mkdir()
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Nothing to show yet" in text or "No stage has been scored yet" in text
    Page(text)


def test_no_run_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no run directory"):
        write_report(tmp_path / "absent")


@pytest.mark.parametrize(
    "junk", ["[]", "null", '"x"', "3", '{"stages": 4, "benchmarks": [1], "cells": 2, "notes": 1}']
)
def test_files_of_any_shape_are_survived(tmp_path: Path, junk: str) -> None:
    run = build_run(tmp_path / "r", stages=STAGES[:4])
    for path in [*run.rglob("*.json*"), run / "recipe.yaml"]:
        path.write_text(junk, encoding="utf-8")
    page_of(run)


@pytest.mark.parametrize("name", ["matrix.json", "ledger.json", "recipe.yaml", "stages/05-if-rl", "stages"])
def test_any_file_may_be_missing(tmp_path: Path, name: str) -> None:
    run = build_run(tmp_path / "r")
    (run / name).rename(tmp_path / "gone")
    page_of(run)


def test_without_matrix_json_the_scorecards_make_it(tmp_path: Path) -> None:
    run = build_run(tmp_path / "r")
    whole = read_run(run).matrix
    (run / "matrix.json").unlink()
    made = read_run(run).matrix
    assert made.stages == whole.stages
    assert [row.scores for row in made.rows] == [row.scores for row in whole.rows]


def test_results_set_aside_are_ignored(tmp_path: Path) -> None:
    run = build_run(tmp_path / "r", stages=STAGES[:5])
    (run / "stages/05-if-rl").rename(run / "stages/05-if-rl.old-1")
    assert "if-rl" not in [s.name for s in read_run(run).stages if s.status != WAITING]


def test_a_held_stage_says_so(tmp_path: Path) -> None:
    run = build_run(tmp_path / "r", stages=STAGES[:4])
    held = gate("rlhf")
    for cell in held["cells"]:
        cell["excuse"] = ""
    write_json(run / "stages/04-rlhf/gate.json", held | {"passed": False})
    write_json(run / "ledger.json", {"stages": []})
    assert read_run(run).stages[3].status == HELD
    assert "not passed" in page_of(run).find(id="stage-rlhf")[0][1]


def test_writing_is_atomic_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    run = build_run(tmp_path / "r", stages=STAGES[:1])
    first = write_report(run)
    inode = first.stat().st_ino
    assert write_report(run) == run / "report.html"
    assert (run / "report.html").stat().st_ino != inode
    assert not [name for name in os.listdir(run) if name.endswith(".tmp")]  # noqa: PTH208


def test_odd_metrics_only_cost_their_own_chart(tmp_path: Path) -> None:
    run = build_run(tmp_path / "r", stages=STAGES[:3], running="rlhf")
    rows = [
        {"kind": "step", "step": i, "phase": None, "metrics": {"reward": 0.5, "entropy": None}}
        for i in range(3)
    ]
    rows[1]["metrics"] |= {"grad_norm": math.nan, "length": "many"}
    rows[2]["metrics"] |= {"grad_norm": 0.7}
    write_lines(run / "stages/04-rlhf/journal.jsonl", rows)
    shown = page_of(run)
    ((_, text),) = shown.find(id="stage-rlhf")
    assert "Gradient norm is not a number" in text and "Reward" in text
    assert "Entropy" not in text and "Response length" not in text


def test_kinds_of_stage(finished: Path) -> None:
    kinds = {s.name: title_of(s) for s in read_run(finished).stages}
    assert kinds["sft-1"] == "supervised fine-tuning" and kinds["reward-model"] == "reward model"
    assert kinds["math-rl"] == "reinforcement learning"


def test_spent_time_adds_up_to_the_matrix(finished: Path) -> None:
    run = read_run(finished)
    for stage in run.stages:
        total = sum(spent_seconds(stage, run.matrix).values())
        assert total == pytest.approx(run.matrix.seconds.get(stage.name, sum(stage.seconds.values())))


def test_retention_is_final_minus_own_and_minus_best(finished: Path) -> None:
    run = read_run(finished)
    found = {k.benchmark: k for k in run_retentions(run)}
    kept = {name: k.since_own for name, k in found.items() if k.since_own}
    assert "repair" not in kept
    assert kept["maths"].change.change == pytest.approx(0.801 - 0.819) and kept["maths"].stage == "math-rl"
    best = found["following"].since_best
    assert best.change.change == pytest.approx(0.902 - 0.921) and best.stage == "math-rl"
    assert kept["knowledge"].stage == "sft-1" and kept["knowledge"].change.change > 0
    assert all(k.change.low < k.change.change < k.change.high for k in kept.values())


def test_a_last_score_above_all_before_is_held_against_the_best_earlier_one(page: Page) -> None:
    ((_, text),) = page.find(id="matrix")
    assert "+5.6code-rl" in text.replace("\n", ""), "repair ends at 37.2, and its best before was 31.6"


def test_retention_intervals_are_those_of_the_gate(finished: Path) -> None:
    run = read_run(finished)
    row = next(row for row in run.matrix.rows if row.name == "maths")
    cards = {stage.name: stage.card.benchmarks["maths"] for stage in run.stages if stage.card}
    before, after = (cards[stage].modes[row.headline].per_problem for stage in ("math-rl", "swe-rl"))
    (pairwise,) = (k.since_own for k in run_retentions(run) if k.benchmark == "maths")
    assert pairwise.change == paired_change(before, after, k=4)
    (alone,) = (k.since_own for k in matrix_retentions(run.matrix) if k.benchmark == "maths")
    assert alone.change == independent_change(row.scores["math-rl"], row.scores["swe-rl"])


def test_small_but_certain_falls_are_named_with_the_band() -> None:
    data = matrix()
    for each in data["benchmarks"]["alignment"]["scores"].values():
        each |= {"low": each["mean"] - 0.001, "high": each["mean"] + 0.001}
    text, tone = verdict(matrix_from_json(data), matrix_retentions(matrix_from_json(data)))
    assert tone == "good" and text.startswith("Nothing forgotten beyond 3.0 points: worst retention −2.2")


def test_the_verdict_names_what_was_forgotten() -> None:
    data = matrix()
    assert verdict(Matrix(), ())[1] == "open"
    good = matrix_from_json(data)
    text, tone = verdict(good, matrix_retentions(good))
    assert tone == "good" and text == "Nothing forgotten: worst retention −2.2 points (alignment, since rlhf)"
    data["benchmarks"]["maths"]["scores"]["swe-rl"] |= {"mean": 0.5, "low": 0.45, "high": 0.55}
    bad = matrix_from_json(data)
    text, tone = verdict(bad, matrix_retentions(bad))
    assert tone == "bad" and text == "Forgotten: maths −31.9 points since math-rl"
    early = matrix_from_json(matrix(("sft-1",)))
    assert "Too early" in verdict(early, matrix_retentions(early))[0]


def test_the_summary_line_is_that_of_the_page(finished: Path, page: Page) -> None:
    assert summary_line(finished) in page.find(id="verdict")[0][1]


def test_alarm_rules() -> None:
    values = [1.0, 1.0, 1.0, 3.1, 0.04]
    found = {
        a.rule.title: a.steps for a in alarms([Step(i, "", {"entropy": v}) for i, v in enumerate(values)])
    }
    assert found == {"Entropy under 0.05": (4,), "Entropy above 3 × its start": (3,)}
    healthy = {"signal": 0.5, "clipped": 0.3, "entropy": 0.5, "grad_norm": 0.1, "failed": 0.0}
    assert alarms([Step(i, "", healthy) for i in range(5)]) == ()
    assert ranges((3, 7, 8, 9)) == "3, 7–9"


@pytest.mark.parametrize(
    "low,high", [(0, 1), (-0.004, 0.006), (0, 1e-5), (13.2, 871), (-3, -2.9), (0.33, 0.34)]
)
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 6 and all(low - 1e-9 <= t <= high + 1e-9 for t in ticks)


def test_numbers_in_words() -> None:
    assert [short(v) for v in (0, 0.25, 12.34, 1500, 5e-5, -0.002)] == [
        "0",
        "0.25",
        "12.3",
        "1500",
        "5e−5",
        "−0.002",
    ]
    assert [duration(s) for s in (0.31, 31, 252, 3600, 7500)] == [
        "0.3 s",
        "31 s",
        "4 min 12 s",
        "1 h",
        "2 h 5 min",
    ]
    assert [points(v) for v in (0.021, -0.021, 0.00001)] == ["+2.1", "−2.1", "0.0"]
    assert clock_ticks(133) == [0, 30, 60, 90, 120]


def test_charts_at_the_edges() -> None:
    one = line_chart(Chart("t", "u", (Series("s", ((3.0, 0.5),)),)))
    assert 'd="M' in one and "step 3" in one
    assert line_chart(Chart("t", "u", (Series("s", ((0.0, math.nan),)),))) == ""
    gap = line_chart(Chart("t", "u", (Series("s", ((0.0, 1.0), (1.0, math.nan), (2.0, 2.0))),)))
    assert gap.count("M") >= 2 and "nan" not in gap.split("<title>")[0]
    many = Series("s", tuple((float(i), 1.0) for i in range(5000)))
    assert line_chart(Chart("t", "u", (many,))).count('class="hit"') <= 240
    assert stacked_bars([("a", {})], ["x"]) == "" and sparkline([None, 0.4], 0) == ""


def test_pairs_put_the_same_problem_side_by_side(finished: Path) -> None:
    stage = next(s for s in read_run(finished).stages if s.name == "if-rl")
    found = pairs(stage.samples)
    assert len(found) == 6 and all(a.problem == b.problem and a.step < b.step for _, a, b in found)
    assert [name for name, _, _ in found[:2]] == ["following, instruct", "alignment, thinking"]


def _screen(width: int) -> str:
    data = matrix()
    data["stages"].append("distill-everything")
    for row in data["benchmarks"].values():
        row["scores"]["distill-everything"] = {"mean": 1.0, "low": 0.984, "high": 1.0, "n": N, "k": 4}
    told = {(stage, name): cell["verdict"] for stage in SCORED for name, cell in step_verdicts(stage).items()}
    return _printed(matrix_table(matrix_from_json(data), told), width)


def _printed(what: object, width: int) -> str:
    console = Console(width=width, no_color=True, force_terminal=False, record=True, file=io.StringIO())
    console.print(what)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_every_number_in_plain_text(width: int) -> None:
    text = _screen(width)
    assert max(map(len, text.splitlines())) <= width
    assert "*81.9▲" in text and "50.1▼" in text and "…" not in text
    lines = text.splitlines()
    for name, means in MEANS.items():
        place = next(number for number, line in enumerate(lines) if line.startswith(name))
        assert all(f"{100 * mean:.1f}" in lines[place] for mean in means)
        scores = [score(mean) for mean in means] + [{"low": 0.984, "high": 1.0}]
        halves = [f"±{50 * (each['high'] - each['low']):.1f}" for each in scores]
        assert lines[place + 1].split() == [HEADLINE.get(name, "thinking"), *halves]


def test_a_matrix_that_is_too_wide_goes_on_below() -> None:
    names = ["gym-number-sequences", "humaneval", "swe-repairs-held-out"]
    stages = [f"stage-{n:02d}" for n in range(14)]
    cell = {"mean": 0.5, "low": 0.25, "high": 0.75, "n": 300, "k": 1}
    rows = {
        name: {"own_stage": None, "headline": "instruct", "scores": dict.fromkeys(stages, cell), "modes": {}}
        for name in names
    }
    found = matrix_from_json({"stages": stages, "benchmarks": rows, "seconds": {}})
    for width, tables in ((80, 2), (160, 1)):
        text = _printed(matrix_table(found), width)
        assert max(len(line.rstrip()) for line in text.splitlines()) <= width and "…" not in text
        assert text.count("humaneval ") == tables and text.count("percent solved") == 1
        assert text.count("50.0") == text.count("±25.0") == len(names) * len(stages)
    narrow = _printed(matrix_table(found), 40)
    assert narrow.count("50.0") == len(names) * len(stages) and "…" not in narrow


def test_terminal_headers_and_empty_matrix() -> None:
    assert short_header("math-rl") == "math\n-rl" and short_header("if-rl") == "if-rl"
    assert short_header("reward-model") == "reward\n-model"
    assert _printed(matrix_table(Matrix()), 80).splitlines()[1].split() == ["benchmark"]


def test_scorecards_of_the_builder_agree_with_its_matrix() -> None:
    for stage in SCORED:
        for name, entry in scorecard(stage)["benchmarks"].items():
            mode = entry["modes"][entry["headline"]]
            assert mode["avg"] == matrix()["benchmarks"][name]["scores"][stage]
            assert math.fsum(mode["per_problem"].values()) / N == pytest.approx(mode["avg"]["mean"])
        scorecard_from_json(scorecard(stage))


def test_what_happened_in_the_processes_that_judge_is_told(tmp_path):
    run = build_run(tmp_path / "run", steps=10)
    assert read_run(run).stages[STAGES.index("math-rl")].counts == {
        "programs": 80,
        "program_timeouts": 5,
        "verifier_crashes": 0,
    }
    told = Page(write_report(run).read_text()).find("judging")
    assert [text for _, text in told] == ["Judging: programs 80 · program timeouts 5"] * 5, (
        "one line for each RL stage"
    )


# ---------------------------------------------------------------- speed


def test_speed_is_what_the_steps_did_over_what_they_took(finished: Path, page: Page) -> None:
    """By hand, 40 steps alike: 6200 tokens in 0.31 s, 32.4 of 0.18 x 400 GFLOP, 1.55 of 0.31 x 20 GB."""
    rows = {row[0]: row[1:] for row in speed_rows(read_run(finished))}
    assert rows["math-rl"][5:] == ("20,000", "50,000", "45.0", "25.0", "28.5", "55.0")
    assert rows["sft-1"][5:] == ("–", "22,500", "20.2", "–", "–", "24.8")
    whole = read_run(finished).stages[STAGES.index("math-rl")]
    spent = sum(spent_seconds(whole, read_run(finished).matrix).values())
    assert rows["math-rl"][:4] == tuple(
        f"{100 * s / spent:.0f}" for s in (40 * 0.31, 40 * 0.02, 40 * 0.18, 9.1)
    )
    rl, sft = 5 * 40, 3 * 40
    assert rows["all stages"][6] == f"{9000 * (rl + sft) / (rl * 0.18 + sft * 0.4):,.0f}"
    assert rows["all stages"][10] == f"{100 * 0.099 * (rl + sft) / (rl * 0.18 + sft * 0.4):.1f}"
    ((_, text),) = page.find(id="speed")
    for words in (
        "20,000",
        "MFU",
        "MBU",
        "the least time that the cost model allows",
        "400 GFLOP/s",
        "20.0 GB/s",
    ):
        assert words in text


def test_each_step_is_held_against_the_machine_that_ran_it() -> None:
    """A run that went on elsewhere: half of the seconds at 100 operations a second, half at 300."""
    work = {"update": {"tokens": 5, "flops": 60, "head_flops": 20, "bytes": 0, "bound_s": 0.5}}
    rows = [{"step": 0, "seconds": {"update": 2.0}, "work": work}]
    for rate in (100.0, 300.0):
        rows.append(
            {
                "step": 1,
                "seconds": {},
                "peaks": {"flops": rate, "head_flops": 1.0, "bytes": 1.0, "workers": 1},
            }
        )
        rows.append({"step": 1, "seconds": {"update": 2.0}, "work": work})
    found = efforts(rows)
    assert set(found) == {"update"}
    assert found["update"].tokens_per_s == 15 / 6
    assert found["update"].utilisation == 160 / (2 * 100 + 2 * 300) and found["update"].limit == 1.0 / 4
    assert efforts(rows[:1])["update"].limit is None, "without rates there is no limit"


def test_a_run_without_work_shows_no_figures(tmp_path: Path) -> None:
    run = build_run(tmp_path / "r", stages=STAGES[:4])
    for path in run.glob("stages/*/timings.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        write_lines(path, ({k: v for k, v in row.items() if k in ("step", "seconds")} for row in rows))
    found = page_of(run)
    assert not found.find(id="speed") and found.find(id="time")
    assert not [a for tag, a in found.elements if a.get("href") == "#speed"]
    assert all(set(row[6:]) == {"–"} for row in speed_rows(read_run(run)))
    text = _printed(speed_table(read_run(run)), 80)
    assert "MFU" not in text and "rlhf" in text and "0.0" not in text


def test_the_terminal_shows_the_speed_in_80_columns(finished: Path) -> None:
    text = _printed(speed_table(read_run(finished)), 80)
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    row = next(line for line in text.splitlines() if line.startswith("math-rl"))
    assert row.split()[-6:] == ["20,000", "50,000", "45.0", "25.0", "28.5", "55.0"]
    assert "400 GFLOP/s" in text and "2 workers" in text
