"""`cascade compare` from files: what can be named, damage, what is printed, the page, the exit status.

About 30 s on one core.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_eval import SETTINGS, SUITE, drawn, write_result, write_suite
from fake_run import HOSTILE, MEANS, SCORED, Page, build_run, write_json, write_lines
from rich.console import Console
from small_run import go
from test_benchmark import bench, problem, thought, toy
from test_report_browser import BROWSER, chromium
from typer.testing import CliRunner

from cascade_rl.cli import main as cli
from cascade_rl.domain import Services
from cascade_rl.errors import InputError
from cascade_rl.evals.shelf import Shelf
from cascade_rl.evals.suite import Asking, measure
from cascade_rl.report.compare_json import compare_to_json
from cascade_rl.report.compare_page import render_comparison
from cascade_rl.report.compare_places import labels, locate
from cascade_rl.report.compare_terminal import compare_parts
from cascade_rl.report.compare_things import read_things
from cascade_rl.report.comparison import Shown, compare
from cascade_rl.run.files import dumps
from cascade_rl.scores.compare import Answer
from cascade_rl.testing import ScriptedSampler
from cascade_rl.types import Mode


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs and two evaluations, in the current directory."""
    monkeypatch.chdir(tmp_path)
    build_run(tmp_path / "runs/tiny", steps=2)
    build_run(tmp_path / "runs/second", steps=2, stages=("sft-1", "sft-2", "rlhf"))
    write_result(tmp_path / "evals/base", "aime24", drawn(0.4, 30, 4, "a"))
    write_result(tmp_path / "evals/tuned", "aime24", drawn(0.8, 30, 4, "a"))
    return tmp_path


def shown_of(*given: str, **options: Any) -> Shown:
    return compare(read_things(given), **options)


def invoked(*arguments: str) -> tuple[int, str]:
    """Exit status, and what is printed; an error's message where there is one."""
    found = CliRunner().invoke(cli.app, ["compare", *arguments], env={"COLUMNS": "80"})
    if found.exception and not isinstance(found.exception, SystemExit):
        assert isinstance(found.exception, InputError), found.exception
        return found.exception.status, str(found.exception)
    return found.exit_code, found.output


def printed(shown: Shown, *, problems: bool = True, stages: bool = True) -> str:
    console = Console(width=80, no_color=True, force_terminal=False)
    with console.capture() as capture:
        for part in compare_parts(shown, problems=problems, stages=stages):
            console.print(part)
    return capture.get()


# ---------------------------------------------------------------- what can be named


@pytest.mark.parametrize(
    "given",
    [
        "tiny:rlhf",
        "tiny:04-rlhf",
        "tiny:4",
        "tiny:04",
        *(f"tiny/stages/04-rlhf{p}" for p in ("", "/eval", "/")),
    ],
)
def test_a_stage_by_name_number_or_folder(here: Path, given: str) -> None:
    found = locate(f"runs/{given}")
    assert (found.stage, found.kind, found.only) == ("rlhf", "stage", "")
    (thing, _) = read_things([f"runs/{given}", "runs/tiny"])
    assert thing.results["maths"].score.score.mean == MEANS["maths"][SCORED.index("rlhf")]


def test_a_run_is_its_last_scored_stage(here: Path) -> None:
    tiny, second = read_things(["runs/tiny", "runs/second/"])
    assert [(t.place.stage, t.label) for t in (tiny, second)] == [("swe-rl", "tiny"), ("rlhf", "second")]
    shutil.rmtree(here / "runs/tiny/stages/08-swe-rl")
    assert locate("runs/tiny").stage == "code-rl"


def test_one_benchmark_of_a_stage_or_of_results(here: Path) -> None:
    of_run, results = read_things(["runs/tiny/stages/04-rlhf/eval/maths.json", "evals/base/aime24.json"])
    assert (list(of_run.measures), list(results.measures)) == (["maths"], ["aime24"])


def test_what_was_set_aside_can_be_named_by_its_path(here: Path) -> None:
    (here / "runs/tiny/stages/04-rlhf").rename(here / "runs/tiny/stages/04-rlhf.old-1")
    recipe = here / "runs/tiny/recipe.yaml"
    recipe.write_text(recipe.read_text() + "benchmarks:\n- {name: maths, temperature: 0.6}\n")
    old, new, _ = read_things(["runs/tiny/stages/04-rlhf.old-1", "runs/tiny:5", "runs/second"])
    assert (old.label, new.label) == ("tiny:04-rlhf.old-1", "tiny:if-rl")
    # how it was drawn is not known any more: the recipe is another one
    assert (old.results["maths"].settings, new.results["maths"].settings) == ({}, {"temperature": 0.6})


@pytest.mark.parametrize(
    "given, told",
    [
        (["runs/tinny"], "did you mean tiny?"),
        (["runs/tiny:rlfh"], "did you mean rlhf? its stages: 01-sft-1, "),
        (["runs/tiny:9"], "has no stage '9'"),
        (["evals/base:rlhf"], "evals/base is no run directory"),
        (["runs/tiny:reward-model"], "reward-model has not been scored yet"),
        (["evals"], "did you mean evals/base or evals/tuned?"),
        (["runs"], "did you mean runs/second or runs/tiny?"),
        (["evals/base/aime24.samples.jsonl"], "is no result of a benchmark"),
        (["runs/tiny", "runs/tiny"], "runs/tiny is named twice"),
        (["runs/tiny", "runs/tiny/"], "is named twice"),
        (["runs/tiny"], "name two things or more"),
        (["runs/tiny", "evals/base"], "no benchmark is shared with tiny: tiny has knowledge, "),
        (["runs/tiny", "runs/second", "--names", "a"], "--names needs 2 different names"),
        (["runs/tiny", "runs/second", "--names", "a,a"], "--names needs 2 different names"),
    ],
)
def test_mistakes_are_told_with_what_could_be_meant(here: Path, given: list[str], told: str) -> None:
    status, text = invoked(*given)
    assert status == 1 and told in text


def test_what_is_begun_and_not_finished_is_named(here: Path) -> None:
    """A run at work, an evaluation that was killed: what is compared is said, and what is left out."""
    build_run(here / "runs/atwork", steps=2, stages=("sft-1", "sft-2"), running="rlhf")
    flat = " ".join(invoked("runs/second", "runs/atwork")[1].split())
    assert "! atwork is compared after sft-2: rlhf is not scored yet" in flat
    assert "second is compared after" not in flat
    (here / "evals/base/ifeval.settings.json").write_text("{}")
    assert "! base: left out: ifeval, which is not finished" in invoked("evals/base", "evals/tuned")[1]


def test_all_faults_are_told_at_once(here: Path) -> None:
    (here / "evals/base/aime24.json").write_text("{")
    with pytest.raises(InputError) as error:
        read_things(["runs/tinny", "evals/nowhere"])
    assert len(str(error.value).splitlines()) == 2
    (here / "runs/tiny/stages/08-swe-rl/scorecard.json").write_text("{}")
    with pytest.raises(InputError) as error:
        read_things(["evals/base", "runs/tiny", "runs/second"])
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    "given, wanted",
    [
        (["runs/tiny", "runs/second"], ("tiny", "second")),
        (["runs/tiny:4", "runs/tiny:5", "runs/tiny"], ("rlhf", "if-rl", "tiny")),
        (["runs/tiny:4", "runs/second:rlhf"], ("tiny:rlhf", "second:rlhf")),
        (["runs/tiny", "other/tiny"], ("runs/tiny", "other/tiny")),
        (["runs/tiny:4", "other/tiny:4", "evals/base"], ("runs/tiny:rlhf", "other/tiny:rlhf", "base")),
        (["evals/base/aime24.json", "evals/tuned/aime24.json"], ("base", "tuned")),
        (["evals/base/aime24.json", "evals/base"], ("base/aime24", "evals/base")),
    ],
)
def test_labels_are_short_and_distinct(here: Path, given: list[str], wanted: tuple[str, ...]) -> None:
    shutil.copytree(here / "runs/tiny", here / "other/tiny")
    assert labels([locate(name) for name in given]) == wanted


# ---------------------------------------------------------------- damage


def cut(path: Path) -> None:
    path.write_text(path.read_text()[:-20])


def renamed(path: Path) -> None:
    path.write_text(path.read_text().replace('"aime24"', '"aime25"', 1))


def no_score(path: Path) -> None:
    path.write_text(path.read_text().replace('"mean"', '"maen"'))


def torn(path: Path) -> None:
    path.write_text(path.read_text() + "{")


@pytest.mark.parametrize(
    "name, harm, told",
    [
        ("evals/base/aime24.json", cut, "is no JSON"),
        ("evals/base/aime24.json", renamed, "says that it is of 'aime25'"),
        ("evals/base/aime24.json", no_score, "has no key 'mean'"),
        ("evals/base/aime24.samples.jsonl", torn, "line 151 is no JSON"),
        ("evals/base/aime24.problems.jsonl", torn, "line 31 is no JSON"),
    ],
)
def test_damage_is_named_and_nothing_is_compared(here: Path, name: str, harm: Any, told: str) -> None:
    harm(here / name)
    status, text = invoked("evals/base", "evals/tuned")
    assert status == 1 and told in text and name in text


@pytest.mark.parametrize("harm, told", [(cut, "is no JSON"), (no_score, "has no key 'mean'")])
def test_a_damaged_scorecard_is_named_and_no_earlier_one_taken(here: Path, harm: Any, told: str) -> None:
    harm(here / "runs/tiny/stages/08-swe-rl/scorecard.json")
    status, text = invoked("runs/second", "runs/tiny")
    assert status == 1 and told in text and "08-swe-rl/scorecard.json" in text


# ---------------------------------------------------------------- settings and problems


def test_settings_of_the_recipe_and_of_results_are_compared(here: Path) -> None:
    recipe = here / "runs/tiny/recipe.yaml"
    recipe.write_text(recipe.read_text() + "benchmarks:\n- {name: maths, temperature: 0.6, k: 4}\n")
    recipe = here / "runs/second/recipe.yaml"
    recipe.write_text(recipe.read_text() + "benchmarks:\n- {name: maths, temperature: 1.0, k: 4}\n")
    found = shown_of("runs/tiny", "runs/second").compared.at("maths", "second")
    assert found is not None and found.answer is Answer.OTHER
    assert [d.name for d in found.differing] == ["temperature"]
    status, text = invoked("runs/tiny", "runs/second")
    flat = " ".join(text.split())
    assert status == 0 and "not comparable in maths: temperature is 0.6 of tiny and 1.0 of second;" in flat
    assert "compared across other settings" in " ".join(
        invoked("runs/tiny", "runs/second", "--across", "temperature")[1].split()
    )


def test_equal_names_of_reward_models_are_not_equal_judges(here: Path) -> None:
    for run, weights in (("tiny", "aa"), ("second", "bb")):
        stage = "08-swe-rl" if run == "tiny" else "04-rlhf"
        file = here / f"runs/{run}/stages/{stage}/eval/alignment.json"
        write_json(file, json.loads(file.read_text()) | {"judged": {"reward_model": "reward-model"}})
        entry = {"stage": "reward-model", "exports": {"reward_model": weights}}
        write_json(here / f"runs/{run}/ledger.json", {"stages": [entry]})
    found = shown_of("runs/tiny", "runs/second").compared.at("alignment", "second")
    assert found is not None and [(d.name, d.reference, d.other) for d in found.differing] == [
        ("judge", "aa", "bb")
    ]


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ({"compared_by": {"model": "a", "url": "u"}}, {"compared_by": {"model": "b", "url": "u"}}, False),
        ({"compared_by": {"model": "a", "url": "u"}}, {"compared_by": {"model": "a", "url": "v"}}, True),
        ({"compared_by": {"model": "a", "url": "u"}}, {"compared_by_reward_model": "a/b"}, False),
        (
            {"compared_by_reward_model": "rm", "compared_by_weights": "01"},
            {"compared_by_reward_model": "rm", "compared_by_weights": "02"},
            False,
        ),
    ],
)
def test_wins_before_two_judges_are_no_comparison_of_models(here: Path, one, two, same) -> None:
    write_result(here / "evals/base", "aime24", drawn(0.1, 60, 4, "a"), settings=SETTINGS | one)
    write_result(here / "evals/tuned", "aime24", drawn(0.9, 60, 4, "a"), settings=SETTINGS | two)
    found = shown_of("evals/base", "evals/tuned").compared.at("aime24", "tuned")
    assert found is not None and found.answer is (Answer.BETTER if same else Answer.OTHER)
    assert [d.name for d in found.differing] == ([] if same else ["judge"])


def test_a_text_that_was_changed_under_its_id_is_seen(here: Path) -> None:
    write_result(here / "evals/tuned", "aime24", drawn(0.8, 30, 4, "a"), text="Calculate {} + 1.")
    found = shown_of("evals/base", "evals/tuned").compared.at("aime24", "tuned")
    assert found is not None and [d.name for d in found.differing] == ["prompts"]


def test_no_stretching_is_a_statement(here: Path) -> None:
    write_result(here / "evals/tuned", "aime24", drawn(0.8, 30, 4, "a"), settings=SETTINGS | {"yarn": None})
    found = shown_of("evals/base", "evals/tuned").compared.at("aime24", "tuned")
    assert found is not None and [(d.reference, d.other) for d in found.differing] == [(2.0, None)]
    assert found.unstated == ()


# ---------------------------------------------------------------- replies


def test_the_reply_that_is_shown_is_the_one_nearest_to_the_mean(here: Path) -> None:
    before = {"p0": [0.0, 0.0, 0.0, 1.0], "p1": [1.0] * 4, "p2": [0.0] * 4}
    after = {"p0": [1.0, 1.0, 0.0, 1.0], "p1": [0.0, 1.0, 0.0, 0.0], "p2": [0.0] * 4}
    write_result(here / "evals/base", "aime24", before)
    write_result(here / "evals/tuned", "aime24", after)
    shown = shown_of("evals/base", "evals/tuned")
    far = shown.farthest["aime24", "tuned"]
    assert (far.better, far.worse) == ((("p0", 0.25, 0.75),), (("p1", 1.0, 0.25),))
    base, tuned = shown.replies["aime24", "base"], shown.replies["aime24", "tuned"]
    assert (base["p0"].step, base["p0"].reward, tuned["p0"].step, tuned["p0"].reward) == (0, 0.0, 0, 1.0)
    assert tuned["p1"].step == 0 and tuned["p1"].prompt == "Compute p1 + 1."
    assert "p2" not in base and "greedy" not in base["p0"].reply


def test_tokens_of_all_replies_over_the_seconds_of_the_evaluation(here: Path) -> None:
    took = shown_of("evals/base", "evals/tuned").took["base"]
    # 30 problems, 4 samples and a greedy reply of 31 tokens each, in 93.5 s
    assert took.evaluation_rate == pytest.approx(30 * 5 * 31 / 93.5)
    assert took.tokens == pytest.approx(812.4) and took.training_s is None
    path = here / "evals/base/aime24.samples.jsonl"
    path.write_text(path.read_text().replace('"tokens": 31', '"tokens": null', 1))
    assert shown_of("evals/base", "evals/tuned").took["base"].evaluation_rate is None


# ---------------------------------------------------------------- forms


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Five things with long names and the 15 benchmarks of the report's table."""
    root = tmp_path_factory.mktemp("evals")
    names = ("SmolLM2-135M-Instruct", "SmolLM2-360M-Instruct", "Qwen3-0.6B", "mine", "mine-longer-trained")
    return tuple(str(write_suite(root / name, 0.05 * n, seed=name)) for n, name in enumerate(names))


@pytest.mark.parametrize("count", [2, 5])
def test_the_tables_fit_into_80_columns(five: tuple[str, ...], count: int) -> None:
    text = printed(shown_of(*five[:count]), problems=False)
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert len(re.findall(r"^aime24 ", text, re.M)) == count
    assert f"Holm over {15 * (count - 1)}" in " ".join(text.split())


def test_every_number_of_the_table_is_that_of_the_json(five: tuple[str, ...]) -> None:
    shown = shown_of(*five[:2])
    text, data = printed(shown, problems=False), json.loads(dumps(compare_to_json(shown)))
    rows = {row["benchmark"]: row for row in data["comparisons"]}
    table = text[text.index("against") :]
    assert set(rows) == set(SUITE)
    for name, row in rows.items():
        if len(name) <= 14:
            line = next(line for line in table.splitlines() if line.startswith(f"{name} "))
            change = f"{100 * row['change']['mean']:+.1f}".replace("-", "\u2212")
            assert change in line and row["answer"] in line and f" {row['common']} " in line
    assert data["family"]["comparisons"] == 15 and data["family"]["level"] == pytest.approx(0.05 / 15)


def test_the_json_is_all_of_standard_output(here: Path) -> None:
    status, text = invoked("runs/second", "runs/tiny", "--json", "--names", "a,b")
    data = json.loads(text)
    assert status == 0 and [t["label"] for t in data["things"]] == ["a", "b"]
    assert data["things"][1]["matrix"]["stages"] == list(SCORED)
    kept = {row["benchmark"]: row for row in data["things"][1]["retention"]}
    assert kept["maths"]["since_own"]["mean"] == pytest.approx(0.801 - 0.819)


def test_whole_runs_show_what_was_forgotten_and_all_stages(here: Path) -> None:
    status, text = invoked("runs/second", "runs/tiny", "--stages")
    assert status == 0 and "tiny, after swe-rl: Nothing forgotten: worst retention" in text
    assert "tiny, stage by stage" in text and "second, stage by stage" in text
    page = Page(render_comparison(shown_of("runs/second", "runs/tiny")))
    ((_, section),) = page.find(id="stages")
    assert "90.1" in section and "swe-rl" in section


def test_the_page_holds_every_cell_change_and_reply(five: tuple[str, ...]) -> None:
    shown = shown_of(*five[:3], problems=2)
    page = Page(render_comparison(shown))
    cells = {
        (a["data-benchmark"], a["data-thing"]): text for a, text in page.find("cell") if "data-thing" in a
    }
    assert set(cells) == {(name, label) for name in SUITE for label in shown.compared.things}
    assert len(page.find("forest")) == 2 * (15 + 1)
    answers = [text for _, text in page.find("answer")]
    assert [a for a in answers if a in set(Answer)].count("better") == sum(
        c.answer is Answer.BETTER for c in shown.compared.comparisons
    )
    assert len(page.find("pair")) == sum(len(f.better) + len(f.worse) for f in shown.farthest.values())
    assert not {tag for tag, _ in page.elements} & {"script", "img", "link", "iframe"}
    # nothing is fetched: all links lead to places on the page
    assert all(a["href"].startswith("#") for tag, a in page.elements if tag == "a")


def test_hostile_texts_stay_texts(here: Path) -> None:
    name = "evals/<img src=x onerror=alert(1)>"
    write_result(here / name, "aime24", drawn(0.8, 30, 4, "a"), text=HOSTILE.replace("{", "") + "{}")
    write_result(here / "evals/base", "aime24", drawn(0.2, 30, 4, "a"), text=HOSTILE + "{}")
    lines = [json.loads(line) for line in (here / name / "aime24.samples.jsonl").read_text().splitlines()]
    write_lines(
        here / name / "aime24.samples.jsonl", [line | {"text": HOSTILE, "note": HOSTILE} for line in lines]
    )
    text = render_comparison(shown_of("evals/base", name))
    tags = {tag for tag, _ in Page(text).elements}
    assert not tags & {"script", "img", "iframe"} and "&lt;script&gt;" in text


@pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on PATH")
def test_nothing_of_the_page_overflows_sideways(five: tuple[str, ...], tmp_path: Path) -> None:
    probe = "<script>document.title='w'+document.documentElement.scrollWidth+'/'+innerWidth</script></body>"
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render_comparison(shown_of(*five)))
    page = tmp_path / "probe.html"
    page.write_text(text.replace("</body>", probe), encoding="utf-8")
    out = chromium(page, tmp_path / "profile", "--window-size=500,900", "--dump-dom")
    found = re.search(r"<title>w(\d+)/(\d+)</title>", out)
    assert found is not None and int(found[1]) <= int(found[2])


# ---------------------------------------------------------------- the command


def test_the_exit_status_for_ci(here: Path) -> None:
    assert invoked("evals/base", "evals/tuned", "--fail-on-loss")[0] == 0
    assert invoked("evals/tuned", "evals/base")[0] == 0
    assert invoked("evals/tuned", "evals/base", "--fail-on-loss")[0] == 4
    write_result(
        here / "evals/tuned", "aime24", drawn(0.8, 30, 4, "a"), settings=SETTINGS | {"temperature": 1.0}
    )
    status, text = invoked("evals/base", "evals/tuned", "--fail-on-loss")
    assert status == 1 and "could not be compared, so nothing is known: aime24 of tuned" in text
    assert "fail-on-loss` a loss" in " ".join(CliRunner().invoke(cli.app, ["--help"]).output.split())


def test_one_mode_for_all(here: Path) -> None:
    shown = shown_of("runs/second", "runs/tiny", mode=Mode.INSTRUCT)
    assert all(c.change and not c.differing for c in shown.compared.comparisons)
    assert invoked("evals/base", "evals/tuned", "--mode", "instruct")[1].count("in instruct mode") >= 1


def test_the_page_is_written_and_named(here: Path) -> None:
    status, text = invoked("evals/base", "evals/tuned", "--page", "out.html", "--problems", "1")
    assert status == 0 and "Page: out.html" in text
    assert (here / "out.html").read_text().startswith("<!DOCTYPE html>")
    assert "where tuned and base differ most" in " ".join(text.split())


def test_stages_of_a_run_as_the_program_writes_it(tmp_path: Path) -> None:
    """The reader against the writer: a run of seconds, its stages held against each other and a copy."""
    go(tmp_path / "small")
    shutil.copytree(tmp_path / "small", tmp_path / "copy")
    shown = shown_of(f"{tmp_path}/small:sft", f"{tmp_path}/small:rlhf", f"{tmp_path}/copy")
    assert shown.compared.things == ("small:sft", "small:rlhf", "copy")
    for c in shown.compared.comparisons:
        assert c.answer is Answer.OPEN and c.common == 2 and not c.differing and not c.unstated
    one, two = (shown.compared.at("alignment", label) for label in ("small:rlhf", "copy"))
    assert one and two and one.change == two.change
    assert shown.things[0].results["alignment"].settings["temperature"] == 0.6
    took = shown.took["copy"]
    assert took.training_s and took.sampled and took.trained and took.evaluation_s
    assert "stage by stage" in printed(shown)


def test_results_as_the_program_writes_them(tmp_path: Path) -> None:
    """The reader against the other writer: two scripted models on one benchmark, every file by its own code."""
    problems = tuple(problem(i) for i in range(30))
    settings = bench(toy(), problems, k=2, greedy=True).spec.model_dump(mode="json") | {
        "model": "m",
        "yarn": None,
    }
    for name, knows in (("base", 8), ("tuned", 24)):
        held = bench(toy(), problems, k=2)
        replies = ScriptedSampler(
            lambda asked, knows=knows: thought(asked.answer if int(asked.answer) < knows else "x")
        )
        (tmp_path / name).mkdir()
        measure(held, replies, Services(), Shelf(tmp_path / name, held, settings), Asking())
    shown = shown_of(f"{tmp_path}/base", f"{tmp_path}/tuned")
    (found,) = shown.compared.comparisons
    assert found.answer is Answer.BETTER and (found.common, found.only) == (30, (0, 0))
    assert found.change is not None and found.change.change == pytest.approx(16 / 30)
    assert not found.differing and not found.beside and not found.unstated
    assert [thing.model for thing in shown.things] == ["m", "m"]
    rose = shown.farthest["toy", "tuned"].better
    assert [row[1:] for row in rose] == [(0.0, 1.0)] * 5
    replies = [shown.replies["toy", label][rose[0][0]] for label in ("base", "tuned")]
    assert [(r.reward, r.outcome, r.prompt) for r in replies] == [
        (0.0, "wrong", f"say {rose[0][0][4:]}"),
        (1.0, "right", f"say {rose[0][0][4:]}"),
    ]
