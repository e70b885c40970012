"""A whole `cascade run` whose SFT and RL stages verl trains, killed in the middle of a job and gone on with."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
RECIPE = HERE / "whole_run.yaml"
STEPS = {"01-sft": 6, "02-reward-model": 4, "03-rl": 4, "04-rl-here": 2}


def whole_run(python: Path, folder: Path) -> list[str]:
    """What is otherwise than it must be of the run."""
    words = shlex.join([str(python), str(HERE / "as_python.py")])
    command = [sys.executable, "-m", "cascade_rl.cli", "run", str(RECIPE), "--out", str(folder / "run")]
    command += ["--verl-python", words]
    # the domain of the RL stage lies beside this file
    around = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.getenv("PYTHONPATH")]))}
    _killed(command, around, folder / "run" / "stages" / "03-rl" / "verl" / "01")
    done = subprocess.run(command, env=around, capture_output=True, text=True, timeout=1500, check=False)
    if done.returncode:
        return [f"the run ended with {done.returncode}: {done.stdout[-800:]} {done.stderr[-800:]}"]
    return _judged(folder / "run")


def _killed(command: list[str], around: dict[str, str], job: Path) -> None:
    """Start the run, and kill it once verl has taken a step of the first RL job."""
    with subprocess.Popen(command, env=around, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None and not list(job.glob("checkpoints/global_step_1/data.pt")):
            time.sleep(0.5)
        run.send_signal(signal.SIGKILL)


def _judged(run: Path) -> list[str]:
    problems = []
    ledger = json.loads((run / "ledger.json").read_text())["stages"]
    if [row["stage"] for row in ledger] != ["sft", "reward-model", "rl", "rl-here"]:
        problems.append(f"the ledger holds {[row['stage'] for row in ledger]}")
    if len({row["weights"] for row in ledger if row["stage"] != "reward-model"}) != 3:
        problems.append("a stage left the weights as they were")
    for name, steps in STEPS.items():
        lines = (run / "stages" / name / "journal.jsonl").read_text().splitlines()
        told = [row["step"] for row in map(json.loads, lines) if row["kind"] == "step"]
        print(f"{name}: steps {told}")
        if told != list(range(steps)):
            problems.append(f"{name} tells of the steps {told}")
    jobs = json.loads((run / "stages" / "03-rl" / "stage.json").read_text())["verl"]["jobs"]
    print(f"03-rl in {len(jobs)} jobs: {[job['steps'] for job in jobs]}")
    # a sub-stage each, divided where the filter has to see how an epoch of its eight problems fared
    borders = [0, *(job["steps"][1] for job in jobs)]
    if [job["steps"][0] for job in jobs] != borders[:-1] or borders[-1] != 4 or 2 not in borders:
        problems.append(f"03-rl was trained in the jobs {jobs}")
    return problems
