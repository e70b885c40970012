"""The items of gpu_check that ask for the card and its kernels alone."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(Path(__file__).parent))

from gpu_setting import Found, Setting

from cascade_rl.model import halves
from cascade_rl.model import head as head_module
from cascade_rl.model.attention import Attention
from cascade_rl.model.gpu_attention import ByBlocks, BySegments
from cascade_rl.model.head import target_logprobs
from cascade_rl.model.packed import Tree, pack
from cascade_rl.model.products import Weight, laid_out
from cascade_rl.protocols import WHOLE


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
    """6. The head's product in four ways, ms and error beside fp64; then its parts, with gradients."""
    rows, inner, vocab = (64, 64, 2000) if s.small else (4096, 1024, 151936)
    h = torch.randn(rows, inner, device=s.device)
    w = torch.randn(vocab, inner, device=s.device) * 0.05
    few = slice(0, 64)
    exact = (h[few].double() @ w.double().t()).log_softmax(-1)
    ways: dict[str, Callable[[Tensor], Tensor]] = {"fp32": lambda x: x @ w.t()}
    wanted = "told: three products in fp16 are a GPU's way"
    built_in = s.on_gpu and halves.available()
    if built_in:
        halved, (w1, w2) = halves.lay_out(w), _bf16(w)
        ways["three fp16"] = lambda x: halves.product(x, halved)
        ways["three bf16"] = lambda x: _three_bf16(x, w1, w2)
        ways["tf32"] = ways["fp32"]
        wanted = "three fp16: at most three times fp32's error (or 1e-5), in a quarter of its time"
    figures: dict[str, Any] = {}
    for name, way in ways.items():
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        gap = (way(h[few]).double().log_softmax(-1) - exact).abs().max()
        figures[f"{name}, log-probability error"] = float(gap)
        figures[f"{name}, ms"] = 1e3 * s.seconds(lambda way=way: way(h), 3)
    torch.backends.cuda.matmul.allow_tf32 = False
    ok = None
    if built_in:
        error, time = (f"three fp16, {what}" for what in ("log-probability error", "ms"))
        ok = figures[error] < max(1e-5, 3 * figures["fp32, log-probability error"])
        ok &= s.small or figures[time] < figures["fp32, ms"]
    return Found(figures | _parts(s, h, w), ok, wanted)


def _bf16(x: Tensor) -> tuple[Tensor, Tensor]:
    """A number as the sum of two in bf16."""
    first = x.bfloat16()
    return first, (x - first.float()).bfloat16()


def _three_bf16(x: Tensor, high: Tensor, low: Tensor) -> Tensor:
    """What was tried first, and misses by more: halves in bf16."""
    first, second = _bf16(x)
    found = torch.mm(first, low.t(), out_dtype=torch.float32)
    found += torch.mm(second, high.t(), out_dtype=torch.float32)
    found += torch.mm(first, high.t(), out_dtype=torch.float32)
    return found


def _parts(s: Setting, h: Tensor, w: Tensor) -> dict[str, float]:
    """Log-probabilities with gradients in parts of so many logits, ms; and the gradient's error beside fp32's."""
    figures, grads = {}, {}
    targets = torch.arange(len(h), device=s.device) % len(w)
    short = torch.bfloat16 if s.on_gpu else torch.float32

    def both(dtype: torch.dtype) -> None:
        weight = Weight.of(w.to(dtype), w, torch.zeros_like(w)).requires_grad_()
        hidden = h.clone().requires_grad_()
        with laid_out({"embed": weight}, layers=False):
            target_logprobs(hidden, weight, targets, WHOLE).sum().backward()
        grads[dtype] = hidden.grad

    for bits in (23, 26, 28):
        with patch.object(head_module, "GPU_HEAD_ROWS", 1 << bits):
            figures[f"parts of 2^{bits} logits, ms"] = 1e3 * s.seconds(lambda: both(short), 2)
    both(torch.float32)
    gap, whole = (grads[short] - grads[torch.float32]).norm(), grads[torch.float32].norm()
    return figures | {"gradient of hidden states beside fp32's": float(gap / whole)}
