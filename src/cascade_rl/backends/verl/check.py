"""A compiled job held against verl itself, before a GPU is asked for: every problem at once, in plain words.

verl runs in its own environment (`inside/check.py`): it composes and validates its configuration, and reads
rows, reward and advantages by its own classes. What must hold of its answers stands in `agreement.py`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import yaml

from cascade_rl.backends.verl.agreement import disagreements
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.backends.verl.manifest import changed_files
from cascade_rl.backends.verl.processes import inherited
from cascade_rl.errors import InputError
from cascade_rl.run.files import read_json, read_record, write_text

# Seconds: verl takes 10 to import on a loaded machine, a domain's sandbox and models to start are a minute.
PATIENCE = 900
# of the messages of a verl that does not even start
LINES = 6


class NoAnswer(InputError):
    """verl's environment does not answer; the message says why, and the mend."""


def check_job(job: Job, command: Command) -> list[str]:
    """All that speaks against starting the job; none if nothing does. Writes `job.composed`.

    Raises InputError where the folder holds no compiled job.
    """
    record = read_record(job.manifest, "kind", "versions", "steps", "files", "environment")
    if record is None:
        raise InputError(
            f"{job.folder} holds no compiled job: it has no {job.manifest.name}; compile it first"
        )
    changed = [
        f"{name} is no longer what was compiled; compile the job anew" for name in changed_files(job, record)
    ]
    try:
        answer = ask_verl(job, command, record["environment"])
    except NoAnswer as error:
        return [*changed, str(error)]
    found, meant = answer["versions"].get("verl"), record["versions"]["verl"]
    if found != meant:
        # its keys are another table: what it says of these means nothing
        mend = f"install verl=={meant} there, or give another --verl-python"
        had = f"verl {found}" if found else "no verl"
        return [
            *changed,
            f"{shown(command)} has {had}, and the job was compiled for {meant}; {mend}",
        ]
    if "config" in answer:
        write_text(job.composed, yaml.safe_dump(answer["config"], sort_keys=False))
    return [*changed, *answer["problems"], *disagreements(job, record, answer)]


def shown(command: Command) -> str:
    """How verl's Python is entered, as a user would type it."""
    return " ".join(command.python)


def ask_verl(job: Job, command: Command, environment: Mapping[str, str]) -> dict[str, Any]:
    """What verl says of the job; NoAnswer where its environment can't be entered or verl can't be loaded."""
    with tempfile.TemporaryDirectory(dir=job.folder, prefix="check-") as folder:
        # beside the job, which a container sees, too
        script, answer = Path(folder) / "check.py", Path(folder) / "answer.json"
        with as_file(files("cascade_rl.backends.verl.inside") / "check.py") as source:
            shutil.copyfile(source, script)
        words = [*command.python, str(script), str(job.folder), str(answer)]
        # a GPU has no part in it; and a job that was started from here must not see half of one
        around = {**inherited(), **environment, "CUDA_VISIBLE_DEVICES": ""}
        try:
            done = subprocess.run(
                words, env=around, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except FileNotFoundError:
            raise NoAnswer(f"there is no {words[0]}; give verl's own Python with --verl-python") from None
        except PermissionError:
            raise NoAnswer(f"{words[0]} can't be run; give verl's own Python with --verl-python") from None
        except subprocess.TimeoutExpired:
            raise NoAnswer(f"{shown(command)} did not answer within {PATIENCE} s") from None
        found = read_json(answer) if answer.is_file() else None
    if not isinstance(found, dict):
        said = "\n".join(line for line in done.stderr.splitlines()[-LINES:])
        raise NoAnswer(f"{shown(command)} ended with status {done.returncode} and no answer:\n{said}")
    return found
