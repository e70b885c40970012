"""Real GRPO steps of verl under our launcher: killed, gone on with, followed, exported and proved."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
from grpo_step import RECIPE, STAGE
from on_cpu import HERE, RL, replaced
from tasks import first_job, trained

from cascade_rl.backends.verl import processes
from cascade_rl.backends.verl.export import PROOF, export_job
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.backends.verl.launch import Pace, run_job
from cascade_rl.backends.verl.watch import Told
from cascade_rl.data.abilities import check_recipe
from cascade_rl.run.book import Book
from cascade_rl.run.journal import read_lines
from cascade_rl.testing import QuietScreen

STEPS = 3


def launch_steps(python: Path, folder: Path) -> list[str]:
    """What is otherwise than it must be, of a job whose main process is killed after its first step."""
    recipe = check_recipe(RECIPE | {"stages": [*RECIPE["stages"][:-1], STAGE | {"steps": STEPS}]})
    policy = trained(recipe, folder / "ours") / "stages" / "01-sft" / "checkpoint"
    job, link = first_job(recipe, recipe.stages[1], policy, folder / "job")
    for_a_processor(job)
    book, command = Book(folder / "stage"), Command((str(python),))
    told = Told(book, QuietScreen(), total=STEPS, problems=link.asked)
    threading.Thread(target=kill_after_a_step, args=(job, folder / "stage"), daemon=True).start()
    run_job(job, command, told, Pace(poll_s=0.2))
    proof = json.loads((export_job(job, command) / PROOF).read_text())
    print(f"exported: rounding to {proof['dtype']} moves a log-probability by {proof['rounding']:.2g} nats")
    return judged(job, folder / "stage")


def for_a_processor(job: Job) -> None:
    """Write into a compiled job what `on_cpu.start` gives verl beside it."""
    record = json.loads(job.manifest.read_text())
    around = record["environment"]
    around["VERL_USE_EXTERNAL_MODULES"] = f"cpu_platform,cpu_rollout,{around['VERL_USE_EXTERNAL_MODULES']}"
    around["PYTHONPATH"] = os.pathsep.join((str(HERE), around["PYTHONPATH"]))
    around |= {"OMP_NUM_THREADS": "1", "VERL_ENGINE_DEVICE": "cuda"}
    job.manifest.write_text(json.dumps(record))
    job.overrides.write_text("\n".join(replaced(job.overrides.read_text().splitlines(), RL)) + "\n")


def kill_after_a_step(job: Job, stage: Path) -> None:
    """End verl's main process as the system does for want of memory, once the journal has a step."""
    while not any(line["kind"] == "step" for line in read_lines(stage / "journal.jsonl")):
        time.sleep(0.2)
    for process in processes.carriers(job.attempt(1)):
        # one that has just ended and waits for its parent has no command line any more
        with suppress(psutil.Error):
            if "verl.trainer.main_ppo" in process.cmdline():
                process.send_signal(signal.SIGKILL)


def judged(job: Job, stage: Path) -> list[str]:
    """What journal, replies and processes say."""
    lines = [line for line in read_lines(stage / "journal.jsonl") if line["kind"] == "step"]
    problems = []
    if [line["step"] for line in lines] != list(range(STEPS)):
        problems.append(f"the journal has steps {[line['step'] for line in lines]}")
    if any(abs(line["metrics"]["ratio"] - 1) > 1e-6 or line["metrics"]["passes_clipped"] for line in lines):
        problems.append("the ratio is not 1")
    groups = [line for line in read_lines(stage / "rollouts.jsonl") if line["kind"] == "group"]
    wanted = STEPS * STAGE["prompts_per_step"]
    if len(groups) != wanted or any(len(g["replies"]) != STAGE["rollouts_per_prompt"] for g in groups):
        problems.append(f"{len(groups)} groups are stored instead of {wanted}")
    ends = [json.loads(p.read_text())["code"] for p in sorted(job.folder.glob("attempts/*/ended.json"))]
    if ends != [-9, 0]:
        problems.append(f"the starts ended with {ends}")
    if any(processes.carriers(job.attempt(n)) for n in (1, 2)):
        problems.append("processes of the job are left")
    return problems
