"""A real sharded checkpoint of a small model, written by verl's own checkpoint manager; runs in verl's environment.

`shards.py POLICY FOLDER WORLD [rl|sft]`: loads the Hugging Face directory POLICY on WORLD processes over gloo,
spreads it by FSDP2 as verl does, takes one step of AdamW on fixed tokens, and saves `global_step_1` in FOLDER.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.multiprocessing as mp
from omegaconf import OmegaConf
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager


def work(rank: int, policy: str, folder: str, world: int, kind: str) -> None:
    """One rank."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": os.environ.get("MASTER_PORT", "29571")}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,), mesh_dim_names=("fsdp",))
    model = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    ids = torch.arange(3, 35)[None] + rank
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    tokenizer = AutoTokenizer.from_pretrained(policy)
    contents = ["model", "optimizer", "extra"]
    manager = FSDPCheckpointManager(
        model=model, optimizer=optimizer, lr_scheduler=None, processing_class=tokenizer,
        checkpoint_config=OmegaConf.create({"save_contents": contents, "load_contents": contents}),
    )  # fmt: skip
    step = Path(folder) / "global_step_1"
    manager.save_checkpoint(str(step / "actor" if kind == "rl" else step), global_step=1)
    if rank == 0:
        torch.save({}, step / ("data.pt" if kind == "rl" else "data_0.pt"))
        (Path(folder) / "latest_checkpointed_iteration.txt").write_text("1")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    policy, folder, world, *rest = sys.argv[1:]
    mp.spawn(work, (policy, folder, int(world), rest[0] if rest else "rl"), nprocs=int(world))
