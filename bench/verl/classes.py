"""Five kinds of jobs in the hands of verl's own classes: composed, and read, sampled, graded and weighed by them.

`check` asks verl what every job can be asked. What it can't, since it takes a reply, a router or a filled batch, is asked
here of a plain job, of one that filters, of RLHF, of one with scores beside its verdicts, and of one for Megatron.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cascade_rl.backends.verl.check import check_job
from cascade_rl.backends.verl.compile import compile_job
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.recipe import Verl

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
INSIDE = Path(__file__).parent / "inside_classes.py"


def classes(python: Path, folder: Path) -> list[str]:
    """What verl's classes make of the jobs otherwise than they must."""
    problems: list[str] = []
    for job, parts in jobs(folder):
        name = job.folder.name
        found = check_job(job, Command((str(python),))) + asked(python, job, parts)
        print(f"{name} ({parts}): {'; '.join(found) or 'as it must be'}", flush=True)
        problems += [f"{name}: {problem}" for problem in found]
    return problems


def jobs(folder: Path) -> Iterator[tuple[Job, str]]:
    """Each kind of job, with what is asked of it in verl's environment."""
    import tiny
    import verl_tasks

    policy, tokenizer = folder / "policy", tiny.tokenizer()
    maths = verl_tasks.problems()
    drawn = verl_tasks.stage(filter={"kind": "batch", "max_rounds": 3}, overlong="mask")
    liked = verl_tasks.stage(data=[{"domain": "alignment"}], kl_coefficient=0.01, warmup_steps=1)
    parted = Verl(gpus_per_node=4, strategy="megatron", sequence_parallel=2, rollout="sglang")
    made = {
        "plain": (verl_tasks.task(policy), "rows,rewards,loop,advantages"),
        "filters": (verl_tasks.task(policy, drawn, verl_tasks.problems(count=24)), "rows,rewards,loop,sampler"),
        "rlhf": (
            verl_tasks.task(policy, liked, verl_tasks.problems("alignment"), reward_model=policy),
            "rows,scorer",
        ),
        "scored": (
            verl_tasks.task(
                policy, verl_tasks.stage(rollout_correction="icepop"), maths,
                reward_model=policy, scored=[problem.id for problem in maths],
            ),
            "rows,scorer",
        ),
        "megatron": (
            verl_tasks.task(policy, verl_tasks.stage(aggregation="constant", advantage="dr_grpo"), verl=parted),
            "rows",
        ),
    }  # fmt: skip
    for name, (task, parts) in made.items():
        yield compile_job(task, folder / name, tokenizer), parts


def asked(python: Path, job: Job, parts: str) -> list[str]:
    """What `inside_classes.py` finds, in verl's environment."""
    record = json.loads(job.manifest.read_text())
    answer = job.folder / "classes.json"
    done = subprocess.run(
        [str(python), str(INSIDE), str(job.folder), parts, str(answer)],
        env={**os.environ, **record["environment"], "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not answer.is_file():
        return [f"verl's environment ended with {done.returncode}:\n{done.stderr[-2000:]}"]
    found: list[str] = json.loads(answer.read_text())
    return found
