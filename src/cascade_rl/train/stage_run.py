"""What a stage trains with, and what it hands over: the two ends of `train(run, data) -> Trained`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from cascade_rl.domain import Domain
from cascade_rl.model.cost import Peaks
from cascade_rl.protocols import Screen
from cascade_rl.recipe import StageSpec
from cascade_rl.rollout.world import World
from cascade_rl.run.book import Book

# The kind of the stage: what trains one kind says so (StageRun[RLStage]), the loop that all share is generic.
S = TypeVar("S", bound=StageSpec)


@dataclass(frozen=True, slots=True)
class Probe:
    """Policy `best`: every so many steps `score(step)` gives each domain's validation score, 0 to 1."""

    every: int
    score: Callable[[int], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Exported:
    """A model that an earlier stage exported: its folder, and the checksum of its weights in the ledger.

    The checksum is None where an older version wrote the ledger, and of a model from outside. `apart`: it
    has a shape, a tokenizer and a template of its own, which stand in its folder; else the policy's are its.
    """

    path: Path
    weights: str | None
    apart: bool = False


@dataclass(frozen=True, slots=True)
class StageRun(Generic[S]):
    """The surroundings of one stage: with what it works, where it writes, whom it tells.

    key           what makes it this stage, see `run.ledger.stage_key`; empty where nothing is taken up again
    model         the model of the workers that is trained
    start         the exported model that the stage starts from
    reward_model  the exported reward model that RL asks, where a domain's reward is learned
    body          the directory of the model that a reward model is trained from; None: the policy
    stop_asked    turns true after Ctrl-C or SIGTERM
    export_dtype  of exported weights and adapters: fp32 or bf16
    smoke         a stage that trains nothing is then noted, not refused
    peaks         what the machine can do, for the bounds beside the times
    """

    stage: S
    world: World
    book: Book
    domains: Mapping[str, Domain]
    screen: Screen
    seed: int = 0
    key: str = ""
    model: str = "policy"
    start: Path = Path()
    reward_model: Exported | None = None
    body: Path | None = None
    stop_asked: Callable[[], bool] = lambda: False
    probe: Probe | None = None
    export_dtype: str = "fp32"
    smoke: bool = False
    # of the process that runs now: a resumed run is held against the machine that it goes on with
    peaks: Peaks | None = None

    def note(self, step: int, text: str) -> None:
        """Say something in the journal and on the screen."""
        self.book.note(step, text)
        self.screen.note(text)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a stage hands over.

    step     the step whose weights the model now holds
    facts    what its record says beside, by key
    lines    what there is to say of its data that only training could tell
    exports  folders beside the checkpoint that later stages use, to 16 hex digits of their weights
    """

    step: int
    facts: dict[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    exports: Mapping[str, str] = field(default_factory=dict)
