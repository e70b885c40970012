"""The job of a task, whatever the kind of its stage; and what verl can't do of a stage."""

from __future__ import annotations

from pathlib import Path

from cascade_rl.backends.verl.compile import compile_job
from cascade_rl.backends.verl.job import Job, Task
from cascade_rl.backends.verl.refusals import foreseen
from cascade_rl.backends.verl.sft import compile_sft, sft_problems
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import Problems, RLStage, SFTStage, Stage, Verl


def compiled(task: Task, folder: Path, tokenizer: Tokenizer) -> Job:
    """The compiled job in `folder`; RecipeError with all that verl can't do of it."""
    make = compile_sft if isinstance(task.stage, SFTStage) else compile_job
    return make(task, folder, tokenizer)


def unable(stage: Stage, verl: Verl) -> Problems:
    """What verl can't do of a stage, as far as the recipe alone tells it: no data, no model."""
    if isinstance(stage, SFTStage):
        return sft_problems(stage, verl)
    return foreseen(stage, verl) if isinstance(stage, RLStage) else []
