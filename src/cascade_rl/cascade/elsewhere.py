"""A stage that verl trains, as a chain of jobs, each from the weights that the last one exported.

What the stage is, its data, its key, its place in the ledger and its scores are those of any stage: here is
only what stands in the place of `train/`. A run that was killed finds each job as it left it: one that is
exported is kept, one that is compiled goes on at its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cascade_rl.backends.verl.by_kind import unable
from cascade_rl.backends.verl.job import Command, Job, Link, Task
from cascade_rl.cascade.chain import chain, scored, switch_rules
from cascade_rl.cascade.record import Start
from cascade_rl.cascade.run import Progress, Run
from cascade_rl.cascade.verl_job import job_done
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError, Interrupted, RecipeError, StageError
from cascade_rl.model.checkpoint import load_directory, weights_hash
from cascade_rl.recipe import Problems, Recipe, RLStage, Stage
from cascade_rl.run.book import Book
from cascade_rl.run.journal import read_lines
from cascade_rl.run.rollouts import read_groups
from cascade_rl.train.stage_run import Trained
from cascade_rl.types import Group


def refuse_elsewhere(recipe: Recipe, command: Command | None) -> None:
    """Raise, before anything is made, RecipeError with all that verl can't do of a run's stages.

    InputError where nobody says where verl is.
    """
    stages = [stage for stage in recipe.stages if recipe.engine_of(stage) == "verl"]
    if not stages or recipe.verl is None:
        return
    problems: Problems = []
    if recipe.verl.strategy == "megatron":
        # compiled and checked, but no stage could hand its weights on
        text = "what Megatron trained can't be exported yet; set fsdp2. `cascade verl compile` makes its jobs"
        problems.append(("verl.strategy", text))
    for stage in stages:
        problems += [problem for problem in unable(stage, recipe.verl) if problem[0] != "verl.strategy"]
    if problems:
        raise RecipeError(recipe.name, problems)
    if command is None:
        names = ", ".join(stage.name for stage in stages)
        raise InputError(
            f"{names}: trained by verl, which lives in an environment of its own: say where with "
            "--verl-python PATH (docs/scale.md), or train here with --engine local"
        )


def train_elsewhere(run: Run, progress: Progress, begun: Start, book: Book) -> Trained:
    """Train a stage on verl and give the workers the weights that came out.

    Raises StageError with everything that `check` found, or why a job could not be ended; Interrupted.
    """
    policy, made = progress.start, []
    trained_here = run.world.replicas.local.models["policy"].trained
    # its weights lie in `start`: meanwhile the memory, a GPU's above all, is verl's
    run.world.replicas.drop_model("policy")
    for link in chain(begun.stage, begun.settled.data, run.recipe.seed, _outcomes(begun)):
        if run.stop_asked():
            raise Interrupted(f"stopped before job {link.number + 1} of {begun.stage.name}")
        job = job_done(run, begun, book, _task(run, begun, link, policy, progress.start))
        policy = job.exported
        made.append(_told(link, job))
    _take_over(run, progress, begun.stage, policy, trained_here)
    return Trained(begun.stage.planned_steps, {"verl": {"jobs": made}})


def _task(run: Run, begun: Start, link: Link, policy: Path, start: Path) -> Task:
    stage, verl = begun.stage, run.recipe.verl
    assert verl is not None  # the recipe fills it in where a stage is trained so
    return Task(
        stage,
        link,
        policy,
        # as the recipe names them: whoever grades inside verl loads them anew
        {name: load_domain(name) for name in stage.domains()},
        verl,
        run.recipe.seed,
        begun.key,
        begun.reward_model.path if begun.reward_model else None,
        start,
        switch_rules(stage, begun.settled.data, run.recipe.seed),
        scored(stage, begun.settled.data, run.recipe.seed),
    )


def _outcomes(begun: Start) -> Callable[[int, int], Sequence[Group]]:
    """How the problems of some steps fared, as the stage's own file of replies says it.

    Raises StageError where an epoch filter goes by them and a step has none.
    """
    path, stage = begun.folder / "rollouts.jsonl", begun.stage
    filters = isinstance(stage, RLStage) and stage.filter.kind == "epoch"

    def of_steps(start: int, end: int) -> list[Group]:
        found = [row for row in read_groups(read_lines(path), str(path)) if start <= row[0] < end]
        missing = sorted(set(range(start, end)) - {step for step, _ in found})
        if filters and missing:
            raise StageError(
                f"{stage.name}: no reply of step {missing[0]} was stored with its verdict, so that the epoch "
                f"filter can't tell what to leave out. Do all machines of verl see {begun.folder}? Mend that "
                "and move the folder away, or set filter: {kind: none}"
            )
        return [group for _, group in found]

    return of_steps


def _take_over(run: Run, progress: Progress, stage: Stage, policy: Path, train: bool) -> None:
    _, config, flat = load_directory(policy)
    if weights_hash(flat) == progress.weights:
        text = f"{stage.name}: after {stage.planned_steps} steps the weights are those it started from"
        if not run.recipe.smoke:
            raise StageError(f"{text}: no group had mixed rewards, or the learning rate is too low")
        run.screen.note(text)
    if config.size() != run.world.config.size():
        raise StageError(
            f"{policy} holds a model of another shape than the run's; move its stage's folder away"
        )
    # as the run's own network, which a recipe may have stretched (RoPE); the export knows only its base
    run.world.replicas.add_model("policy", run.world.config, flat, train=train)


def _told(link: Link, job: Job) -> dict[str, object]:
    weights = weights_hash(load_directory(job.exported)[2])
    return {"job": link.number + 1, "steps": [link.start, link.end], "weights": weights}
