"""The cascade: stages in order, each resumed at its first unfinished step, scored, judged and exported."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from cascade_rl import chat
from cascade_rl.cascade.run import Progress, Run
from cascade_rl.cascade.scoring import Scored, all_seconds, own_stages, score_stage
from cascade_rl.cascade.stage import Start, load_finished, provide, train_stage
from cascade_rl.data.gather import Materials, gather
from cascade_rl.data.settle import fitting, settle
from cascade_rl.errors import GateClosed
from cascade_rl.grading.services import standing
from cascade_rl.model.base import make_base
from cascade_rl.model.checkpoint import weights_hash
from cascade_rl.model.peaks import measure_peaks
from cascade_rl.protocols import Screen
from cascade_rl.recipe import Recipe, Stage
from cascade_rl.rollout.world import Engine, World, open_world
from cascade_rl.run.files import write_json
from cascade_rl.run.folder import RunLock, stage_folder
from cascade_rl.run.ledger import Entry, Ledger, admit, stage_key
from cascade_rl.scores.as_json import matrix_to_json
from cascade_rl.scores.matrix import matrix
from cascade_rl.types import Demonstrations, Problem


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
) -> Finished:
    """Run everything of a recipe that is not done yet in a run directory.

    accept_changes  with a changed recipe keep the stages before the first changed one, and redo the rest
    unsafe_exec     run a model's programs even where nothing isolates them

    Raises StageError, RunBusy, RecipeChanged, GateClosed, SandboxUnavailable or Interrupted, with what to do in the message.
    """
    with RunLock(folder):
        admit(folder, recipe, accept_changes)
        screen.waiting("data")
        materials = gather(recipe, provide)
        screen.waiting("model")
        base = folder / "base"
        if not (base / "config.json").exists():
            make_base(recipe, _texts(materials), base, folder / "tokenizer")
        engine = Engine.of(recipe)
        with open_world(base, engine, materials.needs, train=True, unsafe=unsafe_exec) as world:
            run = _run(recipe, folder, screen, stop_asked, materials, engine, world)
            progress = Progress(weights_hash(world.replicas.flat("policy")), base)
            for index, stage in enumerate(recipe.stages):
                progress = _advance(run, progress, index, stage)
        return Finished(_matrix(recipe, progress), progress.verdicts)


def _texts(materials: Materials) -> list[str]:
    """All SFT conversations: what the tokenizer of a model from scratch is learnt from."""
    made = [data for data in materials.data.values() if isinstance(data, Demonstrations)]
    return [
        chat.render(item.problem.messages, item.problem.mode, reply=item.reply)
        for data in made
        for item in data.items
    ]


def _run(
    recipe: Recipe,
    folder: Path,
    screen: Screen,
    stop_asked: Callable[[], bool],
    materials: Materials,
    engine: Engine,
    world: World,
) -> Run:
    """What the stages share; prompts that are too long are told of now, and not hours later in the middle of a stage."""
    if found := standing(world.services):
        screen.note(found.line)
    settings = {
        "workers": engine.workers,
        "device": engine.device,
        "precision": engine.precision,
        "sampler": engine.sampler,
        "model": recipe.model.model_dump(mode="json"),
        "template": chat.template_hash(),
    }
    fit = _fitting_data(recipe, materials, world, screen)
    peaks = cache(partial(measure_peaks, world.replicas, world.config))
    return Run(recipe, folder, screen, stop_asked, fit, world, Ledger(folder), settings, peaks)


def _fitting_data(recipe: Recipe, materials: Materials, world: World, screen: Screen) -> Materials:
    def length(problem: Problem) -> int:
        return len(world.tokenizer.prompt(problem))

    data = {}
    for stage in recipe.stages:
        data[stage.name], notes = fitting(
            stage.name, stage.prompt_limit(), materials.data[stage.name], length
        )
        for text in notes:
            screen.note(text)
    return replace(materials, data=data)


def _advance(run: Run, progress: Progress, index: int, stage: Stage) -> Progress:
    """Settle, train or load, score and record one stage; raises GateClosed when the run may not go on."""
    folder = stage_folder(run.folder, index, stage.name)
    run.screen.stage(stage.name, index, len(run.recipe.stages))
    settled = settle(
        stage,
        run.materials.data[stage.name],
        folder,
        run.recipe.preflight,
        run.materials.domains,
        run.world.services,
        run.screen.waiting,
    )
    key = stage_key(run.recipe, index, run.settings, settled.hash, progress.weights)
    entry, begin = run.ledger.done(index, key), time.perf_counter()
    if entry:
        run.screen.note(f"{stage.name} is done: kept")
        made = entry.checkpoint
        load_finished(run, made)
    else:
        made = train_stage(run, progress, Start(stage, folder, settled, key))
    training = time.perf_counter() - begin
    scored = score_stage(run, stage, folder, made.weights_hash, progress.cards)
    if not entry:
        entry = Entry(made, key, settled.hash, all_seconds(stage, folder, training, scored.seconds))
        run.ledger.add(index, entry)
    after = _after(progress, stage, run.folder, entry, scored)
    write_json(run.folder / "matrix.json", _matrix(run.recipe, after))
    run.screen.scores(_matrix(run.recipe, after), after.verdicts)
    if scored.gate.stops(run.recipe.gate):
        raise GateClosed(
            f"the gate is closed after {stage.name}: {'; '.join(scored.gate.notes)}; declare a dip or a waiver in the "
            "recipe, or set gate.policy to warn"
        )
    return after


def _after(progress: Progress, stage: Stage, run: Path, entry: Entry, scored: Scored) -> Progress:
    verdicts = {
        (stage.name, cell.benchmark): str(cell.verdict)
        for cell in scored.gate.cells
        if cell.before == progress.parent
    }
    return Progress(
        entry.checkpoint.weights_hash,
        run / entry.checkpoint.path,
        stage.name,
        (*progress.cards, scored.card),
        {**progress.seconds, stage.name: entry.seconds},
        {**progress.verdicts, **verdicts},
    )


def _matrix(recipe: Recipe, progress: Progress) -> dict[str, Any]:
    return matrix_to_json(matrix(progress.cards, own_stages(recipe), progress.seconds))
