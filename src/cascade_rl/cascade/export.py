"""A stage's model for others: a directory that loads elsewhere, with a card that says what it is.

The checkpoint of a run is the run's own; here it is checked against the ledger, cast, divided into files of a
size that a hub takes, told how it is sampled, and written with its scores, its recipe and its history.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from cascade_rl.cascade import export_policy, export_reward
from cascade_rl.cascade.export_wanted import Wanted
from cascade_rl.errors import InputError
from cascade_rl.recipe.reading import stored
from cascade_rl.report.licences import licence_keys
from cascade_rl.run.done import Done, done_stage
from cascade_rl.run.files import Saving, sync_folder


@dataclass(frozen=True, slots=True)
class Made:
    """What was exported: where, of which stage, and what is to be known of it, in lines."""

    folder: Path
    stage: Done
    lines: tuple[str, ...]


def export_stage(run: Path, word: str, out: Path, wanted: Wanted) -> Made:
    """Export a stage, called by name, number or `last`, into a directory that is not there yet.

    That is its policy or, of a stage that trained one, its reward model. Raises InputError, before anything
    is written, for a stage that is not done, weights that are not what the ledger recorded, and whatever of
    `wanted` can't be had.
    """
    done = done_stage(run, word)
    refuse_full(out)
    if wanted.licence:
        licence_keys(wanted.licence)
    file = run / "recipe.yaml"
    recipe = stored(yaml.safe_load(file.read_text(encoding="utf-8")), str(file))
    # the policy after a reward model's stage is that of the stage before
    of_policy = recipe.stages[done.index].trains != "reward_model"
    how = export_policy if of_policy else export_reward
    model = how.read(run, done, wanted)
    with placed(out) as folder:
        lines = how.write(folder, run, recipe, done, model, wanted)
    return Made(out, done, lines)


def refuse_full(out: Path) -> None:
    """Raise InputError where something lies at `out` that is no empty directory."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        raise InputError(f"{out} is there already: name a directory that is not, or an empty one")


@contextmanager
def placed(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when all went well, and is gone otherwise."""
    out = out.absolute()
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with Saving(out, temporary):
            out.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.rename(out)
            sync_folder(out.parent)
    finally:
        # gone where all went well: it has another name now
        shutil.rmtree(temporary, ignore_errors=True)
