"""The job of a task, whatever the kind of its stage."""

from __future__ import annotations

from pathlib import Path

from cascade_rl.backends.verl.compile import compile_job
from cascade_rl.backends.verl.job import Job, Task
from cascade_rl.backends.verl.sft import compile_sft
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import SFTStage


def compiled(task: Task, folder: Path, tokenizer: Tokenizer) -> Job:
    """The compiled job in `folder`; RecipeError with all that verl can't do of it."""
    make = compile_sft if isinstance(task.stage, SFTStage) else compile_job
    return make(task, folder, tokenizer)
