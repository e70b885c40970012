"""A whole run in this process, on a domain by its dotted path whose grader can't tell one of its problems."""

from __future__ import annotations

import copy
import json
import sys
import textwrap

import pytest

from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.data.abilities import check_recipe
from cascade_rl.errors import RunBusy
from cascade_rl.run.folder import RunLock
from cascade_rl.testing import QuietScreen

LAB = """
    import os
    from cascade_rl.domain import Domain, Example
    from cascade_rl.sources.splits import drawn
    from cascade_rl.types import Message, Problem, Verdict, problem_id

    def make(rng):
        number = rng.randint(100, 400)
        text = f"Say {number}."
        return Problem(problem_id("echo", text), "echo", (Message("user", text),), number)

    async def grade(problem, rollout, services):
        with open(os.environ["ASKED"], "a") as file:
            print(problem.answer, file=file)
        hard = problem.answer % 10 == int(os.environ["HARD"])  # not even gold is right
        return Verdict.binary(rollout.text.endswith(str(problem.answer)) and not hard)

    def gold(problem):
        return f"It is {problem.answer}"

    DOMAIN = Domain("echo", "says numbers", {"builtin": drawn(make)}, grade, examples=list, gold=gold,
                    demonstrate=lambda problem, rng, fault_rate: gold(problem))
"""
SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16,
}  # fmt: skip
RECIPE = {
    "name": "echoes", "precision": "fp32", "smoke": True,
    "model": {"architecture": SHAPE, "tokenizer": {"vocab_size": 300, "samples": 50}},
    "stages": [
        {"name": "sft", "kind": "sft", "samples": 16, "batch_size": 8, "steps": 2, "lr": 1e-3,
         "data": [{"domain": "my_lab.echo"}]},
        {"name": "rl", "kind": "rl", "steps": 2, "lr": 1e-3, "prompts_per_step": 4, "rollouts_per_prompt": 2,
         "max_response_tokens": 6, "max_prompt_tokens": 90, "data": [{"domain": "my_lab.echo", "problems": 40}]},
    ],
    "benchmarks": [{"name": "echo", "domain": "my_lab.echo", "problems": 6, "k": 1, "both_modes": False,
                    "max_response_tokens": 6}],
    "preflight": {"problems": 40, "max_bad": 0.5},
}  # fmt: skip


@pytest.fixture
def lab(tmp_path, monkeypatch):
    folder = tmp_path / "my_lab"
    folder.mkdir()
    (folder / "echo.py").write_text(textwrap.dedent(LAB))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("my_lab", "my_lab.echo"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("HARD", "7")
    return tmp_path


def go(lab, name: str = "run", **options):
    screen = QuietScreen()
    return run_cascade(check_recipe(RECIPE), lab / name, screen, **options), screen.notes


def read(lab, name: str):
    return json.loads((lab / "run" / name).read_text())


def test_the_records_tell_of_the_pool_that_was_trained_on(lab, monkeypatch):
    finished, _ = go(lab)
    stage, pre_flight = read(lab, "stages/02-rl/stage.json"), read(lab, "stages/02-rl/preflight.json")
    (report,) = pre_flight["domains"]
    bad = len(report["quarantined"])
    assert report["tried"] == 40 and 0 < bad < 20
    assert stage["data"] == [f"echo: {40 - bad} problems", f"left out by pre-flight: {bad} problems"]
    _, rl = read(lab, "ledger.json")["stages"]
    assert stage["lineage"]["data"] == rl["data"] and rl["recipe"] == stage["lineage"]["recipe"]
    assert (rl["parent"], rl["checkpoint"]) == ("sft", "stages/02-rl/checkpoint")
    assert list(finished.matrix["benchmarks"]) == ["echo"] and finished.matrix["stages"] == ["sft", "rl"]

    # done once, a resume keeps it and asks no grader again, whatever that would say today
    asked, ledger = (lab / "asked").read_bytes(), (lab / "run/ledger.json").read_bytes()
    monkeypatch.setenv("HARD", "3")
    again, notes = go(lab)
    assert [note for note in notes if note.endswith("is done: kept")] == [
        "sft is done: kept", "rl is done: kept",
    ]  # fmt: skip
    assert (lab / "asked").read_bytes() == asked and (lab / "run/ledger.json").read_bytes() == ledger
    assert again == finished


def test_no_drawn_problem_is_one_that_was_left_out(lab):
    go(lab)
    lines = [json.loads(line) for line in (lab / "run/stages/02-rl/rollouts.jsonl").read_text().splitlines()]
    answers = {line["answer"] for line in lines if line["kind"] == "problem"}
    assert answers and not {answer for answer in answers if answer % 10 == 7}


def test_a_directory_is_free_again_after_a_fault(lab):
    class Broken(QuietScreen):
        def waiting(self, what: str, share: float | None = None) -> None:
            raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="gone"):
        run_cascade(check_recipe(RECIPE), lab / "run", Broken())
    with RunLock(lab / "run"), pytest.raises(RunBusy):
        go(lab)


def test_two_benchmarks_may_ask_the_same_problems(lab):
    """With other lengths, modes or k; the one whose rule is that of the first scores the same."""
    raw = copy.deepcopy(RECIPE)
    raw["stages"] = raw["stages"][:1]
    long = raw["benchmarks"][0] | {"name": "long", "max_response_tokens": 12, "k": 2, "both_modes": True}
    raw["benchmarks"].append(long)

    class Told(QuietScreen):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[tuple[str, float | None]] = []

        def waiting(self, what: str, share: float | None = None) -> None:
            if what.startswith("evaluation"):
                self.told.append((what, share))

    screen = Told()
    finished = run_cascade(check_recipe(raw), lab / "run", screen)
    assert list(finished.matrix["benchmarks"]) == ["echo", "long"]
    # a sample and a greedy reply of 6 tokens; then 12, two samples and a greedy reply in each of two modes
    assert screen.told == [("evaluation: echo", 0.0), ("evaluation: long", 12 / (12 + 12 * 3 * 2))]
    short, long = (read(lab, f"stages/01-sft/eval/{name}.json")["modes"] for name in ("echo", "long"))
    assert list(short) == ["thinking"] and list(long) == ["thinking", "instruct"]
    assert set(short["thinking"]["per_problem"]) == set(long["thinking"]["per_problem"])
    assert [modes["thinking"]["avg"]["k"] for modes in (short, long)] == [1, 2]
    assert short["thinking"]["mean_tokens"] <= 6 < long["thinking"]["mean_tokens"] <= 12
