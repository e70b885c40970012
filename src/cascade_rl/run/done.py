"""The stages of a run that are done, found by what a user calls them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cascade_rl.errors import InputError, meant
from cascade_rl.run.folder import STAGE_FOLDER, stage_folder
from cascade_rl.run.ledger import Entry, Ledger

LAST = "last"


@dataclass(frozen=True, slots=True)
class Done:
    """A stage that is done: `index` from 0, its folder, and its line of the ledger."""

    index: int
    name: str
    folder: Path
    entry: Entry


def done_stages(run: Path) -> list[Done]:
    """The stages of a run that are done, in order; InputError where there is no run."""
    if not (run / "recipe.yaml").is_file():
        raise InputError(f"{run} is no run directory: it has no recipe.yaml")
    return [
        Done(i, entry.checkpoint.stage, stage_folder(run, i, entry.checkpoint.stage), entry)
        for i, entry in enumerate(Ledger(run).entries)
    ]


def done_stage(run: Path, word: str) -> Done:
    """The stage that `word` means: `rlhf`, `04-rlhf`, `4` or `last`.

    Raises InputError, with the stages that are done, for any other.
    """
    done = done_stages(run)
    if not done:
        raise InputError(f"no stage of {run} is done yet; `cascade status {run}` tells how far it is")
    if word == LAST:
        return done[-1]
    folder = STAGE_FOLDER.fullmatch(word)
    # the name first: a stage may be called 4
    for one in done:
        if word == one.name or (folder and (int(folder[1]), folder[2]) == (one.index + 1, one.name)):
            return one
    if word.isdecimal() and 1 <= int(word) <= len(done):
        return done[int(word) - 1]
    names = [one.name for one in done]
    listed = ", ".join(f"{one.index + 1:02d}-{one.name}" for one in done)
    raise InputError(
        f"no stage of {run} that is done is called {word}; {meant(word, names)}done are {listed} "
        f"(by name, number, or `{LAST}`)"
    )
