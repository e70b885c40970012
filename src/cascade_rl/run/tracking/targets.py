"""What a tracker is to us, and which there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from cascade_rl.recipe import Problems, Track
from cascade_rl.run.tracking.events import Event


@dataclass(frozen=True, slots=True)
class Target:
    """Where the events of a run go.

    name    of the tracker's run: the run directory's and an id, so that no two are the same
    folder  where a tracker that writes files may put them, inside the run directory
    config  the recipe, as plain data
    """

    project: str
    name: str
    folder: Path
    config: Mapping[str, Any]


class Tracker(Protocol):
    """One run of a tracker, open. Any method may raise anything, or never return."""

    where: str

    def held(self) -> int | None:
        """How many events it has of this run, those of earlier processes included; None if it can't tell."""

    def send(self, number: int, event: Event) -> None:
        """Take an event, the `number`th of the run (from 0)."""

    def flush(self) -> None:
        """Return once all that was sent is kept."""

    def close(self) -> None:
        """Flush, and end."""


# Each is a module beside this one with `open_tracker(target) -> Tracker`; its package has the same name.
# They are imported in the process that tells them, since what a package does as it is imported is its own.
NAMES = ("trackio", "wandb", "tensorboard")


def open_tracker(name: str, target: Target) -> Tracker:
    """A run of the tracker of that name, begun or gone on with."""
    opened: Callable[[Target], Tracker] = import_module(f"cascade_rl.run.tracking.to_{name}").open_tracker
    return opened(target)


INSTALL = "pip install 'cascade-rl[{}]', or take it out of track"


def missing_packages(track: Sequence[Track]) -> Problems:
    """(path in the recipe, what to install) for each tracker whose package is not here."""
    return [
        (f"track.{spec.to}", f"{spec.to} is not installed here: {INSTALL.format(spec.to)}")
        for spec in track
        if find_spec(spec.to) is None
    ]
