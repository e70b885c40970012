"""The records of a run as the report sees it: what the files of a run directory say, frozen.

Anything may be missing, since a run in progress is as good as a finished one: None, or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cascade_rl.scores.gate import GateResult
from cascade_rl.scores.judged import Judged
from cascade_rl.scores.matrix import Matrix
from cascade_rl.scores.samples import Sample as Graded
from cascade_rl.types import Scorecard

DONE, HELD, RUNNING, WAITING = "done", "held by its gate", "in progress", "waiting"


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
class Answer:
    """A reply to a held-out problem after a stage, kept for reading, with its prompt."""

    benchmark: str
    prompt: str
    given: Graded


@dataclass(frozen=True, slots=True)
class Effort:
    """What the steps of a stage did in a phase, in sum; only steps that say so count.

    `tokens` were sampled, or went through updates, in `seconds`. Where the machine's rates are known,
    `bound_s` is the least that the cost model allows for `known_s` of these seconds, in which `used` of
    `possible` operations (update) or bytes (rollout) were needed.
    """

    seconds: float = 0.0
    tokens: float = 0.0
    known_s: float = 0.0
    bound_s: float = 0.0
    used: float = 0.0
    possible: float = 0.0

    def __add__(self, other: Effort) -> Effort:
        return Effort(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def tokens_per_s(self) -> float | None:
        """None where nothing is known."""
        return self.tokens / self.seconds if self.seconds else None

    @property
    def limit(self) -> float | None:
        """The least time over the time it took."""
        return self.bound_s / self.known_s if self.known_s else None

    @property
    def utilisation(self) -> float | None:
        """What was needed over what the machine could have done: MFU of an update, MBU of a rollout."""
        return self.used / self.possible if self.possible else None


@dataclass(frozen=True, slots=True)
class Stage:
    """All that is known of one stage.

    description  the content of stage.json
    ledger       its entry there, empty until it is done
    preflight    the content of preflight.json
    seconds      by phase
    efforts      phase -> what it did
    machine      how many `workers`, and what they reach together a second: `flops`, `head_flops`, `bytes`
    counts       what happened in sandbox, verifiers and judge
    """

    name: str
    folder: str
    status: str
    description: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, Any] = field(default_factory=dict)
    preflight: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    heldout: tuple[Step, ...] = ()
    notes: tuple[Note, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    efforts: Mapping[str, Effort] = field(default_factory=dict)
    machine: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    answers: tuple[Answer, ...] = ()
    gate: GateResult | None = None
    card: Scorecard | None = None
    judged: Mapping[str, Judged] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory; `started` and `updated` in seconds since the epoch, `unread` names faulty files.

    `base` is the model before the first stage, as far as it was scored; None where the recipe doesn't ask.
    """

    name: str
    recipe: Mapping[str, Any]
    recipe_text: str
    stages: tuple[Stage, ...]
    matrix: Matrix
    started: float | None
    updated: float | None
    unread: tuple[str, ...]
    base: Stage | None = None

    @property
    def scored(self) -> tuple[Stage, ...]:
        """What the benchmarks were run on: the model before the first stage, if asked, and the stages."""
        return ((self.base,) if self.base else ()) + self.stages

    @property
    def unmeasured(self) -> bool:
        """Whether its recipe is there and has no benchmarks."""
        return bool(self.recipe) and not self.recipe.get("benchmarks") and not self.matrix.rows
