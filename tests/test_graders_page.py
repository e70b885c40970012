"""docs/graders.md can't lie: its domain is taken from the page, keeps the contract, and grades files without torch."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from cascade_rl.chat import split_reply
from cascade_rl.cli.graders import STRICT
from cascade_rl.domain import Services
from cascade_rl.domains import domain_names, load_domain
from cascade_rl.grading.lines import CALLED
from cascade_rl.grading.proof import faults
from cascade_rl.grading.services import open_services
from cascade_rl.protocols import Execution
from cascade_rl.testing import FakeSandbox
from cascade_rl.types import Mode, Outcome, Split, Verdict

PAGE = (Path(__file__).parent.parent / "docs/graders.md").read_text()
# What stands between a grader's author and a GPU stack: nothing of it can be imported.
WITHOUT_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "safetensors", "tokenizers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from cascade_rl.cli.main import main
main()
"""


# ---------------------------------------------------------------- a file of replies


def test_the_file_of_the_page_is_graded_as_the_page_says(tmp_path):
    """Its three blocks: what goes in, what comes out, and what standard error hears, but for the seconds."""
    lines, verdicts = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[:2]
    [heard] = re.findall(r"standard error which lines are bad.*?```\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "replies.jsonl").write_text(lines)
    [command] = [line.split() for line in PAGE.splitlines() if line.startswith("    cascade grade maths ")]
    told = {"cwd": tmp_path, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *command[1:]], **told)
    assert done.returncode == 0 and (tmp_path / "verdicts.jsonl").read_text() == verdicts
    seconds = re.compile(r"in [0-9.]+ s:")
    assert seconds.sub("", done.stderr) == seconds.sub("", heard)
    strict = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *command[1:], "--strict"], **told)
    assert strict.returncode == STRICT and f"with `--strict` {STRICT} when" in PAGE


def test_the_page_names_all_other_names():
    for key, names in CALLED.items():
        [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{key}` |")]
        assert re.findall(r"`(\w+)`", row.split("|")[3]) == list(names)
    taken = [name for name in domain_names() if load_domain(name).alternatives]
    assert taken == ["maths", "multiple_choice"] and "(maths, multiple choice) a list" in PAGE


# ---------------------------------------------------------------- the domain of the page


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with my_lab/multiples.py, as the page has it."""
    [code] = re.findall(r"```python\n(\"\"\".*?)\n```\n\n## ", PAGE, re.DOTALL)
    folder = tmp_path_factory.mktemp("lab")
    (folder / "my_lab").mkdir()
    (folder / "my_lab/multiples.py").write_text(code)
    return folder


@pytest.fixture
def domain(lab, monkeypatch):
    monkeypatch.syspath_prepend(str(lab))
    importlib.invalidate_caches()
    return load_domain("my_lab.multiples")


@pytest.fixture(scope="module")
def services():
    with open_services(frozenset({"sandbox"})) as found:
        yield found


def test_the_domain_of_the_page_keeps_the_contract(domain, services):
    assert faults(domain, services, count=10) == []


def test_it_grades_a_file_by_its_dotted_path_without_torch(lab):
    good, endless = "```python\nprint(3)\nprint(6)\n```", "<think>\n```python\nprint(3)\nprint(6)\n```"
    answer = {"lines": ["3", "6"]}
    rows = [
        {"id": "a", "answer": answer, "response": good},
        {"id": "b", "answer": answer, "response": "```python\nprint(3)\n```"},
        {"id": "c", "answer": answer, "response": endless},
        {"id": "d", "answer": {"lines": 3}, "response": good},
        {"id": "e", "answer": answer, "response": "```python\nwhile True: pass\n```"},
    ]
    for reward, partial in (("benchmark", (0.0, "wrong")), ("rl", (0.5, "partial"))):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, "grade", "my_lab.multiples", "--input", "-", "--timeout", "0.5",
             "--reward", reward],
            input="\n".join(map(json.dumps, rows)), capture_output=True, text=True, cwd=lab, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = [
            (row["id"], row["reward"], row["outcome"]) for row in map(json.loads, done.stdout.splitlines())
        ]
        assert found == [("a", 1.0, "right"), ("b", *partial), ("c", 0.0, "unparseable"), ("d", None, "grader_error"),
                         ("e", 0.0, "timeout")]  # fmt: skip
        assert 'line 4: answer: want {"lines": [text, ...]}' in done.stderr


def test_a_sandbox_that_fails_is_a_null(domain):
    services = Services(sandbox=FakeSandbox(Execution("", "", -1, error="no server")))
    assert [f for f in faults(domain, services, count=2) if "earns None: no server" in f]


async def _careless(problem, rollout, services):
    """Grades the whole text, reasoning and all."""
    return Verdict.binary("print" in rollout.text)


async def _raises(problem, rollout, services):
    return Verdict.binary(split_reply(rollout.text, problem.mode).answer.count("print") > 0)


async def _kind(problem, rollout, services):
    return Verdict(1.0, Outcome.RIGHT)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"score": _careless}, "reasoning that never ends earns 1.0"),
        ({"score": _raises}, "earns None: the grader raised AttributeError"),
        ({"score": _kind}, "empty answer earns 1.0"),
        ({"score": _kind}, "junk ' ' earns 1.0"),
        ({"grade": _careless}, "reasoning that never ends earns 1.0"),
        ({"gold": lambda p: "3"}, "gold answer earns 0.0"),
        ({"examples": list}, "the examples need one full reward and one zero"),
        ({"name": "sums"}, "not of sums"),
    ],
)
def test_the_contract_catches(domain, services, change, told):
    assert any(told in fault for fault in faults(replace(domain, **change), services, count=3)), told


def test_the_contract_catches_problems_that_differ_overlap_or_repeat(domain, services):
    calls = []

    def shifting(query):
        calls.append(query.split)
        return domain.problems("builtin", query.split, query.seed + len(calls))

    def same(query):
        found = list(islice(domain.problems("builtin", Split.SFT, query.seed), 5))
        return iter([*found, found[0]])

    assert any(
        "differs between two readings" in f
        for f in faults(replace(domain, sources={"builtin": shifting}), services, count=3)
    )
    told = " ".join(faults(replace(domain, sources={"builtin": same}), services, count=6))
    assert "repeats an id" in told and "stands in rl and in sft" in told
    narrow = replace(domain, check_answer=load_domain("maths").check_answer)
    assert any("check_answer refuses" in f for f in faults(narrow, services, count=2))


def test_the_page_names_every_outcome_and_the_modes():
    assert all(f"`{outcome}`" in PAGE for outcome in Outcome)
    assert all(f"`{mode}`" in PAGE for mode in Mode)
