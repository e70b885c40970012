"""The attention of a GPU by one call a layer, its kernel written out here: against the CPU's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shadow_cuda import shadow_cuda, upload

from cascade_rl.model import gpu_attention
from cascade_rl.model.attention import Attention
from cascade_rl.model.gpu_attention import ByBlocks, BySegments, attention, segments
from cascade_rl.model.packed import Tree, pack

CPU = torch.device("cpu")
HEADS, KV_HEADS, SIZE = 4, 2, 8


def kernel(q, k, v, ends, longest, window):
    """What `varlen_attn` computes: in each segment causally, the last query beside the last key."""
    group, found = q.shape[1] // k.shape[1], []
    q_ends, k_ends = (end.tolist() for end in ends)
    assert longest == (max(np.diff(q_ends)), max(np.diff(k_ends))) and window[1] == 0
    assert q_ends[-1] == len(q) and k_ends[-1] == len(k)
    for i in range(len(q_ends) - 1):
        mine, at = q[q_ends[i] : q_ends[i + 1]], slice(k_ends[i], k_ends[i + 1])
        keys, values = k[at].repeat_interleave(group, 1), v[at].repeat_interleave(group, 1)
        scores = torch.einsum("qhd,khd->hqk", mine.float(), keys.float())
        place = torch.arange(len(mine), device=q.device)[:, None] + len(keys) - len(mine)
        back = place - torch.arange(len(keys), device=q.device)
        seen = (back >= 0) & ((back <= window[0]) if window[0] >= 0 else (back >= 0))
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        found.append(torch.einsum("hqk,khd->qhd", weights, values.float()).to(q.dtype))
    return torch.cat(found)


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
        # the rows of qkv, and one copy for columns and ends together
        assert isinstance(whole.chosen, ByBlocks) and isinstance(short.chosen, BySegments)
        assert log.copies.total() == 2
        torch.testing.assert_close(got.cpu().float(), want, rtol=0, atol=0.03)
