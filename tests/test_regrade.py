"""Stored rollouts come back as they were, and a mended grader shows which gains were the old one's fault."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import toy_problem

from cascade_rl.cli import app
from cascade_rl.evals.regrade import regrade_run
from cascade_rl.run.book import Book
from cascade_rl.run.files import dumps
from cascade_rl.run.journal import Journal, read_lines
from cascade_rl.run.rollouts import read_groups, stored_group, stored_problem
from cascade_rl.types import Group, Message, Mode, Outcome, Problem, Rollout, Stop, Verdict

TEXT = st.text(max_size=40) | st.sampled_from(["\ud800", "a\nb", "</think>"])
VERDICTS = st.one_of(
    st.builds(Verdict.failed, TEXT),
    st.builds(Verdict, st.floats(-2, 2), st.sampled_from([Outcome.RIGHT, Outcome.TIMEOUT, Outcome.PARTIAL]),
              st.dictionaries(st.text("abc", max_size=3), st.floats(0, 1), max_size=2), TEXT),
)  # fmt: skip
REPLIES = st.lists(st.tuples(TEXT, st.sampled_from(list(Stop)), VERDICTS), max_size=4)
ANSWERS = st.recursive(
    st.none() | st.integers() | TEXT, lambda x: st.lists(x, max_size=2) | st.dictionaries(TEXT, x, max_size=2)
)


@given(replies=REPLIES, answer=ANSWERS, mode=st.sampled_from(list(Mode)), step=st.integers(0, 10**6))
def test_a_group_comes_back_as_it_was(replies, answer, mode, step):
    messages = (Message("system", "Be brief."), Message("user", "Ünïcode?"))
    problem = Problem("p1", "toy", messages, answer, mode, {"family": "x"})
    rollouts = tuple(Rollout.of_text(text, stop) for text, stop, _ in replies)
    group = Group(problem, rollouts, tuple(v for _, _, v in replies))
    lines = [json.loads(dumps(line)) for line in (stored_problem(problem), stored_group(step, group))]
    assert list(read_groups(lines)) == [(step, group)]


def toy_group(number: int, mode: Mode = Mode.THINKING) -> Group:
    rollouts = tuple(Rollout.of_text(text) for text in ("a", "b"))
    return Group(
        toy_problem(number).in_mode(mode), rollouts, (Verdict.binary(True), Verdict.binary(False, "no"))
    )


def test_each_problem_is_written_once_also_after_a_cut(tmp_path):
    run = Book(tmp_path)
    run.rollouts(0, [toy_group(1), toy_group(2)])
    kept = run.offsets()
    run.rollouts(1, [toy_group(2, Mode.INSTRUCT), toy_group(3)])
    run.close()
    whole = (tmp_path / "rollouts.jsonl").read_bytes()
    assert [line["kind"] for line in read_lines(tmp_path / "rollouts.jsonl")] == [
        "problem", "group", "problem", "group", "group", "problem", "group",
    ]  # fmt: skip
    again = Book(tmp_path)
    again.cut(kept)
    again.rollouts(1, [toy_group(2, Mode.INSTRUCT), toy_group(3)])
    again.close()
    assert (tmp_path / "rollouts.jsonl").read_bytes() == whole
    found = list(read_groups(read_lines(tmp_path / "rollouts.jsonl")))
    assert [(step, g.problem.mode) for step, g in found] == [
        (0, Mode.THINKING), (0, Mode.THINKING), (1, Mode.INSTRUCT), (1, Mode.THINKING),
    ]  # fmt: skip


# ---------------------------------------------------------------- a mended verifier

# The old grader took any reply that holds the answer; the new one wants the reply to be the answer. A reply
# of several candidates was the hole that RL found.
DOMAIN = """
from cascade_rl.domain import Domain
from cascade_rl.types import Verdict

async def grade(problem, rollout, services):
    if rollout.text == "crash":
        raise RuntimeError("no idea")
    return Verdict.binary(rollout.text == problem.answer, f"said {rollout.text}")

DOMAIN = Domain("words", "a word", {}, grade, list, lambda p: p.answer)
"""
LEARNED = """
from cascade_rl.domain import Domain
DOMAIN = Domain("taste", "", {}, None, list, lambda p: None, needs=frozenset({"reward_model"}))
"""


def loose(answer: str, text: str) -> Verdict:
    return Verdict.binary(answer in text, "holds it" if answer in text else "")


def write_stage(run, folder: str, replies_by_step, domains=("lab.words",)) -> None:
    """Stored rollouts of a stage, with the verdicts that the loose grader gave."""
    here = run / "stages" / folder
    here.mkdir(parents=True)
    settings = {"data": [{"domain": domain} for domain in domains]}
    (here / "stage.json").write_text(json.dumps({"settings": settings}))
    journal = Journal(here / "rollouts.jsonl")
    for domain in domains:
        name = domain.partition(".")[2]
        problem = Problem(f"{name}-1", name, (Message("user", "Say cat."),), "cat")
        journal.write(stored_problem(problem))
        for step, replies in enumerate(replies_by_step):
            rollouts = tuple(Rollout.of_text(text) for text in replies)
            journal.write(
                stored_group(step, Group(problem, rollouts, tuple(loose("cat", t) for t in replies)))
            )
    journal.close()


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/words.py").write_text(DOMAIN)
    (tmp_path / "lab/taste.py").write_text(LEARNED)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    for name in [m for m in sys.modules if m.partition(".")[0] == "lab"]:
        monkeypatch.delitem(sys.modules, name)
    run = tmp_path / "run"
    honest = [["dog", "dog", "cat", "cow"]] * 2 + [["cat", "cat", "cat", "cow"]] * 18
    hacked = [["dog", "dog", "cat", "cow"]] * 2 + [["cat dog cow", "cat dog", "cat", "cow"]] * 18
    write_stage(run, "01-honest", honest)
    write_stage(run, "02-hacked", hacked)
    write_stage(run, "02-hacked.old-1", hacked)
    write_stage(run, "03-mixed", [["cat", "crash"]], domains=("lab.words", "lab.taste"))
    (run / "stages/04-sft").mkdir()
    (run / "stages/04-sft/rollouts.jsonl").touch()
    return run


def test_a_gain_that_was_a_fault_of_the_verifier_is_told_from_one_that_was_not(run, cascade):
    found = regrade_run(run, []).to_json()
    assert json.loads((run / "regrade.json").read_text()) == found
    honest, hacked, _ = found["stages"]
    assert [row["stage"] for row in found["stages"]] == ["honest", "hacked", "mixed"]
    assert (honest["changed"], honest["fault"], honest["moves"]) == (0, 0.0, [])
    assert honest["old"] == honest["new"] == {"start": 0.25, "end": 0.75, "gain": 0.5}
    assert hacked["old"] == {"start": 0.25, "end": 0.75, "gain": 0.5}
    assert hacked["new"] == {"start": 0.25, "end": 0.25, "gain": 0.0}
    assert hacked["moves"] == [{"old": "right 1", "new": "wrong 0", "count": 36}]
    assert (hacked["replies"], hacked["changed"], hacked["fault"]) == (80, 36, 0.5)
    assert hacked["steps"] == [[0, 1], [18, 19]]
    assert hacked["examples"][0]["reply"] == "cat dog cow" and len(hacked["examples"]) == 5
    status, text, _ = cascade("regrade", str(run))
    assert status == 0
    assert "honest, words: every verdict is as it was" in text
    assert "hacked, words: of the gain of +0.500, 0.500 (100%) was the verifier's fault" in text
    assert "36 x right 1 -> wrong 0" in text and "cat dog cow" in text


DEGREES = """
from cascade_rl.domain import Domain
from cascade_rl.types import Outcome, Verdict

async def grade(problem, rollout, services):
    share = len(rollout.text) / 100
    return Verdict(share, Outcome.PARTIAL) if share else Verdict(0.0, Outcome.UNPARSEABLE)

DOMAIN = Domain("degrees", "a length", {}, grade, list, lambda p: p.answer)
"""


def test_rewards_of_many_degrees_are_one_line_and_other_outcomes_no_other_rewards(run, tmp_path, cascade):
    """Each reply had its own reward: told by outcomes with the mean, not a line a reward."""
    (tmp_path / "lab/degrees.py").write_text(DEGREES)
    write_stage(
        run, "05-degrees", [["", "cat", "cat" * 2, "cat" * 3, "x" * 100, "cat" * 5]], ("lab.degrees",)
    )
    found = regrade_run(run, ["degrees"]).to_json()["stages"][0]
    assert (found["replies"], found["changed"], found["rewards_changed"]) == (6, 6, 5)
    mean = (3 + 6 + 9 + 15) / 4 / 100
    assert found["moves"] == [
        {"old": "right 1", "new": f"partial {mean:g} on average", "count": 4},
        {"old": "wrong 0", "new": "unparseable 0", "count": 1},
        {"old": "wrong 0", "new": "partial 1", "count": 1},
    ]
    assert (
        "of 6 replies 5 earn another reward today, 6 have another verdict"
        in cascade("regrade", str(run), "--stage", "degrees")[1]
    )


@pytest.mark.parametrize("width", [72, 80])
def test_it_is_read_at_the_width_of_the_terminal(run, cascade, monkeypatch, width):
    monkeypatch.setattr(app.console, "width", width)
    lines = cascade("regrade", str(run))[1].splitlines()
    assert max(map(len, lines)) <= width
    # a row a stage: nothing in the table is folded, and where nothing changed there is no second row
    assert [line.split()[:5] for line in lines[1:6]] == [
        ["honest", "words", "80", "0", "then"], ["hacked", "words", "80", "36", "then"],
        ["now", "0.250", "0.250", "+0.000"], ["mixed", "words", "2", "1", "then"], ["now", "1.000", "1.000", "+0.000"],
    ]  # fmt: skip


def test_what_can_not_be_judged_today_is_null_and_learned_rewards_are_left_out(run):
    found = regrade_run(run, ["mixed"]).to_json()
    [mixed] = found["stages"]
    assert mixed["moves"] == [{"old": "wrong 0", "new": "grader_error null", "count": 1}]
    assert mixed["new"]["start"] == 1.0, "a null is not a zero: the mean is over what both could judge"
    assert "RuntimeError: no idea" in mixed["examples"][0]["new"]["note"]
    assert found["skipped"] == [
        {"stage": "mixed", "domain": "taste", "why": "its reward comes from a reward model"}
    ]


def test_mistakes_are_named(run, tmp_path, cascade):
    for arguments, told in [
        ([str(run), "--stage", "nothing"], "nothing: no such stage with rollouts"),
        ([str(tmp_path)], "has no stages with rollouts"),
    ]:
        status, _, err = cascade("regrade", *arguments)
        assert status == 1 and told in err
    assert cascade("regrade", str(run), "--stage", "hacked")[0] == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mode": "', '"mode": "x'),
        ('"outcome": "', '"outcome": "x'),
        ('"reward": ', '"reward": "x", "was": '),
        ('"kind": "problem"', '"kind": "group"'),
        ('"kind": ', '"sort": '),
    ],
)
def test_a_stored_line_that_is_no_record_is_named(run, cascade, old, new):
    file = run / "stages/01-honest/rollouts.jsonl"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    status, _, err = cascade("regrade", str(run))
    assert status == 1 and f"error: {file}:" in err and "no stored problem or group" in err


def test_a_judge_that_is_none_is_named_with_the_file(run, cascade):
    file = run / "stages/01-honest/stage.json"
    record = json.loads(file.read_text())
    record["settings"]["judge"] = {"url": "http://127.0.0.1:1/v1", "modl": "x"}
    file.write_text(json.dumps(record))
    status, _, err = cascade("regrade", str(run))
    assert status == 1 and str(file) in err and "model: Field required" in err
