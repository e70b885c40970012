"""torch's variable-length attention for a machine without CUDA: its own call and autograd over a kernel written out.

Who imports this has the kernel on the CPU, and so on the shadow device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.attention.varlen import _varlen_attn, _varlen_attn_backward


def segments(q, k, v, ends, longest, window):
    """Of each segment its places among queries and keys, fp32 q [Q, N, D], k, v [K, N, D] and weights [N, Q, K].

    In each causally, the last query beside the last key.
    """
    group = q.shape[1] // k.shape[1]
    q_ends, k_ends = (end.tolist() for end in ends)
    assert longest == (max(np.diff(q_ends)), max(np.diff(k_ends))) and window[1] == 0
    assert q_ends[-1] == len(q) and k_ends[-1] == len(k)
    for i in range(len(q_ends) - 1):
        asks, seen = slice(q_ends[i], q_ends[i + 1]), slice(k_ends[i], k_ends[i + 1])
        mine, keys, values = q[asks].float(), *(x[seen].repeat_interleave(group, 1).float() for x in (k, v))
        scores = torch.einsum("qhd,khd->hqk", mine, keys)
        place = torch.arange(len(mine), device=q.device)[:, None] + len(keys) - len(mine)
        back = place - torch.arange(len(keys), device=q.device)
        near = (back >= 0) & ((back <= window[0]) if window[0] >= 0 else (back >= 0))
        yield asks, seen, mine, keys, values, scores.masked_fill(~near, -torch.inf).softmax(-1)


def kernel(q, k, v, ends, longest, window):
    """What `varlen_attn` computes, of queries that are scaled."""
    found = [
        torch.einsum("hqk,khd->qhd", w, values) for *_, values, w in segments(q, k, v, ends, longest, window)
    ]
    return torch.cat(found).to(q.dtype)


@_varlen_attn.register_kernel("cpu")
def _forward(q, k, v, q_ends, k_ends, max_q, max_k, is_causal=False, scale=None, window_size=None, *_, **__):
    assert window_size[1] == 0 and is_causal == (window_size[0] == -1)
    out = kernel(q * scale, k, v, (q_ends, k_ends), (max_q, max_k), window_size)
    # the sums and the generator's state are kept for the kernel's backward, which needs neither here
    return out, torch.zeros(q.shape[1], len(q)), torch.zeros(2, dtype=torch.uint64)


@_varlen_attn_backward.register_kernel("cpu")
def _backward(
    grad, q, k, v, out, lse, q_ends, k_ends, max_q, max_k, is_causal, state, scale=None, window_size=None
):
    by_q, by_k, by_v = (torch.zeros_like(x, dtype=torch.float32) for x in (q, k, v))
    parts = segments(q * scale, k, v, (q_ends, k_ends), (max_q, max_k), window_size)
    for asks, seen, mine, keys, values, weights in parts:
        g = grad[asks].float()
        by_weights = torch.einsum("qhd,khd->hqk", g, values)
        by_scores = weights * (by_weights - (weights * by_weights).sum(-1, keepdim=True))
        by_q[asks] = scale * torch.einsum("hqk,khd->qhd", by_scores, keys)
        shared = (-1, k.shape[1], q.shape[1] // k.shape[1], k.shape[2])  # heads that share keys add up
        by_k[seen] = torch.einsum("hqk,qhd->khd", by_scores, mine).reshape(shared).sum(2)
        by_v[seen] = torch.einsum("hqk,qhd->khd", weights, g).reshape(shared).sum(2)
    return by_q.to(q.dtype), by_k.to(k.dtype), by_v.to(v.dtype)
