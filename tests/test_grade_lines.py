"""A line of `cascade grade`: other names of its keys, no id, several golds; the summary, and `--strict`."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.cli import main as cli
from cascade_rl.cli.graders import STRICT
from cascade_rl.domains import CALLED as DOMAIN_WORDS
from cascade_rl.domains import domain_names, load_domain
from cascade_rl.grading.lines import CALLED, BadLine, parse
from cascade_rl.grading.summary import MENDS, Summary
from cascade_rl.types import Outcome, Verdict

MATHS = load_domain("maths")


@pytest.fixture
def grade(monkeypatch, capsys, tmp_path):
    """Grade lines in this process: (exit status, rows, lines of standard error)."""

    def call(domain: str, lines: list, *options: str) -> tuple[int, list[dict], list[str]]:
        path = tmp_path / "cases.jsonl"
        path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
        monkeypatch.setattr(sys, "argv", ["cascade", "grade", domain, "--input", str(path), *options])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err.splitlines()

    return call


# ---------------------------------------------------------------- names and ids


def test_every_other_name_of_answer_and_response_is_taken(grade):
    pairs = list(product(("answer", *CALLED["answer"]), ("response", *CALLED["response"])))
    rows = [{a: "18", r: rf"\boxed{{{17 + i % 2}}}"} for i, (a, r) in enumerate(pairs)]
    status, found, _ = grade("maths", rows)
    assert status == 0 and [row["reward"] for row in found] == [float(i % 2) for i in range(len(pairs))]


def test_a_line_without_an_id_has_its_number(grade):
    row = {"answer": "1", "response": r"\boxed{1}"}
    _, found, _ = grade("maths", [row, "", row | {"id": "x"}, row | {"id": None}, {"answer": "1"}, "{"])
    assert [row["id"] for row in found] == [1, "x", 4, 5, None]


VALUES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["0", "1", "x"])


@given(values=st.dictionaries(st.sampled_from(["answer", *CALLED["answer"]]), VALUES, min_size=1))
def test_two_names_are_taken_only_when_they_agree(values):
    """By the JSON of what is not null: 1 and true are two values, and so are 1 and "1"."""
    found = parse(7, json.dumps(values | {"response": "x"}).encode(), MATHS)
    told = {json.dumps(value) for value in values.values() if value is not None}
    if len(told) > 1:
        assert isinstance(found, BadLine) and re.search(
            r"line 7: \w+ and \w+ both stand for answer", found.fault
        )
    elif not told or told <= {"true", "false"}:
        assert isinstance(found, BadLine) and "want the gold answer" in found.fault
    else:
        assert json.dumps(found.problems[0].answer) in told


@pytest.mark.parametrize(("line", "told"), [
    ('{"answer": "18"', "the line ends early, after '{\"answer\": \"18\"'"),
    ('{"answer": "1', "the line ends early, after"),
    ('{"answer": "18",}', "column 17, at '}'"),
    ('{"answer": "18"} {"answer": "19"}', "more follows the object; want one a line: column 18"),
    ("{'answer': '18'}", "column 2, at ''answer'"),
    ("[" * 5000, "brackets nested too deep"),
])  # fmt: skip
def test_a_line_that_is_no_json_is_told_by_its_place(line, told):
    fault = parse(3, line.encode(), MATHS).fault
    assert fault.startswith("line 3: not JSON: ") and told in fault and "char " not in fault
    assert parse(3, b'{"answer": "\xff"}', MATHS).fault == "line 3: not JSON: not UTF-8 at byte 13"


# ---------------------------------------------------------------- several golds


@pytest.mark.parametrize(("domain", "answer", "response", "reward"), [
    ("maths", ["12", "twelve"], r"\boxed{12}", 1.0),
    ("maths", ["x", "12"], r"\boxed{12}", 1.0),
    ("maths", ["x", "13"], r"\boxed{12}", 0.0),
    ("maths", {"answer": ["x", "12"], "bare": True}, "The answer is 12.", 1.0),
    ("maths", {"answer": ["x", "12"], "bare": False}, "The answer is 12.", 0.0),
    ("maths", [12, 13], r"\boxed{13}", 1.0),
    ("multiple_choice", ["A", "C"], r"\boxed{C}", 1.0),
    ("multiple_choice", ["A", "C"], r"\boxed{B}", 0.0),
    ("multiple_choice", {"answer": ["A", "C"], "choices": 3}, r"\boxed{C}", 1.0),
])  # fmt: skip
def test_any_of_several_golds_is_right(grade, domain, answer, response, reward):
    _, [row], _ = grade(domain, [{"answer": answer, "response": response}])
    assert row["reward"] == reward


def test_a_note_names_the_golds_that_an_answer_is_not(grade):
    _, [row], _ = grade("maths", [{"answer": ["12", "13", "14"], "response": r"\boxed{15}"}])
    assert row["note"] == "answered '15', wanted '12'; nor is it '13'; nor is it '14'"


UNREADABLE = "2^{3^{4^{5}}}"  # too large for algebra


def test_nulls_only_when_no_gold_can_be_read(grade):
    rows = [{"answer": golds, "response": r"\boxed{3+x}"} for golds in (
        [UNREADABLE, "3+x"], [UNREADABLE, "4"], ["4", UNREADABLE], [UNREADABLE, UNREADABLE], [None, "4"], [None, "3+x"],
        ["", None],
    )]  # fmt: skip
    status, found, err = grade("maths", rows)
    assert status == 0 and [row["reward"] for row in found] == [1.0, 0.0, 0.0, None, 0.0, 1.0, None]
    # what is wrong with one of them is told all the same
    assert all("gold" in row["note"] for row in found[3:])
    assert [
        line
        for line in err
        if line.startswith("line 5: answer: gold 1 of 2 is left out: want the gold answer as a text")
    ]
    assert [
        line for line in err if line.startswith("line 7: answer: none of 2 golds can be used; the first:")
    ]


@pytest.mark.parametrize(("domain", "answer"), [("maths", []), ("coding", ["x"]), ("following", ["x"])])
def test_where_no_list_is_taken_it_is_a_bad_line(grade, domain, answer):
    _, [row], err = grade(domain, [{"answer": answer, "response": "x"}])
    assert row["reward"] is None and err[0].startswith("line 1: answer: ")


# ---------------------------------------------------------------- the summary, and --strict

RIGHT, WRONG = ({"answer": "1", "response": rf"\boxed{{{n}}}"} for n in (1, 2))
NULL = {"answer": UNREADABLE, "response": r"\boxed{3+x}"}


@pytest.mark.parametrize(("rows", "told", "strict"), [
    ([RIGHT, RIGHT, WRONG], "3 graded in _ s: 2 right, 1 wrong, 0 null; mean reward 0.667", 0),
    ([RIGHT, NULL], "2 graded in _ s: 1 right, 1 null; mean reward 1.000", STRICT),
    ([RIGHT, "{"], "2 graded in _ s: 1 right, 1 null (1 bad line); mean reward 1.000", STRICT),
    (["{", "{", NULL], "3 graded in _ s: 3 null (2 bad lines); no reward", STRICT),
    ([], "0 graded in _ s: 0 null; no reward", 0),
])  # fmt: skip
def test_the_last_line_of_standard_error_counts_all(grade, rows, told, strict):
    status, _, err = grade("maths", rows)
    assert status == 0 and re.sub(r"[0-9.]+ s", "_ s", err[-1]) == told
    assert grade("maths", rows, "--strict")[0] == strict


def test_strict_has_a_status_of_its_own_that_the_help_names(cascade):
    _, out, _ = cascade("--help")
    assert f"{STRICT}, `grade --strict` found a null" in " ".join(out.split()) and STRICT not in (0, 1, 2, 3)


def test_why_verdicts_are_null_is_told_by_kinds():
    """Counted against the notes themselves: digits and quoted answers make no new kind."""
    summary = Summary()
    notes = [f"the gold answer 'x{i}' can't be read" for i in range(7)]
    notes += [f"programs in C++ need g++, which is not installed ({i})" for i in range(3)] + ["b", "c", "d"]
    for note in notes:
        summary.add(Verdict.failed(note))
    summary.add(Verdict.failed("line 3: not JSON"), bad=True)
    summary.add(Verdict(-1.0, Outcome.UNPARSEABLE))
    told = list(summary.why())
    assert (
        told[0] == f"  7 null: {notes[0]}" and told[1] == f"  3 null: {notes[7]}" and "1 null: b" in told[2]
    )
    assert told[3] == "  and 2 other reasons" and told[4:] == [f"hint: {MENDS['g++']}"]
    assert summary.line(2.0) == "15 graded in 2.0 s: 1 unparseable, 14 null (1 bad line); mean reward -1.000"


def test_reasons_are_bounded_whatever_a_grader_says():
    summary = Summary()
    for number in range(5000):
        summary.add(Verdict.failed("x" + "a" * number))
    assert len(summary.reasons) == 1000 and summary.nulls == 5000


def test_what_is_missing_for_tests_comes_with_a_hint(grade, monkeypatch):
    """The real chain: no pytest is a null whose reason ends in a hint."""
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pytest" else found(name, *a)
    )
    test = "from shapes import area\n\ndef test_area():\n    assert area(2, 3) == 6\n"
    answer = {
        "files": {"shapes.py": "def area(w, h):\n    return w + h\n"}, "patch": "",
        "test_files": {"test_shapes.py": test},
        "tests": {"fail_to_pass": ["test_shapes.py::test_area"], "pass_to_pass": []},
    }  # fmt: skip
    reply = "```python\n### shapes.py\n<<<<<<< SEARCH\n    return w + h\n=======\n    return w * h\n>>>>>>> REPLACE\n```"
    _, [row], err = grade("swe", [{"answer": answer, "response": reply}])
    assert row["reward"] is None and f"hint: {MENDS['pytest']}" in err
    monkeypatch.undo()


def test_what_runs_a_repositorys_tests_is_installed_with_the_package():
    """pytest among the dependencies themselves, in no extra, and pinned where the documented install looks."""
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert [name for name in project["dependencies"] if re.match(r"pytest\b", name)]
    assert re.search(r"^pytest==", (root / "constraints.txt").read_text(), re.MULTILINE)
    assert "install -c constraints.txt" in (root / "Makefile").read_text()


# ---------------------------------------------------------------- names of domains


@pytest.mark.parametrize(("word", "meant"), [*DOMAIN_WORDS.items(), ("mahts", "maths"), ("Coding", "coding"),
                                             ("multiple-choice", "multiple_choice"), ("folowing", "following")])  # fmt: skip
def test_a_word_for_a_domain_names_ours(cascade, word, meant):
    assert meant in domain_names() and word not in domain_names()
    status, _, err = cascade("grade", word, "--input", "-")
    assert status == 1 and f"no domain '{word}'; did you mean {meant}?" in err


def test_a_recipe_and_data_show_say_what_was_meant(cascade, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1+1?", "answer": "2"}\n')
    status, _, err = cascade("data", "show", "jsonl:rows.jsonl", "--domain", "math")
    assert status == 1 and "did you mean maths?" in err
    status, out, err = cascade("check", "tiny", "benchmarks.maths.domain=math")
    assert status == 1 and "did you mean maths?" in out + err


# ---------------------------------------------------------------- names and places in a recipe and its rows


@pytest.mark.parametrize(("change", "told"), [
    ("epochs=1", "epochs: unknown key; did you mean stages.sft-1.epochs or stages.sft-2.epochs"),
    ("stage.math-rl.steps=3", "stage: unknown key; did you mean stages?"),
    ("stages.math-rl.stps=3", "stages.math-rl.stps: unknown key; did you mean steps?"),
    ("stages.maths-rl.steps=3", "code-rl, swe-rl; did you mean math-rl?"),
    ("benchmarks.math.size=3", "; did you mean maths?"),
    ("zzzzzzzz=3", "zzzzzzzz: unknown key; see `cascade check`"),
])  # fmt: skip
def test_a_key_that_is_none_names_the_one_that_may_be_meant(cascade, change, told):
    status, _, err = cascade("check", "tiny", change)
    assert status == 1 and told in err


def test_an_unknown_key_is_told_whatever_the_stages_are(cascade, tmp_path):
    for stages in ("3", "text", "[]", "[3, {name: a}]", "{a: 1}", "[{kind: sft, name: a, stps: 1}, null]"):
        (tmp_path / "my.yaml").write_text(f"name: my\nepochs: 1\nstages: {stages}\n")
        status, _, err = cascade("check", "my.yaml")
        assert status == 1 and "epochs: unknown key" in err and "Traceback" not in err


def test_rows_of_a_bare_path_are_shown_and_a_row_cut_short_is_told_as_such(cascade, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "answer": "1"}\n{"prompt": "b", "answ')
    bare = cascade("data", "show", "rows.jsonl", "--domain", "maths")
    assert bare == cascade("data", "show", "jsonl:rows.jsonl", "--domain", "maths") and bare[0] == 1
    assert 'no JSON: the line ends early, after \'{"prompt": "b", "answ\'' in bare[1]
    status, _, err = cascade("data", "show", "nowhere.jsonl", "--domain", "maths")
    assert status == 1 and "nowhere.jsonl" in err
