"""The attention of a GPU by one call a layer, its kernel written out here: against the CPU's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shadow_cuda import shadow_cuda, upload
from varlen_kernel import kernel

from cascade_rl.model import gpu_attention
from cascade_rl.model.attention import Attention
from cascade_rl.model.gpu_attention import ByBlocks, BySegments, attention, segments
from cascade_rl.model.packed import Tree, pack

CPU = torch.device("cpu")
HEADS, KV_HEADS, SIZE = 4, 2, 8


@pytest.fixture(autouse=True)
def written_out(monkeypatch):
    monkeypatch.setattr(gpu_attention, "varlen", kernel)
    torch.set_num_threads(1)


SHAPES = st.lists(
    st.tuples(st.integers(0, 9), st.lists(st.integers(1, 7), min_size=1, max_size=4)), min_size=1, max_size=6
)


def trees_of(shapes):
    return [Tree(np.arange(p), tuple(np.arange(n) for n in branches)) for p, branches in shapes]


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from([None, 1, 3, 30]), st.booleans())
def test_one_call_over_segments_is_the_attention_of_the_pack(shapes, window, last):
    packed = pack(trees_of(shapes), CPU)
    start = torch.randn(
        len(packed.ids), HEADS + 2 * KV_HEADS, SIZE, generator=torch.Generator().manual_seed(0)
    )
    found = []
    for way in (Attention, BySegments):
        qkv = start.clone().requires_grad_()
        out = way(packed, HEADS, KV_HEADS, window)(0, qkv, last)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append((out.detach(), qkv.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=2e-5)


@given(SHAPES)
def test_segments_see_their_prefix_and_themselves(shapes):
    packed = pack(trees_of(shapes), CPU)
    queries, keys, columns = segments(packed)
    assert sum(queries) == len(packed.ids) and sum(keys) == len(columns)
    # the positions of what a segment sees are 0, 1, 2 .. without a gap, and its own tokens stand at their end
    at, own = 0, 0
    for asks, sees in zip(queries, keys, strict=True):
        part = columns[at : at + sees]
        assert packed.positions[part].tolist() == list(range(sees))
        assert part[-asks:].tolist() == list(range(own, own + asks))
        at, own = at + sees, own + asks


def test_the_products_dtype_decides_and_nothing_is_masked_in_bf16():
    packed = pack(trees_of([(5, [3, 4]), (0, [2])]), CPU)
    with shadow_cuda() as log:
        there = pack(trees_of([(5, [3, 4]), (0, [2])]), torch.device("cuda"))
        log.clear()
        qkv = torch.randn(len(packed.ids), HEADS + 2 * KV_HEADS, SIZE)
        want = Attention(packed, HEADS, KV_HEADS)(0, qkv, False)
        short, whole = (attention(there, HEADS, KV_HEADS, None) for _ in range(2))
        torch.testing.assert_close(whole(0, upload(qkv), False).cpu(), want, rtol=0, atol=1e-5)
        log.clear()
        got = short(0, upload(qkv.bfloat16()), False)
        # one copy for columns and ends together
        assert isinstance(whole.chosen, ByBlocks) and isinstance(short.chosen, BySegments)
        assert log.ahead.total() == 1
        torch.testing.assert_close(got.cpu().float(), want, rtol=0, atol=0.03)


@pytest.mark.parametrize("window", [None, 3])
def test_torchs_own_call_and_its_gradient_are_what_is_asked_for(window, monkeypatch):
    """`varlen_attn` itself, with its own checks and its own autograd, over a kernel that a CPU has."""
    monkeypatch.undo()  # of what is written out in its place above
    packed = pack(trees_of([(5, [3, 4]), (0, [2]), (4, [1])]), CPU)
    start = torch.randn(len(packed.ids), HEADS + 2 * KV_HEADS, SIZE)
    found = []
    for way in (Attention, BySegments):
        for last in (False, True):
            qkv = start.clone().requires_grad_()
            out = way(packed, HEADS, KV_HEADS, window)(0, qkv, last)
            (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
            found.append((out.detach(), qkv.grad))
    for want, got in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(want, got, rtol=0, atol=2e-5)
