"""One job of verl inside a run, from wherever an earlier process left it to its exported weights."""

from __future__ import annotations

import shutil

from cascade_rl.backends.verl.by_kind import compiled
from cascade_rl.backends.verl.check import check_job
from cascade_rl.backends.verl.export import export_job
from cascade_rl.backends.verl.job import Job, Task
from cascade_rl.backends.verl.launch import run_job
from cascade_rl.backends.verl.manifest import file_hash
from cascade_rl.backends.verl.watch import Told
from cascade_rl.cascade.record import Start
from cascade_rl.cascade.run import Run
from cascade_rl.errors import StageError
from cascade_rl.recipe import RLStage
from cascade_rl.run.book import Book
from cascade_rl.run.files import read_record
from cascade_rl.train.rl import label


def job_done(run: Run, begun: Start, book: Book, task: Task) -> Job:
    """One job, from wherever an earlier process left it to its exported weights."""
    link, name, command = task.link, begun.stage.name, run.verl
    assert command is not None  # `elsewhere.refuse_elsewhere`
    job = Job(begun.folder.resolve() / "verl" / f"{link.number + 1:02d}")
    where = f"job {link.number + 1} of {name}, steps {link.start} to {link.end}"
    if _kept(job, task):
        if job.exported.exists():
            run.screen.note(f"{where}: done, kept")
            return job
    else:
        # begun from other weights, or not whole: nothing of it may pass for this one
        shutil.rmtree(job.folder, ignore_errors=True)
        run.screen.waiting(f"compile {where}")
        compiled(task, job.folder, run.world.tokenizer)
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


def _kept(job: Job, task: Task) -> bool:
    """Whether a folder holds this very job: the stage's key, and the weights that the job starts from."""
    found = read_record(job.manifest, "key", "policy_files")
    files = {path.name: file_hash(path) for path in sorted(task.policy.glob("*.safetensors"))}
    return found is not None and (found["key"], found["policy_files"]) == (task.key, files)
