"""The step of a GPU, many parameters a call, is the CPU's, one by one; and neither leaves memory behind."""

from __future__ import annotations

import gc
from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shadow_cuda import real, shadow_cuda
from test_shadow import CONFIG
from tiny import Policy
from torch.profiler import ProfilerActivity, profile

from cascade_rl.model.checkpoint import scratch_weights
from cascade_rl.model.replicas import Replicas
from cascade_rl.recipe import LoRA, Training
from cascade_rl.train import optimiser
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective

KINDS = {
    "adamw": {},
    "muon": {"optimizer": "muon", "muon_lr": 0.01},
    "lora": {"lora": LoRA(rank=3, alpha=6.0)},
}
POLICY = Objective(ON_POLICY)
ROWS = [Row.of([5 + i, 6, 7], [8 + i, 9, 10 + i, 11], 0.1, 1.0 - i) for i in range(6)]


def spec_of(kind: str) -> Training:
    return Training(name="x", lr=1e-3, weight_decay=0.1, **KINDS[kind])


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


# ---- many at a time


def stepped(device: str, kind: str, steps: int = 3) -> tuple[torch.Tensor, list[float], list[dict]]:
    """The weights, norms and ways after steps with gradients that are the same on every device."""
    with Replicas(1, device) as replicas:
        model = replicas.add_model("policy", CONFIG, scratch_weights(CONFIG, 0), train=True)
        Learner(replicas, "policy", spec_of(kind))
        norms, moved = [], []
        for step in range(steps):
            generator = torch.Generator().manual_seed(step)
            model.grad.copy_(torch.randn(model.grad.shape, generator=generator).to(device))
            found = optimiser.reduce(replicas.local, "policy")
            norms += [found[name] for name in sorted(found)]
            moved.append(optimiser.step(replicas.local, "policy", 0.5, 1.0 / (1 + step)))
        return real(model.flat), norms, moved


@pytest.mark.parametrize("most", [1, 60_000, 1 << 28], ids=["one by one", "some", "all"])
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_together_or_one_by_one_is_the_same_bit_for_bit(kind, most, monkeypatch):
    weights, norms, moved = stepped("cpu", kind)
    monkeypatch.setattr(optimiser, "TOGETHER", most)
    with shadow_cuda():
        there, norms_there, moved_there = stepped("cuda", kind)
    assert torch.equal(weights, there) and norms == norms_there and moved == moved_there
    assert not torch.equal(weights, scratch_weights(CONFIG, 0))


@given(st.lists(st.integers(1, 40), max_size=20), st.integers(1, 60), st.booleans())
def test_parts_hold_every_parameter_once_and_no_more_than_they_may(sizes, most, on_gpu):
    """Of one byte a number; on a CPU each stands alone."""
    with shadow_cuda(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimiser, "TOGETHER", most)
        device = "cuda" if on_gpu else "cpu"
        parameters = {str(i): torch.empty(n, dtype=torch.int8, device=device) for i, n in enumerate(sizes)}
        parts = optimiser.together(parameters, list(parameters))
    assert [name for part in parts for name in part] == list(parameters)
    held = [sum(sizes[int(name)] for name in part) for part in parts]
    assert all(len(part) == 1 or size <= most for part, size in zip(parts, held, strict=True))
    if on_gpu:  # and a part ends only where the next parameter would be too much
        assert all(size + sizes[int(after[0])] > most for size, after in zip(held, parts[1:], strict=False))
    else:
        assert all(len(part) == 1 for part in parts)


@pytest.mark.parametrize("layers", [4, 8])
def test_a_step_is_a_few_launches_however_many_parameters_there_are(layers):
    """4 layers are 34 parameters: one by one they took 9 launches each."""
    config = replace(CONFIG, layers=layers)
    with shadow_cuda() as log, Replicas(1, "cuda") as replicas:
        replicas.add_model("policy", config, scratch_weights(config, 0), train=True)
        Learner(replicas, "policy", spec_of("adamw"))
        optimiser.reduce(replicas.local, "policy")
        optimiser.step(replicas.local, "policy", 1.0, 1.0)  # moments are made here
        log.clear()
        optimiser.reduce(replicas.local, "policy")
        reduced = log.taken()
        optimiser.step(replicas.local, "policy", 1.0, 1.0)
        stepped = log.taken()
    assert (reduced[0].total(), reduced[1].total(), reduced[2].total()) == (2, 1, 0), reduced
    assert stepped[0].total() <= 11 and stepped[1].total() == 1 and not stepped[2], stepped


def test_adapters_are_waited_for_once():
    with shadow_cuda() as log, Replicas(1, "cuda") as replicas:
        replicas.add_model("policy", CONFIG, scratch_weights(CONFIG, 0), train=True)
        Learner(replicas, "policy", spec_of("lora"))
        log.clear()
        optimiser.reduce(replicas.local, "policy")
        assert log.taken()[1].total() == 1


# ---- what is left behind


def alive(worker) -> int:
    """Bytes of all tensors that this process holds."""
    gc.collect()
    # but of the shadow device's, which other tests may have left: they hold nothing themselves
    plain = torch.Tensor.__torch_dispatch__
    tensors = [
        x
        for x in gc.get_objects()
        if issubclass(type(x), torch.Tensor) and type(x).__torch_dispatch__ is plain
    ]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_leaves_nothing_but_moments(kind):
    """A worker's share of AdamW's two moments or Muon's one; clones of gradients were 4 bytes a weight more."""
    policy = Policy(2, seed=4)
    with policy.replicas as replicas:
        learner = Learner(replicas, "policy", spec_of(kind))
        before = replicas.all(alive)
        for rows in (ROWS, [Row.of([1, 2], [3, 4], 1.0, float("nan"))], ROWS):
            skipped = learner.policy_step(rows, POLICY, 1.0)["skipped"]
            held = [after - first for after, first in zip(replicas.all(alive), before, strict=True)]
            moments = replicas.all(in_moments)
            assert sum(moments) > 0 and held == pytest.approx(moments, abs=2000)
        assert not skipped


def in_moments(worker) -> int:
    states = (s for o, _ in worker.models["policy"].optimizer.optimizers for s in o.state.values())
    return sum(t.nbytes for state in states for t in state.values())


def test_a_step_takes_little_beside_what_there_is():
    """By torch's own record of allocations: no second gradient is made, nor are all parameters copied at once."""
    policy = Policy(1, seed=4)
    learner = Learner(policy.replicas, "policy", spec_of("adamw"))
    learner.policy_step(ROWS, POLICY, 1.0)  # moments are made here
    local = policy.replicas.local
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        optimiser.reduce(local, "policy")
        optimiser.step(local, "policy", 0.5, 1.0)
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    peak = max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))
    largest = max(p.nbytes for p in policy.model.optimizer.parameters.values())
    # a norm in double looks at a copy in double
    assert largest <= peak <= 2 * largest + 10_000
