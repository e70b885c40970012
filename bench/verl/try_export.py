"""Exports of real checkpoints.

verl's own checkpoint manager writes the shards of a small model on 1, 2 and 3 processes, its own merger puts
them together, and `export_job` holds the result against both; and refuses one that lacks a shard.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from cascade_rl.backends.verl.export import PROOF, export_job
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.errors import Mendable
from cascade_rl.model.checkpoint import scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.export import export
from cascade_rl.model.tokenizer import train_tokenizer
from cascade_rl.recipe import Architecture

SHAPE = Architecture(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=16,
)


def policy(folder: Path) -> Path:
    """A small Qwen3 with a tied head, as our engine exports one."""
    tokenizer = train_tokenizer(["The sum of 1 and 2 is 3.", "def add(a, b): return a + b"] * 20, 300)
    raw = scratch_config(SHAPE, len(tokenizer.inner), tokenizer.end_id, tokenizer.pad_id)
    config = DecoderConfig.from_hf(raw)
    export(folder, raw, config, scratch_weights(config, 0), tokenizer, dtype="fp32")
    return folder


def make(folder: Path, start: Path, python: str, kind: str, world: int) -> Job:
    """A job whose only step was taken."""
    job = Job(folder)
    job.checkpoints.mkdir(parents=True)
    record = {
        "kind": kind, "steps": 1, "policy": str(start), "strategy": "fsdp2", "nodes": 1, "gpus_per_node": world,
        "attempts": 1, "entry": [], "environment": {},
    }  # fmt: skip
    job.manifest.write_text(json.dumps(record))
    script = Path(__file__).parent / "shards.py"
    subprocess.run([python, str(script), str(start), str(job.checkpoints), str(world), kind], check=True)
    return job


def try_export(python: Path, folder: Path) -> list[str]:
    """The checkpoints whose export is not proved; and those whose faults pass."""
    start, problems = policy(folder / "policy"), []
    for kind, world in (("rl", 2), ("sft", 2), ("rl", 1), ("rl", 3)):
        name = f"{kind} on {world}"
        job = make(folder / f"{kind}-{world}", start, str(python), kind, world)
        if (kind, world) == ("rl", 2):
            problems += lies(job, Command((str(python),)))
        try:
            proof = json.loads((export_job(job, Command((str(python),))) / PROOF).read_text())
        except Mendable as error:
            problems.append(f"{name}: refused: {error}")
            continue
        shown = {k: proof[k] for k in ("dtype", "trained_dtype", "tied", "rounding", "loaded", "greedy")}
        print(f"{name}: proved, {shown}", flush=True)
    return problems


def lies(job: Job, command: Command) -> list[str]:
    """A checkpoint without one of its shards must not be exported."""
    shard = next(job.checkpoints.rglob("model_world_size_2_rank_1.pt"))
    aside = shard.with_suffix(".aside")
    shard.rename(aside)
    try:
        export_job(job, command)
    except Mendable as error:
        print(f"without a shard: refused, {str(error).splitlines()[0]}", flush=True)
        return []
    finally:
        aside.rename(shard)
    return ["a checkpoint without one of its shards is exported"]
