"""The head of a GPU, three products in fp16 with fp32 sums: as exact as fp32, in few launches, where it belongs."""

from __future__ import annotations

import inspect
import random
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shadow_cuda import Shadow, real, shadow_cuda, upload
from test_gpu_attention import kernel

from cascade_rl.model import gpu_attention, halves, head, products
from cascade_rl.model.activations import activation_bytes
from cascade_rl.model.checkpoint import scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig, head_logits
from cascade_rl.model.head import target_logprobs
from cascade_rl.model.peaks import rates
from cascade_rl.model.products import WORTH_HALVING, Weight, laid_out, read_out_linear
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import WHOLE, SamplingRule
from cascade_rl.recipe import Architecture, Training
from cascade_rl.rollout.drawing import Wanted
from cascade_rl.rollout.graphs import PLAIN
from cascade_rl.rollout.torch_sampler import generate
from cascade_rl.train import objective
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective, Teacher

SHAPE = Architecture(
    hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    rope_theta=1e4, max_position_embeddings=2048,
)  # fmt: skip
V, H = 32768, 64
CONFIG = DecoderConfig.from_hf(scratch_config(SHAPE, V, 1, 0))
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(gpu_attention, "varlen", kernel)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def head_of(master: torch.Tensor, dtype: torch.dtype = torch.bfloat16) -> Weight:
    """On the device of `master`, with a place for its gradient."""
    lowered = master if dtype is torch.float32 else master.to(dtype)
    return Weight.of(lowered, master, torch.zeros_like(master)).requires_grad_()


# ---- the product


def errors_of(logits: torch.Tensor, exact: torch.Tensor) -> tuple[float, float]:
    """The largest error of a log-probability, and the largest KL of a row, both beside float64."""
    wanted, found = exact.log_softmax(-1), logits.double().log_softmax(-1)
    return float((found - wanted).abs().max()), float((wanted.exp() * (wanted - found)).sum(-1).max())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    inner=st.sampled_from([64, 576, 1024]),
    hidden=st.floats(-2, 3),
    weights=st.floats(-4, 1),
    outlier=st.sampled_from([1.0, 30.0, 300.0]),
    aligned=st.floats(0, 60),
)
@example(seed=0, inner=576, hidden=0.5, weights=-1, outlier=1, aligned=0)  # SmolLM2-135M's scales
@example(seed=0, inner=1024, hidden=0, weights=-1.3, outlier=100, aligned=30)
@example(seed=0, inner=64, hidden=3, weights=-4, outlier=30, aligned=0)
def test_log_probabilities_are_as_exact_as_those_of_fp32(seed, inner, hidden, weights, outlier, aligned):
    """At any scale of hidden states and weights, with a channel that stands out, and logits beyond a hundred."""
    x, w = randn(24, inner, seed=seed) * 10**hidden, randn(500, inner, seed=seed + 1) * 10**weights
    x[:, seed % inner] *= min(outlier, 10 ** (5 - hidden))  # after a norm 100,000 is far beyond any model
    exact = x.double() @ w.double().T
    x *= min(1, 10 / float(exact.std()))
    x += w[:24] * aligned / w[:24].square().sum(-1, keepdim=True)  # one logit of each row is larger by that
    exact = x.double() @ w.double().T
    with shadow_cuda():
        found = real(halves.product(upload(x), halves.lay_out(upload(w))))
    (gap, distance), (own, own_distance) = errors_of(found, exact), errors_of(F.linear(x, w), exact)
    # a number's halves, those of the other, and low by low: each 2^-22 of a term, where few terms decide
    term = float((x.square() @ w.square().T).sqrt().max())
    # and fp16 ends: a low half that is small there has a place of its own, 2^-25 divided by what moved it
    least = float(x.norm(dim=-1).max()) * 2**-25 / 512 + float(w.norm(dim=-1).max()) * 2**-25 / 8
    assert gap < max(1e-5, 2.5 * own + 6 * (2**-22 * term + least)) and distance < max(1e-9, 5 * own_distance)


@settings(deadline=None)
@given(st.floats(0.03125, 524_032, width=32), st.sampled_from([-1.0, 1.0]))
def test_numbers_come_whole_through_their_halves(size, sign):
    """Beside a one they are read back but for 2^-21 of them, as hidden states and, 64 times smaller, as weights."""
    with shadow_cuda():
        for x, w in ((sign * size, 1.0), (1.0, sign * size / 64)):
            layout = halves.lay_out(torch.tensor([[w]], device="cuda"))
            found = halves.product(torch.tensor([[x]], device="cuda"), layout)
            assert float(found) == pytest.approx(x * w, rel=2**-21)


@pytest.mark.parametrize(("x", "w"), [(600_000.0, 1.0), (1.0, 9_000.0)])
def test_what_fp16_can_not_hold_is_no_number(x, w):
    with shadow_cuda():
        layout = halves.lay_out(torch.full((1, 2), w, device="cuda"))
        assert real(halves.product(torch.full((1, 2), x, device="cuda"), layout)).isnan().all()


def test_small_numbers_miss_by_as_little_as_their_place_in_fp16():
    x, w = randn(8, 512) * 1e-4, randn(100, 512, seed=1) * 1e-5
    with shadow_cuda():
        found = real(halves.product(upload(x), halves.lay_out(upload(w))))
    assert (found.double() - x.double() @ w.double().T).abs().max() < 1e-10


# ---- where it is taken


def halved(x: torch.Tensor, weight: Weight) -> bool:
    """Whether reading out is three products: no bit of fp32's result is asked, which differs somewhere."""
    found = read_out_linear(x, weight)
    return not torch.equal(real(found), F.linear(real(x), real(weight.master)))


def test_a_gpu_reads_a_bf16_head_by_halves_and_nobody_else_does(monkeypatch):
    master, x = randn(300, 64), randn(WORTH_HALVING, 64, seed=1)
    with torch.no_grad(), shadow_cuda():
        there, few, many = upload(master), upload(x[:5]), upload(x)
        weight, whole = head_of(there), head_of(there, torch.float32)
        with laid_out({"embed": weight}, layers=True), laid_out({"embed": whole}, layers=True):
            assert weight.laid_out.dtype is torch.float16 and whole.laid_out is None
            assert halved(few, weight) and halved(many, weight) and not halved(many, whole)
        # laid out by nobody, as a teacher's is: only where the product is large
        assert weight.laid_out is None and halved(many, weight) and not halved(few, weight)
        here = head_of(master)
        with laid_out({"embed": here}, layers=True):
            assert here.laid_out.dtype is torch.float32
        monkeypatch.setattr(halves, "available", lambda: False)
        with laid_out({"embed": weight}, layers=True):
            assert weight.laid_out is None and not halved(many, weight)


def test_torch_must_have_the_product_and_be_nvidias(monkeypatch):
    halves.available.cache_clear()
    assert halves.available()
    halves.available.cache_clear()
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert not halves.available()
    halves.available.cache_clear()


def test_nothing_stays_halved_even_after_a_fault():
    with shadow_cuda():
        weight = head_of(upload(randn(30, 64)))
        with pytest.raises(ZeroDivisionError), laid_out({"embed": weight}, layers=False):
            raise ZeroDivisionError
        assert weight.laid_out is None


def test_the_peak_of_the_head_is_that_of_the_product_it_takes(monkeypatch):
    calls = []
    monkeypatch.setattr(products.halves, "product", lambda x, w: calls.append(len(x)) or x)
    with shadow_cuda():
        rates(CUDA, CONFIG, torch.bfloat16)
        assert set(calls) == {4096}
        calls.clear()
        monkeypatch.setattr("cascade_rl.model.peaks.GPU_HEAD_ROWS", 8)
        rates(CUDA, CONFIG, torch.float32)
    rates(CPU, CONFIG, torch.bfloat16)
    assert not calls


# ---- sampler's logits and trainer's log-probabilities


def of_head(rows: int, temperature: float, master: torch.Tensor, device: str = "cuda"):
    """Log-probabilities, gradient of hidden states and of the head, and the launches of both passes."""
    hidden, targets = randn(rows, H, seed=2) * 2, torch.arange(rows) * 7 % len(master)
    with shadow_cuda() as log:
        place = upload if device == "cuda" else torch.clone
        weight, own = head_of(place(master)), place(hidden).requires_grad_()
        with laid_out({"embed": weight}, layers=False):
            log.clear()
            found = target_logprobs(own, weight, place(targets), SamplingRule(temperature))
            forward = log.taken()[0].total()
            (found * place(torch.linspace(-1, 1, rows))).sum().backward()
            backward = log.taken()[0].total()
    exact = (hidden.double() @ master.double().T / temperature).log_softmax(-1)
    wanted = exact.gather(-1, targets[:, None])[:, 0]
    return real(found), real(own.grad), real(weight.main_grad), wanted, (forward, backward)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kept", [1 << 32, 40 * 2000 * 2])
@pytest.mark.parametrize("at_once", [1 << 28, 17 * 2000])
def test_log_probabilities_and_gradients_are_those_of_the_cpu_in_whatever_parts(
    monkeypatch, temperature, kept, at_once
):
    monkeypatch.setattr(head, "GPU_HEAD_KEPT", kept)
    monkeypatch.setattr(head, "GPU_HEAD_ROWS", at_once)
    master = randn(2000, H) * 0.1
    there, by_hidden, by_weight, wanted, _ = of_head(150, temperature, master)
    here, want_hidden, want_weight, _, _ = of_head(150, temperature, master, "cpu")
    torch.testing.assert_close(there.double(), wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(there, here, rtol=0, atol=1e-5)
    for found, want in ((by_hidden, want_hidden), (by_weight, want_weight)):
        assert (found - want).norm() < 0.005 * want.norm()


def test_a_head_that_nobody_laid_out_gives_the_same_bits_also_over_a_master_that_trains():
    """As FSDP's are, whose weights are made for one micro-batch."""
    found = []
    for whole in (True, False):
        with shadow_cuda():
            master = upload(randn(500, H)).requires_grad_(not whole)
            weight = Weight.of(master.detach().bfloat16(), master, torch.zeros(500, H, device="cuda"))
            hidden = upload(randn(WORTH_HALVING, H, seed=1)).requires_grad_()
            with laid_out({"embed": weight.requires_grad_()}, layers=False) if whole else nullcontext():
                logprobs = target_logprobs(hidden, weight, torch.arange(WORTH_HALVING, device="cuda"), WHOLE)
                logprobs.sum().backward()
        found.append((real(logprobs), real(hidden.grad), real(weight.main_grad)))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_samplers_logits_are_those_of_float64():
    master, hidden = randn(5000, 576) * 0.1, randn(20, 576, seed=1) * 2
    with shadow_cuda(), torch.inference_mode():
        weights = {"embed": head_of(upload(master))}
        with laid_out(weights, layers=True):
            found = real(head_logits(weights, upload(hidden)))
    gap, distance = errors_of(found, hidden.double() @ master.double().T)
    assert gap < 2e-5 and distance < 1e-10


# ---- launches and memory

# Of the head with all that belongs to a loss, whatever the rows: what stood when this was written.
FORWARD, BACKWARD = 16, 11


@pytest.mark.parametrize("rows", [100, 3000])
def test_a_large_vocabulary_takes_as_few_launches_as_a_small_one(rows):
    """The CPU's parts, which fit its caches, would be 12 of 256 rows here, each as many launches."""
    *_, (forward, backward) = of_head(rows, 1.0, randn(V, H) * 0.1)
    assert forward <= FORWARD and backward <= BACKWARD


def test_a_step_of_decoding_reads_out_in_five_launches_and_waits_for_nothing():
    with shadow_cuda() as log, torch.inference_mode():
        weight, hidden = head_of(upload(randn(3000, H))), upload(randn(40, H))
        with laid_out({"embed": weight}, layers=True):
            log.clear()
            read_out_linear(hidden, weight)
            launches, waits, copies = log.taken()
    assert launches.total() == 5 and not waits and not copies


def test_the_sampler_reads_out_by_halves_laid_out_once(monkeypatch):
    """Of all decode steps and prefills, and the trainer finds the same log-probabilities but for bf16's rounding."""
    made, prompts, drawn = [], [[5, 6, 7], [8, 9]], []
    real_one = halves.lay_out
    monkeypatch.setattr(halves, "lay_out", lambda weight: made.append(len(weight)) or real_one(weight))
    asked = [Wanted(g, g, SamplingRule(), 12, f"k{g}", j) for g in range(2) for j in range(2)]
    with shadow_cuda() as log:
        replicas = Replicas(1, "cuda", "bf16")
        model = replicas.add_model("policy", CONFIG, scratch_weights(CONFIG, 0), train=False)
        replicas.local.heard_by(drawn.append)
        generate(replicas.local, "policy", prompts, asked, (-1,), 4)
        steps = sum(n for place, n in log.places.items() if place.startswith("model/halves.py"))
        # later steps are replayed, and launch nothing of their own
        assert made == [V] and steps >= 4 + 5 * PLAIN
        rows = [Row.of(prompts[g], ids, 1.0, 1.0, lps) for g, each in drawn for ids, lps in each]
        batch = pack_rows(rows, CUDA)
        with torch.no_grad():
            again = real(objective.token_logprobs(model.weights, CONFIG, batch, SamplingRule()))
    torch.testing.assert_close(again, real(batch.old), rtol=0, atol=0.05)


def test_parts_are_as_large_as_the_devices_sizes_say():
    hidden, weight = torch.empty(20_000, 1), torch.empty(151_936, 1, dtype=torch.bfloat16)
    assert len(head._head_parts(hidden, weight, WHOLE)) == 364
    with shadow_cuda():
        assert len(head._head_parts(Shadow(hidden), Shadow(weight), WHOLE)) == 12
        # whole rows of a truncated one may have to be sorted
        assert len(head._head_parts(Shadow(hidden), Shadow(weight), SamplingRule(top_p=0.9))) == 23


def head_lines(name: str) -> set[str]:
    """The lines of a function or class of `head`, as the shadow's log names them."""
    lines, first = inspect.getsourcelines(getattr(head, name))
    return {f"model/head.py:{first + i}" for i in range(len(lines))}


def rows_of(groups: int = 4, longest: int = 60) -> list[Row]:
    rng = random.Random(0)
    asked = [[rng.randrange(2, V) for _ in range(rng.randint(1, 30))] for _ in range(groups)]
    return [
        Row.of(asked[g], [rng.randrange(2, V) for _ in range(rng.randint(1, longest))], 1e-4, rng.gauss(0, 1))
        for g in range(groups)
        for _ in range(4)
    ]


def updated(device: str, wanted: Objective) -> tuple[dict[str, float], torch.Tensor]:
    with Replicas(1, device, "bf16") as replicas:
        model = replicas.add_model("policy", CONFIG, scratch_weights(CONFIG, 0), train=True)
        replicas.add_model("reference", CONFIG, scratch_weights(CONFIG, 3), train=False)
        learner = Learner(replicas, "policy", Training(name="x", lr=1e-3, tokens_per_microbatch=4000))
        return learner.policy_step(rows_of(), wanted, 1.0), real(model.grad)


@pytest.mark.parametrize("rule", [SamplingRule(), SamplingRule(0.8, 0.9, 20)], ids=["whole", "truncated"])
def test_an_update_in_bf16_is_that_of_the_cpu_and_reads_out_in_one_part(rule):
    wanted = Objective(ON_POLICY, rule, teachers=(Teacher("reference", 0.1),))
    here, gradient = updated("cpu", wanted)
    with shadow_cuda() as log:
        there, found = updated("cuda", wanted)
        places = dict(log.places)
    for key in ("loss", "grad_norm", "kl"):
        assert there[key] == pytest.approx(here[key], rel=0.02, abs=1e-3)
    assert (found - gradient).norm() < 0.03 * gradient.norm()
    parts = ("_TargetLogprob", "_head_errors", "_truncated", "_head_parts", "target_logprobs")
    ours = set().union(*map(head_lines, parts))
    spent = sum(n for place, n in places.items() if place in ours or place.startswith("model/halves.py"))
    # policy forward and backward, its weight and the teacher's laid out, the teacher forward
    assert 0 < spent <= FORWARD + BACKWARD + 4 + 4 + FORWARD


@pytest.mark.parametrize("kept", [1 << 32, 1 << 20])
def test_what_is_counted_for_the_head_follows_the_devices_sizes(monkeypatch, kept):
    """Beside none kept: as much more as autograd holds; and three halves where the products are short."""
    with shadow_cuda():
        batch = pack_rows(rows_of(), CUDA)

        def said(most: int, element: int = 2) -> int:
            monkeypatch.setattr(head, "GPU_HEAD_KEPT", most)
            return activation_bytes(CONFIG, batch.packed, element, WHOLE)

        more = said(kept) - said(0)
        held = len(batch.targets) * V * 2
        assert more == min(held, kept)
        hidden, weight = upload(randn(len(batch.targets), H)).requires_grad_(), head_of(upload(randn(V, H)))
        monkeypatch.setattr(head, "GPU_HEAD_KEPT", kept)
        found = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: found.append(x) or x, lambda x: x):
            target_logprobs(hidden, weight, batch.targets, WHOLE)
        probabilities = [x for x in found if x.shape == (len(batch.targets), V)]
        assert sum(x.nbytes for x in probabilities) == (held if held <= kept else 0)
