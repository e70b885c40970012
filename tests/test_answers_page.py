"""Answers to held-out prompts, kept after every stage of a run and shown side by side."""

from __future__ import annotations

import json

import pytest
from fake_run import build_run
from small_run import changed, go

from cascade_rl.report.page import render
from cascade_rl.report.read import read_run
from cascade_rl.run.answers import answers_path, write_answers
from cascade_rl.run.folder import stage_folders


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three stages with a domain's benchmark in both modes and a published one beside it."""
    folder = tmp_path_factory.mktemp("run") / "small"
    rows = folder.parent / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"question": f"Add {i} and 3.", "answer": str(i + 3)}) + "\n" for i in range(5))
    )
    recipe = changed()
    recipe["benchmarks"][0] |= {"both_modes": True, "problems": 5, "k": 2}
    recipe["benchmarks"].append(
        {
            "suite": "aime24",
            "source": f"jsonl:{rows}",
            "k": 2,
            "max_prompt_tokens": 300,
            "max_response_tokens": 4,
        }
    )
    go(folder, recipe)
    return folder


def test_a_run_keeps_the_same_prompts_after_every_stage_that_it_scored(finished):
    folders = [folder.path for folder in stage_folders(finished)]
    asked = {}
    for folder in folders:
        for path in sorted((folder / "eval").glob("*.answers.jsonl")):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            asked.setdefault(path.name, []).append(
                [(line["problem"], line["mode"], line["prompt"]) for line in lines]
            )
            score = json.loads(path.with_name(path.name.replace(".answers.jsonl", ".json")).read_text())
            for line in lines:
                assert (
                    line["problem"] in score["modes"][line["mode"]]["per_problem"] and "seconds" not in line
                )
    # sft and rlhf; the reward model's stage leaves the policy as it was
    assert {name: len(found) for name, found in asked.items()} == {
        "alignment.answers.jsonl": 2,
        "aime24.answers.jsonl": 2,
    }
    assert all(found[0] == found[1] for found in asked.values())
    assert len(asked["alignment.answers.jsonl"][0]) == 3 * 2 and len(asked["aime24.answers.jsonl"][0]) == 3


def test_a_published_benchmark_is_measured_like_a_domains_own(finished):
    """In the matrix, gate and cards; in the protocol's one mode, without a greedy reply."""
    matrix = json.loads((finished / "matrix.json").read_text())
    assert list(matrix["benchmarks"]) == ["alignment", "aime24"]
    row = matrix["benchmarks"]["aime24"]
    assert row["headline"] == "thinking" and set(row["scores"]) == {"sft", "reward", "rlhf"}
    cell = row["modes"]["rlhf"]
    assert list(cell) == ["thinking"] and cell["thinking"]["greedy"] is None
    assert (cell["thinking"]["avg"]["n"], cell["thinking"]["avg"]["k"]) == (5, 2)
    folder = list(stage_folders(finished))[-1].path
    assert "aime24" in (folder / "checkpoint" / "README.md").read_text()
    assert {cell["benchmark"] for cell in json.loads((folder / "gate.json").read_text())["cells"]} >= {
        "aime24"
    }


def test_the_page_shows_each_prompt_once_and_each_stage_as_a_column(finished):
    page = render(read_run(finished))
    section = page[page.index('<section id="answers">') :]
    section = section[: section.index("</section>")]
    assert section.count('<th scope="col">sft</th>') == section.count('<th scope="col">rlhf</th>') == 6
    assert "Add 0 and 3." in section and section.count("Add 0 and 3.") == 1
    assert '<a href="#answers">Answers</a>' in page


def test_hostile_answers_are_shown_as_text_and_bad_lines_told(tmp_path):
    root = build_run(tmp_path / "run")
    folder = next(f.path for f in stage_folders(root) if (f.path / "scorecard.json").exists())
    name = next(path.stem for path in sorted((folder / "eval").glob("*.json")))
    line = {
        "problem": "p", "mode": "thinking", "sample": 0, "text": "<script>alert(1)</script>", "stop": "length",
        "tokens": 4, "reward": None, "outcome": "grader_error", "note": '"><b>', "parts": {}, "answer": None,
        "prompt": "<img src=x>",
    }  # fmt: skip
    scored = folder / "eval" / f"{name}.json"
    write_answers(scored, [line, {**line, "mode": "loud"}])
    run = read_run(root)
    page = render(run)
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page
    assert "cut off at the limit" in page
    (told,) = [text for text in run.unread if "answers" in text]
    assert "no stored sample" in told
    answers_path(scored).unlink()
    assert 'id="answers"' not in render(read_run(root))
