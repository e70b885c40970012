"""Compile a link of an RL stage to a job of verl: a folder that holds all that verl is given.

The same task gives the same bytes. `manifest.json` is written last: a folder without it was not compiled to
its end. Nothing here imports verl.
"""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from cascade_rl.backends.verl import keys
from cascade_rl.backends.verl.golds import GOLDS, write_golds
from cascade_rl.backends.verl.job import Job, Task
from cascade_rl.backends.verl.manifest import manifest
from cascade_rl.backends.verl.refusals import departures, refusals
from cascade_rl.backends.verl.rows import RowRules, rl_rows, too_long, write_rows
from cascade_rl.backends.verl.setting import Setting, adds_scores
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import RLStage
from cascade_rl.run.files import write_json, write_text

ENTRY = ("-m", "verl.trainer.main_ppo")
LOOP = "- name: cascade\n  _target_: inside.agent_loop.Loop\n"
SCRIPT = """\
#!/bin/sh
# Starts verl on this job by hand: VERL_PYTHON=/path/of/verl's/python run.sh [NUMBER OF THE START]
set -eu
attempt="@JOB@/attempts/$(printf %02d "${1:-1}")"
mkdir -p "$attempt"
@ENVIRONMENT@
export VERL_FILE_LOGGER_PATH="$attempt/metrics.jsonl"
export CASCADE_VERL_ATTEMPT="$attempt"
# unnamed, Ray would join the cluster that was started last on this machine, whoever's it is
export RAY_ADDRESS="${RAY_ADDRESS:-local}"
set --
while IFS= read -r line; do
  set -- "$@" "$line"
done < "@JOB@/overrides.txt"
exec "${VERL_PYTHON:-python3}" @ENTRY@ "$@" \\
  "++ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH='$VERL_FILE_LOGGER_PATH'" \\
  "++ray_kwargs.ray_init.runtime_env.env_vars.CASCADE_VERL_ATTEMPT='$attempt'"
"""


def compile_job(task: Task, folder: Path, tokenizer: Tokenizer) -> Job:
    """The job of a task in `folder`; RecipeError names all that verl can't do of it at once."""
    stage, rule = task.stage, task.link.rule
    if not isinstance(stage, RLStage) or rule is None:
        raise InputError(f"{stage.name}: a stage of kind {stage.kind} is not compiled here")
    path = f"stages.{stage.name}"
    problems = refusals(task, stage, rule) + too_long(task.link.asked, rule, path, tokenizer)
    if problems:
        raise RecipeError(f"{stage.name}, for verl", problems)
    job = Job(folder)
    folder.mkdir(parents=True, exist_ok=True)
    job.manifest.unlink(missing_ok=True)
    setting = Setting(task, job, stage, rule)
    _write_files(setting, tokenizer)
    write_json(job.manifest, _manifest(setting, tokenizer))
    return job


def _write_files(setting: Setting, tokenizer: Tokenizer) -> None:
    task, job = setting.task, setting.job
    asked, rules = task.link.asked, RowRules(task.switch_rules, task.scored)
    write_rows(job.train_rows, rl_rows(asked, "train", rules, tokenizer))
    # verl opens one, although it is never told to validate
    write_rows(job.validation_rows, rl_rows(asked[:1], "validation", rules, tokenizer))
    write_golds(task, job, tokenizer)
    write_text(job.folder / "loop.yaml", LOOP)
    for name, text in inside_files().items():
        write_text(job.folder / "inside" / name, text)
    lines = keys.overrides(setting)
    if problems := keys.ignored(lines):
        raise RuntimeError("; ".join(problems))  # a fault of the table, never of a recipe
    write_text(job.overrides, "\n".join(lines) + "\n")
    write_text(job.script, _script(job))
    job.script.chmod(0o755)


def inside_files() -> dict[str, str]:
    """The files that run inside verl, by name."""
    found = resources.files("cascade_rl.backends.verl") / "inside"
    names = sorted(item.name for item in found.iterdir() if item.name.endswith(".py"))
    return {name: (found / name).read_text(encoding="utf-8") for name in names}


def environment(job: Job) -> dict[str, str]:
    """The variables of every process of verl's."""
    return {"PYTHONPATH": str(job.folder.resolve()), "VERL_USE_EXTERNAL_MODULES": keys.MODULES}


def _script(job: Job) -> str:
    exports = "\n".join(f"export {name}='{value}'" for name, value in environment(job).items())
    parts = {"JOB": str(job.folder.resolve()), "ENVIRONMENT": exports, "ENTRY": " ".join(ENTRY)}
    text = SCRIPT
    for name, value in parts.items():
        text = text.replace(f"@{name}@", value)
    return text


def grader(job: Job) -> dict[str, Any]:
    """How the grading server is started: this interpreter, with what it finds beyond its own packages."""
    own = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)}
    places = [Path(entry or ".").resolve() for entry in sys.path]
    beyond = [str(p) for p in dict.fromkeys(places) if p.is_dir() and not own & {p, *p.parents}]
    return {
        "command": [sys.executable, "-m", "cascade_rl.backends.verl.grader", str(job.manifest.resolve())],
        "environment": {"PYTHONPATH": os.pathsep.join(beyond)},
    }


def inside(setting: Setting, tokenizer: Tokenizer) -> dict[str, Any]:
    """What the files inside verl and the grading server read of the manifest."""
    stage, rule = setting.stage, setting.rule
    return {
        "advantage": stage.advantage,
        "shaping": stage.reward_shaping,
        "aggregation": stage.aggregation,
        "scored": adds_scores(setting.task),
        "rounds": stage.filter.max_rounds if stage.filter.kind == "batch" else 1,
        "overlong": rule.overlong,
        "limit": rule.max_response_tokens,
        "buffer": (stage.overlong_buffer or 0) if rule.overlong == "penalty" else 0,
        "ends": list(tokenizer.eos_ids),
        # what verl's own keys don't say and its samplers know
        "sampling": {"min_p": rule.min_p} if rule.min_p else {},
        # a problem names its domain, and the recipe the module that it is loaded from
        "domains": {load_domain(path).name: path for path in stage.domains()},
        "judge": stage.judge.model_dump(mode="json") if stage.judge else None,
        "reward_model": setting.reward_model,
        "grader": grader(setting.job),
    }


def _manifest(setting: Setting, tokenizer: Tokenizer) -> dict[str, Any]:
    task, job = setting.task, setting.job
    paths = (p for p in job.folder.rglob("*") if p.is_file() and _is_compiled(p.relative_to(job.folder)))
    return manifest(task, job, tokenizer, paths) | {
        "kind": "rl",
        "rows": len(task.link.asked),
        "prompts": setting.stage.prompts_per_step,
        "replies": setting.stage.rollouts_per_prompt,
        "on_policy": True,
        "entry": list(ENTRY),
        "environment": environment(job),
        "departures": departures(task, setting.stage, setting.rule),
        "inside": inside(setting, tokenizer),
    }


def _is_compiled(path: Path) -> bool:
    """Whether a file of the folder was compiled, and not left by a start of the job."""
    return path.parts[0] in COMPILED and "__pycache__" not in path.parts


COMPILED = (GOLDS, "inside", "loop.yaml", "overrides.txt", "run.sh", "train.parquet", "validation.parquet")
