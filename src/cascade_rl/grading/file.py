"""Grade a JSONL file of replies, line by line: what `cascade grade` does. No torch, no model.

A thread reads and begins to grade, the caller writes; between them stands a bounded queue of verdicts to come, so any
number of lines passes through in order without being held, and a reader of a pipe gets each verdict as it is ready.
"""

from __future__ import annotations

import json
import math
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from cascade_rl.domain import Domain, Grade, Services
from cascade_rl.errors import AnswerError
from cascade_rl.grading.services import open_services, with_judge
from cascade_rl.grading.verdicts import grading_thread
from cascade_rl.recipe import JudgeSpec
from cascade_rl.run.files import dumps
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Verdict

CLEAR = "\r\x1b[K"  # back to the start of the terminal's line, which is emptied
WAITING = 512  # lines whose verdicts may be under way or unread at once
FORM = '{"id", "answer", "response", "mode"?, "prompt"? or "messages"?}'


class LineError(ValueError):
    """What is wrong with a line."""


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the input, or why it is none; `number` counts from 1."""

    number: int
    id: Any
    problem: Problem | None = None
    response: str = ""
    fault: str = ""


def grader(domain: Domain, reward: str) -> Grade:
    """The domain's grader for a reward, `benchmark` or `rl`; ValueError when it needs a reward model."""
    grade = domain.benchmark_grade if reward == "benchmark" else domain.grade
    if domain.learned and grade is domain.grade:
        hint = "; --reward benchmark needs none" if domain.score else ""
        raise ValueError(f"{domain.name}: this reward is given by a reward model, which lives in a run{hint}")
    return grade


def parse(number: int, line: bytes, domain: Domain) -> Case:
    """A line as a case; a bad one has a fault, and its id if that can be read."""
    row: Any = None
    try:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise LineError(f"not JSON: {error}") from None
        problem = _problem(_checked(row), domain)
        return Case(number, row["id"], problem, row["response"])
    except ValueError as error:
        found = row.get("id") if isinstance(row, dict) else None
        return Case(number, found, fault=f"line {number}: {error}")


def _checked(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise LineError(f"want an object {FORM}, not {_kind(row)}")
    if missing := [key for key in ("id", "answer", "response") if key not in row]:
        raise LineError(f"no {', no '.join(missing)}; want {FORM}")
    if not isinstance(row["id"], str | int):
        raise LineError(f"id must be a text or a whole number, not {_kind(row['id'])}")
    if not isinstance(row["response"], str):
        raise LineError(f"response must be a text, not {_kind(row['response'])}")
    if "mode" in row and row["mode"] not in list(Mode):
        raise LineError(f"mode must be {' or '.join(Mode)}, not {row['mode']!r}")
    return row


def _problem(row: dict[str, Any], domain: Domain) -> Problem:
    try:
        domain.check_answer(row["answer"])
    except AnswerError as error:
        raise LineError(f"answer: {error}") from None
    except (
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:  # of a check that took a shape for granted
        raise LineError(f"answer: {type(error).__name__}: {error}") from None
    messages, prompt = row.get("messages"), row.get("prompt", "")
    if messages is None:
        if not isinstance(prompt, str):
            raise LineError(f"prompt must be a text, not {_kind(prompt)}")
        messages = [{"role": "user", "content": prompt}]
    if not isinstance(messages, list) or not all(_is_message(m) for m in messages):
        raise LineError('messages must be a list of {"role": text, "content": text}')
    turns = tuple(Message(m["role"], m["content"]) for m in messages)
    return Problem(str(row["id"]), domain.name, turns, row["answer"], Mode(row.get("mode", Mode.INSTRUCT)))


def _is_message(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(found.get(key), str) for key in ("role", "content"))


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def verdict_row(found: Any, verdict: Verdict) -> dict[str, Any]:
    """The output line of a verdict on the case with the id `found`."""
    return {"id": found, "reward": verdict.reward, "outcome": str(verdict.outcome), "parts": dict(verdict.parts),
            "note": verdict.note}  # fmt: skip


_Waiting = queue.Queue[tuple[Case, Future | None] | Exception | None]


def _read(
    lines: Iterable[bytes], domain: Domain, grade: Grade, services: Services, waiting: _Waiting
) -> None:
    """Begin to grade line after line; ends the queue with None, or with what went wrong."""
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                case = parse(number, line, domain)
                pairs = [(case.problem, Rollout.of_text(case.response))]
                waiting.put((case, None if case.fault else grading_thread().submit(grade, pairs, services)))
        waiting.put(None)
    except Exception as error:  # raised by the caller
        waiting.put(error)


def grade_lines(
    lines: Iterable[bytes], domain: Domain, grade: Grade, services: Services, told: Callable[[str], None]
) -> Iterator[tuple[dict[str, Any], bool]]:
    """(output row, whether it is the last one that is ready now) for each line, in order; blank lines are passed over.

    `told` hears of bad lines. Raises what reading raises.
    """
    waiting: _Waiting = queue.Queue(WAITING)
    arguments = (lines, domain, grade, services, waiting)
    threading.Thread(target=_read, args=arguments, name="reader", daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, Exception):
            raise item
        case, graded = item
        if case.fault:
            told(case.fault)
        verdict = graded.result()[0] if graded else Verdict.failed(case.fault)
        yield verdict_row(case.id, verdict), waiting.empty()


def grade_file(
    domain: Domain, source: str, target: str, reward: str, workers: int | None, limit_s: float | None, unsafe: bool,
    judge: JudgeSpec | None = None,
) -> Counter[str]:  # fmt: skip
    """Grade the lines of a file to another; `-` is standard input or output. Counts verdicts by outcome.

    Bad lines are named on standard error, as is progress when that is a terminal. Raises ValueError for an unknown
    domain or a file that can't be opened.
    """
    grade = grader(domain, reward)
    if judge and not domain.judged:
        raise ValueError(f"{domain.name}: its grader asks no judge model")
    limit_s = math.inf if limit_s is None else limit_s
    with ExitStack() as stack:
        lines = stack.enter_context(_open_input(source))
        out = stack.enter_context(_open_output(target, source))
        services = stack.enter_context(
            open_services(domain.needs - {"reward_model"}, workers, limit_s, unsafe)
        )
        services = with_judge(services, judge) if judge else services
        progress = _Progress(sys.stderr.isatty())
        for row, last in grade_lines(lines, domain, grade, services, progress.say):
            out.write(dumps(row) + "\n")
            if last:
                out.flush()
            progress.count(row["outcome"])
        progress.end()
        return progress.counts


def _open_input(source: str) -> BinaryIO:
    try:
        return open(0, "rb", closefd=False) if source == "-" else Path(source).open("rb")
    except OSError as error:
        raise ValueError(f"can't read {source}: {error.strerror}") from None


def _open_output(target: str, source: str) -> AbstractContextManager[TextIO]:
    if target == "-":
        return nullcontext(sys.stdout)
    path = Path(target)
    if source != "-" and path.exists() and path.samefile(source):
        raise ValueError(f"--output {target} is the input: it would be overwritten before it is read")
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise ValueError(f"can't write {target}: {error.strerror}") from None


class _Progress:
    """What standard error hears: bad lines always, a running count on a terminal."""

    def __init__(self, terminal: bool) -> None:
        self.terminal, self.counts, self._shown = terminal, Counter(), time.monotonic()

    def say(self, text: str) -> None:
        print(f"{CLEAR if self.terminal else ''}{text}", file=sys.stderr, flush=True)

    def count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        if self.terminal and time.monotonic() - self._shown > 0.2:
            self._shown = time.monotonic()
            print(f"{CLEAR}{self.line()}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.terminal:
            self.say(self.line())

    def line(self) -> str:
        """Such as `1,200 graded: 800 right, 390 wrong, 10 grader_error`."""
        parts = [f"{self.counts[o]:,} {o}" for o in map(str, Outcome) if self.counts[o]]
        return f"{self.counts.total():,} graded" + (": " + ", ".join(parts) if parts else "")
