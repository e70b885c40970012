"""What a verl job does, written into a stage's own journals: each step once, whatever was killed in between.

verl knows nothing of our journals, so a second file ties them together: after each step `followed.jsonl` says
up to which byte of which attempt's metrics was read, and how long our journals were then. Whoever takes the
job up again cuts the journals back to the last such line, and reads on from there; a job that goes on from a
checkpoint cuts them back to the checkpoint's step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cascade_rl.backends.verl.job import Job
from cascade_rl.backends.verl.metrics import Line, mapped
from cascade_rl.backends.verl.planned import Planned
from cascade_rl.backends.verl.replies import Replies, summary
from cascade_rl.errors import StageError
from cascade_rl.protocols import Screen
from cascade_rl.run.alarms import warnings
from cascade_rl.run.book import Book
from cascade_rl.run.files import dumps, write_text
from cascade_rl.run.journal import read_lines
from cascade_rl.types import Problem, StepReport

METRICS = "metrics.jsonl"  # of an attempt
MAX_FAILED = 0.2  # of a step's verdicts, as in our own loop: such a grader is broken, not unlucky
MAX_SKIPPED = 5  # updates in a row that were not finite: then it is no accident, as in our own loop


def never() -> bool:
    """Nobody asks to stop."""
    return False


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears of a job: the stage's journals, the screen; and who may end it.

    first_step  of the stage, where the job begins
    total       steps of the stage
    phase       the part of the curriculum that the job trains
    problems    the job's prompts, by the index that its rows carry (`Link.asked`); none for SFT
    followed    the file of the job's folder that ties these journals to it, and no others
    """

    book: Book
    screen: Screen
    stop_asked: Callable[[], bool] = never
    first_step: int = 0
    total: int = 0
    phase: str = ""
    problems: Sequence[Problem] = ()
    followed: str = "followed.jsonl"

    def note(self, step: int, text: str) -> None:
        """Say something in the journal and on the screen; `step` is the job's, from 0."""
        self.book.note(self.first_step + step, text)
        self.screen.note(text)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the journals are: `step` steps of the job, read from an attempt's metrics up to `position`.

    next_rate  the learning rate of the step that comes, where it is known: verl tells it beforehand
    """

    attempt: int
    step: int
    position: int
    offsets: Mapping[str, int]
    next_rate: float | None = None


class Marks:
    """The lines of followed.jsonl; the first is of step 0, before anything was written."""

    def __init__(self, path: Path, book: Book, first_rate: float | None) -> None:
        self._path = path
        self._all = [Mark(**line) for line in read_lines(path)]
        if not self._all:
            self._all = [Mark(0, 0, 0, book.offsets(), first_rate)]
            self._save()

    @property
    def last(self) -> Mark:
        """How far the journals are."""
        return self._all[-1]

    def rate_of(self, step: int) -> dict[str, float]:
        """`lr` of the step that comes next, as the one before it told it; none where its line was lost."""
        last = self.last
        return {"lr": last.next_rate} if last.step == step - 1 and last.next_rate is not None else {}

    def add(self, mark: Mark) -> None:
        """Go on to a mark."""
        self._all.append(mark)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(dumps(asdict(mark)) + "\n")

    def back_to(self, step: int) -> Mark:
        """Forget the marks after a step; the last that is left, which may be of an earlier one."""
        while len(self._all) > 1 and self._all[-1].step > step:
            self._all.pop()
        self._save()
        return self.last

    def _save(self) -> None:
        write_text(self._path, "".join(dumps(asdict(mark)) + "\n" for mark in self._all))


class Follower:
    """Reads an attempt's metrics as they grow, and writes them into the book; one attempt after another."""

    def __init__(self, job: Job, plan: Planned, told: Told) -> None:
        self._job, self._plan, self._told = job, plan, told
        self._marks = Marks(job.folder / told.followed, told.book, plan.first_rate)
        self._attempt = 0
        self._position = 0
        self._last_line = b""
        self._replies = Replies(job.attempt(0), ())
        self._history: list[Mapping[str, float]] = []
        self._skipped = 0

    @property
    def step(self) -> int:
        """How many steps of the job the journals hold."""
        return self._marks.last.step

    def begin(self, attempt: int, step: int) -> None:
        """Follow a new attempt, which goes on from `step`: what was journaled after it is made again."""
        self.skip_to(step)
        before = self.step
        self._open(attempt, self._marks.back_to(step))
        if before > step:
            self._told.note(
                step, f"{_steps(step, before)}: trained again, from the checkpoint of step {step}"
            )
        self._position = 0
        self._mark(step)

    def skip_to(self, step: int) -> None:
        """Say that numbers are lost of steps that are trained and saved, but untold; keep their replies."""
        # verl saves a step before it tells of it, so that a kill in between loses its numbers for good
        if self.step < step:
            last = self._marks.last
            self._told.book.cut(last.offsets)
            _keep_replies(self._told, self._job.attempt(last.attempt), range(self.step + 1, step + 1))
            self._told.note(step - 1, f"{_steps(self.step, step)}: trained, but verl never told the numbers")
            self._mark(step)

    def take_up(self, attempt: int) -> None:
        """Follow on where an earlier process stopped, without losing or repeating a line of the attempt."""
        mark = self._marks.last
        self._open(attempt, mark)
        self._position = mark.position if mark.attempt == attempt else 0

    def read(self) -> int:
        """Take up all whole lines that are new; how many steps they told."""
        path = self._job.attempt(self._attempt) / METRICS
        if not path.is_file():
            return 0
        count = 0
        with path.open("rb") as file:
            if not self._same(file):
                # begun anew under our hands: steps that it tells again take the place of those before
                self._position, self._last_line = 0, b""
            file.seek(self._position)
            for raw in file:
                if not raw.endswith(b"\n"):
                    break  # torn, or being written at this moment
                self._position += len(raw)
                self._last_line = raw
                count += self._take(raw)
        return count

    def note(self, text: str) -> None:
        """A remark on the attempt, kept also when our process is killed afterwards."""
        self._told.note(self.step, text)
        self._mark(self.step)

    def _open(self, attempt: int, mark: Mark) -> None:
        told = self._told
        told.book.cut(mark.offsets)
        self._attempt, self._last_line, self._skipped = attempt, b"", 0
        self._replies = Replies(self._job.attempt(attempt), told.problems)
        # after the cut, so that alarms see what an uninterrupted run saw
        self._history = told.book.history()

    def _same(self, file: Any) -> bool:
        """Whether what was read still stands there: verl empties its file when it opens it."""
        file.seek(self._position - len(self._last_line))
        return bool(file.read(len(self._last_line)) == self._last_line)

    def _take(self, raw: bytes) -> bool:
        try:
            record = json.loads(raw)
            line = mapped(int(record["step"]), record["data"], on_policy=self._plan.on_policy)
        except (KeyError, TypeError, ValueError, AttributeError):
            self.note(f"a line of verl's metrics could not be read: {raw[:60].decode('utf-8', 'replace')!r}")
            return False
        if line.heldout:
            self._told.book.heldout(self._told.first_step + line.step, line.heldout)
        if not line.trained or line.step < 1:
            self._mark(self.step)
            return False
        self._place(line.step)
        failed = self._write(line)
        self._mark(line.step, line.next_rate)
        self._skipped = self._skipped + 1 if line.metrics.get("skipped") else 0
        _refuse_broken(self._job, line.step, failed, self._skipped)
        return True

    def _place(self, step: int) -> None:
        """Make the journals end right before a step."""
        if step <= self.step:
            position, last = self._position, self._last_line
            self._open(self._attempt, self._marks.back_to(step - 1))
            self._position, self._last_line = position, last
        if step > self.step + 1:
            text = f"{_steps(self.step, step - 1)}: verl told nothing of them"
            self._told.note(self.step, text)

    def _write(self, line: Line) -> float:
        """Journals, alarms and the screen, in the order of our own loop; the share of null verdicts."""
        told = self._told
        graded = self._replies.of_step(line.step)
        # the graders' own words come second: they know a null from a zero, and the limit from the longest
        metrics = dict(line.metrics) | self._marks.rate_of(line.step) | summary(graded)
        report = StepReport(told.first_step + line.step - 1, metrics, line.seconds)
        told.book.step(report, told.phase)
        told.book.times(report.step, line.seconds, verl=dict(line.clock))
        stored = sum(len(group.rollouts) for group in graded.groups)
        if stored < self._plan.replies:
            # a machine that does not see the folder, or a variable that did not reach its workers
            text = f"of {self._plan.replies} replies of this step {stored} were stored with their verdicts"
            told.book.note(report.step, text)
            told.screen.note(text)
        if groups := graded.groups:
            told.book.rollouts(report.step, groups)
            if report.step in (0, told.total - 1):
                told.book.samples(report.step, groups)
        self._history.append(metrics)
        for text in warnings(self._history):
            told.book.note(report.step, text)
            told.screen.note(text)
        told.screen.step(report, told.total, told.phase)
        return float(metrics.get("failed", 0.0))

    def _mark(self, step: int, next_rate: float | None = None) -> None:
        """Say that the journals hold `step` steps; what is known of the rate that comes stays known."""
        last = self._marks.last
        if next_rate is None and last.step == step:
            next_rate = last.next_rate
        self._marks.add(Mark(self._attempt, step, self._position, self._told.book.offsets(), next_rate))


def _keep_replies(told: Told, attempt: Path, steps: Iterable[int]) -> None:
    """Store what was graded for steps of a job: the epoch filter goes by it."""
    replies = Replies(attempt, told.problems)
    for step in steps:
        if groups := replies.of_step(step).groups:
            told.book.rollouts(told.first_step + step - 1, groups)


def _refuse_broken(job: Job, step: int, failed: float, skipped: int) -> None:
    """Raise StageError where a step says that going on is of no use."""
    if failed > MAX_FAILED:
        raise StageError(
            f"{job.folder}: the graders failed on {failed:.0%} of the replies of step {step}; their notes "
            "are in rollouts.jsonl. Given again, the command goes on from the last checkpoint"
        )
    if skipped >= MAX_SKIPPED:
        raise StageError(
            f"{job.folder}: {MAX_SKIPPED} updates in a row were not finite (NaN), so that verl left the "
            "weights as they were; lower the learning rate"
        )


def _steps(after: int, last: int) -> str:
    """The job's steps after one up to another, in words."""
    return f"step {last} of the job" if last == after + 1 else f"steps {after + 1} to {last} of the job"
