"""An SFT job of verl holds the ids, masks, order and learning rates of our own engine, or is refused with the mend."""

from __future__ import annotations

import importlib.util
import json
import math
from collections import Counter

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tokenizer
from torch.utils.data import DistributedSampler

from cascade_rl.backends.verl.job import Link, Task
from cascade_rl.backends.verl.manifest import changed_files
from cascade_rl.backends.verl.rates import Rates, first_rate, rates
from cascade_rl.backends.verl.sft import compile_sft, sft_problems
from cascade_rl.errors import RecipeError, StageError
from cascade_rl.recipe import SFTStage, Verl
from cascade_rl.run.files import write_json
from cascade_rl.train.learner import lr_factor
from cascade_rl.types import Demonstration, Demonstrations, Message, Mode, Problem

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 300,
    "max_position_embeddings": 512, "hidden_act": "silu", "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
}  # fmt: skip


def demonstrations(count: int) -> Demonstrations:
    asked = [
        Problem(f"p{n}", "toy", (Message("user", f"say {n}"),), None, Mode.INSTRUCT) for n in range(count)
    ]
    return Demonstrations([Demonstration(p, "so be it " * (n % 5) + str(n)) for n, p in enumerate(asked)])


def task_of(tmp_path, count: int = 21, verl: Verl | None = None, **keys) -> Task:
    policy = tmp_path / "policy"
    policy.mkdir(exist_ok=True)
    write_json(policy / "config.json", CONFIG)
    raw = {
        "name": "sft",
        "kind": "sft",
        "data": [{"domain": "maths"}],
        "samples": count,
        "batch_size": 8,
        "steps": 7,
    }
    stage = SFTStage.model_validate(raw | keys)
    link = Link(0, 0, stage.planned_steps, None, demonstrations(count))
    return Task(stage, link, policy, {}, verl or Verl(), seed=3, key="0123")


def overrides(job) -> dict[str, str]:
    return dict(line.split("=", 1) for line in job.overrides.read_text().splitlines())


def read_by_verl(job, gpus: int, batch: int) -> list[list[dict]]:
    """The rows of each step as verl's trainer takes them: each GPU its share, in the order of its sampler."""
    spec = importlib.util.spec_from_file_location("job_sft_data", job.folder / "inside" / "sft_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = module.Drawn(str(job.train_rows))
    samplers = [
        DistributedSampler(rows, shuffle=True, num_replicas=gpus, rank=rank, drop_last=True)
        for rank in range(gpus)
    ]
    places = [list(sampler) for sampler in samplers]
    part = batch // gpus
    return [
        [rows[place] for own in places for place in own[step * part : (step + 1) * part]]
        for step in range(len(rows) // batch)
    ]


def content(row: dict) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(row["input_ids"].tolist()), tuple(row["loss_mask"].tolist())


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_each_step_of_verl_has_the_rows_of_our_own(tmp_path, gpus):
    task, made = task_of(tmp_path), tokenizer()
    job = compile_sft(task, tmp_path / "job", made)
    # ours, straight from the words: epochs of 21 shuffled samples one behind the other, 8 a step
    import random

    drawn = []
    for epoch in range(3):
        order = list(range(21))
        random.Random(f"3/sft/{epoch}").shuffle(order)
        drawn += order
    taught = [made.taught(item) for item in task.link.data.items]
    expected = [Counter(_row(*taught[n]) for n in drawn[8 * step : 8 * step + 8]) for step in range(7)]
    assert [Counter(map(content, rows)) for rows in read_by_verl(job, gpus, 8)] == expected
    assert len(pq.read_table(job.train_rows)) == 21, "a sample that is drawn three times is stored once"


def _row(prompt: list[int], reply: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (*prompt, *reply), (0,) * len(prompt) + (1,) * len(reply)


@pytest.mark.parametrize("too_long", ["drop", "cut"])
def test_what_is_too_long_is_left_out_or_cut_as_our_engine_does(tmp_path, too_long):
    made = tokenizer()
    task = task_of(tmp_path)
    sizes = sorted(len(p) + len(r) for p, r in map(made.taught, task.link.data.items))
    limit = sizes[len(sizes) // 2]
    task = task_of(tmp_path, max_tokens=limit, too_long=too_long)
    job = compile_sft(task, tmp_path / "job", made)
    rows = pq.read_table(job.train_rows).to_pylist()
    over = sum(size > limit for size in sizes)
    assert over and len(rows) == (21 if too_long == "cut" else 21 - over)
    assert max(len(row["prompt"]) + len(row["reply"]) for row in rows) == limit
    manifest = json.loads(job.manifest.read_text())
    assert manifest["samples"] == len(rows) and manifest["remarks"] == [
        f"toy: {over} samples longer than {limit} tokens, "
        + ("cut to that" if too_long == "cut" else "left out")
    ]
    with pytest.raises(StageError, match="raise max_tokens"):
        compile_sft(task_of(tmp_path, max_tokens=2), tmp_path / "none", made)


def verls_factor(rate: Rates, steps: int, step: int) -> float:
    """The rate's share at a step, as verl 0.9.1's utils/torch_functional.py computes it, counted from 1."""
    step += 1
    if step < rate.warmup:
        return step / max(1, rate.warmup)
    progress = (step - rate.warmup) / max(1, steps - rate.warmup)
    wave = math.cos(math.pi * rate.cycles * 2 * progress)
    return max(rate.floor, wave * (1 - rate.floor) / 2 + (1 + rate.floor) / 2)


@given(st.data())
def test_the_rate_of_every_step_is_ours(tmp_path_factory, data):
    draw = data.draw
    steps = draw(st.integers(1, 60))
    keys = {
        "schedule": draw(st.sampled_from(["constant", "cosine"])),
        "warmup_steps": draw(st.integers(0, 70)),
    }
    if keys["schedule"] == "cosine":
        keys["final_lr_fraction"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
        if draw(st.booleans()):
            keys["schedule_steps"] = draw(st.integers(steps, 500))
    stage = SFTStage.model_validate(
        {"name": "s", "kind": "sft", "data": [{"domain": "maths"}], "samples": 9, "steps": steps, **keys}
    )
    rate = rates(stage, steps)
    for step in range(steps):
        assert verls_factor(rate, steps, step) == pytest.approx(lr_factor(stage, step, steps), abs=1e-9)
    assert first_rate(stage) == pytest.approx(stage.lr * verls_factor(rate, steps, 0), rel=1e-9)


def _problems(task):
    return sft_problems(task.stage, task.verl)


def test_all_that_verl_cant_do_is_said_at_once_with_the_mend(tmp_path):
    asked = {
        "optimizer": "muon", "muon_lr": 0.1, "schedule": "linear", "batch_size": 12, "heldout": {"share": 0.2},
    }  # fmt: skip
    task = task_of(tmp_path, verl=Verl(strategy="megatron"), **asked)
    with pytest.raises(RecipeError) as error:
        compile_sft(task, tmp_path / "job", tokenizer())
    paths = [path for path, _ in error.value.problems]
    assert paths == [
        "stages.sft.optimizer", "stages.sft.heldout", "stages.sft.schedule", "verl.strategy", "stages.sft.batch_size"
    ]  # fmt: skip
    assert all("set" in text or "take" in text or "remove" in text for _, text in error.value.problems)
    assert not (tmp_path / "job").exists(), "nothing of a refused job is written"
    assert [path for path, _ in _problems(task_of(tmp_path, lora={"rank": 4}))] == ["stages.sft.lora"]
    # 8 GPUs of which two share a row: four rows at a time
    assert not _problems(task_of(tmp_path, verl=Verl(sequence_parallel=2), batch_size=12))


def test_the_job_says_what_it_is_and_notices_changes(tmp_path):
    job = compile_sft(task_of(tmp_path, lr=3e-5, save_every=4), tmp_path / "job", tokenizer())
    found = overrides(job)
    assert found["optim.lr"] == "3e-05" and found["trainer.total_training_steps"] == "7"
    assert found["trainer.default_local_dir"] == str(job.checkpoints) and found["trainer.save_freq"] == "4"
    # a micro-batch holds the longest row that may come; verl would fail in the middle of a run
    assert int(found["data.max_token_len_per_gpu"]) >= int(found["data.max_length"]) == 512
    record = json.loads(job.manifest.read_text())
    assert (record["kind"], record["steps"], record["policy"]) == ("sft", 7, str(tmp_path / "policy"))
    assert record["entry"][-1] == "verl.trainer.sft_trainer" and "--nproc_per_node=8" in record["entry"]
    assert changed_files(job, record) == []
    job.overrides.write_text(job.overrides.read_text() + "optim.lr=1\n")
    (tmp_path / "job" / "order.parquet").unlink()
    assert changed_files(job, record) == ["order.parquet", "overrides.txt"]
    over = compile_sft(task_of(tmp_path, verl=Verl(nodes=2, gpus_per_node=4)), tmp_path / "job", tokenizer())
    assert json.loads(over.manifest.read_text())["entry"] == ["-m", "verl.trainer.sft_trainer_ray"]
