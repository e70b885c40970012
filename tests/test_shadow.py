"""The engine on a device that says it is a GPU: the same numbers, nothing mixed, no waits in a step, few launches."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
import varlen_kernel  # noqa: F401  # its kernel, for the shadow device
from shadow_cuda import Event, Memory, Shadow, real, shadow_cuda, upload

from cascade_rl.model.checkpoint import scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.peaks import CALLS, _seconds, measure_peaks
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import SamplingRule
from cascade_rl.recipe import Architecture, LoRA, Training
from cascade_rl.rollout.decoding import COLUMNS, HEAR_EVERY, Decoding, Job
from cascade_rl.rollout.drawing import Draw, Wanted
from cascade_rl.rollout.torch_sampler import generate
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY, Surrogate
from cascade_rl.train.objective import LIKELIHOOD, Objective, Teacher

SHAPE = Architecture(
    hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    rope_theta=1e4, max_position_embeddings=2048,
)  # fmt: skip
CONFIG = DecoderConfig.from_hf(scratch_config(SHAPE, 2048, 1, 0))
RULES = {
    "plain": SamplingRule(),
    "filtered": SamplingRule(0.8, 0.9, 20, 0.0),
    "top-p": SamplingRule(1.0, 0.9, 0, 0.0),
    "min-p": SamplingRule(1.0, 1.0, 0, 0.1),
    "greedy": SamplingRule(0.0),
}


def prompts(rng: random.Random) -> list[list[int]]:
    return [[rng.randrange(2, 500) for _ in range(rng.randint(1, 30))] for _ in range(6)]


def wanted(*rules: SamplingRule, limit: int = 16) -> list[Wanted]:
    return [Wanted(g, g, rules[j % len(rules)], limit, f"k{g}", j) for g in range(6) for j in range(4)]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


# ---- the shadow itself: what a GPU refuses is refused, and what it costs is seen


def test_tensors_of_two_devices_do_not_mix():
    with shadow_cuda():
        there = torch.ones(3, device="cuda")
        assert there.device == torch.device("cuda:0") and there.is_cuda
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="same device"):
            torch.ones(2, 3) @ there
        assert (there * torch.tensor(2.0)).cpu().tolist() == [
            2.0,
            2.0,
            2.0,
        ]  # a number of the host, as on CUDA
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()


def test_waits_copies_and_launches_are_counted():
    with shadow_cuda() as log:
        x = torch.arange(6, device="cuda").view(2, 3)
        log.clear()
        y = (x + 1).t()[0] * 2
        launches, waits, copies = log.taken()
        assert launches == Counter(add=1, mul=1) and not waits and not copies
        assert y.tolist() == [2, 8] and int(x.sum()) == 15 and len(x.nonzero()) == 5 and len(x[x > 2]) == 3
        _, waits, copies = log.taken()
        assert waits.total() == 4 and not copies
        x[:, torch.tensor([0, 2])]
        upload(torch.ones(2)), torch.tensor([1], device="cuda")
        assert log.taken()[2].total() == 3
        torch.ones(2).pin_memory().to("cuda", non_blocking=True)
        assert log.ahead.total() == 1 and not log.copies
        torch.ones(2).pin_memory().to("cuda"), torch.ones(2).to("cuda", non_blocking=True)
        assert log.copies.total() == 2


def test_gradients_go_through_the_shadow():
    with shadow_cuda():
        w = torch.tensor([[1.0, 2.0]], device="cuda").requires_grad_()
        (w * w).sum().backward()
        assert isinstance(w.grad, Shadow) and w.grad.cpu().tolist() == [[2.0, 4.0]]


# ---- the engine on it


def rollouts(device: str, rules: list[SamplingRule]) -> dict[int, list]:
    with Replicas(1, device) as replicas:
        replicas.add_model("policy", CONFIG, scratch_weights(CONFIG, 0), train=True)
        heard: list = []
        replicas.local.heard_by(heard.append)
        generate(replicas.local, "policy", prompts(random.Random(0)), wanted(*rules), (1, 7, 9), 8)
    return dict(heard)


@pytest.mark.parametrize(
    "names", [["plain"], ["filtered"], ["top-p"], ["min-p"], ["greedy", "top-p"]], ids="+".join
)
def test_replies_are_those_of_the_cpu(names):
    rules = [RULES[name] for name in names]
    here = rollouts("cpu", rules)
    with shadow_cuda():
        there = rollouts("cuda", rules)
    assert here.keys() == there.keys() and len(here) == 6
    for group, rows in here.items():
        for (ids, logprobs), (ids_there, logprobs_there) in zip(rows, there[group], strict=True):
            assert ids == ids_there
            assert logprobs == pytest.approx(logprobs_there, abs=2e-5)


def test_slots_do_not_depend_on_what_the_allocator_keeps():
    """After an update torch holds freed memory, which the driver does not call free."""
    found = []
    for memory in (
        Memory(free=40_000_000, reserved=0, allocated=0),
        Memory(free=10_000_000, reserved=30_000_000, allocated=0),
    ):
        with shadow_cuda(memory) as log:
            rollouts("cuda", [RULES["plain"]])
            found.append(log.launches.total())
    assert found[0] == found[1]


OBJECTIVES = {
    "nll": (LIKELIHOOD, {}),
    "policy": (Objective(ON_POLICY), {}),
    "truncated, kl": (
        Objective(ON_POLICY, SamplingRule(0.8, 0.9, 20), teachers=(Teacher("reference", 0.1),)),
        {},
    ),
    "gspo": (Objective(Surrogate("gspo", 0.2, 0.2)), {}),
    "muon": (Objective(ON_POLICY), {"optimizer": "muon", "muon_lr": 0.01}),
    "lora": (Objective(ON_POLICY), {"lora": LoRA(rank=3, alpha=6.0)}),
}


def update(device: str, name: str, precision: str = "fp32") -> tuple[dict[str, float], torch.Tensor]:
    objective, settings = OBJECTIVES[name]
    rng = random.Random(0)
    asked = prompts(rng)
    rows = [
        Row.of(asked[g], [rng.randrange(2, 500) for _ in range(rng.randint(1, 60))], 0.01, rng.gauss(0, 1))
        for g in range(6)
        for _ in range(4)
    ]
    with Replicas(1, device, precision) as replicas:
        model = replicas.add_model("policy", CONFIG, scratch_weights(CONFIG, 0), train=True)
        replicas.add_model("reference", CONFIG, scratch_weights(CONFIG, 3), train=False)
        learner = Learner(
            replicas, "policy", Training(name="x", lr=1e-3, tokens_per_microbatch=300, **settings)
        )
        numbers = learner.policy_step(rows, objective, 1.0)
        return numbers, real(model.flat)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_updates_are_those_of_the_cpu(name):
    here, weights = update("cpu", name)
    with shadow_cuda():
        there, weights_there = update("cuda", name)
    for key in ("loss", "grad_norm"):
        assert there[key] == pytest.approx(here[key], rel=2e-4, abs=1e-6)
    # AdamW's first step is the sign of a gradient: of one that is nearly nothing rounding decides
    gap = (weights - weights_there).abs()
    # Muon's orthogonalisation magnifies rounding in what its first step has nearly nothing of
    assert float(gap.mean()) < (3e-6 if name == "muon" else 1e-6) and float(gap.max()) <= 2.1e-3


def test_an_update_in_bf16_attends_by_one_call_a_layer():
    here, weights = update("cpu", "policy", "bf16")
    with shadow_cuda() as log:
        there, weights_there = update("cuda", "policy", "bf16")
    assert log.launches["_varlen_attn"] == log.launches["_varlen_attn_backward"] > 0
    assert not [name for name in log.launches if "scaled_dot_product" in name]
    for key in ("loss", "grad_norm"):
        assert there[key] == pytest.approx(here[key], rel=0.02, abs=1e-6)
    assert float((weights - weights_there).abs().mean()) < 1e-4


# What torch.use_deterministic_algorithms names: operators that on CUDA may add in any order, or write in any.
UNORDERED = {
    "index_add", "index_add_", "index_copy", "index_copy_", "index_put", "index_put_", "scatter", "scatter_", "scatter_add",
    "scatter_add_", "scatter_reduce", "put", "put_", "cumsum", "cumsum_", "bincount", "histc", "median", "nll_loss_forward",
    "embedding_dense_backward",
}  # fmt: skip


def test_the_page_names_every_operator_whose_order_a_gpu_does_not_keep():
    page = (Path(__file__).parent.parent / "docs/gpus.md").read_text()
    bits = page.partition("\n## Bits")[2].partition("\n## ")[0]
    with shadow_cuda() as log:
        rollouts("cuda", [RULES["plain"]])
        for name in ("truncated, kl", "gspo"):
            update("cuda", name)
        found = {name for name in log.launches if name in UNORDERED}
    assert found and found == UNORDERED & set(re.findall(r"`(\w+)`", bits))


def test_peaks_are_measured_on_the_device_by_its_own_clock():
    """Of two products and a copy: a call that is waited for costs as much as many a product."""
    with shadow_cuda() as log, Replicas(1, "cuda") as replicas:
        peaks = measure_peaks(replicas, CONFIG)
    assert min(peaks.flops, peaks.head_flops, peaks.bytes) > 0
    assert log.waits == {"synchronize model/peaks.py": 3}
    # each is called once to be warm, and then in a row
    assert log.launches["linear"] >= CALLS + 1 and log.launches["copy_"] >= CALLS + 1


def test_a_rate_is_that_between_the_two_events(monkeypatch):
    """By a clock that says a millisecond a call: what the host does meanwhile does not count."""
    with shadow_cuda() as log:
        monkeypatch.setattr(Event, "now", lambda: float(log.launches["mm"]))
        x = torch.ones(2, 2, device="cuda")
        assert _seconds(lambda: x @ x, x.device) == pytest.approx(1e-3)


# ---- budgets


def decoding(rule: SamplingRule) -> Decoding:
    """Six prompts with four rows each in slots, none of which ever ends."""
    replicas = Replicas(1, "cuda")
    model = replicas.add_model("policy", CONFIG, scratch_weights(CONFIG, 0), train=False)
    asked, rows = prompts(random.Random(0)), wanted(rule, limit=200)
    draw = Draw(rows, replicas.device)
    job = Job(asked, [w.prompt for w in rows], [w.limit for w in rows], [-1], draw, lambda *_: None)
    found = Decoding(model.weights, model.config, job, len(rows), replicas.device)
    found._admit(torch.arange(len(rows), device="cuda"))
    return found


# Launches of a step outside the layers, by rule, and in a layer: what stood when this was written.
LAUNCHES, A_LAYER = {"plain": 36, "greedy": 30, "top-p": 89}, 30


@pytest.mark.parametrize("name", LAUNCHES)
def test_a_step_asks_the_device_nothing_and_is_always_the_same(name):
    with shadow_cuda() as log, torch.inference_mode():
        loop = decoding(RULES[name])
        while loop.widest % COLUMNS:  # up to the border of a bucket, where the cache may ask how wide it is
            loop._step()
        loop._step()
        log.clear()
        seen, states = [], []
        for _ in range(HEAR_EVERY):
            loop._step()
            seen.append(log.taken())
            state = (loop.rows, loop.steps, loop.next, loop.cache.used, loop.cache.views.write)
            states.append([tensor.host.data_ptr() for tensor in state])
    assert all(found == seen[0] for found in seen)
    # what a captured graph needs: each step finds its state where the last one left it
    assert all(state == states[0] for state in states)
    launches, waits, copies = seen[0]
    # a nucleus must be known to be whole before the next token can be drawn
    assert waits.total() == (name == "top-p") and not copies
    assert launches.total() <= LAUNCHES[name] + A_LAYER * CONFIG.layers, launches


MICRO = {
    "plain": (Objective(ON_POLICY), 0),
    "nll": (LIKELIHOOD, 0),
    "kl": (Objective(ON_POLICY, teachers=(Teacher("reference", 0.1), Teacher("reference", 0.2))), 0),
    "gspo": (Objective(Surrogate("gspo", 0.2, 0.2)), 0),
    # a nucleus must be known to be whole, the teacher's as the policy's; one as wide as of random weights is
    # looked for in 64 and in 1,024 ids before all are sorted
    "top-p, kl": (Objective(ON_POLICY, RULES["top-p"], (Teacher("reference", 0.1),)), 2 * 2),
    "pairs": (None, 0),
}


@pytest.mark.parametrize("name", MICRO)
def test_a_micro_batch_is_never_waited_for(name):
    """A step is, three times: for the norms of the gradient, its sums and its change."""
    objective, asked = MICRO[name]
    rng = random.Random(0)
    rows = [Row.of([5 + i, 6, 7], [rng.randrange(2, 500) for _ in range(20)], 0.01, 1.0) for i in range(16)]
    found: list[list[int]] = []
    ahead: list[int] = []
    with shadow_cuda() as log, Replicas(1, "cuda") as replicas:
        extra = {"score": (1, CONFIG.hidden)}
        flat = torch.cat([scratch_weights(CONFIG, 0), torch.ones(CONFIG.hidden)])
        replicas.add_model("policy", CONFIG, flat, train=True, extra=extra)
        replicas.add_model("reference", CONFIG, scratch_weights(CONFIG, 3), train=False)
        for tokens in (4000, 200, 100):  # 1, 2 and 4 micro-batches; of pairs more
            learner = Learner(replicas, "policy", Training(name="x", lr=1e-3, tokens_per_microbatch=tokens))

            def step(learner=learner):
                if objective:
                    learner.policy_step(rows, objective, 1.0)
                else:
                    learner.pair_step(list(zip(rows[::2], rows[1::2], strict=True)), 1.0)

            step()
            log.clear()
            step()
            ahead.append(log.ahead.total())
            found.append([each.total() for each in log.taken()[1:]])
    assert found == [[3 + asked, 0], [3 + 2 * asked, 0], [3 + 4 * asked, 0]]
    # of copies that nobody waits for: ids and places, their factors, the tables of attention for each model
    assert ahead[0] <= 21 and ahead[1:] == [2 * ahead[0], 4 * ahead[0]]


@pytest.mark.parametrize("kind", ["yarn", "dynamic"])
def test_neither_scaled_positions_nor_a_limit_of_texts_is_waited_for(kind):
    """Frequencies are sent once; how long texts are the host knows."""
    raw = scratch_config(SHAPE, 2048, 1, 0)
    raw["rope_parameters"] = {"rope_type": kind, "factor": 4.0, "rope_theta": 1e4,
                              "original_max_position_embeddings": 512}  # fmt: skip
    config = DecoderConfig.from_hf(raw)
    rows = [Row.of([5, 6, 7], [8, 9, 10 + i], 0.01, 1.0) for i in range(4)]
    with shadow_cuda() as log, Replicas(1, "cuda") as replicas:
        replicas.add_model("policy", config, scratch_weights(config, 0), train=True)
        learner = Learner(replicas, "policy", Training(name="x", lr=1e-3))
        learner.policy_step(rows, Objective(ON_POLICY), 1.0)
        log.clear()
        learner.policy_step(rows, Objective(ON_POLICY), 1.0)
        assert log.waits.total() == 3 and not log.copies
