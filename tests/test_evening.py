"""docs/evening.md by its script: figures against the files of runs, pages that no reply breaks, parts that stay."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fake_run import MEANS, STAGES, build_run, write_json, write_lines
from markdown_it import MarkdownIt
from tokenizers import Tokenizer, models, pre_tokenizers

from cascade_rl.data.abilities import load_recipe
from cascade_rl.errors import InputError
from cascade_rl.report.numbers import duration
from cascade_rl.run.ledger import recipe_text
from cascade_rl.run.rollouts import stored_group, stored_problem
from cascade_rl.train.preferred import SCORE
from cascade_rl.types import Group, Message, Mode, Outcome, Problem, Rollout, Stop, Verdict

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import evening
import evening_keep
import evening_samples
import plan_checks
from evening_answers import PART, answers_part, cut, fenced
from evening_changes import mean_change, step_change
from evening_pictures import MOST_BYTES, pictures
from evening_runs import read_told
from evening_tables import PARTS, ablation_part, short_part
from evening_time import time_part

PAGES = Path(__file__).parent.parent
TRAINED = {
    "rlhf": ["alignment"], "if-rl": ["following"], "math-rl": ["maths"], "code-rl": ["coding"], "swe-rl": ["repair"],
}  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


def a_run(root, seed=0, **options):
    """The files of a run under the shipped recipe, whose stages they name; nothing trains for `knowledge`."""
    build_run(root, **options)
    recipe = yaml.safe_load(recipe_text(load_recipe("tiny", [f"seed={seed}"])))
    for one in recipe["benchmarks"]:
        one["name"] = {"swe": "repair"}.get(one["name"], one["name"])
    recipe["benchmarks"].append(recipe["benchmarks"][0] | {"name": "knowledge", "domain": "multiple_choice"})
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    found = json.loads((root / "matrix.json").read_text())
    found["benchmarks"]["knowledge"]["own_stage"] = None
    write_json(root / "matrix.json", found)
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    here = tmp_path_factory.mktemp("runs")
    return [a_run(here / f"run-{seed}", seed, steps=12) for seed in (0, 1)]


@pytest.fixture(scope="module")
def runs(folders):
    """Not to be changed."""
    return [read_told(folder) for folder in folders]


@pytest.fixture
def own(folders, tmp_path):
    """To be changed."""
    return [read_told(Path(shutil.copytree(folder, tmp_path / folder.name))) for folder in folders]


def rows_of(part):
    """First cell (and second) of each row of the first table, to its cells."""
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_matrix_has_the_scores_of_the_files(runs):
    part = PARTS["matrix"](runs)
    head, _, *rows = rows_of(part.split("All in the")[0])
    assert [cell.split("<br>")[0] for cell in head] == ["after", *MEANS]
    assert [row[0] for row in rows] == [name for name in STAGES if name != "reward-model"]
    for row in rows:
        scores = json.loads((runs[0].folder / "matrix.json").read_text())["benchmarks"]
        for name, cell in zip(MEANS, row[1:], strict=True):
            score = scores[name]["scores"][row[0]]
            own = row[0] in TRAINED and name in TRAINED[row[0]]
            mean = f"{100 * score['mean']:.1f}"
            bounds = f"<sub>{100 * score['low']:.1f}–{100 * score['high']:.1f}</sub>"
            expected = f"{'**' * own}{mean}{'**' * own} {bounds}"
            assert cell.split("<br>") == [expected] * 2
    assert part.count("All in the") == 2  # modes


def problems(told, stage, name):
    folder = next(told.folder.glob(f"stages/*-{stage}"))
    card = json.loads((folder / "scorecard.json").read_text())["benchmarks"][name]
    return card["modes"][card["headline"]]["per_problem"]


def rescored(told, stage, name, change):
    """Another seed's scores of the problems, and with `change` of their names."""
    path = next(told.folder.glob(f"stages/*-{stage}")) / "scorecard.json"
    data = json.loads(path.read_text())
    card = data["benchmarks"][name]
    mode = card["modes"][card["headline"]]
    mode["per_problem"] = change(mode["per_problem"])
    path.write_text(json.dumps(data))


def test_gains_are_the_mean_difference_of_each_problem(own):
    def worse(scores):
        return {name: 0.0 if i < 20 else score for i, (name, score) in enumerate(sorted(scores.items()))}

    rescored(own[1], "math-rl", "maths", worse)
    runs = [read_told(told.folder) for told in own]
    expected = []
    for told in runs:
        before, after = (problems(told, stage, "maths") for stage in ("if-rl", "math-rl"))
        expected.append(sum(after[name] - before[name] for name in before) / len(before))
        assert step_change(told, "maths", "math-rl").change == pytest.approx(expected[-1])
    assert expected[0] != expected[1]
    mean = mean_change(runs, "maths", "math-rl")
    assert mean.change == pytest.approx(sum(expected) / 2) and mean.paired
    assert mean.low < mean.change < mean.high
    row = next(row for row in rows_of(PARTS["gains"](runs)) if row[:2] == ["math-rl", "maths"])
    assert row[2].startswith(f"+{100 * expected[0]:.1f}")
    assert all(row[0] != "reward-model" for row in rows_of(PARTS["gains"](runs)))
    apart = re.search(r"differ by ([\d.]+) points at most", PARTS["gains"](runs)).group(1)
    assert float(apart) == pytest.approx(100 * abs(expected[0] - expected[1]), abs=0.051)


def test_seeds_with_other_problems_are_averaged_as_independent(own):
    for stage in ("if-rl", "math-rl"):
        rescored(own[1], stage, "maths", lambda scores: {f"other-{name}": s for name, s in scores.items()})
    runs = [read_told(told.folder) for told in own]
    mean = mean_change(runs, "maths", "math-rl")
    one = step_change(runs[0], "maths", "math-rl")
    assert not mean.paired and mean.change == pytest.approx(one.change)
    # two like halves: the width over the root of two
    assert mean.high - mean.change == pytest.approx((one.high - one.change) / math.sqrt(2))


def test_what_rl_won_is_the_end_against_the_last_sft(runs):
    rows = rows_of(PARTS["rl"](runs))[2:]
    assert {row[0] for row in rows} == set(MEANS) and "after sft-2" in PARTS["rl"](runs)
    row = next(row for row in rows if row[0] == "maths")
    cards = [
        json.loads((runs[0].folder / f"stages/{name}/scorecard.json").read_text())
        for name in ("02-sft-2", "08-swe-rl")
    ]
    before, after = (card["benchmarks"]["maths"]["modes"][row[1]]["per_problem"] for card in cards)
    change = 100 * sum(after[name] - before[name] for name in before) / len(before)
    assert row[2].startswith(f"{change:+.1f}".replace("-", "−")) and len(row) == 5


def test_what_moves_in_passing_is_told_and_nothing_else(runs):
    part = PARTS["leaks"](runs)
    told = {(row[0], row[1]) for row in rows_of(part)[2:]}
    assert ("rlhf", "following") in told
    for stage, name in told:
        assert name not in TRAINED.get(stage, ["alignment", "following", "maths", "coding", "repair"])
        assert any(step_change(one, name, stage).verdict != "same" for one in runs)
    row = next(row for row in rows_of(part) if row[:2] == ["rlhf", "following"])
    assert "▼" in row[2] and row[2].startswith("−20.7")
    moved = [sum(any(mark in row[2 + seed] for mark in "▲▼") for row in rows_of(part)[2:]) for seed in (0, 1)]
    assert f"{moved[0]} with seed 0 and {moved[1]} with seed 1 moved." in part


def test_the_end_is_held_against_the_own_stage_or_the_first_score(runs):
    rows = {row[0]: row for row in rows_of(PARTS["kept"](runs))[2:]}
    assert set(rows) == set(MEANS) - {"repair"}  # its own stage is the last
    assert rows["maths"][1] == "math-rl" and rows["maths"][2].startswith("−1.8")
    assert rows["knowledge"][1] == "none; its first score (sft-1)" and rows["knowledge"][2].startswith("+5.7")


def test_ablations_are_held_against_the_run_problem_by_problem(runs, tmp_path):
    without = a_run(tmp_path / "without", stages=[s for s in STAGES if s != "swe-rl"])
    recipe = yaml.safe_load((without / "recipe.yaml").read_text())
    stages = recipe["stages"]
    if_rl = next(stage for stage in stages if stage["name"] == "if-rl")
    if_rl["lr"] *= 2
    recipe["stages"] = [stage for stage in stages if stage["name"] != "swe-rl"]
    (without / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    shutil.copytree(without, tmp_path / "going")
    recipe["stages"] = stages[::-1]  # swe-rl is still to come, behind the last that was scored
    recipe["stages"].sort(key=lambda stage: stage["name"] == "swe-rl")
    (tmp_path / "going/recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    ended, going = ablation_part(runs[0], [read_told(without), read_told(tmp_path / "going")]).split(
        "Another run"
    )[1:]
    assert "without `swe-rl`; `stages.if-rl.lr`" in ended and f"here {if_rl['lr'] / 2}" in ended
    assert "at the end (code-rl; swe-rl)" in ended
    assert "in the order code-rl, math-rl" in going and "after code-rl, as far as it went" in going
    other = read_told(without)
    for part, name in ((ended, "swe-rl"), (going, "code-rl")):
        row = next(row for row in rows_of(part) if row[0] == "repair")
        before, after = problems(other, "code-rl", "repair"), problems(runs[0], name, "repair")
        change = 100 * sum(after[name] - before[name] for name in before) / len(before)
        assert row[3].startswith(f"+{change:.1f}▲" if name == "swe-rl" else "0.0 ")


HOSTILE = (
    "```\n</details>\n<!-- /evening -->\n````python\nx\n````\n<think>\n| a | b |\n<img src=x>\n"
    "<!-- evening:matrix -->\n~~~\n# heading"
)


def answer(text, prompt, problem="p", mode="thinking"):
    line = {"problem": problem, "mode": mode, "sample": 0, "text": text, "stop": "length", "tokens": 9}
    return line | {
        "reward": 0.0,
        "outcome": "wrong",
        "note": "",
        "parts": {},
        "answer": None,
        "prompt": prompt,
    }


def with_answers(told, replies, name="maths"):
    for place, stage in enumerate(told.stages):
        folder = next(told.folder.glob(f"stages/*-{stage}"))
        write_lines(folder / "eval" / f"{name}.answers.jsonl", replies(stage, place))
    return read_told(told.folder)


def test_no_reply_breaks_out_of_its_block(own):
    told = with_answers(own[0], lambda stage, _: [answer(f"{stage}\n{HOSTILE}", HOSTILE)])
    part = answers_part([told])
    tokens = MarkdownIt("commonmark").parse(part)
    blocks = [token.content for token in tokens if token.type == "fence"]
    # at the start, before its own stage, after it, at the end: and the prompt before them
    assert [block.split("\n")[0] for block in blocks[1:]] == ["sft-1", "if-rl", "math-rl", "swe-rl"]
    assert all("<img src=x>" in block and "# heading" in block for block in blocks)
    outside = [token.content for token in tokens if token.type in ("html_block", "inline", "heading")]
    assert "<img" not in "".join(outside) and "# heading" not in "".join(outside)
    page = evening.filled(f"{evening.begin('answers')}\n{evening.END}\nprose\n", "answers", part)
    assert evening.filled(page, "answers", part) == page and page.endswith("prose\n")
    assert evening.names(page) == ["answers"]


def test_prompts_of_non_commercial_sets_are_quoted_and_kept_in_part(own, tmp_path):
    prompt = (
        "Tom has 3 apples and buys 4 more apples in the shop beside the church of the next town. How many?"
    )
    for source, whole in (("asdiv", False), ("gsm-like", True)):
        recipe = yaml.safe_load((own[0].folder / "recipe.yaml").read_text())
        next(b for b in recipe["benchmarks"] if b["name"] == "maths")["source"] = source
        (own[0].folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        told = with_answers(own[0], lambda *_: [answer("7", prompt)])
        assert (prompt in answers_part([told])) is whole
        assert prompt[:PART].rstrip() in answers_part([told])
        file = tmp_path / f"{source}.tar.xz"
        evening_keep.keep(told.folder, file)
        again = evening_keep.unpacked(file, tmp_path)
        assert answers_part([read_told(again)]) == answers_part([told])
        kept = "".join(path.read_text() for path in again.rglob("*.answers.jsonl"))
        assert (prompt in kept) is whole and prompt[:PART].rstrip() in kept


def test_three_prompts_of_a_domain_by_turns_of_its_benchmarks(own):
    recipe = yaml.safe_load((own[0].folder / "recipe.yaml").read_text())
    next(b for b in recipe["benchmarks"] if b["name"] == "coding")["domain"] = "maths"
    (own[0].folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for name in ("maths", "coding"):
        told = with_answers(
            own[0], lambda *_, n=name: [answer("r", f"{n} {i}", f"p{i}") for i in range(3)], name
        )
    prompts = re.findall(r"^(maths|coding) (\d)$", answers_part([told]), re.MULTILINE)
    assert prompts == [("maths", "0"), ("coding", "0"), ("maths", "1")]


def test_long_texts_are_cut_and_say_so():
    assert cut("abc ", 3) == "abc"
    assert cut("abcdef", 3) == "abc [... 3 characters more]"
    shown, _, left = cut("x\n" * 400, 10_000).partition(" [... ")
    assert len(shown) + int(left.split()[0]) == 799
    assert fenced("a ```` b").startswith("`````text\n")


def test_pictures_stand_alone_and_show_every_score(runs):
    made = {name: svg for name, _, svg in pictures(runs)}
    assert {f"evening-{s}.svg" for s in TRAINED} | {"evening-benchmarks.svg", "evening-losses.svg"} == set(
        made
    )
    for svg in made.values():
        assert len(svg.encode()) < MOST_BYTES
        root = ET.fromstring(svg)
        assert root.tag == f"{SVG}svg" and "var(" not in svg and "prefers-color-scheme:dark" in svg
        assert {"seed 0", "seed 1"} <= {text.text for text in root.iter(f"{SVG}text")}
        assert 'class="hit"' not in svg and "nan" not in svg.lower()
    benchmarks = ET.fromstring(made["evening-benchmarks.svg"])
    dots = [c for c in benchmarks.iter(f"{SVG}circle") if c.get("class") != "own"]
    rings = [c for c in benchmarks.iter(f"{SVG}circle") if c.get("class") == "own"]
    assert len(dots) == 2 * len(MEANS) * (len(STAGES) - 1) and len(rings) == 2 * len(TRAINED)
    # the axis of maths ends at 100, its values are shares of it
    first = [float(c.get("cy")) for c in dots[: len(STAGES) - 1]]
    means = MEANS["knowledge"]
    slope = (first[1] - first[0]) / (means[1] - means[0])
    for at, mean in zip(first, means, strict=True):
        assert at == pytest.approx(first[0] + slope * (mean - means[0]), abs=0.2)


def test_stages_that_a_run_has_not_come_to_have_no_curve_of_its_own(runs, tmp_path):
    # of a stage without a journal nothing tells its kind
    early = read_told(a_run(tmp_path / "early", 1, stages=STAGES[:4], steps=12))
    for order in ([early, runs[0]], [runs[0], early], [early]):
        made = {name: svg for name, _, svg in pictures(order)}
        titles = {
            t.text
            for t in ET.fromstring(made["evening-losses.svg"]).iter(f"{SVG}text")
            if t.get("class") == "title"
        }
        assert {title.split(":")[0] for title in titles} == {"sft-1", "sft-2", "reward-model"}
        assert "evening-rlhf.svg" in made and ("evening-math-rl.svg" in made) is (len(order) == 2)
    row = next(row for row in rows_of(PARTS["matrix"]([early, runs[0]])) if row[0] == "math-rl")
    assert row[4].startswith("–<br>**81.9**")


def page(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    text = (PAGES / "docs/evening.md").read_text()
    for name in evening.names(text):
        text = evening.filled(text, name, "as it was")
    (docs / "evening.md").write_text(text)
    (tmp_path / "README.md").write_text(
        "# x\n\n## Try it\n\n```\n# Try it\n## no heading\n```\n\n### deeper\n\n## Then\n\nz\n"
    )
    return docs


def test_the_page_is_written_again_with_the_same_bytes(folders, tmp_path):
    docs, said, made = page(tmp_path), [], []
    for _ in range(2):
        evening.publish(folders, [], docs, "Try it", said.append)
        text, front = (docs / "evening.md").read_text(), (tmp_path / "README.md").read_text()
        files = {path.name: path.read_bytes() for path in (docs / "pictures").iterdir()}
        made.append((text, front, files))
    assert made[0] == made[1]
    assert said == ["evening.md: the part `ablation` stays as it is: its runs are not all there"] * 2
    assert text.count("as it was") == 1
    frame = (PAGES / "docs/evening.md").read_text()
    between = re.compile(r"(<!-- evening:[a-z]+ -->\n).*?(<!-- /evening -->)", re.DOTALL)
    assert between.sub(r"\1\2", text) == between.sub(r"\1\2", frame)
    # at the end of the section, after what is deeper, before the next
    assert front.index("### deeper") < front.index("<!-- evening:matrix -->") < front.index("## Then")
    assert front.count("<!-- evening:matrix -->") == 1 and "| rlhf | 77.8<br>" in front
    assert all(f"pictures/{name}" in text for name in files)


def test_a_run_that_is_not_there_leaves_its_parts(folders, tmp_path):
    docs, said = page(tmp_path), []
    evening.publish([folders[0], tmp_path / "none"], [], docs, None, said.append)
    text = (docs / "evening.md").read_text()
    stays = {name for name in evening.names(text) if f"{evening.begin(name)}\nas it was\n" in text}
    assert stays == {"matrix", "gains", "rl", "kept", "leaks", "pictures", "time", "ablation"}
    assert str(tmp_path / "none") in said[0] and len(said) == 1 + len(stays)
    evening.publish([tmp_path / "none", folders[0]], [], docs, None, said.append)
    assert (docs / "evening.md").read_text() == text
    assert "evening:" not in (tmp_path / "README.md").read_text()


def test_times_are_the_run_s_own_beside_the_plan_s(runs):
    part = time_part(runs)
    rows = {row[0]: row for row in rows_of(part)[2:]}
    assert set(rows) == {*STAGES, "**all**"}
    # of the files: 12 steps, each with the same seconds and tokens
    assert rows["math-rl"][2:5] == ["3.7 s", "0.2 s", "2.2 s"] and rows["math-rl"][5] == "9.1 s"
    assert rows["math-rl"][8:10] == ["74,400", "20,000"] and rows["math-rl"][11:13] == ["0.11 M", "50,000"]
    limits = (0.0085 + 0.08) / 0.31, 0.099 / 0.18
    assert [rows["math-rl"][10], rows["math-rl"][13]] == [f"{100 * limit:.0f}" for limit in limits]
    assert rows["sft-1"][8] == "–" and rows["**all**"][8] == f"{5 * 74_400 / 1e6:.2f} M"
    seconds = json.loads((runs[0].folder / "matrix.json").read_text())["seconds"]
    assert rows["math-rl"][1] == f"{seconds['math-rl']:.0f} s"
    assert "Seed 1: " in part and all(re.fullmatch(r".+ \(\d+\.\d\d\)", row[7]) for row in rows.values())
    plan = make_plan_of(runs[0])
    assert rows["math-rl"][7].startswith(duration(plan.stage_seconds()["math-rl"]))


def make_plan_of(told):
    return plan_checks.plan_of(told.measured, told.folder, None)


def test_places_that_are_not_there_are_named():
    with pytest.raises(InputError, match="evening:gains"):
        evening.filled("text", "gains", "x")
    with pytest.raises(InputError, match="must stand in the page once"):
        evening.filled(f"{evening.begin('a')}\n{evening.begin('b')}\n{evening.END}\n", "a", "x")
    with pytest.raises(InputError, match="no heading 'Y'; there are: X"):
        evening.inserted("# X\n", "matrix", "Y")


def test_readme_has_the_headline_of_one_seed(runs):
    part = short_part(runs[:1], "Title")
    rows = rows_of(part)
    assert part.startswith("## Title\n") and "2 workers" in part and "seed 1" not in part
    assert len(rows) == 1 + len(STAGES) and all(len(row) == 1 + len(MEANS) for row in rows)
    assert rows[1 + STAGES.index("math-rl")][4].startswith("**81.9**<br><sub>")
    both = rows_of(short_part(runs, "Title"))
    assert both[:-1] == rows and both[-1][0] == f"{STAGES[-1]}, seed 1"
    ends = [row.scores.get(STAGES[-1]) for row in runs[1].matrix.rows]
    assert [cell.strip("*").split("*")[0].split("<")[0] for cell in both[-1][1:]] == [
        f"{100 * s.mean:.1f}" for s in ends
    ]


def test_readme_says_why_a_model_that_knows_no_mode_begins_with_zeros(own):
    told = own[0]
    assert "hence its zeros" not in short_part([told], "Title")
    row = told.matrix.rows[1]
    cells = row.modes[told.stages[0]]
    cells[row.headline] = replace(cells[row.headline], leak=1.0)
    said = f"No reply of `{told.stages[0]}` keeps the {row.headline} mode: hence its zeros."
    assert said in short_part([told], "Title")


def test_readme_shows_a_suite_that_is_asked_in_both_modes_once(tmp_path):
    folder = a_run(tmp_path / "twice")
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    for one in recipe["benchmarks"][1:3]:
        one["suite"] = "ifeval"
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    told = read_told(folder)
    shown = rows_of(short_part([told], "Title"))[0]
    names = [row.name for row in told.matrix.rows]
    assert shown == ["after", *(name for name in names if name != recipe["benchmarks"][2]["name"])]


def a_group(step, problem, rewards, domain="maths"):
    asked = Problem(problem, domain, (Message("user", f"ask {problem}"),), "7").in_mode(Mode.INSTRUCT)
    replies = tuple(Rollout.of_text(f"{problem} {step} {i}", Stop.END) for i in range(len(rewards)))
    outcomes = {None: Outcome.GRADER_ERROR, 0.0: Outcome.WRONG}
    verdicts = tuple(Verdict(reward, outcomes.get(reward, Outcome.RIGHT)) for reward in rewards)
    return step, Group(asked, replies, verdicts)


def as_graded(groups):
    return evening_samples.rewarded(
        (step, group, [v.reward for v in group.verdicts]) for step, group in groups
    )


def test_the_samples_are_the_best_of_each_span_and_of_different_problems():
    groups = [a_group(step, f"p{step % 7}", [0.1, (step + 20) / 100, None]) for step in range(40)]
    replies = list(as_graded(groups))
    assert len(replies) == 80  # those without a reward are none
    found = evening_samples.chosen("s", replies, 4)
    # by hand: steps 9, 19, 29 and 39 are the highest of their spans and ask p2, p5, p1, p4
    assert [(one.step, one.problem, one.reward) for one in found] == [
        (9, "p2", 0.29), (19, "p5", 0.39), (29, "p1", 0.49), (39, "p4", 0.59),
    ]  # fmt: skip
    # with seven spans of a step each and one problem in two of them, the next best problem of all fills the place
    two = [a_group(step, "same" if step < 2 else "other", [1.0 - step / 10]) for step in range(3)]
    two.append(a_group(2, "third", [0.05]))
    got = evening_samples.chosen("s", list(as_graded(two)), 3)
    assert [(one.step, one.problem) for one in got] == [(0, "same"), (2, "other"), (2, "third")]
    # of equal rewards the same one each time, whatever their order, and never all of one step
    equal = list(as_graded(a_group(step, f"q{step}", [1.0] * 4) for step in range(30)))
    once = evening_samples.chosen("s", equal, 20)
    assert once == evening_samples.chosen("s", equal[::-1], 20) != evening_samples.chosen("t", equal, 20)
    assert len({one.step for one in once}) == len({one.problem for one in once}) == 20
    assert {one.place for one in once} > {0}
    assert len(evening_samples.chosen("s", replies, 20)) == 7 and evening_samples.chosen("s", [], 4) == []


def test_a_reply_that_was_cut_off_is_shown_where_it_earned_something():
    """The file has what the grader says; whether a cut-off reply gets it is the stage's rule, step by step."""
    stage = load_recipe("smollm2-evening").stage("math-rl")
    phases = [(first, rule.overlong) for first, _, rule in stage.phases()]
    assert [rule for _, rule in phases] == ["mask", "zero"]
    groups = [a_group(step, "p", [1.0, 1.0]) for step, _ in phases]
    cut = [
        (step, replace(g, rollouts=(replace(g.rollouts[0], stop=Stop.LENGTH), g.rollouts[1])))
        for step, g in groups
    ]
    assert [row for *_, row in evening_samples.earned(stage, cut)] == [[None, 1.0], [0.0, 1.0]]
    scored = stage.model_copy(update={"overlong": "score", "curriculum": []})
    assert [row for *_, row in evening_samples.earned(scored, cut)] == [[1.0, 1.0], [1.0, 1.0]]


def test_a_reward_models_score_decides_which_of_the_right_replies_earned_most():
    """By the closed form for three scores of mean 0 and deviation 1: sigmoid of -1, 0, 1."""
    stage = load_recipe("smollm2-evening").stage("if-rl")
    step, group = a_group(0, "p", [1.0, 1.0, 0.0], domain="following")
    verdicts = [replace(v, parts={SCORE: s}) for v, s in zip(group.verdicts, [-1.0, 1.0, 0.0], strict=True)]
    [(_, _, row)] = evening_samples.earned(stage, [(step, replace(group, verdicts=tuple(verdicts)))])
    assert row == pytest.approx([1 + 1 / (1 + math.e), 2 - 1 / (1 + math.e), 0.0], abs=1e-5)


def test_samples_are_printed_for_a_terminal(own, capsys, monkeypatch):
    folder = own[0].folder
    groups = [a_group(step, f"p{step}", [0.5, 1.0]) for step in range(4)]
    lines = [
        line for step, group in groups for line in (stored_problem(group.problem), stored_group(step, group))
    ]
    write_lines(folder / "stages/06-math-rl/rollouts.jsonl", lines)
    (folder / "stages/01-sft-1/rollouts.jsonl").touch()
    (folder / "tokenizer").mkdir()
    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer/tokenizer.json"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["x", str(folder), "--count", "2"])
    evening_samples.main()
    out = capsys.readouterr().out
    assert "math-rl: 8 replies with a reward; the highest is 1\n4 have it, with 4 different texts\n" in out
    assert "sft-1" not in out and out.count("reward 1 right, 3 tokens, step") == 2
    assert all(len(line) <= 80 for line in out.splitlines()) and out.count("  prompt:\n    ask p") == 2
    assert evening_samples.wrapped("a\x1b[2Jb\nc", 80) == "    a\ufffd[2Jb\n    c"
    monkeypatch.setattr(sys, "argv", ["x", str(folder), "--stage", "no"])
    with pytest.raises(SystemExit, match="there are: math-rl"):
        evening_samples.main()


# ---------------------------------------------------------------- what is kept of a run


def test_what_is_kept_tells_the_same_as_the_run(folders, runs, tmp_path):
    found = []
    for folder in folders:
        (folder / "base").mkdir(exist_ok=True)
        (folder / "base" / "model.safetensors").write_bytes(b"weights")
        aside = folder / "stages/04-rlhf.old-1"
        aside.mkdir(exist_ok=True)
        write_json(aside / "scorecard.json", {"of": "a recipe before"})
        file = tmp_path / f"{folder.name}.tar.xz"
        assert evening_keep.keep(folder, file) == file.stat().st_size
        found.append(evening_keep.unpacked(file, tmp_path))
    again = [read_told(folder) for folder in found]
    for name, make in evening.makers(again, again[1:], whole=True).items():
        assert make() == evening.makers(runs, runs[1:], whole=True)[name](), name
    names = {path.name for folder in found for path in folder.rglob("*") if path.is_file()}
    assert "scorecard.json" in names and not names & {"model.safetensors", "rollouts.jsonl"}
    assert not [path for folder in found for path in folder.rglob("*.old-*")]
    assert evening_keep.unpacked(folders[0], tmp_path) == folders[0]


def test_the_same_run_is_kept_in_the_same_bytes(folders, tmp_path):
    copy = shutil.copytree(folders[0], tmp_path / "copy")
    for number, folder in enumerate((folders[0], copy)):
        evening_keep.keep(folder, tmp_path / f"{number}.tar.xz")
    assert (tmp_path / "0.tar.xz").read_bytes() == (tmp_path / "1.tar.xz").read_bytes()


def test_what_is_no_run_or_too_large_is_not_kept(folders, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no run"):
        evening_keep.keep(tmp_path, tmp_path / "a.tar.xz")
    with pytest.raises(InputError, match=r"ends with \.tar\.xz"):
        evening_keep.keep(folders[0], tmp_path / "a.zip")
    monkeypatch.setattr(evening_keep, "MOST_BYTES", 100)
    with pytest.raises(InputError, match="100 are allowed"):
        evening_keep.keep(folders[0], tmp_path / "a.tar.xz")
    assert not list(tmp_path.iterdir())


def test_a_broken_file_of_a_run_is_named(folders, tmp_path):
    file = tmp_path / "a.tar.xz"
    evening_keep.keep(folders[0], file)
    whole = file.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.tar\.xz: no whole file"):
            evening_keep.unpacked(file, tmp_path)
