"""How rows of published benchmarks become problems: prompts to the letter, packed tests, dates, patches for git; and
the code of docs/benchmarks.md, built as it stands there."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import re
import subprocess
import sys
import zlib
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from cascade_rl.benchmarks import benchmark_names, load_benchmark
from cascade_rl.benchmarks.shapes.archives import archived
from cascade_rl.benchmarks.shapes.choices import shuffled
from cascade_rl.benchmarks.shapes.repairs import predictions
from cascade_rl.chat import compose_reply
from cascade_rl.data.suites import protocol, suite_heldout
from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.scores.samples import Sample, to_line
from cascade_rl.sources.rows import problem_of
from cascade_rl.types import Mode, Rollout, Stop, Verdict

PAGE = (Path(__file__).parent.parent / "docs" / "benchmarks.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.S)
SERVICES = Services(sandbox=ZygoteSandbox(), verifiers=ProcessVerifiers())


def made(name: str, row):
    benchmark = load_benchmark(name)
    found = benchmark.problem(row)
    return found and problem_of(found, load_domain(benchmark.domain), name)


def reward(problem, reply: str) -> float | None:
    grade = load_domain(problem.domain).benchmark_grade
    return asyncio.run(grade(problem, Rollout.of_text(reply), SERVICES)).reward


def live(**changes):
    return load_benchmark("livecodebench_v6").example | changes


def packed(tests) -> str:
    """As LiveCodeBench packs its private tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def test_livecodebench_is_asked_as_nemotron_cascade_was():
    system, user = made("livecodebench_v6", live()).messages
    assert (system.role, system.content) == (
        "system",
        "You are a helpful and harmless assistant.\n\nYou are not allowed to use any tools.",
    )
    assert user.content == (
        "Print twice the number that is read.\n\nWrite Python code to solve the problem. Please place the "
        "solution code in the following format:\n```python\n# Your solution code here\n```"
    )
    starter = "class Solution:\n    def twice(self, n: int) -> int:\n        "
    tests = [{"input": "3", "output": "6", "testtype": "functional"}]
    functional = live(
        starter_code=starter,
        metadata='{"func_name": "twice"}',
        public_test_cases=json.dumps(tests),
        private_test_cases=packed([{"input": "-4", "output": "-8", "testtype": "functional"}]),
    )
    problem = made("livecodebench_v6", functional)
    assert problem.messages[1].content == (
        "Print twice the number that is read.\n\nSolve the problem starting with the provided function header."
        f"\n\nFunction header:\n```\n{starter}\n```\n\nWrite Python code to solve the problem. Please place the "
        "solution code in the following format:\n```python\n# Your solution code here\n```"
    )
    code = "```python\nclass Solution:\n    def twice(self, n):\n        return {}\n```"
    replies = [compose_reply(problem.mode, "", code.format(what)) for what in ("n + n", "abs(n) * 2")]
    # the second is right in the public test alone
    assert [reward(problem, reply) for reply in replies] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("day", "v5", "v6"),
    [
        ("2024-07-31T23:59:59", False, False),
        ("2024-08-01T00:00:00", True, True),
        ("2025-02-28T00:00:00", True, True),
        ("2025-03-01T00:00:00", False, True),
        (datetime(2025, 5, 31), False, True),
        ("2025-06-01T00:00:00", False, False),
    ],
)
def test_contests_are_taken_from_their_window(day, v5, v6):
    row = live(contest_date=day)
    found = [load_benchmark(name).problem(row) for name in ("livecodebench_v5", "livecodebench_v6")]
    assert [one is not None for one in found] == [v5, v6]
    with pytest.raises(InputError, match="contest_date: want a day"):
        load_benchmark("livecodebench_v6").problem(live(contest_date="soon"))


def test_archives_of_tests_are_whole_or_refused(tmp_path):
    import zipfile

    path = tmp_path / "1A.zip"
    for names, told in (
        (["testdata/1.in"], "no answer to testdata/1.in"),
        (["config.yaml"], "no test in it"),
    ):
        with zipfile.ZipFile(path, "w") as into:
            for name in names:
                into.writestr(name, "")
        with pytest.raises(InputError, match=told):
            archived(path)


def test_options_whose_right_one_stands_first_come_in_every_order():
    options = ["right", "a", "b", "c"]
    places = Counter()
    for number in range(400):
        order, place = shuffled(options, "gpqa_diamond", f"rec{number}")
        assert sorted(order) == sorted(options) and order[place] == "right"
        assert (order, place) == shuffled(options, "gpqa_diamond", f"rec{number}")
        places[place] += 1
    # 100 each by chance alone, and 30 are 3.5 standard deviations
    assert all(70 <= places[place] <= 130 for place in range(4))


def test_options_in_one_text_are_taken_apart():
    row = {
        "question": "Which?",
        "options": "A. one\n B. of no letter\nB. two\nC. three\nA. not an option\nD. four",
        "answer": "C. three",
    }
    problem = made("mmlu", row)
    assert problem.answer == {"answer": "C", "choices": 4}
    assert problem.prompt_text.endswith(
        "\n\nWhich?\nA) one\n B. of no letter\nB) two\nC) three\nA. not an option\nD) four"
    )
    assert "'Answer: \\boxed{A/B/C/D}' (e.g. 'Answer: \\boxed{A}')" in problem.prompt_text
    cut = {"question": "Which\nA. one\nB. two", "options": "\nC. three", "answer": "B. two"}
    assert made("mmlu", cut).prompt_text.endswith("\n\nWhich\nA) one\nB) two\nC) three")
    for answer in ("two", "Z. no"):
        with pytest.raises(InputError):
            made("mmlu", {**row, "answer": answer})


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("9 apples", "9"), ("9 (apples)", "9"), ("-3.5", "-3.5"), ("25/3", "25/3"), ("28 square inches", "28"),
        ("20:13", None), ("3:30 p.m.", None), ("6th", None), ("13; 39", None), ("8 ft; 128 sq. ft", None),
        ("Mrs. Hilt", None), ("5 years old; 15 years old", None),
    ],
)  # fmt: skip
def test_asdiv_is_asked_where_the_answer_is_one_number(answer, number):
    found = load_benchmark("asdiv").problem(
        {"passage": "Ann has some.", "question": "How many?", "answer": answer}
    )
    assert (found["answer"] if found else None) == number


@pytest.mark.parametrize(
    ("name", "reply", "short"),
    [
        ("aime24", r"So it is \boxed{ 20 4 }.", "204"),
        ("aime24", "I don't know.", None),
        ("mmlu", r"Answer: \boxed{C}", "C"),
        ("mmlu", "Answer: (B)", "B"),
        ("mmlu", "B or C", None),
        ("hmmt", r"\boxed{\frac{1}{2}}", "1/2"),
        ("hmmt", r"\boxed{\dfrac12}", "1/2"),
        ("hmmt", r"\boxed{0.50}", "1/2"),
        ("hmmt", r"\boxed{\frac{\sqrt 2}{2}}", r"\frac{\sqrt2}{2}"),
        ("aime24", r"\boxed{070}", "70"),
        ("aime24", rf"\boxed{{{'7' * 5000}}}", "7" * 5000),
    ],
)
def test_short_answers_are_what_a_majority_is_taken_of(name, reply, short):
    benchmark = load_benchmark(name)
    assert benchmark.answer(made(name, benchmark.example), reply) == short


# SWE-bench

FILES = {
    "kit/a.py": "def area(w, h):\n    return w + h\n\n\ndef side(a):\n    return a\n",
    "kit/b.py": "X = 1\nlast line without an end",
    "kit/c.py": "unseen = True\n",
}
GOLDEN = "--- a/kit/a.py\n+++ b/kit/a.py\n@@ -1,2 +1,2 @@\n def area(w, h):\n-    return w + h\n+    return w * h\n"
ROW = {
    "instance_id": "lab__kit-1",
    "repo": "lab/kit",
    "problem_statement": "area adds",
    "patch": GOLDEN,
    "files": FILES,
    "FAIL_TO_PASS": '["tests/test_a.py::test_area"]',
}
EDIT = "### {}\n<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"


def edits(*parts: tuple[str, str, str]) -> str:
    return (
        "<solution>\n"
        + "\n".join(f"```python\n{EDIT.format(*part)}\n```" for part in parts)
        + "\n</solution>"
    )


def test_the_repair_step_shows_the_oracles_files_or_four_that_are_named():
    shown = made("swe_bench_verified", ROW).prompt_text
    assert "[start of kit/a.py]\ndef area" in shown and "kit/b.py" not in shown and "area adds" in shown
    many = {**FILES, **{f"kit/{n}.py": f"N = {n}\n" for n in range(5)}}
    named = ["kit/3.py", "kit/b.py", "kit/0.py", "kit/a.py", "kit/1.py"]
    shown = made("swe_bench_verified", {**ROW, "files": many, "shown": named}).prompt_text
    assert re.findall(r"\[start of (.*)\]", shown) == named[:4]
    with pytest.raises(InputError, match=r"shown: 'kit/z\.py' is not among the files"):
        made("swe_bench_verified", {**ROW, "shown": ["kit/z.py"]})
    with pytest.raises(InputError, match="it does not fit the files"):
        made("swe_bench_verified", {**ROW, "files": {"kit/b.py": "X = 1\n"}})
    with pytest.raises(InputError, match="nothing is fetched"):
        made("swe_bench_verified", {key: value for key, value in ROW.items() if key != "files"})


def test_what_is_scored_is_likeness_and_no_test_runs():
    problem = made("swe_bench_verified", ROW)
    assert "tests" not in problem.answer
    right = edits(("kit/a.py", "    return w + h", "    return w * h"))
    close = edits(("kit/a.py", "    return w + h", "    return w * h  # sides"))
    other = edits(("kit/a.py", "    return w + h", "    return h * w"))
    values = [reward(problem, compose_reply(problem.mode, "", text)) for text in (right, close, other)]
    # though a test would pass all three; likeness under one half counts as none
    assert values[0] == 1.0 and 0.5 <= values[1] < 1.0 and values[2] == 0.0


def stored(problem, text: str, sample: int = 0) -> Sample:
    return Sample(problem.id, Mode.THINKING, sample, text, Stop.END, 1, Verdict.binary(True), seconds=0.0)


def repository(folder: Path, files) -> str:
    """A git repository with one commit of the files; its hash."""
    folder.mkdir(parents=True)
    for path, body in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(body)
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*run, *words], check=True)
    done = subprocess.run([*run, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        (edits(("kit/a.py", "    return w + h", "    return w * h")), {"kit/a.py": FILES["kit/a.py"].replace("+", "*")}),
        (
            edits(("kit/b.py", "last line without an end", "last line\nwithout"), ("kit/a.py", "    return a", "    return a\n")),
            {"kit/b.py": "X = 1\nlast line\nwithout", "kit/a.py": FILES["kit/a.py"] + "\n"},
        ),
        (
            "<solution>\n```diff\n--- /dev/null\n+++ b/kit/new.py\n@@ -0,0 +1,2 @@\n+A = 1\n+B = 2\n--- a/kit/c.py\n"
            "+++ /dev/null\n@@ -1 +0,0 @@\n-unseen = True\n```\n</solution>",
            {"kit/new.py": "A = 1\nB = 2\n", "kit/c.py": None},
        ),
    ],
)  # fmt: skip
def test_git_applies_what_is_predicted(tmp_path, patch, changed):
    problem = made("swe_bench_verified", ROW)
    reply = compose_reply(Mode.THINKING, "Look.", patch)
    (line,) = predictions([stored(problem, reply)], [problem], "my-model")
    assert (line["instance_id"], line["model_name_or_path"]) == ("lab__kit-1", "my-model")
    repository(tmp_path / "kit", FILES)
    subprocess.run(
        ["git", "-C", str(tmp_path / "kit"), "apply", "--verbose", "-"],
        input=line["model_patch"],
        text=True,
        check=True,
    )
    wanted = {path: body for path, body in (FILES | changed).items() if body is not None}
    there = list((tmp_path / "kit" / "kit").iterdir())
    assert {f"kit/{path.name}": path.read_text() for path in there} == wanted


def test_no_reply_is_left_out_of_the_predictions():
    problem = made("swe_bench_verified", ROW)
    bad = [
        "",
        "no thought ends here " + edits(("kit/a.py", "    return w + h", "    return w * h")),
        compose_reply(Mode.THINKING, "", "It adds."),
        compose_reply(Mode.THINKING, "", edits(("kit/a.py", "no such line", "x"))),
        compose_reply(Mode.THINKING, "", edits(("kit/a.py", "    return a", "    return a"))),
    ]
    lines = list(predictions([stored(problem, text) for text in bad], [problem], "m"))
    assert [line["model_patch"] for line in lines] == [""] * len(bad)
    # one sample of each problem a file
    two = [stored(problem, bad[0]), stored(problem, bad[2], sample=1)]
    assert len(list(predictions(two, [problem], "m", sample=1))) == 1


# The page


def test_the_page_tells_each_benchmark_as_its_file_does():
    rows = {
        cells[1]: cells
        for line in PAGE.splitlines()
        if len(cells := [c.strip() for c in line.split("|")]) == 9
    }
    for name in benchmark_names():
        benchmark, cells = load_benchmark(name), rows[name]
        assert cells[2:5] == [f"{benchmark.size:,}", str(benchmark.k), str(benchmark.mode)], name
        assert benchmark.metric.startswith(cells[5]) and cells[6] == benchmark.licence, name
        for source in benchmark.sources:
            scheme, _, rest = source.partition(":")
            assert rest.partition("@" if scheme == "hub" else "/")[0] in cells[7], name


def test_the_page_names_the_packages_as_the_files_do():
    for name in benchmark_names():
        for requirement in re.findall(r"[\w-]+==[\d.]+\d", load_benchmark(name).missing):
            assert requirement in PAGE or "nvidia-bfcl" in requirement, (name, requirement)


def test_a_benchmark_in_one_file_as_the_page_shows_it(tmp_path, monkeypatch):
    (source,) = [block for block in CODE if "BENCHMARK = Benchmark(" in block]
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "olympiad.py").write_text(source)
    rows = [
        {"number": 1, "task": "What is $2^5$?", "solution": 32, "topic": "powers"},
        {"number": 2, "task": "What is $7 - 9$?", "solution": -2, "topic": "sums"},
    ]
    (tmp_path / "olympiad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    benchmark = load_benchmark("my_lab.olympiad")
    raw = protocol(benchmark) | {"suite": "my_lab.olympiad"}
    found = suite_heldout(BenchmarkSpec.model_validate(raw))
    assert [problem.meta["group"] for problem in found.problems] == ["powers", "sums"]
    assert found.tallies[0].beside == () and found.spec.k == 4
    for problem in found.problems:
        gold = found.domain.gold(problem)
        assert [reward(problem, reply) for reply in (gold, found.domain.null(problem))] == [1.0, 0.0]
        assert benchmark.answer(problem, gold) == str(problem.answer)
    sys.modules.pop("my_lab.olympiad"), sys.modules.pop("my_lab")


def test_files_and_predictions_of_swe_bench_as_the_page_makes_them(tmp_path, monkeypatch):
    blocks = [block for block in CODE if "def with_files" in block or "def write_predictions" in block]
    scope: dict = {}
    for block in blocks:
        exec(compile(block, "docs/benchmarks.md", "exec"), scope)
    commit = repository(tmp_path / "lab__kit", FILES)
    bare = {key: value for key, value in ROW.items() if key != "files"}
    rows, out = tmp_path / "verified.jsonl", tmp_path / "predictions.jsonl"
    scope["write"]([{**bare, "base_commit": commit}], tmp_path, rows)
    raw = protocol(load_benchmark("swe_bench_verified")) | {"source": f"jsonl:{rows}"}
    (problem,) = suite_heldout(BenchmarkSpec.model_validate(raw)).problems
    assert problem.answer["files"] == {"kit/a.py": FILES["kit/a.py"]}
    right = compose_reply(Mode.THINKING, "", edits(("kit/a.py", "    return w + h", "    return w * h")))
    (tmp_path / "swe_bench_verified.samples.jsonl").write_text(
        json.dumps(to_line(stored(problem, right))) + "\n"
    )
    scope["write_predictions"](tmp_path, f"jsonl:{rows}", "my-model", out)
    (line,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert line["instance_id"] == "lab__kit-1" and "+    return w * h" in line["model_patch"]
