"""The export of a verl job: real shards, merged rightly and in every wrong way; a lie must never pass.

The merger here is a stand-in (bench/verl/try_export.py runs verl's own on shards that verl wrote): it writes
what it is told to, so that each fault can be had alone. What holds it against the shards is the real code.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import fake_verl
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import random_flat, raw_config, tokenizer
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor._dtensor_spec import DTensorSpec, TensorMeta
from torch.testing._internal.distributed.fake_pg import FakeStore

from cascade_rl.backends.verl import export
from cascade_rl.backends.verl.export import PROOF, export_job
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.errors import StageError
from cascade_rl.model.checkpoint import load_directory
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.export import export as save
from cascade_rl.model.tokenizer import load_tokenizer

HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"
COMMAND = Command((sys.executable, fake_verl.__file__))


@pytest.fixture(scope="module", autouse=True)
def mesh() -> Iterator[DeviceMesh]:
    """A mesh of two that never talk to each other: each part is made in this process."""
    torch.distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield init_device_mesh("cpu", (2,), mesh_dim_names=("fsdp",))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    """What the job begins with."""
    folder = tmp_path_factory.mktemp("policy") / "start"
    raw = raw_config()
    save(folder, raw, config := DecoderConfig.from_hf(raw), random_flat(config), tokenizer())
    return folder


def trained(policy: Path, by: float = 0.05) -> dict[str, Tensor]:
    """The weights after training, with the head that FSDP keeps as a key of its own."""
    state = load_file(policy / "model.safetensors")
    torch.manual_seed(1)
    state = {name: tensor + by * torch.randn(tensor.shape) for name, tensor in state.items()}
    return state | {HEAD: state[TABLE]}


def write_shards(
    folder: Path, state: dict[str, Tensor], mesh: DeviceMesh, kind: str = "rl", short: str = ""
) -> None:
    """A checkpoint of two ranks, as FSDP2 cuts: the rows of each tensor, the last part the shorter one."""
    fake_verl.checkpoint(folder, 4, 2, kind)
    weights = folder / "global_step_4" / ("actor" if kind == "rl" else "")
    for rank in range(2):
        parts = {}
        for name, tensor in state.items():
            step = -(-len(tensor) // 2)
            rows = tensor[rank * step : (rank + 1) * step]
            rows = rows[:-1] if name == short and rank else rows
            meta = TensorMeta(tensor.shape, tensor.stride(), tensor.dtype)
            spec = DTensorSpec(mesh, (Shard(0),), tensor_meta=meta)
            parts[name] = DTensor(rows.clone(), spec, requires_grad=False)
        torch.save(parts, weights / f"model_world_size_2_rank_{rank}.pt")


def write_merged(folder: Path, policy: Path, state: dict[str, Tensor], **config) -> None:
    """What the stand-in hands over as merged: this state, in bf16."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = json.loads((policy / "config.json").read_text()) | {"dtype": "bfloat16"} | config
    (folder / "config.json").write_text(json.dumps(raw))
    state = {n: t if t.dtype == torch.float16 else t.bfloat16() for n, t in state.items()}
    save_file({n: t.clone() for n, t in state.items()}, folder / "model.safetensors", {"format": "pt"})
    (folder / "tokenizer_config.json").write_text(
        "{}"
    )  # verl's own copy, which must not be what is handed over


def make(
    folder: Path, policy: Path, mesh: DeviceMesh, kind: str = "rl", by: float = 0.05
) -> tuple[Job, dict]:
    """A job at its end, merged rightly; its job and its trained weights."""
    job, state = Job(folder / "00"), trained(policy, by)
    write_shards(job.checkpoints, state, mesh, kind)
    record = {
        "kind": kind, "steps": 4, "policy": str(policy), "strategy": "fsdp2", "nodes": 1, "gpus_per_node": 2,
        "attempts": 1, "entry": [], "environment": {},
    }  # fmt: skip
    job.manifest.write_text(json.dumps(record))
    write_merged(job.folder / "merged", policy, {n: t for n, t in state.items() if n != HEAD})
    return job, state


@pytest.fixture
def here(monkeypatch) -> None:
    """Programs of verl's environment run in this process: each would load torch for seconds."""

    def run(job: Job, command: Command, words: list[str], log: str) -> None:
        monkeypatch.setattr(sys, "argv", [fake_verl.__file__, *words])
        monkeypatch.chdir(job.folder)
        fake_verl.main()

    monkeypatch.setattr(export, "_run", run)


def refused(job: Job, said: str) -> None:
    """It is an error that says so, and nothing lies where the next stage would look."""
    with pytest.raises(StageError, match=said):
        export_job(job, COMMAND)
    assert not job.exported.exists()


def test_a_right_export_is_proved_and_made_once(tmp_path, policy, mesh):
    job, state = make(tmp_path, policy, mesh)
    path = export_job(job, COMMAND)  # as programs of their own, both of them
    proof = json.loads((path / PROOF).read_text())
    assert (proof["step"], proof["world_size"], proof["dtype"], proof["tied"]) == (4, 2, "float32", True)
    # as trained, although the merger rounded: a chain of jobs would round at each of its borders
    assert proof["trained_dtype"] == "float32" and proof["rounding"] == 0 and proof["loaded"]["gap"] < 1e-4
    _, config, flat = load_directory(path)
    assert torch.equal(flat, config.flat({n: t for n, t in state.items() if n != HEAD}))
    # the tokenizer is the one that the job began with, byte for byte, with the ids that end a reply
    assert load_tokenizer(path).hash() == load_tokenizer(policy).hash()
    for name in ("tokenizer_config.json", "generation_config.json"):
        assert (path / name).read_bytes() == (policy / name).read_bytes()
    before = (path / PROOF).stat().st_mtime_ns
    shutil.rmtree(job.checkpoints)
    assert export_job(job, COMMAND) == path and (path / PROOF).stat().st_mtime_ns == before


def test_sft_keeps_its_shards_elsewhere(tmp_path, policy, mesh, here):
    job, _ = make(tmp_path, policy, mesh, "sft")
    assert (export_job(job, COMMAND) / "model.safetensors").is_file()


def test_weights_that_verl_saved_whole_are_held_against_the_shards_too(tmp_path, policy, mesh, here):
    job, state = make(tmp_path, policy, mesh)
    own = job.checkpoints / "global_step_4" / "actor" / "huggingface"
    shutil.rmtree(job.folder / "merged")  # there is no merger to ask
    write_merged(own, policy, {n: t for n, t in state.items() if n != HEAD})
    assert (export_job(job, COMMAND) / PROOF).is_file()
    other, _ = make(tmp_path / "other", policy, mesh)
    write_merged(other.checkpoints / "global_step_4" / "actor" / "huggingface", policy, trained(policy, 0.04))
    refused(other, "is not what was trained")


def test_one_weight_that_differs_is_an_error(tmp_path, policy, mesh, here):
    job, state = make(tmp_path, policy, mesh)
    merged = {n: t.clone() for n, t in state.items() if n != HEAD}
    merged["model.layers.1.mlp.down_proj.weight"][3, 5] += 0.1
    write_merged(job.folder / "merged", policy, merged)
    refused(job, r"down_proj.weight is not what was trained: up to 1\.\d+e-01 away")


def test_a_head_that_came_loose_is_an_error(tmp_path, policy, mesh, here):
    job, state = make(tmp_path, policy, mesh)
    write_merged(job.folder / "merged", policy, state | {HEAD: state[HEAD] * 1.5})
    refused(job, "lm_head.weight is not what was trained|ties its head")


def test_shards_with_two_heads_are_an_error(tmp_path, policy, mesh, here):
    job, state = make(tmp_path, policy, mesh)
    write_shards(job.checkpoints, state | {HEAD: state[HEAD] * 1.5}, mesh)
    refused(job, "the shards hold two different ones")


def test_a_tensor_that_the_merger_lost_is_an_error(tmp_path, policy, mesh, here):
    job, state = make(tmp_path, policy, mesh)
    lost = "model.layers.0.self_attn.q_norm.weight"
    write_merged(job.folder / "merged", policy, {n: t for n, t in state.items() if n not in (HEAD, lost)})
    refused(job, "q_norm.weight is not what was trained")  # transformers makes a new one of it


def test_nothing_trained_is_an_error(tmp_path, policy, mesh, here):
    job, _ = make(tmp_path, policy, mesh, by=0.0)
    refused(job, "nothing was trained")
    # a part of a stage may be one in which no group had a signal
    assert (export_job(job, COMMAND, may_stand=True) / PROOF).is_file()


def test_what_megatron_trained_is_not_exported(tmp_path, policy, mesh, here):
    job, _ = make(tmp_path, policy, mesh)
    record = json.loads(job.manifest.read_text())
    job.manifest.write_text(json.dumps(record | {"strategy": "megatron"}))
    refused(job, "fsdp2 is exported")


def test_training_that_rounding_would_swallow_is_kept(tmp_path, policy, mesh, here):
    # the start is bf16, as a hub's models are: a step below its spacing would leave nothing of it
    start = tmp_path / "start"
    shutil.copytree(policy, start)
    state = load_file(policy / "model.safetensors")
    save_file({n: t.bfloat16() for n, t in state.items()}, start / "model.safetensors", {"format": "pt"})
    job, _ = make(tmp_path, start, mesh)
    moved = {n: t.bfloat16().float() * (1 + 1e-5) for n, t in state.items()}
    write_shards(job.checkpoints, moved | {HEAD: moved[TABLE]}, mesh)
    write_merged(job.folder / "merged", start, moved)
    _, config, flat = load_directory(export_job(job, COMMAND))
    assert torch.equal(flat, config.flat({n: t for n, t in moved.items() if n != HEAD}))


def test_a_part_that_is_too_short_is_an_error(tmp_path, policy, mesh, here):
    job, state = make(tmp_path, policy, mesh)
    write_shards(job.checkpoints, state, mesh, short="model.norm.weight")
    refused(job, "model.norm.weight: rank 1 holds")


def test_mixed_precisions_are_an_error(tmp_path, policy, mesh, here):
    job, state = make(tmp_path, policy, mesh)
    mixed = {n: t for n, t in state.items() if n != HEAD} | {
        "model.norm.weight": state["model.norm.weight"].half()
    }
    write_merged(job.folder / "merged", policy, mixed)
    refused(job, "mix precisions|is not what was trained")


def test_another_network_is_an_error(tmp_path, policy, mesh, here):
    job, state = make(tmp_path, policy, mesh)
    write_merged(
        job.folder / "merged", policy, {n: t for n, t in state.items() if n != HEAD}, rms_norm_eps=1e-3
    )
    refused(job, "its config.json says another model")


def test_numbers_that_our_loader_does_not_find_are_an_error(tmp_path, policy, mesh, here, monkeypatch):
    job, _ = make(tmp_path, policy, mesh)
    real = export._prove

    def other(*args):
        proof = real(*args)
        proof["logprobs"][1][2] -= 0.01
        return proof

    monkeypatch.setattr(export, "_prove", other)
    refused(job, r"this package finds log-probabilities up to 1\.0e-02 nats away")


def test_a_job_that_is_not_at_its_end_is_not_exported(tmp_path, policy, mesh, here):
    job, _ = make(tmp_path, policy, mesh)
    job.manifest.write_text(job.manifest.read_text().replace('"steps": 4', '"steps": 6'))
    refused(job, "has reached step 4 of 6")


def test_a_merger_that_fails_is_told_with_its_last_lines(tmp_path, policy, mesh):
    job, _ = make(tmp_path, policy, mesh)
    shutil.rmtree(job.folder / "merged")
    refused(job, "(?s)verl.model_merger merge failed with exit code 1.*there is nothing to merge")


def test_an_export_of_another_length_is_not_taken_for_this_one(tmp_path, policy, mesh, here):
    job, _ = make(tmp_path, policy, mesh)
    path = export_job(job, COMMAND)
    record = json.loads((path / PROOF).read_text())
    (path / PROOF).write_text(json.dumps(record | {"step": 2}))
    with pytest.raises(StageError, match="is not of step 4"):
        export_job(job, COMMAND)
