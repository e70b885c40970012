"""Grade a JSONL file of replies, line by line: what `cascade grade` does. No torch, no model.

A thread reads and begins to grade, the caller writes; between them stands a bounded queue of verdicts to
come, so any number of lines passes through in order without being held, and a reader of a pipe gets each
verdict as it is ready.
"""

from __future__ import annotations

import json
import math
import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from cascade_rl.domain import Domain, Grade, Services
from cascade_rl.errors import AnswerError, InputError
from cascade_rl.grading.services import open_services, with_judge
from cascade_rl.grading.verdicts import grading_thread
from cascade_rl.recipe.prompts import JudgeSpec
from cascade_rl.run.files import FULL, dumps
from cascade_rl.types import Message, Mode, Problem, Rollout, Verdict

WAITING = 512  # lines under way or unread at once: eight times what the grading thread takes on (SLOTS)
FORM = '{"id", "answer", "response", "mode"?, "prompt"? or "messages"?}'


class LineError(InputError):
    """What is wrong with a line."""


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the input that can be graded."""

    id: str | int
    problem: Problem
    response: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """One line that can't be, with its id if that could be read and what is wrong with it."""

    id: Any
    fault: str


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is graded.

    reward   `benchmark` or `rl`: which of the domain's graders
    workers  processes that run programs and verifiers; the machine's cores if None
    limit_s  seconds that one program or verifier's call may take, where the problem allows more
    unsafe   run programs even where nothing isolates them
    judge    the judge model that RL's grader asks, if the domain has one that does
    """

    reward: str = "benchmark"
    workers: int | None = None
    limit_s: float = math.inf
    unsafe: bool = False
    judge: JudgeSpec | None = None


def grader(domain: Domain, reward: str) -> Grade:
    """The domain's grader for a reward, `benchmark` or `rl`; InputError when it needs a reward model."""
    grade = domain.benchmark_grade if reward == "benchmark" else domain.grade
    if domain.learned and grade is domain.grade:
        hint = "; --reward benchmark needs none" if domain.score else ""
        raise InputError(f"{domain.name}: this reward is given by a reward model, which lives in a run{hint}")
    return grade


def parse(number: int, line: bytes, domain: Domain) -> Case | BadLine:
    """Line `number`, counted from 1, as a case, or what is wrong with it."""
    row: Any = None
    try:
        try:
            row = json.loads(line)
        # RecursionError: brackets nested a few thousand deep
        except (ValueError, RecursionError) as error:
            raise LineError(f"not JSON: {error}") from None
        problem = _problem(_checked(row), domain)
        return Case(row["id"], problem, row["response"])
    except ValueError as error:  # of ours, or of a record that does not take what stands there
        found = row.get("id") if isinstance(row, dict) else None
        return BadLine(found, f"line {number}: {error}")


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
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # of a check that took a shape for granted
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
    return {
        "id": found,
        "reward": verdict.reward,
        "outcome": str(verdict.outcome),
        "parts": dict(verdict.parts),
        "note": verdict.note,
    }


_Graded = tuple[Case, Future[tuple[Verdict, ...]]]
_Waiting = queue.Queue[_Graded | BadLine | Exception | None]


def _read(
    lines: Iterable[bytes], domain: Domain, grade: Grade, services: Services, waiting: _Waiting
) -> None:
    """Begin to grade line after line; ends the queue with None, or with what went wrong."""
    try:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            case = parse(number, line, domain)
            if isinstance(case, BadLine):
                waiting.put(case)
            else:
                pairs = [(case.problem, Rollout.of_text(case.response))]
                waiting.put((case, grading_thread().submit(grade, pairs, services)))
        waiting.put(None)
    except Exception as error:  # raised by the caller
        waiting.put(error)


def grade_lines(
    lines: Iterable[bytes], domain: Domain, grade: Grade, services: Services, told: Callable[[str], None]
) -> Iterator[tuple[dict[str, Any], bool]]:
    """(output row, whether it is the last one that is ready now) for each line that is not blank, in order.

    `told` hears of bad lines. Raises what reading raises.
    """
    waiting: _Waiting = queue.Queue(WAITING)
    arguments = (lines, domain, grade, services, waiting)
    # daemon: a caller that stops half-way leaves it at a full queue, which must not hold the process
    threading.Thread(target=_read, args=arguments, name="reader", daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, Exception):
            raise item
        if isinstance(item, BadLine):
            told(item.fault)
            row = verdict_row(item.id, Verdict.failed(item.fault))
        else:
            case, graded = item
            row = verdict_row(case.id, graded.result()[0])
        yield row, waiting.empty()


def grade_file(
    domain: Domain,
    source: str,
    target: str,
    options: Options,
    told: Callable[[str], None],
    counted: Callable[[Counter[str]], None],
) -> Counter[str]:
    """Grade the lines of a file to another; `-` is standard input or output. Counts verdicts by outcome.

    `told` hears of bad lines, `counted` of the counts so far after each line. Raises InputError for a file
    that can't be opened, a grader that lives in a run, or a judge that nobody asks.
    """
    grade = grader(domain, options.reward)
    if options.judge and not domain.judged:
        raise InputError(f"{domain.name}: its grader asks no judge model")
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        lines = stack.enter_context(_open_input(source))
        out = stack.enter_context(_open_output(target, source))
        # `grader` has refused those that ask one; another grader of the domain may still name it
        needs = domain.needs - {"reward_model"}
        services = stack.enter_context(open_services(needs, options.workers, options.limit_s, options.unsafe))
        services = with_judge(services, options.judge) if options.judge else services
        for row, last in grade_lines(lines, domain, grade, services, told):
            out.write(dumps(row) + "\n")
            # a pipe gets each verdict at once, a fast file is not flushed line by line
            if last:
                out.flush()
            counts[row["outcome"]] += 1
            counted(counts)
    return counts


def _open_input(source: str) -> BinaryIO:
    try:
        return open(0, "rb", closefd=False) if source == "-" else Path(source).open("rb")
    except OSError as error:
        raise InputError(f"can't read {source}: {error.strerror}") from None


def _open_output(target: str, source: str) -> AbstractContextManager[TextIO]:
    if target == "-":
        return nullcontext(sys.stdout)
    path = Path(target)
    # samefile: also by another path or a link
    if source != "-" and path.exists() and path.samefile(source):
        raise InputError(f"--output {target} is the input: it would be overwritten before it is read")
    return _output_file(path)


@contextmanager
def _output_file(path: Path) -> Iterator[TextIO]:
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(f"can't write {path}: {error.strerror}") from None
    try:
        with file:
            yield file
    except OSError as error:  # of a write, late: it does not say of which file
        if error.errno not in FULL:
            raise
        raise InputError(f"can't write {path}: {error.strerror}; make room, and ask again") from None
