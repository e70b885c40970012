"""Our graders behind a pipe, for engines elsewhere: `python -m cascade_rl.backends.verl.grader MANIFEST`.

Lines of JSON in, lines of JSON out, each answer with its question's `id`, in the order in which verdicts
come. The first line out is {"ready": STANDING}, or {"refused": WHY} before the end. A question is {"id",
"payload" (of `rows.rl_row`), "ids" (as sampled, the end id included)}. Its answer is the verdict (`reward`,
null if no grader could judge, `outcome`, `parts`, `note`), what the reply was (`text`, `tokens`, `stop`),
whether it is in `foreign` script, and the rule for that (`code_switch`): what it earns by these is decided in
`inside/earned.py`. What can't be read is answered with {"id", "refused"}.

Where a reward model is asked, this process asks whoever asked it: {"score": N, "text"}, answered by
{"scored": N, "value"} or {"scored": N, "fault"}, with which the reply has no verdict.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from cascade_rl.domain import Domain, Services
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError, Mendable
from cascade_rl.grading import learned
from cascade_rl.grading.services import judge_spec, open_services, standing, with_judge
from cascade_rl.grading.verdicts import grading_thread
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer
from cascade_rl.run.files import dumps, read_record
from cascade_rl.types import Message, Mode, Problem, Rollout, Stop, Verdict
from cascade_rl.verify.script import switches


@dataclass(frozen=True, slots=True)
class Question:
    """A reply to grade, and the rule for foreign script."""

    id: Any
    problem: Problem
    rollout: Rollout
    code_switch: str | float
    scored: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """What a job's replies are read and graded with."""

    domains: Mapping[str, Domain]
    tokenizer: Tokenizer
    reward_model: str | None

    def question(self, line: str) -> Question:
        """A line as a question; ValueError, KeyError or TypeError when it is none."""
        row = json.loads(line)
        payload, ids = json.loads(row["payload"]), tuple(map(int, row["ids"]))
        raw, prompt = payload["problem"], tuple(payload["prompt_ids"])
        if raw["domain"] not in self.domains:
            raise ValueError(f"the job has no domain {raw['domain']!r}")
        messages = tuple(Message(role, content) for role, content in raw["messages"])
        problem = Problem(raw["id"], raw["domain"], messages, raw["answer"], Mode(raw["mode"]), raw["meta"])
        # no end id: the limit ended it, as our own sampler says
        stop = Stop.END if ids and ids[-1] in self.tokenizer.eos_ids else Stop.LENGTH
        text = self.tokenizer.decode(ids, prompt)
        rollout = Rollout(prompt, ids, (0.0,) * len(ids), text, stop)
        return Question(row["id"], problem, rollout, payload["code_switch"], payload["scored"])


def answer(asked: Question, verdict: Verdict) -> dict[str, Any]:
    """What is written of a verdict."""
    return {
        "id": asked.id,
        "reward": verdict.reward,
        "outcome": str(verdict.outcome),
        "parts": dict(verdict.parts),
        "note": verdict.note,
        "text": asked.rollout.text,
        "tokens": asked.rollout.tokens,
        "stop": str(asked.rollout.stop),
        "foreign": switches(asked.problem.prompt_text, asked.rollout.text),
        "code_switch": asked.code_switch,
        "scored": asked.scored,
    }


def read_rules(manifest: Path) -> tuple[Rules, Mapping[str, Any] | None]:
    """The rules of a compiled job, and its judge's settings; InputError where it is no job."""
    record = read_record(manifest, "inside", "policy")
    if record is None:
        raise InputError(f"{manifest} is missing: it is written last by the job's compilation")
    said = record["inside"]
    domains = {name: load_domain(path) for name, path in said["domains"].items()}
    tokenizer = load_tokenizer(Path(record["policy"]))
    return Rules(domains, tokenizer, said["reward_model"]), said["judge"]


class Output:
    """Where answers go: a line each, whoever writes."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._lock = file, threading.Lock()

    def write(self, line: Mapping[str, Any]) -> None:
        """One line, at once; who asked may be gone, and then nobody is told."""
        with self._lock:
            try:
                self._file.write(dumps(dict(line)) + "\n")
                self._file.flush()
            except BrokenPipeError:
                return


class AskedBack:
    """A `RewardModel` that is served where the questions come from."""

    def __init__(self, output: Output, tokenizer: Tokenizer) -> None:
        self._output, self._tokenizer = output, tokenizer
        self._waiting: dict[int, asyncio.Future[float]] = {}
        self._numbers = itertools.count()

    async def score(self, messages: Sequence[Message], answer: str) -> float:
        """The score of one answer; raises RuntimeError when there is none."""
        number = next(self._numbers)
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._output.write({"score": number, "text": self._tokenizer.scored(messages, answer)})
        try:
            return await future
        finally:
            del self._waiting[number]

    async def hear(self, line: Mapping[str, Any]) -> None:
        """Take an answer; on the loop that waits for it."""
        future = self._waiting.get(line["scored"])
        if future is None or future.done():
            return  # its verdict was given up meanwhile
        if "value" in line:
            future.set_result(float(line["value"]))
        else:
            future.set_exception(RuntimeError(f"no score: {line.get('fault')}"))


def serve(lines: Iterable[str], output: Output, rules: Rules, services: Services) -> None:
    """Answer every line until there are no more, and until all answers are out."""
    under_way: set[Future[None]] = set()
    for line in lines:
        if not line.strip():
            continue
        if (heard := _scored(line)) is not None and isinstance(services.reward_model, AskedBack):
            grading_thread().run(services.reward_model.hear(heard))
            continue
        try:
            asked = rules.question(line)
        except (ValueError, KeyError, TypeError) as error:
            output.write({"id": _id(line), "refused": f"{type(error).__name__}: {error}"})
            continue
        future = grading_thread().begin(_answered(asked, output, rules, services))
        under_way.add(future)
        future.add_done_callback(under_way.discard)
    for future in list(under_way):
        future.result()


async def _answered(asked: Question, output: Output, rules: Rules, services: Services) -> None:
    """Grade one reply and write the answer: what is waited for at the end is the writing."""
    try:
        output.write(answer(asked, await _judged(asked, rules, services)))
    except Exception as error:  # whoever asked would wait for ever
        output.write({"id": asked.id, "refused": f"{type(error).__name__}: {error}"})


async def _judged(asked: Question, rules: Rules, services: Services) -> Verdict:
    grade = rules.domains[asked.problem.domain].grade
    pairs = [(asked.problem, asked.rollout)]
    (verdict,) = await grading_thread().graded(grade, pairs, services)
    if asked.scored and verdict.reward is not None:
        (beside,) = await grading_thread().graded(learned.grade, pairs, services)
        verdict = with_score(verdict, beside)
    return verdict


def with_score(verdict: Verdict, score: Verdict) -> Verdict:
    """A verdict with the reward model's beside it, by the names of `train/preferred.py`; null without one."""
    if verdict.reward is None or score.reward is None:
        return Verdict.failed(score.note)
    parts = {**verdict.parts, "verified": verdict.reward, "reward_model": score.reward}
    return replace(verdict, parts=parts)


def _scored(line: str) -> dict[str, Any] | None:
    """A line that answers a question of ours."""
    if not line.startswith('{"scored"'):
        return None
    row: dict[str, Any] = json.loads(line)
    return row


def _id(line: str) -> Any:
    """The number of a question that can't be read, where at least that can."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row.get("id") if isinstance(row, dict) else None


def main(manifest: str) -> int:
    """Serve a job on the standard streams; the exit status."""
    # graders are users' code: what one prints must not stand between our lines
    output = Output(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    try:
        rules, judge = read_rules(Path(manifest))
        needs = frozenset().union(*(domain.needs for domain in rules.domains.values()))
        with open_services(needs) as services:
            if judge:
                services = with_judge(services, judge_spec(judge, manifest))
            if rules.reward_model:
                scorer = AskedBack(output, load_tokenizer(Path(rules.reward_model)))
                services = replace(services, reward_model=scorer)
            found = standing(services)
            output.write({"ready": found.line if found else "no sandbox is needed"})
            serve(sys.stdin, output, rules, services)
    except Mendable as error:
        output.write({"refused": str(error)})
        return error.status
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
