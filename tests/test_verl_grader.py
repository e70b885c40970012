"""The grading server behind a pipe, as verl's files ask it: many at once, whatever comes in or dies."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import verl_tasks
from verl_tasks import problems, stage, task

from cascade_rl.backends.verl.compile import compile_job
from cascade_rl.backends.verl.grader import Output, serve
from cascade_rl.backends.verl.grader import Rules as GraderRules
from cascade_rl.backends.verl.inside.asking import Grader, GraderLost
from cascade_rl.backends.verl.inside.earned import WHOLE_BATCH, Rules, earned
from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.sources.parquet import parquet
from cascade_rl.train.preferred import SCORE, VERIFIED
from cascade_rl.types import Mode, Outcome, Verdict

TOK = tiny.tokenizer()
END = TOK.end_id


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    return verl_tasks.policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def maths(policy, tmp_path_factory):
    """A job of maths with its prompts."""
    asked = problems(count=8, mode=Mode.INSTRUCT)
    return compile_job(task(policy, asked=asked), tmp_path_factory.mktemp("maths"), TOK), asked


def rows(job) -> list[dict]:
    return list(parquet(job.train_rows))


def question(job, index: int, text: str, *, end: bool = True, rule: str | float = "off") -> dict:
    ids = TOK.encode(text) + ([END] if end else [])
    payload = json.loads(rows(job)[index]["extra_info"]["payload"]) | {"code_switch": rule}
    return {"payload": json.dumps(payload), "ids": ids}


def told(job) -> dict:
    return json.loads(job.manifest.read_text())["inside"]["grader"]


@pytest.fixture(autouse=True)
def nothing_left_to_close(monkeypatch):
    """No pipe waits for the garbage collector, which finds that the loop it belongs to is gone."""
    gc.collect()
    late: list[object] = []
    yield
    monkeypatch.setattr(sys, "unraisablehook", lambda fault: late.append(fault.exc_value))
    gc.collect()
    assert not late


def asked_all(job, questions: list[dict], score=None) -> list[dict]:
    async def run() -> list[dict]:
        grader = Grader(told(job), score)
        try:
            return list(await asyncio.gather(*(grader.ask(q) for q in questions)))
        finally:
            await grader.close()

    return asyncio.run(run())


def test_many_replies_are_graded_at_once_each_with_its_own_verdict(maths):
    job, asked = maths
    cases = [
        (
            question(job, i % 8, f"The answer is \\boxed{{{asked[i % 8].answer if i % 3 else 'x + 1'}}}."),
            bool(i % 3),
        )
        for i in range(60)
    ]
    found = asked_all(job, [q for q, _ in cases])
    assert [a["reward"] for a in found] == [float(right) for _, right in cases]
    assert {a["stop"] for a in found} == {"end"} and found[0]["tokens"] == len(cases[0][0]["ids"])
    # the end mark is no text, and everything else is
    assert found[1]["text"] == f"The answer is \\boxed{{{asked[1].answer}}}."


def test_length_and_foreign_script_earn_what_the_stage_says(maths):
    job, asked = maths
    right = [f"Well, \\boxed{{{p.answer}}}." for p in asked]
    foreign = [f"好, {text}" for text in right]
    cut, off, fixed, lowest, both = asked_all(
        job,
        [
            question(job, 0, right[0], end=False),
            question(job, 0, foreign[0]),
            question(job, 1, foreign[1], rule=-1.0),
            question(job, 2, foreign[2], rule=WHOLE_BATCH),
            question(job, 2, foreign[2], end=False, rule=WHOLE_BATCH),
        ],
    )
    assert [a["reward"] for a in (cut, off, fixed, lowest, both)] == [1.0] * 5
    assert [a["stop"] for a in (cut, off, fixed, lowest, both)] == ["length", "end", "end", "end", "length"]
    mask = Rules("mask", 100, 0)
    assert earned(cut, mask) == (None, False)
    assert earned(off, mask) == (1.0, False)
    assert earned(fixed, mask) == (-1.0, False)
    # how low the batch's lowest is only the trainer knows
    assert earned(lowest, mask) == (1.0, True)
    assert earned(both, mask) == (None, False)


def test_a_grader_that_fails_gives_null_and_never_a_zero(policy, tmp_path, monkeypatch):
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab/broken.py").write_text(
        "from dataclasses import replace\nfrom cascade_rl.domains.maths import DOMAIN as MATHS\n"
        "async def grade(problem, rollout, services):\n"
        "    print('noise on the standard output')\n"
        "    raise RuntimeError('no verdict')\n"
        "DOMAIN = replace(MATHS, name='broken', grade=grade, needs=frozenset())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = tuple(replace(p, domain="broken") for p in problems())
    made = stage(data=[{"domain": "my_lab.broken"}])
    # a run has its domains by the names that they give themselves
    job = compile_job(
        task(policy, made, asked, domains={"broken": load_domain("my_lab.broken")}), tmp_path / "job", TOK
    )
    (answer,) = asked_all(job, [question(job, 0, "6")])
    assert (answer["reward"], answer["outcome"]) == (None, "grader_error")
    assert earned(answer, Rules("zero", 100, 0)) == (None, False)
    assert "no verdict" in answer["note"]


def raw(job, lines: list[str]) -> list[dict]:
    """What the server says to lines as they are, up to the end of its input."""
    settings = told(job)
    done = subprocess.run(
        settings["command"], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=60,
        env={**os.environ, **settings["environment"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_garbage_is_refused_by_its_number_and_what_follows_is_graded(maths):
    job, asked = maths
    good = json.dumps({"id": 7, **question(job, 0, f"\\boxed{{{asked[0].answer}}}")})
    other = json.loads(good) | {"id": 8, "payload": good.replace("maths", "x")}
    lines = [
        "not json",
        "[]",
        '{"id": 3}',
        '{"id": 4, "payload": "{}", "ids": []}',
        json.dumps(other),
        "",
        good,
    ]
    first, *found = raw(job, lines)
    assert "ready" in first
    by = {answer["id"]: answer for answer in found}
    assert by[7]["reward"] == 1.0
    assert all("refused" in by[i] for i in (None, 3, 4, 8)) and len(found) == 6


def test_the_standing_of_the_sandbox_comes_first(policy, tmp_path):
    made = stage(data=[{"domain": "coding"}], max_prompt_tokens=4000)
    (tmp_path / "policy").mkdir()
    verl_tasks.policy(tmp_path / "policy")
    config = tmp_path / "policy/config.json"
    config.write_text(
        config.read_text().replace('"max_position_embeddings": 512', '"max_position_embeddings": 8192')
    )
    job = compile_job(task(tmp_path / "policy", made), tmp_path / "job", TOK)
    assert raw(job, [])[0]["ready"].startswith("sandbox: ")


def test_a_job_that_is_not_there_is_refused_with_a_word(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cascade_rl.backends.verl.grader", str(tmp_path / "manifest.json")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and "manifest.json is missing" in json.loads(done.stdout)["refused"]


def test_a_learned_reward_asks_back_and_a_fault_is_null(policy, tmp_path):
    asked = problems("alignment", mode=Mode.INSTRUCT)
    made = stage(data=[{"domain": "alignment"}])
    job = compile_job(task(policy, made, asked, reward_model=policy), tmp_path / "job", TOK)
    heard: list[str] = []

    async def score(text: str) -> float:
        heard.append(text)
        if "broken" in text:
            raise OSError("the router is gone")
        await asyncio.sleep(0)
        return float(len(text))

    questions = [question(job, i, "broken" if i == 2 else f"Answer {i}.") for i in range(6)]
    found = asked_all(job, questions, score)
    # what the model reads: the conversation in instruct mode, up to the end mark of the answer
    texts = [TOK.scored(p.messages, f"Answer {i}.") for i, p in enumerate(asked[:6])]
    assert [a["reward"] for i, a in enumerate(found) if i != 2] == [
        float(len(t)) for i, t in enumerate(texts) if i != 2
    ]
    assert (found[2]["reward"], found[2]["outcome"]) == (None, "grader_error")
    assert "the router is gone" in found[2]["note"] and set(texts) - set(heard) == {texts[2]}


def test_a_score_stands_beside_a_verifiers_reward_where_an_entry_asks(policy, tmp_path):
    asked = problems(count=8, mode=Mode.INSTRUCT)
    made = task(policy, asked=asked, reward_model=policy, scored=[asked[0].id])
    job = compile_job(made, tmp_path / "job", TOK)

    async def score(text: str) -> float:
        return 2.5

    right = [question(job, i, f"\\boxed{{{asked[i].answer}}}") for i in range(2)]
    both, alone = asked_all(job, right, score)
    assert both["reward"] == alone["reward"] == 1.0
    assert {key: both["parts"][key] for key in (VERIFIED, SCORE)} == {VERIFIED: 1.0, SCORE: 2.5}
    assert SCORE not in alone["parts"] and (both["scored"], alone["scored"]) == (True, False)


def test_a_server_that_is_killed_is_started_again_and_nothing_is_lost(maths):
    job, asked = maths

    async def run() -> list[dict]:
        grader = Grader(told(job))
        await grader.ask(question(job, 0, "warm"))
        first = grader._server
        assert first is not None
        questions = [question(job, i, f"\\boxed{{{asked[i].answer}}}") for i in range(8)]
        asking = [asyncio.create_task(grader.ask(q)) for q in questions]
        await asyncio.sleep(0)
        os.kill(first.process.pid, signal.SIGKILL)
        found = await asyncio.gather(*asking)
        assert grader._server is not first
        await grader.close()
        return list(found)

    assert [a["reward"] for a in asyncio.run(run())] == [1.0] * 8


# Ends in the middle of an answer the first time it is started, and leaves what it started with its pipe.
TORN = """
import os, subprocess, sys, time
print('{"ready": "yes"}', flush=True)
first = not os.path.exists(sys.argv[1])
open(sys.argv[1], "w").close()
for line in sys.stdin:
    number = line[7:line.index(",")]
    answer = '{"id": %s, "reward": 1.0}\\n' % number
    if first:
        sys.stdout.write(answer[:-9])
        sys.stdout.flush()
        if sys.argv[2] == "holds":
            os.set_inheritable(1, True)
            subprocess.Popen(["sleep", "30"])
        os._exit(9)
    sys.stdout.write(answer)
    sys.stdout.flush()
"""


@pytest.mark.parametrize("how", ["torn", "holds"])
def test_a_server_that_ends_in_the_middle_of_an_answer_leaves_nobody_waiting(tmp_path, how):
    command = [sys.executable, "-c", TORN, str(tmp_path / "started"), how]

    async def run() -> list[dict]:
        grader = Grader({"command": command, "environment": {}})
        found = await asyncio.wait_for(asyncio.gather(*(grader.ask({"n": n}) for n in range(4))), 20)
        await grader.close()
        return list(found)

    assert [a["reward"] for a in asyncio.run(run())] == [1.0] * 4


def test_what_no_answer_can_be_made_of_is_refused_and_nobody_waits():
    """A grader is a user's code: what it puts into a verdict may be no JSON at all."""

    async def grade(problem, rollout, services) -> Verdict:
        return Verdict(1.0, Outcome.RIGHT, {"odd": {1, 2}})

    written = io.StringIO()
    (asked,) = problems(count=1)
    payload = {
        "problem": {"id": "p", "domain": "maths", "messages": [["user", "a"]], "answer": "1", "mode": "thinking",
                    "meta": {}},
        "code_switch": "off", "scored": False, "prompt_ids": TOK.prompt(asked),
    }  # fmt: skip
    line = json.dumps({"id": 5, "payload": json.dumps(payload), "ids": [END]})
    rules = GraderRules({"maths": replace(load_domain("maths"), grade=grade)}, TOK, None)
    serve([line], Output(written), rules, Services())
    assert json.loads(written.getvalue())["id"] == 5 and "refused" in json.loads(written.getvalue())


def test_a_server_that_can_not_start_is_an_error_with_its_words(maths, tmp_path):
    settings = told(maths[0])
    lost = {**settings, "command": [*settings["command"][:-1], str(tmp_path / "none.json")]}
    with pytest.raises(GraderLost, match=r"none\.json is missing"):
        asyncio.run(Grader(lost).ask({"payload": "", "ids": []}))
