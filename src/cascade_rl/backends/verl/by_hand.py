"""A compiled job trained outside of a run, with journals of its own, and how far any job has come."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.backends.verl.checkpoints import last_whole
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.backends.verl.launch import CONSOLE, ENDED, run_job
from cascade_rl.backends.verl.metrics import Line, mapped
from cascade_rl.backends.verl.planned import read_plan
from cascade_rl.backends.verl.reasons import tail
from cascade_rl.backends.verl.watch import METRICS, Told
from cascade_rl.errors import InputError
from cascade_rl.protocols import Screen
from cascade_rl.run.book import Book
from cascade_rl.run.files import read_record
from cascade_rl.run.journal import read_lines
from cascade_rl.types import Message, Mode, Problem


def train_by_hand(job: Job, command: Command, screen: Screen, stop_asked: Callable[[], bool]) -> None:
    """Train a job to its last step; its journals lie in `stage` in its folder."""
    plan = read_plan(job)
    book = Book(job.folder / "stage")
    try:
        # a run that has begun the job ties its own journals to it
        followed = f"{book.folder.name}/followed.jsonl"
        problems = _problems(job, plan.kind)
        told = Told(book, screen, stop_asked, total=plan.steps, problems=problems, followed=followed)
        run_job(job, command, told)
    finally:
        book.close()


def _problems(job: Job, kind: str) -> tuple[Problem, ...]:
    """The prompts of an RL job, from its own rows."""
    if kind != "rl":
        return ()
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise InputError("a job of verl needs a package: pip install cascade-rl[data]") from None
    rows = parquet.read_table(job.train_rows, columns=["extra_info"]).to_pylist()
    return tuple(_problem(json.loads(row["extra_info"]["payload"])["problem"]) for row in rows)


def _problem(raw: dict[str, Any]) -> Problem:
    messages = tuple(Message(role, content) for role, content in raw["messages"])
    return Problem(raw["id"], raw["domain"], messages, raw["answer"], Mode(raw["mode"]), raw["meta"])


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a job is: its last start (0: none yet), what verl told of its steps, and what there is to say.

    saved  the step of the last whole checkpoint; 0 if there is none, as after an export inside a run
    exported  whether the proven export is there
    ended  why the last start ended; empty while it runs
    last   the console's last lines
    """

    steps: int
    start: int
    saved: int
    exported: bool
    lines: tuple[Line, ...]
    ended: str
    last: tuple[str, ...]


def seen(job: Job) -> Seen:
    """How far a job is, by its files alone: it may be at work anywhere."""
    plan = read_plan(job)
    start = max((int(path.name) for path in _attempts(job)), default=0)
    found = last_whole(job, plan)
    attempt = job.attempt(start)
    told = [
        mapped(int(line["step"]), line["data"], on_policy=plan.on_policy)
        for line in read_lines(attempt / METRICS)
    ]
    ended = read_record(attempt / ENDED, "reason")
    return Seen(
        plan.steps,
        start,
        found.step if found else 0,
        job.exported.exists(),
        tuple(line for line in told if line.trained),
        ended["reason"] if ended else "",
        tuple(tail(attempt / CONSOLE)) if start else (),
    )


def _attempts(job: Job) -> list[Path]:
    return [path for path in job.attempt(0).parent.glob("[0-9]*") if path.name.isdecimal()]
