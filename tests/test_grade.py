"""`cascade grade`: a row for each line, in order; null is not zero; a bad line or a broken grader stops nothing."""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from pathlib import Path
from types import MappingProxyType

import pytest
from tiny import toy_domain

from cascade_rl.cli import main as cli
from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.grading import services
from cascade_rl.grading import verdicts as grading
from cascade_rl.grading.file import WAITING, grade_lines, grader
from cascade_rl.grading.services import _CountedSandbox, _CountedVerifiers, open_services
from cascade_rl.protocols import Judgement, Program
from cascade_rl.testing import FakeSandbox
from cascade_rl.types import Outcome, Verdict

ROW = {"id": 1, "answer": "18", "response": r"It is \boxed{18}."}


@pytest.fixture
def grade(monkeypatch, capsys, tmp_path):
    """Grade lines in this process: (exit status, rows, standard error)."""

    def call(domain: str, lines: list, *options: str) -> tuple[int, list[dict], str]:
        path = tmp_path / "cases.jsonl"
        path.write_bytes(
            b"".join(
                (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
            )
        )
        monkeypatch.setattr(sys, "argv", ["cascade", "grade", domain, "--input", str(path), *options])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err

    return call


def test_rows_come_in_order_with_every_key(grade):
    rows = [ROW | {"id": f"case {i}", "response": rf"\boxed{{{17 + i % 3}}}"} for i in range(2 * WAITING)]
    status, found, err = grade("maths", rows)
    assert status == 0 and len(err.splitlines()) == 1
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert [row["reward"] for row in found] == [float(i % 3 == 1) for i in range(len(rows))]
    assert all(set(row) == {"id", "reward", "outcome", "parts", "note"} for row in found)


SIGNATURE = {"name": "f", "parameters": {"properties": {"x": {"type": "integer"}}}}
GOLD_OF = {
    "maths": "18",
    "coding": {"function": "f", "tests": [{"args": [3], "result": 3}]},
    "tools": {"tools": [SIGNATURE], "calls": [{"f": {"x": [18]}}]},
}
THINK = [
    ("instruct", r"\boxed{18}", "right"),
    ("instruct", r"<think>\boxed{17}</think>\boxed{18}", "right"),
    ("instruct", r"<think>\boxed{18}</think>\boxed{17}", "wrong"),
    ("instruct", r"<think>\boxed{18}", "unparseable"),
    ("instruct", r"\boxed{18}</think>", "unparseable"),
    ("thinking", r"<think>\boxed{17}</think>\boxed{18}", "right"),
    ("thinking", r"\boxed{17}</think>\boxed{18}", "right"),
    ("thinking", r"\boxed{18}", "unparseable"),
    ("thinking", r"<think>\boxed{18}", "unparseable"),
    ("thinking", r"<think>a</think>b</think>\boxed{18}", "right"),
]


@pytest.mark.parametrize(("domain", "wrap"), [("maths", str), ("coding", None), ("tools", None)])
def test_the_think_rule_is_one_rule(grade, domain, wrap):
    """The same table for maths, for coding, whose answer stands in a block, and for tools, whose is a call."""
    answers = {
        "18": "```python\ndef f(x):\n    return x\n```",
        "17": "```python\ndef f(x):\n    return -x\n```",
    }
    rows = []
    for mode, response, _ in THINK:
        if domain == "coding":
            for number, code in answers.items():
                response = response.replace(rf"\boxed{{{number}}}", "\n" + code)
        if domain == "tools":
            call = r'<tool_call>{"name": "f", "arguments": {"x": \1}}</tool_call>'
            response = re.sub(r"\\boxed\{(\d+)\}", call, response)
        rows.append({"id": response, "answer": GOLD_OF[domain], "response": response, "mode": mode})
    _, found, _ = grade(domain, rows)
    assert [row["outcome"] for row in found] == [outcome for _, _, outcome in THINK]
    if wrap:  # without a mode, a reply is taken as instruct
        _, plain, _ = grade(domain, [{k: v for k, v in row.items() if k != "mode"} for row in rows[:5]])
        assert [row["outcome"] for row in plain] == [row["outcome"] for row in found[:5]]


BAD = [
    (b"not json", "not JSON"),
    (b'{"id": 1, "answer": "18"', "not JSON"),
    (b'{"id": 1, "answer": "18", "response": "\xff\xfe"}', "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"[]", "want an object"),
    (b"7", "want an object"),
    ({"id": 5, "response": "x"}, "no answer (nor gold"),
    ({"id": 5, "answer": "18"}, "no response (nor prediction"),
    ({"id": 5, "answer": "18", "response": None}, "response must be a text, not null"),
    ({"id": 5, "answer": "18", "response": ["x"]}, "response must be a text, not a list"),
    ({"id": ["x"], "answer": "18", "response": "x"}, "id must be a text or a whole number"),
    ({"id": 5, "answer": {"gold": 18}, "response": "x"}, "answer: want the gold answer as a text"),
    ({"id": 5, "answer": None, "response": "x"}, "answer: want the gold answer as a text"),
    (ROW | {"mode": "loud"}, "mode must be thinking or instruct, not 'loud'"),
    (ROW | {"prompt": 3}, "prompt must be a text"),
    (ROW | {"messages": "hello"}, "messages must be a list"),
    (ROW | {"messages": [{"role": "user"}]}, "messages must be a list"),
    (ROW | {"messages": []}, "the last message must be the user's"),
    (ROW | {"messages": [{"role": "assistant", "content": "x"}]}, "the last message must be the user's"),
]


def test_bad_lines_are_named_and_the_rest_goes_on(grade):
    lines = [line for bad, _ in BAD for line in (ROW, bad)]
    status, found, err = grade("maths", [*lines, ROW])
    assert status == 0
    assert len(found) == len(lines) + 1
    assert all(row["reward"] == 1 for row in found[::2])
    for index, (bad, told) in enumerate(BAD):
        row = found[2 * index + 1]
        assert (row["reward"], row["outcome"]) == (None, "grader_error")
        assert row["note"].startswith(f"line {2 * index + 2}: ") and told in row["note"]
        assert row["note"] in err
        assert row["id"] == (bad.get("id") if isinstance(bad, dict) else None)
    *named, summary = err.splitlines()
    assert len(named) == len(BAD) and f"{len(BAD)} null ({len(BAD)} bad lines)" in summary


@pytest.mark.parametrize(("domain", "answer"), [
    ("coding", {}), ("coding", {"tests": []}), ("coding", {"tests": [{"stdin": ""}]}), ("multiple_choice", "Z9"),
    ("coding", {"tests": [{"stdin": "", "stdout": ""}], "timeout_s": "4"}), ("multiple_choice", {"choices": 4}),
    ("coding", "print"), ("following", {"instruction_id_list": ["a"], "kwargs": []}),
    ("tools", [{"f": {}}]), ("tools", {"tools": [{"name": "f"}], "calls": [{"g": {}}]}), ("tools", {"calls": []}),
    ("following", []), ("swe", {"files": {"a.py": 1}, "patch": ""}), ("swe", {"patch": ""}), ("maths", True),
])  # fmt: skip
def test_an_answer_of_a_wrong_shape_is_named(grade, domain, answer):
    status, [row], err = grade(domain, [{"id": "x", "answer": answer, "response": "```python\npass\n```"}])
    assert (status, row["id"], row["reward"], row["outcome"]) == (0, "x", None, "grader_error")
    # what is wrong, and what an answer must be
    assert re.match(r"line 1: answer: .*\b(want|needs) ", row["note"]) and row["note"] in err


def test_blank_lines_are_passed_over_and_counted_in_line_numbers(grade):
    _, found, err = grade("maths", [ROW, b"", b"  ", b"x", ROW])
    assert [row["id"] for row in found] == [1, None, 1] and "line 4: not JSON" in err


def test_input_that_can_not_be_read_is_the_one_error(grade, tmp_path):
    for name in (str(tmp_path / "nowhere.jsonl"), str(tmp_path)):
        status, found, err = grade("maths", [], "--input", name)
        assert status == 1 and not found and err.startswith(f"error: can't read {name}")
    status, found, err = grade("maths", [])
    assert (status, found) == (0, []) and re.fullmatch(r"0 graded in [0-9.]+ s: 0 null; no reward\n", err)


def test_mistakes_of_the_command(grade, tmp_path):
    source = str(tmp_path / "cases.jsonl")
    for domain, options, told in [
        ("chess", (), "no domain 'chess'; known: alignment"),
        ("no.such.place", (), "no domain 'no.such.place'"),
        ("alignment", ("--reward", "rl"), "given by a reward model"),
        ("maths", ("--output", source), "is the input"),
        ("maths", ("--output", str(tmp_path / "no" / "where")), "can't write"),
    ]:
        status, found, err = grade(domain, [ROW], *options)
        assert (status, found) == (1, []) and told in err
        assert json.loads(Path(source).read_text()) == ROW


def test_benchmark_and_rl_differ_where_the_domain_says_so(grade):
    swe = load_domain("swe")
    example = next(iter(swe.examples()))
    row = {"id": 0, "answer": example.problem.answer, "response": "no patch at all", "mode": "instruct"}
    rewards = [grade("swe", [row], *options)[1][0]["reward"] for options in ((), ("--reward", "rl"))]
    assert rewards == [0.0, -1.0]


def test_pipes_answer_line_by_line():
    """Who writes a line and waits for its verdict must not wait for ever."""
    process = subprocess.Popen([sys.executable, "-m", "cascade_rl.cli", "grade", "maths", "--input", "-"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        for number in range(3):
            process.stdin.write(json.dumps(ROW | {"id": number}) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        process.stdin.close()
        assert process.wait(30) == 0 and process.stdout.read() == ""
    finally:
        guard.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


async def _breaks(problem, rollout, services):
    if rollout.text == "raise":
        raise RuntimeError("it broke")
    if rollout.text == "exit":
        sys.exit(3)
    if rollout.text == "cancel":
        raise asyncio.CancelledError
    if rollout.text == "key":
        return problem.answer["missing"]
    if rollout.text == "none":
        return None
    return Verdict(math.nan if rollout.text == "nan" else 1.0, Outcome.RIGHT)


def lines_of(texts):
    return [json.dumps({"id": i, "answer": {}, "response": text}).encode() for i, text in enumerate(texts)]


def test_whatever_a_grader_does_is_a_null_with_its_reason():
    found, said = Services(), []
    texts = ["fine", "raise", "key", "none", "nan", "exit", "cancel", "fine"]
    rows = [line.row() for line in grade_lines(lines_of(texts), toy_domain(), _breaks, found, said.append)]
    assert [row["reward"] for row in rows] == [1.0, *[None] * 6, 1.0]
    notes = [row["note"] for row in rows]
    assert "RuntimeError: it broke" in notes[1] and "KeyError: 'missing'" in notes[2]
    assert "returned NoneType" in notes[3] and "nan" in notes[4]
    assert "SystemExit: 3" in notes[5] and "cancelled" in notes[6]
    assert found.counts["asked_again"] == 6


def test_a_hundred_thousand_lines_pass_through_without_being_held():
    """A part of them is asked for: what is held at once must be a matter of the queue, not of the file."""
    held = Counter()

    async def count(problem, rollout, services):
        held["now"] += 1
        held["most"] = max(held["most"], held["now"])
        return Verdict.binary(True)

    def lines():
        for number in range(100_000):
            yield b'{"id": %d, "answer": "", "response": "x"}' % number

    tracemalloc.start()
    for number, line in enumerate(grade_lines(lines(), toy_domain(), count, Services(), print)):
        held["now"] -= 1
        if number == 5_000:
            break
        assert line.id == number
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held["most"] <= WAITING + 2
    assert peak < 10e6


def test_reading_that_fails_midway_is_raised():
    def lines():
        yield from lines_of(["a"])
        raise OSError("the disk is gone")

    rows = grade_lines(lines(), toy_domain(), _breaks, Services(), print)
    assert next(rows).id == 0
    with pytest.raises(OSError, match="the disk is gone"):
        list(rows)


def test_graders_that_need_a_reward_model_are_named():
    alignment = load_domain("alignment")
    assert grader(alignment, "benchmark") is alignment.score
    with pytest.raises(ValueError, match="--reward benchmark needs none"):
        grader(alignment, "rl")


# ---------------------------------------------------------------- services


def test_services_are_those_that_are_needed_and_count():
    with open_services(frozenset()) as none:
        assert (none.sandbox, none.verifiers, none.reward_model) == (None, None, None)
    with pytest.raises(ValueError, match="no service oven"), open_services(frozenset({"oven"})):
        pass


def test_a_limit_holds_for_programs_that_may_take_longer(monkeypatch):
    class Closing(FakeSandbox):
        counters = MappingProxyType({"respawns": 0})

        def start(self) -> None: ...

        def close(self) -> None:
            self.programs.append("closed")

    fake = Closing()
    monkeypatch.setattr(services, "ZygoteSandbox", lambda workers, unsafe: fake)
    with open_services(frozenset({"sandbox"}), limit_s=1.0) as found:
        for timeout_s in (0.5, 4.0):
            asyncio.run(found.sandbox.run(Program({}, "main.py", timeout_s=timeout_s)))
    assert [p.timeout_s for p in fake.programs[:2]] == [0.5, 1.0]
    assert fake.programs[2] == "closed" and found.counts["programs"] == 2


def test_verifiers_are_counted_by_what_befell_them():
    class Verifiers:
        counts = MappingProxyType({"replaced": 3})

        async def call(self, function, *arguments, deadline_s):
            self.deadline_s = deadline_s
            return Judgement(fault=arguments[0])

    inner, counts = Verifiers(), Counter()
    verifiers = _CountedVerifiers(inner, counts, 2.0)
    for fault in (None, "timeout", "crash", "crash"):
        asyncio.run(verifiers.call("a:b", fault))
    assert counts == {
        "verifier_calls": 4,
        "verifier_timeouts": 1,
        "verifier_crashes": 2,
        "verifier_workers_replaced": 3,
    }
    assert inner.deadline_s == 2.0


def test_a_deadline_stands_still_while_programs_run(monkeypatch):
    """What a reply's program takes, and waits for, is no reason for a null; what its grader takes is."""
    monkeypatch.setattr(grading, "DEADLINE_S", 0.5)

    class Slow(FakeSandbox):
        counters = MappingProxyType({"respawns": 0})

        async def run(self, program):
            await asyncio.sleep(0.4)
            return await super().run(program)

    sandbox = _CountedSandbox(Slow("x"), Counter(), math.inf)

    async def several(problem, rollout, services):
        program = Program({}, "main.py")
        await asyncio.gather(*(sandbox.run(program) for _ in range(3)))
        await sandbox.run(program)
        await asyncio.sleep(3600 * (rollout.text == "wait"))
        return Verdict.binary(True)

    lines = grade_lines(lines_of(["x", "wait"]), toy_domain(), several, Services(), print)
    rows = [line.row() for line in lines]
    assert [row["reward"] for row in rows] == [1.0, None] and "no verdict within" in rows[1]["note"]


def test_time_is_not_held_against_the_next(monkeypatch):
    """A grader that never ends is a null after the deadline; those beside it are graded."""
    monkeypatch.setattr(grading, "DEADLINE_S", 0.1)

    async def endless(problem, rollout, services):
        if rollout.text == "wait":
            await asyncio.sleep(3600)
        return Verdict.binary(True)

    rows = [
        line.row()
        for line in grade_lines(lines_of(["wait", "x", "wait"]), toy_domain(), endless, Services(), print)
    ]
    assert [row["reward"] for row in rows] == [None, 1.0, None] and "no verdict within" in rows[0]["note"]
