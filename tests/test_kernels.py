"""The compiled kernels beside the same in double precision, and whole decodings beside torch's operators."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sampler import PROBLEMS, assert_parity, flat_rows, sampler, trainer_logprobs
from tiny import random_flat, tokenizer

from cascade_rl.model import fused, kernels, native
from cascade_rl.model.checkpoint import scratch_config
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import GREEDY, Sampling, SamplingRule
from cascade_rl.recipe import Architecture
from cascade_rl.rollout.drawing import choose
from cascade_rl.rollout.kernel_cache import by_kernels
from cascade_rl.train.batch import Row
from cascade_rl.train.gradients import accumulate
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective

KINDS = [torch.float32, torch.bfloat16]
# units in the last place of a number of each kind, relative
CLOSE = {torch.float32: 3e-6, torch.bfloat16: 8e-3}
kinds = pytest.mark.parametrize("dtype", KINDS, ids=["fp32", "bf16"])
sizes = st.integers(1, 70)
seeds = st.integers(0, 2**31)


@pytest.fixture
def by_operators(monkeypatch):
    """As on a machine without a compiler."""
    monkeypatch.setattr(native, "find", lambda: native.Found(None, "none here"))


def numbers(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def assert_near(
    found: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype, most: float = 1.0, terms: float = 0.0
) -> None:
    """Within rounding, of the numbers themselves or of the largest; or of the `terms` where sums cancel."""
    bound = CLOSE[dtype] * most * (wanted.abs() + max(wanted.abs().max().item(), terms))
    assert ((found.double() - wanted).abs() <= bound + 1e-12).all(), (found.double() - wanted).abs().max()


def test_this_machine_compiles_them():
    """What follows would pass by torch's operators alone; a machine that tests this package has g++."""
    assert native.find().library is not None, native.find().text
    assert kernels.multiplies(torch.float32, frozenset((64, 35)))


@kinds
@settings(max_examples=40, deadline=None)
@given(rows=sizes, size=sizes, seed=seeds, scale=st.sampled_from([1e-3, 1.0, 300.0]))
def test_norm_and_its_gradient(dtype, rows, size, seed, scale):
    x = numbers(seed, rows, size, scale=scale).float()
    weight, grad = numbers(seed + 1, size).to(dtype), numbers(seed + 2, rows, size).to(dtype)
    found, scales = kernels.norm(x, weight, 1e-6, dtype)
    exact, by = x.double().requires_grad_(), weight.double().requires_grad_()
    root = (exact.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    wanted = exact * root * by
    assert_near(found, wanted.detach(), dtype)
    assert_near(scales, root.detach(), torch.float32)
    wanted.backward(grad.double())
    by_x, by_weight = kernels.norm_back(grad, x, scales, weight)
    terms = (grad.double() * weight.double() * root).abs().max().item()
    assert_near(by_x, exact.grad, torch.float32, 4, terms)
    assert_near(by_weight, by.grad, torch.float32, 4)


@kinds
@settings(max_examples=40, deadline=None)
@given(rows=sizes, size=sizes, seed=seeds, scale=st.sampled_from([0.01, 1.0, 40.0, 1e4]))
def test_swiglu_and_its_gradient(dtype, rows, size, seed, scale):
    both = numbers(seed, rows, 2 * size, scale=scale).to(dtype)
    grad = numbers(seed + 1, rows, size).to(dtype)
    exact = both.double().requires_grad_()
    wanted = F.silu(exact[:, :size]) * exact[:, size:]
    assert_near(kernels.swiglu(both), wanted.detach(), dtype)
    wanted.backward(grad.double())
    assert_near(kernels.swiglu_back(grad, both), exact.grad, dtype)


@kinds
@settings(max_examples=30, deadline=None)
@given(
    rows=sizes, queries=st.integers(1, 5), keys=st.integers(1, 3), size=st.sampled_from(sorted(kernels.HEAD_SIZES)),
    normed=st.booleans(), seed=seeds,
)  # fmt: skip
def test_heads_and_their_gradient(dtype, rows, queries, keys, size, normed, seed):
    qkv = numbers(seed, rows, queries + 2 * keys, size).to(dtype)
    grad = numbers(seed + 1, *qkv.shape).to(dtype)
    angle = numbers(seed + 2, rows, 1, size // 2)
    turn = (
        torch.cat((angle.cos(), angle.cos()), -1).float(),
        torch.cat((-angle.sin(), angle.sin()), -1).float(),
    )
    norms = tuple(numbers(seed + 3 + i, size).to(dtype) for i in range(2)) if normed else ()
    exact = qkv.double().requires_grad_()
    weights = tuple(norm.double().requires_grad_() for norm in norms)
    q, k, v = exact.split([queries, keys, keys], 1)
    if normed:
        q, k = (
            x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * w
            for x, w in zip((q, k), weights, strict=True)
        )
    q = q * size**-0.5
    both = torch.cat((q, k), 1)
    left, right = both.chunk(2, -1)
    cos, sin = angle.cos().float().double(), angle.sin().float().double()
    wanted = torch.cat((torch.cat((left * cos - right * sin, right * cos + left * sin), -1), v), 1)
    assert_near(kernels.turn_heads(qkv, turn, queries, norms, 1e-6), wanted.detach(), dtype)
    wanted.backward(grad.double())
    by_qkv, *by_norms = kernels.turn_heads_back(grad, qkv, turn, queries, norms, 1e-6)
    assert_near(by_qkv, exact.grad, dtype)
    for found, weight in zip(by_norms, weights, strict=False):
        assert_near(found, weight.grad, torch.float32, 4)
    if not normed:
        assert not any(each.any() for each in by_norms)


@kinds
@settings(max_examples=40, deadline=None)
@given(
    trees=st.integers(1, 3), heads=st.integers(1, 4), long=st.integers(0, 40), width=st.integers(1, 40),
    hides=st.sampled_from(["nothing", "padding", "window"]), seed=seeds,
)  # fmt: skip
def test_weights_of_attention_and_their_gradient(dtype, trees, heads, long, width, hides, seed):
    rows = heads * width
    old, own = numbers(seed, trees, rows, long).to(dtype), numbers(seed + 1, trees, rows, width).to(dtype)
    causal = torch.full((width, width), -torch.inf).triu_(1)
    hidden = None
    if hides != "nothing" and long:
        unseen = numbers(seed + 2, trees, 1, width if hides == "window" else 1, long) > 0
        hidden = torch.zeros(unseen.shape).masked_fill_(unseen, -torch.inf)
    # [trees, heads, width, ..]: the mask of a row is that of its place in the branch
    masks = causal.double().expand(trees, heads, width, width)
    if long:
        before = torch.zeros(trees, 1, 1, long) if hidden is None else hidden
        masks = torch.cat((before.double().expand(trees, heads, width, long), masks), -1)
    scores = torch.cat((old, own), -1).double().view(trees, heads, width, -1)
    wanted = (scores + masks).softmax(-1).view(trees, rows, -1)
    kernels.weigh(old if long else None, own, hidden, causal, trees)
    found = torch.cat((old, own), -1)
    assert_near(found, wanted, dtype)
    assert not found[(wanted == 0)].any(), "what is hidden has exactly no weight"

    grad, delta = numbers(seed + 3, trees, rows, width).to(dtype), numbers(seed + 4, trees * rows, 1).float()
    exact = own.double() * (grad.double() - delta.double().view(trees, rows, 1))
    assert_near(kernels.weigh_back(grad.clone(), delta, own), exact, dtype)
    a, b = grad.view(-1, width), own.view(-1, width)
    assert_near(kernels.row_dots(a, b)[:, 0], (a.double() * b.double()).sum(-1), torch.float32, 4)


@kinds
@settings(max_examples=60, deadline=None)
@given(
    used=st.lists(st.integers(0, 70), min_size=1, max_size=3), keys=st.integers(1, 2), group=st.integers(1, 5),
    size=st.sampled_from(sorted(kernels.HEAD_SIZES)), window=st.sampled_from([0, 1, 9]), seed=seeds,
)  # fmt: skip
def test_attention_of_a_step(dtype, used, keys, group, size, window, seed):
    """One token a slot over what the slot holds, in places of another order; beside them a slot of nobody's."""
    slots, room, queries = len(used) + 1, 72, keys * group
    qkv = numbers(seed, slots, queries + 2 * keys, size).to(dtype)
    cache = numbers(seed + 1, 2, slots, keys, room, size).to(dtype)
    cache[:, :, :, 71] = torch.nan  # never written, never read
    before, angle = cache.double().clone(), numbers(seed + 2, room, size // 2)
    turn = (
        torch.cat((angle.cos(), angle.cos()), -1).float(),
        torch.cat((-angle.sin(), angle.sin()), -1).float(),
    )
    counts, places = torch.tensor([*used, 5]), torch.arange(slots).flip(0)
    rows, out = torch.tensor([*range(len(used)), 9]), torch.full((slots, queries * size), torch.nan).to(dtype)
    arguments = (*turn, cache, counts, places, rows)
    kernels.function("attend", kernels.KINDS[dtype])(
        qkv.data_ptr(), None, None, 1e-6, *(each.data_ptr() for each in arguments), 9, out.data_ptr(), slots, queries,
        keys, size, room, cache.stride(0), window, 1,
    )  # fmt: skip
    assert not out[-1].any() and torch.equal(cache[:, 0].double().nan_to_num(), before[:, 0].nan_to_num())
    for slot, count in enumerate(used):
        cos, sin = angle[count].cos(), angle[count].sin()
        left, right = qkv[slot, : queries + keys].double().chunk(2, -1)
        both = torch.cat((left * cos - right * sin, right * cos + left * sin), -1)
        q, k = (both[:queries] * size**-0.5).to(dtype).double(), both[queries:].to(dtype)
        held = cache[:, places[slot]]
        assert_near(held[0, :, count], k.double(), dtype)
        assert torch.equal(held[1, :, count], qkv[slot, queries + keys :])
        first = max(0, count + 1 - window) if window else 0
        seen_k, seen_v = held[:, :, first : count + 1].double().repeat_interleave(group, 1)
        scores = torch.einsum("nd,ncd->nc", q, seen_k).to(dtype).double()
        wanted = torch.einsum("nc,ncd->nd", scores.softmax(-1), seen_v)
        assert_near(out[slot].view(queries, size), wanted, dtype, 2)


@kinds
@settings(max_examples=40, deadline=None)
@given(rows=sizes, outputs=st.integers(1, 150), pairs=st.integers(1, 40), bias=st.booleans(), seed=seeds)
def test_products(dtype, rows, outputs, pairs, bias, seed):
    if not kernels.multiplies(dtype, frozenset((2 * pairs,))):
        return  # a processor that does not multiply bf16 itself
    x, weight = numbers(seed, rows, 2 * pairs).to(dtype), numbers(seed + 1, outputs, 2 * pairs).to(dtype)
    added = numbers(seed + 2, outputs).float() if bias else None
    layout, found = kernels.lay_out(weight), torch.empty(rows, outputs, dtype=dtype)
    address = None if added is None else added.data_ptr()
    kernels.function("product", kernels.KINDS[dtype])(
        x.data_ptr(), layout.data_ptr(), address, found.data_ptr(), rows, outputs, 2 * pairs
    )
    wanted = x.double() @ weight.double().T + (0 if added is None else added.double())
    assert_near(found, wanted, dtype)


def by_sums(logits: np.ndarray, u: float, temperature: float) -> tuple[set[int], np.ndarray]:
    """Ids that u may mean, within rounding, and all log-probabilities."""
    z = logits.astype(np.float64) / temperature
    logprobs = z - z.max() - np.log(np.exp(z - z.max()).sum())
    ends = np.exp(logprobs).cumsum()
    near = np.flatnonzero((ends > u - 1e-5) & (np.exp(logprobs) > 0))
    allowed = {int(i) for i in near if ends[i] - np.exp(logprobs[i]) <= u + 1e-5}
    return allowed, logprobs


@settings(max_examples=60, deadline=None)
@given(
    vocab=st.integers(1, 300), seed=seeds, u=st.floats(0, 1, exclude_max=True),
    temperature=st.sampled_from([0.3, 1.0, 2.0]), scale=st.sampled_from([0.1, 5.0, 60.0]),
)  # fmt: skip
def test_a_draw_inverts_the_running_sum(vocab, seed, u, temperature, scale):
    logits = numbers(seed, 3, vocab, scale=scale).float()
    ids, logprobs = kernels.draw(logits, torch.full((3,), u, dtype=torch.float64), temperature)
    for row, found, logprob in zip(logits.numpy(), ids.tolist(), logprobs.tolist(), strict=True):
        allowed, wanted = by_sums(row, u, temperature)
        assert found in allowed
        assert logprob == pytest.approx(wanted[found], abs=2e-5)


def test_draws_at_the_edges():
    inf = float("inf")
    last = float(np.nextafter(1.0, 0.0))
    rows = torch.tensor([[-inf, 0.0, -inf, 0.0, -inf]] * 3)
    ids, logprobs = kernels.draw(rows, torch.tensor([0.0, 0.5, last], dtype=torch.float64), 1.0)
    assert ids.tolist() == [1, 3, 3], (
        "what has no mass is never drawn; half of the mass lies strictly before 3"
    )
    np.testing.assert_allclose(logprobs, np.log(0.5), rtol=1e-6)
    # a tail without mass, longer than a vector
    tail = torch.cat((torch.zeros(1, 5), torch.full((1, 40), -200.0)), 1)
    assert kernels.draw(tail, torch.tensor([last], dtype=torch.float64), 1.0)[0].tolist() == [4]
    # a large vocabulary of equal shares, whose sum in fp32 would stop growing
    many = torch.zeros(1, 1 << 18)
    for u in (0.0, 0.123456789, 0.999999):
        drawn = kernels.draw(many, torch.tensor([u], dtype=torch.float64), 1.0)[0].item()
        assert abs(drawn - u * many.shape[1]) <= 1
    broken = torch.zeros(2, 20)
    broken[0, 3], broken[1, 7] = float("nan"), inf
    assert kernels.draw(broken, torch.full((2,), 0.5, dtype=torch.float64), 1.0)[1].isnan().all()


def test_the_drawn_follow_the_distribution(by_operators):
    """Beside torch's way on the same uniforms: the same ids but where u lies within rounding of an edge."""
    logits, u = numbers(3, 5000, 50, scale=2).float(), torch.rand(5000, dtype=torch.float64)
    ids, logprobs = choose(logits, u, SamplingRule(0.8))
    found, theirs = kernels.draw(logits, u, 0.8)
    assert (found != ids).sum() <= 1
    np.testing.assert_allclose(theirs[found == ids], logprobs[found == ids], atol=2e-6)


SHAPE = Architecture(
    hidden_size=36, intermediate_size=70, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, head_dim=16,
    max_position_embeddings=512,
)  # fmt: skip
RAW = scratch_config(SHAPE, len(tokenizer().inner), tokenizer().end_id, tokenizer().pad_id)
QWEN3 = DecoderConfig.from_hf(RAW)
CONFIGS = {
    "qwen3": QWEN3,
    "qwen2": replace(QWEN3, qk_norm=False, qkv_bias=True),
    "llama": replace(QWEN3, qk_norm=False, kv_heads=6, qkv_bias=True, o_bias=True, tied=False),
    "five queries a key": replace(QWEN3, heads=5, kv_heads=1, head_dim=32),
    "heads of 64": replace(QWEN3, heads=3, kv_heads=1, head_dim=64, qk_norm=False),
    "window": replace(QWEN3, qk_norm=False, window=7),
}
ASKED = [
    (PROBLEMS, Sampling(3, 40, SamplingRule(0.9), seed=(5,))),
    (PROBLEMS[:2], Sampling(1, 25, GREEDY)),
    (PROBLEMS[1:], Sampling(2, 30, SamplingRule(0.8, 0.9), seed=(6,))),
]


def policy_of(config: DecoderConfig, precision: str = "fp32", size: int = 1) -> SimpleNamespace:
    replicas = Replicas(size, "cpu", precision)
    torch.set_num_threads(1)  # the products are tiny: a second thread would only wait
    model = replicas.add_model("policy", config, random_flat(config, 3, 0.2), train=True)
    return SimpleNamespace(replicas=replicas, config=config, model=model)


@pytest.mark.parametrize("slots", [2, 5, 64])
@pytest.mark.parametrize("name", CONFIGS)
def test_replies_are_those_of_torchs_operators(name, slots, monkeypatch):
    """More rows than slots, ends at any step, three rules: in fp32 the same tokens, and the trainer's probabilities."""
    policy = policy_of(CONFIGS[name])
    assert by_kernels(policy.config, torch.float32, torch.device("cpu"))
    asked = sampler(policy, eos_ids=range(20, 26), max_rows=slots)
    found = asked.sample_many(ASKED)
    monkeypatch.setattr(native, "find", lambda: native.Found(None, "none here"))
    wanted = asked.sample_many(ASKED)
    for ours, theirs in zip(found, wanted, strict=True):
        assert flat_rows(ours) == flat_rows(theirs)
    for (_, sampling), groups in zip(ASKED, found, strict=True):
        if sampling.rule != GREEDY:
            rule = sampling.rule
            assert_parity(policy, groups, (rule.temperature, rule.top_p, rule.top_k, rule.min_p))


# not the one with a window, where operators of both round alike, nearly everywhere to the bit
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "window"])
def test_in_bf16_the_sampler_is_as_near_to_the_trainer_as_by_operators(name, monkeypatch):
    """KL by the k3 estimate over what was sampled, in nats a token."""
    policy = policy_of(CONFIGS[name], "bf16")

    def distance() -> float:
        groups = sampler(policy).sample(PROBLEMS * 6, Sampling(6, 40, seed=(8,)))
        gaps = [
            trainer_logprobs(policy, r, Objective(ON_POLICY)).astype(np.float64) - np.array(r.logprobs)
            for group in groups
            for r in group
        ]
        return float(np.mean([np.exp(g) - 1 - g for g in np.concatenate(gaps)]))

    ours = distance()
    monkeypatch.setattr(native, "find", lambda: native.Found(None, "none here"))
    assert ours < max(1e-6, 1.5 * distance())


def test_gradients_are_those_of_torchs_operators(monkeypatch):
    """Of a batch of groups, through whole layers, in fp32 and under each family's options."""
    replies = {(g, i): [9 + i, 30 + g, 31, 32][: 1 + (i + g) % 4] for g in range(3) for i in range(3)}
    rows = [
        Row.of([5 + g] * (7 + 9 * g), ids, 0.1, 0.5 - i, [-1.0] * len(ids)) for (g, i), ids in replies.items()
    ]
    for config in CONFIGS.values():
        found = []
        for library in (native.find(), native.Found(None, "none here")):
            monkeypatch.setattr(native, "find", lambda library=library: library)
            policy = policy_of(config)
            accumulate(policy.replicas.local, "policy", rows, 60, Objective(ON_POLICY))
            found.append(policy.model.grad.clone())
        assert found[0].any()
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6 * float(found[1].abs().max()))
        monkeypatch.undo()


def every_kernel(seed: int = 0) -> list[torch.Tensor]:
    """What each gives for inputs that are large enough to be dealt to threads."""
    x, grad = numbers(seed, 700, 96).float(), numbers(seed + 1, 700, 96).bfloat16()
    weight, both = numbers(seed + 2, 96).float(), numbers(seed + 3, 700, 192).bfloat16()
    qkv, norms = (
        numbers(seed + 4, 700, 6, 16).float(),
        tuple(numbers(seed + 5 + i, 16).float() for i in range(2)),
    )
    angle = numbers(seed + 7, 700, 1, 16).float()
    old, own = numbers(seed + 8, 2, 700, 30).float(), numbers(seed + 9, 2, 700, 35).float()
    found, scales = kernels.norm(x, weight, 1e-6, torch.float32)
    kernels.weigh(old, own, None, torch.full((35, 35), -torch.inf).triu_(1), 2)
    u = torch.rand(700, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return [
        found, scales, *kernels.norm_back(grad, x, scales, weight), kernels.swiglu(both), old, own,
        kernels.swiglu_back(grad, both), kernels.turn_heads(qkv, (angle, angle), 4, norms, 1e-6),
        *kernels.turn_heads_back(qkv, qkv, (angle, angle), 4, norms, 1e-6), kernels.row_dots(grad, grad),
        kernels.weigh_back(grad.clone(), scales, grad), *kernels.draw(x, u, 1.0),
    ]  # fmt: skip


def test_threads_change_no_bit_of_a_kernel():
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(every_kernel())
    torch.set_num_threads(1)
    for alone, *others in zip(*results, strict=True):
        assert all(torch.equal(alone, other) for other in others)


def test_threads_change_no_bit():
    policy = policy_of(CONFIGS["qwen3"], "bf16")
    replies = []
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        groups = sampler(policy).sample(PROBLEMS, Sampling(6, 40, seed=(1,)))
        replies.append([(r.ids, r.logprobs) for group in groups for r in group])
    torch.set_num_threads(1)
    assert replies[0] == replies[2]
    assert replies[0] == replies[1]


BUILD = "from cascade_rl.model import native; print(native.find())"


def build(folder: Path | str, **environment: str) -> str:
    """What a fresh process with an empty cache says of the library."""
    environment = {**os.environ, "CASCADE_CACHE": str(folder), "CUDA_VISIBLE_DEVICES": "", **environment}
    ran = subprocess.run(
        [sys.executable, "-c", BUILD], env=environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def program(path, lines: str):
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


def test_without_a_compiler_or_with_a_broken_one_the_reason_is_told(tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    alone = build(tmp_path / "none", PATH=str(empty), CXX="")
    assert "library=None" in alone and "no C++ compiler; install g++" in alone
    broken = program(tmp_path / "broken", "echo 'kernels.cpp:1: fatal error: no such thing' >&2; exit 1")
    told = build(tmp_path / "broken-cache", CXX=str(broken))
    assert "library=None" in told and "broken failed: kernels.cpp:1: fatal error: no such thing" in told
    assert not list((tmp_path / "broken-cache").iterdir()), "nothing is left behind"
    nothing = program(tmp_path / "nothing", "exit 0")
    assert "library=None" in build(tmp_path / "nothing-cache", CXX=str(nothing))
    assert "off by CASCADE_KERNELS" in build(tmp_path / "off", CASCADE_KERNELS="off")


def compiled(folder):
    (path,) = folder.glob("kernels-*.so")
    return path


def test_a_library_that_is_not_whole_is_compiled_again(tmp_path):
    """Loaded, a part of it would end the process by SIGBUS."""
    build(tmp_path)
    path, whole = compiled(tmp_path), compiled(tmp_path).read_bytes()
    for size in (0, 4096, len(whole) // 2):
        path.write_bytes(whole[:size])
        told = build(tmp_path)
        assert "CDLL" in told and "without" not in told
        assert len(compiled(tmp_path).read_bytes()) == len(whole)


def test_what_was_compiled_is_found_from_elsewhere_and_without_a_compiler(tmp_path, monkeypatch):
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.chdir(tmp_path)
    assert "CDLL" in build(".")
    assert "CDLL" in build(tmp_path, PATH=str(empty), CXX="")


def test_compilers_and_machines_that_are_odd(tmp_path):
    loud = program(tmp_path / "loud", r"printf 'err \377 error: no\n' >&2; exit 1")
    assert "loud failed: err" in build(tmp_path / "loud-cache", CXX=str(loud))
    spaced = program(tmp_path / "my compiler", 'exec c++ "$@"')
    assert "CDLL" in build(tmp_path / "spaced-cache", CXX=str(spaced))
    assert "CDLL" in build(tmp_path / "arguments-cache", CXX="env c++")
    # the cache can't be made where a file lies in its way
    (tmp_path / "file").write_text("")
    assert "library=None" in build(tmp_path / "file" / "cache")
    for word in ("OFF", "0", "no"):
        assert "off by CASCADE_KERNELS" in build(tmp_path / "off", CASCADE_KERNELS=word)


def test_a_compiler_that_hangs_is_ended_with_its_children(tmp_path, monkeypatch):
    pids = tmp_path / "pids"
    slow = program(tmp_path / "slow", f"sleep 600 & echo $! > {pids}; wait")
    monkeypatch.setattr(native, "LONGEST_S", 2)
    with pytest.raises(subprocess.TimeoutExpired):
        native._run([str(slow)])
    child = int(pids.read_text())
    stat = Path(f"/proc/{child}/stat")
    # a process that was killed may be at work in the kernel for a moment
    for _ in range(100):
        if not stat.exists() or stat.read_text().split()[2] in "ZX":
            break
        time.sleep(0.1)
    assert not stat.exists() or stat.read_text().split()[2] in "ZX"


REFUSED = """
import torch
from cascade_rl.model import kernels
print(kernels.usable(torch.device("cpu"), torch.bfloat16), kernels.multiplies(torch.bfloat16, frozenset((64,))))
"""


def test_products_that_torch_refuses_are_not_taken(tmp_path):
    """oneDNN held to an older processor refuses bf16 by an exception, which may not leave threads of OpenMP."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    ran = subprocess.run([sys.executable, "-c", REFUSED], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout.split() == ["True", "False"], ran.stderr


def test_settings_that_change_under_a_decoding_are_an_error_and_not_the_end():
    policy = policy_of(CONFIGS["qwen3"], "bf16")
    asked = sampler(policy, max_rows=64)
    before = asked.sample(PROBLEMS, Sampling(2, 10, seed=(1,)))
    with torch.backends.mkldnn.flags(enabled=False):  # then operators decode
        assert not by_kernels(policy.config, torch.bfloat16, torch.device("cpu"))
        asked.sample(PROBLEMS, Sampling(2, 10, seed=(1,)))
    assert flat_rows(asked.sample(PROBLEMS, Sampling(2, 10, seed=(1,)))) == flat_rows(before)


@pytest.mark.parametrize("normed", [False, True])
def test_a_gradient_with_gaps_is_that_without(normed):
    qkv, angle = numbers(0, 6, 4, 16).float(), numbers(1, 6, 1, 16).float()
    norms = (numbers(2, 16).float(), numbers(3, 16).float()) if normed else None
    grad, found = numbers(4, 4, 6, 16).float().transpose(0, 1), []
    for each in (grad, grad.contiguous()):
        x = qkv.clone().requires_grad_()
        fused.turn_heads(x, (angle, angle), 2, norms, 1e-6).backward(each)
        found.append(x.grad)
    assert torch.equal(*found)


def test_where_torchs_products_can_not_be_had_the_rest_is_compiled_alone(tmp_path):
    """As with a torch that does not export them: the first command fails, the second is another one."""
    wrapper = program(
        tmp_path / "g++", 'case "$*" in *PRODUCTS*) exit 1;; esac; exec /usr/bin/env -S c++ "$@"'
    )
    script = (
        BUILD
        + "\nfrom cascade_rl.model import kernels\nimport torch\n"
        + (
            "print(kernels.usable(torch.device('cpu'), torch.float32), kernels.multiplies(torch.float32, frozenset((64,))))"
        )
    )
    environment = {**os.environ, "CASCADE_CACHE": str(tmp_path / "cache"), "CXX": str(wrapper)}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "CDLL" in ran.stdout and "without torch's products (g++ failed: status 1)" in ran.stdout
    assert ran.stdout.strip().endswith("True False")


def test_workers_that_compile_at_once_all_get_the_whole_library(tmp_path):
    """Each writes a file of its own and puts it in place whole."""
    environment = {**os.environ, "CASCADE_CACHE": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", BUILD], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert all("CDLL" in process.communicate()[0] for process in running)
    assert len(list(tmp_path.iterdir())) == 1
