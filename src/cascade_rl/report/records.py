"""The records of a run as the report sees it: what the files of a run directory say, frozen.

Anything may be missing, since a run in progress is as good as a finished one: None, or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cascade_rl.types import Score

DONE, HELD, RUNNING, WAITING = "done", "held by its gate", "in progress", "waiting"


@dataclass(frozen=True, slots=True)
class ModeCell:
    """One benchmark after one stage in one mode; `leak` and `clipped` are shares in [0, 1]."""

    average: Score | None
    greedy: Score | None
    leak: float | None
    clipped: float | None
    mean_tokens: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One benchmark of the matrix; `modes` is stage -> mode -> cell."""

    name: str
    own_stage: str | None
    headline: str | None
    scores: Mapping[str, Score]
    modes: Mapping[str, Mapping[str, ModeCell]]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Benchmarks x stages, in the order of the run; `seconds` per stage."""

    stages: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the journal; a metric that was null or not a number is NaN."""

    step: int
    phase: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Note:
    """A remark in the journal."""

    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One rollout kept for reading; `reward` is None when the grader failed."""

    step: int
    problem: str
    domain: str
    mode: str
    prompt: str
    reply: str
    reward: float | None
    outcome: str
    note: str
    tokens: int | None
    stop: str


@dataclass(frozen=True, slots=True)
class GateCell:
    """One paired comparison of the gate; `change`, `low`, `high` are differences of shares."""

    benchmark: str
    before: str
    change: float | None
    low: float | None
    high: float | None
    verdict: str
    excuse: str
    waiver: str


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate said after a stage."""

    passed: bool | None
    cells: tuple[GateCell, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """All that is known of one stage.

    `counts` is what happened in the processes that judge, `per_problem` is benchmark -> problem id -> score in the
    headline mode.
    """

    name: str
    folder: str
    status: str
    description: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, Any] = field(default_factory=dict)
    preflight: Any = None
    steps: tuple[Step, ...] = ()
    notes: tuple[Note, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    gate: Gate | None = None
    per_problem: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory; `started` and `updated` are seconds since the epoch, `unread` names files with faults."""

    name: str
    recipe: Mapping[str, Any]
    recipe_text: str
    stages: tuple[Stage, ...]
    matrix: Matrix
    started: float | None
    updated: float | None
    unread: tuple[str, ...]
