"""The items of gpu_check that ask for the card and its kernels alone."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(Path(__file__).parent))

from gpu_setting import Found, Setting

from cascade_rl.model.attention import Attention
from cascade_rl.model.gpu_attention import ByBlocks, BySegments
from cascade_rl.model.packed import Tree, pack


def versions(s: Setting) -> Found:
    """1. What is here."""
    figures: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if s.on_gpu:
        properties = torch.cuda.get_device_properties(s.device)
        figures |= {
            "device": properties.name,
            "memory_gb": properties.total_memory / 1e9,
            "capability": f"{properties.major}.{properties.minor}",
            "cudnn": torch.backends.cudnn.version(),
            "shared_memory_a_block": getattr(properties, "shared_memory_per_block_optin", None),
            "bf16": torch.cuda.is_bf16_supported(),
        }
    return Found(figures, None, "a card with bf16")


def kernels(s: Setting) -> Found:
    """3. Masked attention forward and backward at three new shapes, with and without cuDNN's kernel."""
    dtype = torch.bfloat16 if s.on_gpu else torch.float32
    figures: dict[str, Any] = {}
    ways = {"ours": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]}
    if s.on_gpu:
        ways["cudnn"] = [SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH]
    sizes = [(2, 67), (3, 81), (2, 93)] if s.small else [(16, 667), (24, 811), (20, 937)]
    for name, backends in ways.items():
        for batch, length in sizes:
            q, k, v = (torch.randn(batch, 9, length, 64, device=s.device, dtype=dtype) for _ in range(3))
            for x in (q, k, v):
                x.requires_grad_()
            mask = torch.ones(batch, 1, length, length, dtype=torch.bool, device=s.device).tril_()
            s.wait()
            begin = time.perf_counter()
            with sdpa_kernel(backends):
                F.scaled_dot_product_attention(q, k, v, attn_mask=mask).sum().backward()
            s.wait()
            figures[f"{name} first call, {batch} x {length}, ms"] = 1e3 * (time.perf_counter() - begin)
    ours = [value for key, value in figures.items() if key.startswith("ours")]
    # the first of all pays for the library; the others are new shapes
    return Found(figures, max(ours[1:]) < 100 if s.on_gpu else None, "ours: under 100 ms at a new shape")


def varlen(s: Setting) -> Found:
    """4. One variable-length call a layer beside the CPU's own attention, with gradients, and padded blocks."""
    rng = random.Random(0)
    heads, kv_heads, size = 4, 2, 64
    trees = [
        Tree(
            np.arange(rng.randint(0, 90)),
            tuple(np.arange(rng.randint(1, 70)) for _ in range(rng.randint(1, 4))),
        )
        for _ in range(6)
    ]
    here, there = pack(trees, torch.device("cpu")), pack(trees, s.device)
    start = torch.randn(len(here.ids), heads + 2 * kv_heads, size, generator=torch.Generator().manual_seed(0))
    start[:, :heads] *= size**-0.5
    turn = torch.linspace(-1, 1, len(here.ids) * heads * size).view(len(here.ids), -1)
    figures: dict[str, Any] = {}
    for window in (None, 30):
        want_in = start.bfloat16().float().requires_grad_()
        want = Attention(here, heads, kv_heads, window)(0, want_in, False)
        (want * turn).sum().backward()
        ways: dict[str, Any] = {"blocks": ByBlocks}
        if s.on_gpu:
            ways["varlen"] = BySegments
        for name, way in ways.items():
            got_in = start.to(s.device, torch.bfloat16).requires_grad_()
            got = way(there, heads, kv_heads, window)(0, got_in, False)
            (got.float() * turn.to(s.device)).sum().backward()
            scale = float(want_in.grad.abs().max())
            figures[f"{name}, window {window}: out"] = float((got.float().cpu() - want).detach().abs().max())
            gap = (got_in.grad.float().cpu() - want_in.grad).abs().max()
            figures[f"{name}, window {window}: gradient"] = float(gap) / scale
    return Found(
        figures, max(figures.values()) < 0.03, "bf16's rounding: under 0.03 of outputs and gradients"
    )


def head(s: Setting) -> Found:
    """6. The head's product: fp32, TF32, and three products in bf16 summed in fp32; ms and error beside fp64."""
    rows, inner, vocab = (64, 64, 2000) if s.small else (4096, 1024, 151936)
    h = torch.randn(rows, inner, device=s.device)
    w = torch.randn(vocab, inner, device=s.device) * 0.05
    (h1, h2), (w1, w2) = (_halves(x) for x in (h, w))
    few = slice(0, 64)
    exact = (h[few].double() @ w.double().t()).log_softmax(-1)

    def three(rows: slice) -> Tensor:
        made: Tensor = _wide(h1[rows], w1) + _wide(h1[rows], w2) + _wide(h2[rows], w1)
        return made

    ways: dict[str, Callable[[slice], Tensor]] = {"fp32": lambda r: h[r] @ w.t(), "three bf16": three}
    figures: dict[str, Any] = {}
    for name, way in ways.items():
        gap = (way(few).double().log_softmax(-1) - exact).abs().max()
        figures[f"{name}, log-probability error"] = float(gap)
        figures[f"{name}, ms"] = 1e3 * s.seconds(lambda way=way: way(slice(None)), 3)
    if s.on_gpu:
        torch.backends.cuda.matmul.allow_tf32 = True
        gap = ((h[few] @ w.t()).double().log_softmax(-1) - exact).abs().max()
        figures["tf32, log-probability error"] = float(gap)
        figures["tf32, ms"] = 1e3 * s.seconds(lambda: h @ w.t(), 3)
        torch.backends.cuda.matmul.allow_tf32 = False
    ok = figures["three bf16, log-probability error"] < 1e-4
    return Found(figures, ok, "three bf16: an error under 1e-4 at a third of fp32's time or less")


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """A number as the sum of two in bf16."""
    first = x.bfloat16()
    return first, (x - first.float()).bfloat16()


def _wide(a: Tensor, b: Tensor) -> Tensor:
    """A product of bf16 with an fp32 result."""
    if a.is_cuda:
        found: Tensor = torch.mm(a, b.t(), out_dtype=torch.float32)
        return found
    return a.float() @ b.float().t()
