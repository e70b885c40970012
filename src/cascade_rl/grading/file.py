"""Grade a JSONL file of replies, line by line: what `cascade grade` does. No torch, no model.

A thread reads and begins to grade, the caller writes; between them stands a bounded queue of verdicts to
come, so any number of lines passes through in order without being held, and a reader of a pipe gets each
verdict as it is ready.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from cascade_rl.domain import Domain, Grade, Services
from cascade_rl.errors import InputError
from cascade_rl.grading.lines import BadLine, Case, parse
from cascade_rl.grading.services import open_services, with_judge
from cascade_rl.grading.summary import Summary
from cascade_rl.grading.verdicts import grading_thread
from cascade_rl.recipe.prompts import JudgeSpec
from cascade_rl.run.files import FULL, dumps
from cascade_rl.types import Rollout, Verdict
from cascade_rl.verify.told import one_line

WAITING = 512  # lines under way or unread at once: eight times what the grading thread takes on (SLOTS)


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is graded.

    reward   `benchmark` or `rl`: which of the domain's graders
    workers  processes that run programs and verifiers; the machine's cores if None
    limit_s  seconds that one program or verifier's call may take, where the problem allows more
    unsafe   run programs even where nothing isolates them
    judge    the judge model that RL's grader asks, if the domain has one that does
    ray      the Ray cluster whose nodes run programs and verifiers; None: this machine
    """

    reward: str = "benchmark"
    workers: int | None = None
    limit_s: float = math.inf
    unsafe: bool = False
    judge: JudgeSpec | None = None
    ray: str | None = None


def grader(domain: Domain, reward: str) -> Grade:
    """The domain's grader for a reward, `benchmark` or `rl`; InputError when it needs a reward model."""
    grade = domain.benchmark_grade if reward == "benchmark" else domain.grade
    if domain.learned and grade is domain.grade:
        hint = "; --reward benchmark needs none" if domain.score else ""
        raise InputError(f"{domain.name}: this reward is given by a reward model, which lives in a run{hint}")
    return grade


@dataclass(frozen=True, slots=True)
class Graded:
    """What came of a line: its id, the verdict, whether it was a bad one, whether it is the last by now."""

    id: Any
    verdict: Verdict
    bad: bool
    last: bool

    def row(self) -> dict[str, Any]:
        """The line of the output."""
        verdict = self.verdict
        return {
            "id": self.id,
            "reward": verdict.reward,
            "outcome": str(verdict.outcome),
            "parts": dict(verdict.parts),
            "note": verdict.note,
        }


_Begun = tuple[Case, Future[tuple[Verdict, ...]]]
_Waiting = queue.Queue[_Begun | BadLine | Exception | None]


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
                # as one: an id of a line may have several golds
                pairs = [(problem, Rollout.of_text(case.response)) for problem in case.problems]
                waiting.put((case, grading_thread().submit(grade, pairs, services)))
        waiting.put(None)
    except Exception as error:  # raised by the caller
        waiting.put(error)


def grade_lines(
    lines: Iterable[bytes], domain: Domain, grade: Grade, services: Services, told: Callable[[str], None]
) -> Iterator[Graded]:
    """What came of each line that is not blank, in order.

    `told` hears of bad lines and of golds that can't be used. Raises what reading raises.
    """
    waiting: _Waiting = queue.Queue(max(WAITING, 8 * grading_thread().slots))
    arguments = (lines, domain, grade, services, waiting)
    # daemon: a caller that stops half-way leaves it at a full queue, which must not hold the process
    threading.Thread(target=_read, args=arguments, name="reader", daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, Exception):
            raise item
        if isinstance(item, BadLine):
            fault = one_line(item.fault)
            told(fault)
            yield Graded(item.id, Verdict.failed(fault), True, waiting.empty())
        else:
            case, graded = item
            for left_out in case.left_out:
                told(one_line(f"line {case.number}: answer: {left_out}"))
            verdict = case.verdict(graded.result())
            verdict = replace(verdict, note=one_line(verdict.note))
            yield Graded(case.id, verdict, False, waiting.empty())


def grade_file(
    domain: Domain,
    source: str,
    target: str,
    options: Options,
    told: Callable[[str], None],
    counted: Callable[[Summary], None],
) -> Summary:
    """Grade the lines of a file to another; `-` is standard input or output.

    `told` hears of bad lines, `counted` of the summary so far after each line. Raises InputError for a file
    that can't be opened, a grader that lives in a run, or a judge that nobody asks.
    """
    grade = grader(domain, options.reward)
    if options.judge and not domain.judged:
        raise InputError(f"{domain.name}: its grader asks no judge model")
    summary = Summary()
    with ExitStack() as stack:
        lines = stack.enter_context(_open_input(source))
        out = stack.enter_context(_open_output(target, source))
        # `grader` has refused those that ask one; another grader of the domain may still name it
        needs = domain.needs - {"reward_model"}
        opened = open_services(needs, options.workers, options.limit_s, options.unsafe, options.ray)
        services = stack.enter_context(opened)
        services = with_judge(services, options.judge) if options.judge else services
        for graded in grade_lines(lines, domain, grade, services, told):
            out.write(dumps(graded.row()) + "\n")
            # a pipe gets each verdict at once, a fast file is not flushed line by line
            if graded.last:
                out.flush()
            summary.add(graded.verdict, graded.bad)
            counted(summary)
    return summary


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
