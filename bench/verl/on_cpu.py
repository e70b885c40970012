"""verl's trainers started on a processor: the variables and overrides that they need for it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# fp32, so that numbers can be compared; attention without a GPU's kernels; nothing compiled
SFT = [
    "trainer.device=cpu", "model.use_remove_padding=False", "+model.override_config.attn_implementation=sdpa",
    "engine.use_torch_compile=False", "data.num_workers=0",
    "+engine.mixed_precision={param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}",
]  # fmt: skip
RL = [
    "trainer.device=cpu", "actor_rollout_ref.model.use_remove_padding=False",
    "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
    "actor_rollout_ref.actor.use_torch_compile=False", "actor_rollout_ref.actor.fsdp_config.use_torch_compile=False",
    "+actor_rollout_ref.actor.fsdp_config.mixed_precision={param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}",
    "actor_rollout_ref.rollout.name=transformers", "actor_rollout_ref.rollout.agent.num_workers=1",
    "reward.num_workers=1", "data.dataloader_num_workers=0", "ray_kwargs.ray_init.num_cpus=16",
    "+ray_kwargs.ray_init.num_gpus=1", "+ray_kwargs.ray_init.include_dashboard=False",
]  # fmt: skip


def replaced(lines: list[str], others: list[str]) -> list[str]:
    """The overrides with others in their place: hydra takes none twice."""
    names = {line.partition("=")[0].lstrip("+") for line in others}
    return [line for line in lines if line.partition("=")[0].lstrip("+") not in names] + others


def start(
    python: Path, job: Path, others: list[str], modules: tuple[str, ...], limit: float = 600.0
) -> list[dict[str, Any]]:
    """Run the job with these overrides in place of its own; verl's metrics, a dictionary a step.

    RuntimeError with the end of what verl said where it fails.
    """
    record = json.loads((job / "manifest.json").read_text())
    metrics, log = job / "metrics.jsonl", job / "console.log"
    asked = dict(record["environment"])
    used = [name for name in asked.get("VERL_USE_EXTERNAL_MODULES", "").split(",") if name]
    path = [str(HERE), *asked.get("PYTHONPATH", "").split(os.pathsep)]
    asked["VERL_USE_EXTERNAL_MODULES"] = ",".join([*modules, *used])
    asked["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    if "main_ppo" in record["entry"][-1]:
        # Ray's workers get their variables from here
        others = others + [f"+ray_kwargs.ray_init.runtime_env.env_vars.{n}='{v}'" for n, v in asked.items()]
    lines = replaced(job.joinpath("overrides.txt").read_text().splitlines(), others)
    around = {
        **os.environ, **asked, "OMP_NUM_THREADS": "1", "VERL_FILE_LOGGER_PATH": str(metrics),
        "VERL_ENGINE_DEVICE": "cuda", "HYDRA_FULL_ERROR": "1",
        "RAY_ADDRESS": "local",  # else Ray joins whatever cluster was started last on this machine
    }  # fmt: skip
    with log.open("w") as file:
        done = subprocess.run(
            [str(python), *record["entry"], *lines], cwd=job, env=around, stdout=file,
            stderr=subprocess.STDOUT, timeout=limit, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"verl ended with {done.returncode}; the end of {log}:\n{log.read_text()[-3000:]}")
    return [json.loads(line)["data"] for line in metrics.read_text().splitlines()]
