"""An SFT stage as a job of verl's SFT trainer: the very ids, masks and order that our own engine trains on.

verl's keys are those of its 0.9.1 (`trainer/config/sft_trainer_engine.yaml`). Its loss is the mean over the
reply tokens of a batch over all GPUs, as ours is (`workers/utils/losses.py`, sft_loss).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from cascade_rl.backends.verl.job import Job, Task
from cascade_rl.backends.verl.manifest import manifest
from cascade_rl.backends.verl.rates import rates
from cascade_rl.errors import InputError, RecipeError, StageError
from cascade_rl.model.checkpoint import read_config
from cascade_rl.model.taught import Ids, batch_at, fitted
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import Problems, SFTStage, Verl
from cascade_rl.run.files import write_json, write_text
from cascade_rl.types import Demonstration, Demonstrations

CHUNK = 1024  # demonstrations that are encoded together
ORDER = "order.parquet"  # which sample is drawn at each place of the job
DATA = "sft_data.py"  # the class that verl reads both with


def compile_sft(task: Task, folder: Path, tokenizer: Tokenizer) -> Job:
    """Write the job of an SFT stage's link into `folder`; what lay there is written anew.

    Raises RecipeError with all that verl's trainer can't do of the stage, StageError where nothing of the
    data fits.
    """
    stage, data = task.stage, task.link.data
    if not isinstance(stage, SFTStage) or not isinstance(data, Demonstrations):
        raise TypeError(f"{stage.name} is no SFT stage")
    problems = sft_problems(stage, task.verl)
    if problems:
        raise RecipeError(f"stage {stage.name} on verl {task.verl.version}", problems)
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(folder)
    job.manifest.unlink(missing_ok=True)
    limit = min(stage.max_tokens, read_config(task.policy)[1].max_positions)
    remarks = Counter[tuple[str, str]]()
    count = _write_samples(job.train_rows, _samples(stage, data.items, tokenizer, limit, remarks))
    if not count:
        raise StageError(f"{stage.name}: nothing of it fits into {limit} tokens; raise max_tokens")
    _write_order(folder / ORDER, task, count)
    inside = folder / "inside" / DATA
    inside.parent.mkdir(exist_ok=True)
    write_text(inside, (files("cascade_rl.backends.verl.inside") / DATA).read_text(encoding="utf-8"))
    lines = sft_overrides(task, job, limit)
    write_text(job.overrides, "".join(f"{line}\n" for line in lines))
    write_text(job.script, _script(task))
    job.script.chmod(0o755)
    record = {
        "kind": "sft",
        "entry": _entry(task),
        "environment": {},
        "samples": count,
        "remarks": [f"{source}: {n} {text}" for (text, source), n in remarks.items()],
    }
    paths = (job.train_rows, folder / ORDER, inside, job.overrides, job.script)
    write_json(job.manifest, record | manifest(task, job, tokenizer, paths))
    return job


def sft_problems(stage: SFTStage, verl: Verl) -> Problems:
    """What verl's SFT trainer can't do of a stage, each with its mend."""
    path, local = f"stages.{stage.name}", "or train the stage here with engine: local"
    problems: Problems = []
    if stage.optimizer != "adamw":
        problems.append((f"{path}.optimizer", f"verl steps with AdamW; set optimizer: adamw, {local}"))
    if stage.lora is not None:
        problems.append((f"{path}.lora", f"adapters are not carried over from verl; remove it, {local}"))
    if stage.own_replies is not None:
        text = "has no sampler in its SFT trainer: replies: policy needs one"
        problems.append((f"{path}.own_replies", f"{text}; set replies: teacher, {local}"))
    if stage.heldout is not None:
        text = "verl's own measure is a mean of batches and drops the rest, so it isn't asked"
        problems.append((f"{path}.heldout", f"{text}; remove it, {local}"))
    if stage.schedule == "linear":
        problems.append((f"{path}.schedule", f"verl has constant and cosine; take one of them, {local}"))
    if verl.strategy != "fsdp2":
        problems.append(("verl.strategy", f"SFT jobs are made for fsdp2; set strategy: fsdp2, {local}"))
    copies = verl.gpus // verl.sequence_parallel
    if stage.batch_size % copies:
        text = f"{stage.batch_size} does not divide by {copies}, the GPUs that take rows of their own"
        problems.append((f"{path}.batch_size", f"{text}; take a multiple of {copies}"))
    return problems


def _samples(
    stage: SFTStage,
    items: Sequence[Demonstration],
    tokenizer: Tokenizer,
    limit: int,
    remarks: Counter[tuple[str, str]],
) -> Iterator[list[Ids]]:
    """The ids that are trained on, some at a time; `remarks` counts by source what was done to the others."""
    cut = stage.too_long == "cut"
    for start in range(0, len(items), CHUNK):
        part = items[start : start + CHUNK]
        kept: list[Ids] = []
        for item, ids in zip(part, tokenizer.taught_all(part), strict=True):
            sample, remark = fitted(ids, limit, f"{limit} tokens", cut)
            if remark:
                remarks[remark, item.problem.domain] += 1
            if sample is not None:
                kept.append(sample)
        yield kept


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise InputError("what verl reads is Parquet: pip install cascade-rl[data]") from None
    return pyarrow


def _write_samples(path: Path, parts: Iterator[list[Ids]]) -> int:
    """Write samples as rows (prompt, reply) of ids; how many there are."""
    pa = _pyarrow()
    ids = pa.list_(pa.int32())
    schema = pa.schema([("prompt", ids), ("reply", ids)])
    count = 0
    with pa.parquet.ParquetWriter(path, schema) as writer:
        for part in parts:
            count += len(part)
            columns = [pa.array([sample[side] for sample in part], ids) for side in (0, 1)]
            writer.write_table(pa.table(columns, schema=schema))
    return count


def _write_order(path: Path, task: Task, count: int) -> None:
    """Write the number of the sample that is drawn at each place of the job, as our engine draws them."""
    pa, stage, link = _pyarrow(), task.stage, task.link
    assert isinstance(stage, SFTStage)
    seed = f"{task.seed}/{stage.name}"
    drawn = [n for step in range(link.start, link.end) for n in batch_at(step, stage.batch_size, count, seed)]
    pa.parquet.write_table(pa.table({"sample": pa.array(drawn, pa.int32())}), path)


def sft_overrides(task: Task, job: Job, limit: int) -> list[str]:
    """One override of verl's SFT configuration a line; `limit` is the most tokens of a sample."""
    stage, verl = task.stage, task.verl
    assert isinstance(stage, SFTStage)
    # verl refuses a batch with a row longer than it may take at once
    room = -(-max(stage.tokens_per_microbatch, limit) // verl.sequence_parallel)
    rate = rates(stage, task.link.steps)
    values: dict[str, object] = {
        "model.path": task.policy.resolve(),
        "model.use_remove_padding": True,
        "model.enable_gradient_checkpointing": True,
        "data.train_files": job.train_rows,
        "data.val_files": "null",
        "data.custom_cls.path": job.folder / "inside" / DATA,
        "data.custom_cls.name": "Drawn",
        "data.train_batch_size": stage.batch_size,
        "data.use_dynamic_bsz": True,
        "data.max_token_len_per_gpu": room,
        "data.max_length": limit,
        "data.truncation": "error",
        "engine.strategy": verl.strategy,
        "engine.ulysses_sequence_parallel_size": verl.sequence_parallel,
        "optim.optimizer": "AdamW",
        "optim.lr": stage.lr,
        "optim.betas": f"[{stage.betas[0]},{stage.betas[1]}]",
        "optim.weight_decay": stage.weight_decay,
        "optim.clip_grad": stage.grad_clip,
        "optim.lr_scheduler_type": "cosine",
        "optim.zero_indexed_step": False,
        "optim.min_lr_ratio": rate.floor,
        "optim.lr_warmup_steps": rate.warmup,
        "optim.num_cycles": rate.cycles,
        "trainer.default_local_dir": job.checkpoints,
        "trainer.project_name": "cascade",
        "trainer.experiment_name": f"{stage.name}-{task.link.number:02d}",
        "trainer.total_epochs": 1,
        "trainer.total_training_steps": task.link.steps,
        "trainer.save_freq": stage.save_every,
        "trainer.test_freq": -1,
        "trainer.max_ckpt_to_keep": 2,  # a crash may cut one short
        "trainer.resume_mode": "disable",  # who starts it again names the checkpoint
        "trainer.logger": "[console,file]",
        "trainer.nnodes": verl.nodes,
        "trainer.n_gpus_per_node": verl.gpus_per_node,
    }
    return [f"{key}={value}" for key, value in values.items()]


def _entry(task: Task) -> list[str]:
    """The words after verl's Python: torchrun on one machine, Ray's workers over several."""
    verl = task.verl
    if verl.nodes > 1:
        return ["-m", "verl.trainer.sft_trainer_ray"]
    spread = ["--standalone", f"--nproc_per_node={verl.gpus_per_node}"]
    return ["-m", "torch.distributed.run", *spread, "-m", "verl.trainer.sft_trainer"]


def _script(task: Task) -> str:
    """run.sh: the job by hand, as `cascade verl launch` starts it."""
    return f"""#!/bin/sh
# verl {task.verl.version} on this job. VERL_PYTHON: the Python of its environment.
set -eu
cd "$(dirname "$0")"
# unnamed, Ray would join the cluster that was started last on this machine, whoever's it is
export RAY_ADDRESS="${{RAY_ADDRESS:-local}}"
set --
while IFS= read -r line; do set -- "$@" "$line"; done < overrides.txt
exec "${{VERL_PYTHON:-python}}" {" ".join(_entry(task))} "$@"
"""
