"""The cascade: stages in order, each resumed at its first unfinished step, scored, judged and exported.

The way of a run: `admit` lets the recipe into the directory, `open_run` makes all data and the base model
and opens the workers, then each stage goes through `_advance`. What is done is read from the ledger and
never trained again, and every step on the way leaves files from which a killed run finds its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.backends.verl.job import Command
from cascade_rl.cascade.ahead import look_ahead
from cascade_rl.cascade.opening import open_run
from cascade_rl.cascade.record import Start, check_started
from cascade_rl.cascade.run import Progress, Run, before_all
from cascade_rl.cascade.scoring import Scored, all_seconds, run_matrix, score_base, score_stage
from cascade_rl.cascade.stage import asked_models, load_finished, train_stage
from cascade_rl.data.settle import settle
from cascade_rl.errors import GateClosed, Interrupted, StartedOtherwise
from cascade_rl.protocols import Screen
from cascade_rl.recipe import Recipe, Stage
from cascade_rl.run.files import write_json
from cascade_rl.run.folder import RunLock, forget_states, set_aside_stages, stage_folder
from cascade_rl.run.ledger import Entry, admit, stage_key
from cascade_rl.run.tracking.beside import followed


@dataclass(frozen=True, slots=True)
class Finished:
    """The content of matrix.json, and (stage, benchmark) to gain, loss or same against the stage before."""

    matrix: Mapping[str, Any]
    verdicts: Mapping[tuple[str, str], str]


def run_cascade(
    recipe: Recipe,
    folder: Path,
    screen: Screen,
    *,
    stop_asked: Callable[[], bool] = lambda: False,
    accept_changes: bool = False,
    unsafe_exec: bool = False,
    verl: Command | None = None,
    ray: str | None = None,
) -> Finished:
    """Run everything of a recipe that is not done yet in a run directory.

    accept_changes  with a changed recipe keep the stages before the first changed one, and redo the rest
    unsafe_exec     run a model's programs even where nothing isolates them
    verl            how the environment of verl is entered, for the stages that it trains
    ray             the Ray cluster that grades; None: this machine

    Raises a Mendable error with what to do in the message, or Interrupted once the state is saved.
    """
    recipe = look_ahead(recipe, folder, screen, accept_changes, verl)
    # Before `admit`, which sets results aside: no second process may see that half done.
    with RunLock(folder):
        admit(folder, recipe, accept_changes)
        # After `admit`: a refused recipe costs no data, and a base model that was set aside is made anew.
        opened = open_run(
            recipe,
            folder,
            screen,
            stop_asked,
            accept_changes=accept_changes,
            unsafe_exec=unsafe_exec,
            verl=verl,
            ray=ray,
        )
        with followed(folder, [spec.to for spec in recipe.track], screen.note), opened as run:
            progress = score_base(run, before_all(run))
            for index, stage in enumerate(recipe.stages):
                if stop_asked():
                    raise Interrupted(f"stopped before {stage.name}")
                progress = _advance(run, progress, index, stage)
        return Finished(run_matrix(recipe, progress), progress.verdicts)


def _advance(run: Run, progress: Progress, index: int, stage: Stage) -> Progress:
    """Settle, train or load, score and record one stage; raises GateClosed when the run may not go on."""
    folder = stage_folder(run.folder, index, stage.name)
    begin = time.perf_counter()
    run.screen.stage(stage.name, index, len(run.recipe.stages))
    begun = _begin(run, progress, index, stage)
    entry = _kept(run, index, begun)
    exports: Mapping[str, str] = {}
    if entry:
        run.screen.note(f"{stage.name} is done: kept")
        # Its weights are loaded although nothing is trained: the next stage starts from what the workers
        # hold, and a benchmark that is new in the recipe is scored on them below.
        made, exports = entry.checkpoint, entry.exports
        load_finished(run, stage, made)
    else:
        made, exports = train_stage(run, progress, begun)
    training = time.perf_counter() - begin
    scored = score_stage(run, stage, folder, made.weights_hash, progress.cards, exports)
    if not entry:
        # Only now is the stage done. Killed before this line it resumes at its last state, with no step
        # left to do, exports the same weights again, and scores only what has no file.
        seconds = all_seconds(stage, folder, training, scored.seconds)
        entry = Entry(made, begun.key, begun.settled.hash, seconds, exports)
        run.ledger.add(index, entry)
    forget_states(folder)
    after = _after(progress, stage, run.folder, entry, scored)
    write_json(run.folder / "matrix.json", run_matrix(run.recipe, after))
    run.screen.scores(run_matrix(run.recipe, after), after.verdicts)
    # Last: the stage stays in the ledger, so a dip or waiver given later goes on from here without
    # training. That is why a kept stage is held against the gate again, too.
    if scored.gate.stops(run.recipe.gate):
        raise GateClosed(
            f"the gate is closed after {stage.name}: {'; '.join(scored.gate.notes)}; declare a dip or a "
            "waiver in the recipe, or set gate.policy to warn"
        )
    return after


def _begin(run: Run, progress: Progress, index: int, stage: Stage) -> Start:
    """What a stage begins with; one that was begun otherwise is set aside where the user gave leave."""
    try:
        return _start(run, progress, index, stage)
    except StartedOtherwise as error:
        if not run.accept_changes:
            raise
        # the ledger first: killed in between, the next try finds a stage that is not done, and sets it aside
        run.ledger.cut(index)
        for old in set_aside_stages(run.folder, index):
            run.screen.note(f"set aside as {old}")
        run.screen.note(f"{stage.name} is begun anew: {str(error).partition(';')[0]}")
        return _start(run, progress, index, stage)


def _start(run: Run, progress: Progress, index: int, stage: Stage) -> Start:
    folder = stage_folder(run.folder, index, stage.name)
    # Before the ledger is asked: the key holds the hash of the settled data. Of a stage that was begun the
    # outcome is on file, so no grader runs again.
    settled = settle(
        stage,
        run.materials.data[stage.name],
        folder,
        run.recipe.preflight,
        run.materials.domains,
        run.world.services,
        run.screen.waiting,
    )
    asked, outside = asked_models(run, stage, settled.data, folder)
    model = outside.identity if outside else asked.weights if asked else None
    key = stage_key(run.recipe, index, run.settings, settled.hash, progress.weights, model)
    begun = Start(stage, folder, settled, asked, key, outside)
    # Refused before anything is written, so that a folder never holds states of two keys.
    if not run.ledger.done(index, begun.key):
        check_started(run, progress, begun)
    return begun


def _kept(run: Run, index: int, begun: Start) -> Entry | None:
    """The ledger's entry of a stage that was finished with this key and whose folder is still there."""
    entry = run.ledger.done(index, begun.key)
    if entry and not (begun.folder / "stage.json").exists():
        run.screen.note(f"{begun.folder} is gone, although the ledger has it: its stage is trained anew")
        return None
    return entry


def _after(progress: Progress, stage: Stage, run: Path, entry: Entry, scored: Scored) -> Progress:
    # The gate also looks back at the best so far; the arrows of the table mean the stage before only, or, of
    # the first one, the base model if that was scored.
    before = progress.cards[-1].stage if progress.cards else None
    verdicts = {
        (stage.name, cell.benchmark): str(cell.verdict) for cell in scored.gate.cells if cell.before == before
    }
    return Progress(
        entry.checkpoint.weights_hash,
        run / entry.checkpoint.path,
        stage.name,
        (*progress.cards, scored.card),
        {**progress.seconds, stage.name: entry.seconds},
        {**progress.verdicts, **verdicts},
    )
