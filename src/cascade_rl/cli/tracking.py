"""The command that sends a run to trackers after the fact: track."""

from __future__ import annotations

from typing import Annotated

import typer

from cascade_rl.cli.app import RunArgument, say
from cascade_rl.errors import InputError, StageError


def track(
    run_dir: RunArgument,
    to: Annotated[
        list[str] | None,
        typer.Option(help="trackio, wandb or tensorboard; those of the recipe if not given."),
    ] = None,
) -> None:
    """Send trackers what the journals of a run hold and they have not had; also of a run that had none."""
    from cascade_rl.recipe import Track
    from cascade_rl.run.tracking.beside import followed
    from cascade_rl.run.tracking.events import recipe_of
    from cascade_rl.run.tracking.targets import NAMES, missing_packages

    specs = recipe_of(run_dir).get("track") or []
    names = to or [spec["to"] for spec in specs]
    if unknown := [name for name in names if name not in NAMES]:
        raise InputError(f"no tracker {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if not names:
        raise InputError(f"the recipe of {run_dir} names no tracker; say which: --to {NAMES[0]}")
    if missing := missing_packages([Track(to=name) for name in names]):
        raise InputError("; ".join(text for _, text in missing))
    with followed(run_dir, names, say, patient=True) as failed:
        pass
    if failed:
        raise StageError(f"not all was sent to {', '.join(failed)}")
