"""What the stages of a run share, and how far the run has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade_rl.backends.verl.job import Command
from cascade_rl.data.gather import Materials
from cascade_rl.model.checkpoint import weights_hash
from cascade_rl.model.cost import Peaks
from cascade_rl.protocols import Screen
from cascade_rl.recipe import BASE, Recipe
from cascade_rl.rollout.world import World
from cascade_rl.run.ledger import Ledger
from cascade_rl.types import Scorecard


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a recipe in one directory, opened.

    accept_changes  whether stages that were begun with other data or weights may be set aside
    settings  how weights come about beside the recipe's stages: part of every stage's key, JSON
    peaks     what this machine can do; measured when first asked, since a finished run needs no figures
    notes     what was done to the model and the tokenizer that the run began with, in words
    verl      how verl's environment is entered; None where no stage is trained by it
    """

    recipe: Recipe
    folder: Path
    screen: Screen
    stop_asked: Callable[[], bool]
    materials: Materials
    world: World
    ledger: Ledger
    settings: Mapping[str, Any]
    accept_changes: bool
    # a function: figures of this machine and this moment, never part of a key
    peaks: Callable[[], Peaks]
    notes: tuple[str, ...] = ()
    verl: Command | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """After some stages: the policy's weights, where they lie exported, and what the benchmarks say.

    weights   16 hex digits of the policy's weights, with which the next stage begins
    start     the folder that holds them
    parent    the stage that made them; None before the first
    seconds   of each stage, training and evaluation
    verdicts  (stage, benchmark) to gain, loss or same, against the stage before
    """

    weights: str
    start: Path
    parent: str | None = None
    cards: tuple[Scorecard, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    verdicts: Mapping[tuple[str, str], str] = field(default_factory=dict)


def before_all(run: Run) -> Progress:
    """Where a run stands before its first stage."""
    return Progress(weights_hash(run.world.replicas.flat("policy")), base_folder(run.folder))


def base_folder(run: Path) -> Path:
    """Where the model lies that the first stage starts from."""
    return run / BASE
