"""What a micro-batch keeps is what autograd holds, and layers that run again give the same bits."""

from __future__ import annotations

import ctypes
import math
import subprocess
import sys
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
import torch
import varlen_kernel  # noqa: F401  # its kernel, for the shadow device
from shadow_cuda import Shadow, shadow_cuda
from tiny import SHAPE, Policy, random_flat, stage_run, tokenizer, toy_domain
from torch.profiler import ProfilerActivity, profile

from cascade_rl.data.demonstrations import provide
from cascade_rl.model import decoder
from cascade_rl.model.activations import activation_bytes, kept_bytes, take_note
from cascade_rl.model.attention_bytes import attention_bytes
from cascade_rl.model.checkpoint import scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig, packed_states
from cascade_rl.model.free_memory import own_bytes, shared_bytes
from cascade_rl.model.fused import swiglu
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.worker import keep_memory
from cascade_rl.protocols import WHOLE, SamplingRule
from cascade_rl.recipe import SFTStage, Training
from cascade_rl.run.journal import read_lines
from cascade_rl.train import gradients, learner, sft
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective, token_logprobs

CPU = torch.device("cpu")
GROUPS = {
    "shared prompts": [Row.of([5] * 20, [6] * (30 + 9 * i), 0.01, 1.0 - i) for i in range(4)],
    "rows alone": [Row.of([i], [9 + i] * (40 + i), 0.01, 1.0 - i) for i in range(5)],
    "unlike lengths": [Row.of([i] * 9 * i, [7] * (60 >> i), 0.01, 1.0) for i in range(1, 5)],
}


def replicas_of(
    precision: str, family: str = "qwen3", device: str = "cpu", window: int | None = None
) -> Replicas:
    raw = scratch_config(SHAPE, len(tokenizer().inner), 1, 0) | {"model_type": family, "num_hidden_layers": 4}
    config = replace(DecoderConfig.from_hf(raw), window=window)
    replicas = Replicas(1, device, precision)
    torch.set_num_threads(1)
    replicas.add_model("policy", config, scratch_weights(config, 0), train=True)
    return replicas


def model_of(precision: str, family: str = "qwen3", device: str = "cpu", window: int | None = None):
    return replicas_of(precision, family, device, window).local.models["policy"]


def held_by_autograd(model, packed) -> int:
    """Bytes of all storages that are saved for the backward pass, weights left out."""
    weights = {host(w).untyped_storage().data_ptr() for w in model.weights.values()}
    found = {}

    def keep(tensor):
        found[host(tensor).untyped_storage().data_ptr()] = host(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        packed_states(model.weights, model.config, packed)
    return sum(t.untyped_storage().nbytes() for place, t in found.items() if place not in weights)


@pytest.mark.parametrize("rows", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize(("precision", "family"), [("fp32", "qwen3"), ("bf16", "qwen3"), ("fp32", "llama")])
def test_what_is_counted_is_what_autograd_holds(rows, precision, family):
    model, packed = model_of(precision, family), pack_rows(rows, CPU).packed
    said = kept_bytes(model.config, packed, model.dtype.itemsize)
    assert said == pytest.approx(held_by_autograd(model, packed), rel=0.003)


def host(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.host if isinstance(tensor, Shadow) else tensor


@pytest.mark.parametrize("rows", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize(
    ("precision", "family", "window"),
    [("bf16", "qwen3", None), ("bf16", "llama", 9), ("fp32", "qwen3", None), ("fp32", "llama", 9)],
)
def test_on_a_gpu_what_is_counted_is_what_its_kernels_keep(rows, precision, family, window):
    """In bf16 torch's own autograd of the variable-length call; no scores either way, as there were on the page."""
    with shadow_cuda():
        model = model_of(precision, family, "cuda", window)
        packed = pack_rows(rows, torch.device("cuda")).packed
        element = model.dtype.itemsize
        said = kept_bytes(model.config, packed, element)
        tables = attention_bytes(model.config, packed, element).tables()
        held = held_by_autograd(model, packed)
        # of the tables autograd holds places, and no masks, of which each layer makes numbers
        assert said == pytest.approx(held, rel=0.02) and said < held <= 1.002 * (said + tables)
    here = pack_rows(rows, CPU).packed
    assert said < kept_bytes(model.config, here, element)


@pytest.mark.parametrize("again", [False, True], ids=["kept", "again"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("rule", [WHOLE, SamplingRule(0.8, 0.9)], ids=["whole", "truncated"])
def test_the_peak_is_about_what_torch_allocates(precision, again, rule):
    """By torch's own record of every allocation of a forward and backward pass."""
    model, rows = (
        model_of(precision),
        [Row.of([3 + g] * 60, [6] * 60, 0.01, 1.0) for g in range(4) for _ in range(8)],
    )
    batch = pack_rows(rows, CPU)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        token_logprobs(model.weights, model.config, batch, rule, again).sum().backward()
    moments = sorted(
        (e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"),
        key=lambda e: e.start_ns(),
    )
    peak = max(accumulate(e.nbytes() for e in moments))
    said = activation_bytes(model.config, batch.packed, model.dtype.itemsize, rule, again)
    assert 0.9 < said / peak < (1.5 if again else 1.2)


@pytest.mark.parametrize("rows", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "objective",
    [Objective(ON_POLICY), Objective(ON_POLICY, SamplingRule(0.8, 0.9, 40))],
    ids=["plain", "truncated"],
)
def test_layers_that_run_again_give_the_same_bits(rows, precision, objective):
    found = []
    for free in (math.inf, 0.0):
        policy = replicas_of(precision)
        sums = gradients.accumulate(policy.local, "policy", rows, 90, objective, free - own_bytes(CPU))
        found.append((sums, policy.local.models["policy"].grad.clone()))
    (kept, gradient), (again, same) = found
    assert torch.equal(gradient, same) and gradient.norm() > 0
    assert {k: v for k, v in again.items() if not k.startswith("short")} == kept
    assert again["short_bytes_max"] > 0


def test_layers_that_run_again_keep_less_and_run_twice(monkeypatch):
    calls = []
    monkeypatch.setattr(decoder, "swiglu", lambda both: calls.append(1) or swiglu(both))
    model, batch = model_of("fp32"), pack_rows(GROUPS["shared prompts"], CPU)
    for again, count in ((False, 4), (True, 8)):
        calls.clear()
        token_logprobs(model.weights, model.config, batch, WHOLE, again).sum().backward()
        assert len(calls) == count
    whole, less = (kept_bytes(model.config, batch.packed, 4, again) for again in (False, True))
    assert less < whole / 4


@pytest.mark.parametrize("kind", ["rl", "reward"])
def test_a_learner_decides_by_the_free_memory_says_so_once_and_learns_the_same(monkeypatch, kind):
    found = []
    monkeypatch.setattr(gradients, "own_bytes", lambda device: 0.0)
    for free in (1e12, 4e5):
        policy = Policy()
        extra = {"score": (1, policy.config.hidden)} if kind == "reward" else {}
        flat = random_flat(policy.config, 2, 0.1, extra)
        model = policy.replicas.add_model("it", policy.config, flat, train=True, extra=extra)
        monkeypatch.setattr(learner, "shared_bytes", lambda device, free=free: free)
        mine = Learner(policy.replicas, "it", Training(name="x", lr=0.01))
        rows = GROUPS["rows alone"]
        steps = [mine.pair_step([(rows[0], rows[1]), (rows[2], rows[3])], 1.0) if kind == "reward"
                 else mine.policy_step(rows, Objective(ON_POLICY), 1.0) for _ in range(2)]  # fmt: skip
        found.append((steps, model.flat.clone(), mine.notes))
    (steps, weights, silent), (again, same, notes) = found
    assert again == steps and torch.equal(weights, same)
    assert silent == [] and len(notes) == 1
    assert "tokens take 0.0 GB" in notes[0] and "layers are computed again in the backward pass" in notes[0]


def test_the_note_says_how_much_is_needed_and_whether_that_is_still_too_much():
    sums = {
        "loss": 1.0,
        "short_bytes_max": 3.1e9,
        "short_tokens_max": 4096,
        "short_again_max": 9e8,
        "short_free_max": 2e9,
    }
    wanted = ("activations of 4,096 tokens take 3.1 GB, 2.0 GB are free for them: layers are computed again in the "
              "backward pass (about 1/3 more time)")  # fmt: skip
    assert take_note(dict(sums)) == wanted
    assert take_note(sums | {"short_again_max": 2.5e9}) == (
        wanted + "; that still takes 2.5 GB: lower tokens_per_microbatch"
    )
    assert take_note(sums) == wanted and sums == {"loss": 1.0}
    assert take_note(sums) is None


def test_the_decision_is_written_once_and_the_journal_is_the_same(monkeypatch, tmp_path):
    stage = SFTStage(
        name="sft", kind="sft", samples=8, batch_size=4, steps=3, data=[{"domain": "toy"}], lr=1e-3
    )
    domains, found = {"toy": toy_domain()}, []
    monkeypatch.setattr(gradients, "own_bytes", lambda device: 0.0)
    for free in (1e12, 1.0):
        monkeypatch.setattr(learner, "shared_bytes", lambda device, free=free: free)
        policy, folder = Policy(), tmp_path / str(free)
        with stage_run(folder, stage, domains, policy) as run:
            sft.train(run, provide(stage, domains, 0))
        told = run.screen.notes
        notes = [line for line in read_lines(folder / "timings.jsonl") if "memory" in line]
        found.append((policy.model.flat, (folder / "journal.jsonl").read_bytes(), notes, told))
    (weights, journal, *silent), (same, again, notes, heard) = found
    assert torch.equal(weights, same) and journal == again and silent == [[], []]
    assert [(note["step"], note["memory"]) for note in notes] == [(0, heard[0])] and len(heard) == 1
    assert "computed again" in heard[0]


# ---------------------------------------------------------------- free memory


def write(place: Path, **files: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize("version", [1, 2])
def test_the_free_memory_is_the_least_of_machine_and_control_groups(tmp_path, version):
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    assert shared_bytes(CPU, proc, groups) == math.inf
    write(proc, meminfo="MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 5000 kB\n")
    assert shared_bytes(CPU, proc, groups) == 5000 * 1024
    if version == 2:
        write(proc / "self", cgroup="0::/a/b\n")
        write(groups / "a" / "b", memory__max="max\n", memory__current="7\n")
        write(
            groups / "a",
            memory__max="4000000",
            memory__current="1000000",
            memory__stat="inactive_file 5\nanon 9\n",
        )
        assert shared_bytes(CPU, proc, groups) == 3000005
        write(groups / "a", memory__current="5000000")
    else:
        write(proc / "self", cgroup="3:cpu:/\n4:memory,hugetlb:/gone\n0::/\n")
        write(groups / "memory", memory__limit_in_bytes="4000000", memory__usage_in_bytes="1000000",
              memory__stat="inactive_file 9\ntotal_inactive_file 5\n")  # fmt: skip
        assert shared_bytes(CPU, proc, groups) == 3000005
        write(groups / "memory", memory__usage_in_bytes="5000000")
    assert shared_bytes(CPU, proc, groups) == 0


def test_what_was_freed_is_free_to_this_process():
    """The machine's own figures: they are there, and a freed block is counted where the allocator tells."""
    assert 0 < shared_bytes(CPU) < 1e15
    keep_memory()
    block = torch.ones(1 << 22)
    held = own_bytes(CPU)
    del block
    assert own_bytes(CPU) - held > (1 << 23 if hasattr(ctypes.CDLL(None), "mallinfo2") else -1)


KEPT = """
import sys
import torch
from cascade_rl.model import free_memory
from cascade_rl.model.worker import Worker, keep_memory, work

left = float(sys.argv[1])
free_memory.shared_bytes = lambda device: left

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def fill(worker):
    # what is freed lies between blocks that stay
    blocks = [torch.ones(1 << 20) for _ in range(100)]
    del blocks[::2]
    return blocks

keep_memory()
worker, begin = Worker(0, 1, torch.device("cpu")), resident()
blocks = work(worker, fill, ())
print(resident() - begin)
assert sum(float(block.sum()) for block in blocks) == 50 * (1 << 20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="another C library")
@pytest.mark.parametrize(("left", "low", "high"), [(1e12, 390e6, 470e6), (1e6, 190e6, 270e6)])
def test_what_is_freed_is_kept_until_the_machine_lacks_it(left, low, high):
    """400 MB are taken, every second block of 4 MB is freed: its pages stay where memory is plenty."""
    told = subprocess.run(
        [sys.executable, "-c", KEPT, str(left)], capture_output=True, text=True, check=True
    ).stdout
    assert low < int(told) < high
