"""One job of verl inside a run, from wherever an earlier process left it to its exported weights."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from cascade_rl.backends.verl.by_kind import compiled
from cascade_rl.backends.verl.check import check_job
from cascade_rl.backends.verl.compile import grader
from cascade_rl.backends.verl.export import export_job
from cascade_rl.backends.verl.job import Job, Link, Task
from cascade_rl.backends.verl.launch import run_job
from cascade_rl.backends.verl.manifest import asked_hash, file_hash
from cascade_rl.backends.verl.watch import Told
from cascade_rl.cascade.record import Start
from cascade_rl.cascade.run import Run
from cascade_rl.errors import StageError
from cascade_rl.recipe import RLStage
from cascade_rl.run.book import Book
from cascade_rl.run.files import read_record, write_json
from cascade_rl.train.rl import label


def job_done(run: Run, begun: Start, book: Book, task: Task) -> Job:
    """One job, from wherever an earlier process left it to its exported weights."""
    link, name, command = task.link, begun.stage.name, run.verl
    assert command is not None  # `elsewhere.refuse_elsewhere`
    job = Job(begun.folder.resolve() / "verl" / f"{link.number + 1:02d}")
    where = f"job {link.number + 1} of {name}, steps {link.start} to {link.end}"
    found = _kept(job, task)
    if found is None:
        _begin_anew(job, book, link)
    elif job.exported.exists():
        # killed before, they may still be there
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        run.screen.note(f"{where}: done, kept")
        return job
    if found is None or _moved(found, job, task):
        run.screen.waiting(f"compile {where}")
        compiled(task, job.folder, run.world.tokenizer)
    elif found["attempts"] != task.verl.attempts:
        # the one key of `verl` that is no part of the stage's key
        write_json(job.manifest, found | {"attempts": task.verl.attempts})
    run.screen.waiting(f"check {where}")
    if problems := check_job(job, command):
        raise StageError(f"{where} can't be started:\n" + "\n".join(f"  {text}" for text in problems))
    told = Told(
        book=book,
        screen=run.screen,
        stop_asked=run.stop_asked,
        first_step=link.start,
        total=begun.stage.planned_steps,
        phase=label(begun.stage, link.start) if isinstance(begun.stage, RLStage) else "",
        problems=link.asked,
    )
    run_job(job, command, told)
    run.screen.waiting(f"export {where}")
    # whether the stage as a whole moved anything is asked at its end
    export_job(job, command, may_stand=True)
    # optimiser and shards of every rank, several times the weights: what goes on goes on from the export
    shutil.rmtree(job.checkpoints, ignore_errors=True)
    return job


def _kept(job: Job, task: Task) -> dict[str, Any] | None:
    """The manifest of a folder that holds this very job; None of any other.

    It is the same by the stage's key, the weights that it starts from and the prompts that it asks: these
    depend on how the ones before fared.
    """
    found = read_record(job.manifest, "key", "policy_files", "asked", "attempts")
    if found is None:
        return None
    files = {path.name: file_hash(path) for path in sorted(task.policy.glob("*.safetensors"))}
    wanted = (task.key, files, asked_hash(task))
    return found if (found["key"], found["policy_files"], found["asked"]) == wanted else None


def _moved(found: Mapping[str, Any], job: Job, task: Task) -> bool:
    """Whether run directory or interpreter lie elsewhere by now: a job names both by their whole paths.

    The same files are then written anew; checkpoints and journals of the job stay.
    """
    said = found.get("inside", {}).get("grader", grader(job))
    places = (str(job.folder), str(task.policy.resolve()))
    return (found["folder"], found["policy"]) != places or said != grader(job)


def _begin_anew(job: Job, book: Book, link: Link) -> None:
    """Forget a job that was begun otherwise or never compiled to its end, and all that came after it."""
    for path in sorted(job.folder.parent.glob("[0-9]*"), reverse=True):
        if path.name.isdecimal() and int(path.name) > link.number:
            shutil.rmtree(path)
    book.back_to(link.start)
