"""Peak rates of this machine, measured now, and the lower bound of a step that follows from them.

The bound counts products and bytes only (no norms, no sampling, no Python), so that what is measured can come near it
but not below: matrix parameters N, head included, cost 2 N a token forward and 4 N backward; attention costs
4 * layers * heads * size a token and column. Decoding reads all weights once a step and each row's keys and values.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch

from cascade_rl.model.decoder import DecoderConfig


@dataclass(frozen=True, slots=True)
class Peaks:
    """Floating-point operations and bytes a second of one worker, by the products it uses."""

    flops: float
    head_flops: float
    bytes: float


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """The median time of some work, warm."""
    work()
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def measure_peaks(config: DecoderConfig, dtype: torch.dtype, device: torch.device, tokens: int = 2048) -> Peaks:
    """The rate of the model's own widest product, of the fp32 head, and of copying 256 MB."""

    def rate(rows: int, inner: int, outer: int, kind: torch.dtype) -> float:
        x, w = torch.randn(rows, inner, device=device).to(kind), torch.randn(outer, inner, device=device).to(kind)
        return 2.0 * rows * inner * outer / seconds(lambda: torch.nn.functional.linear(x, w), device)

    block = torch.zeros(1 << 26, device=device)
    copy = torch.empty_like(block)
    moved = 2 * block.numel() * 4 / seconds(lambda: copy.copy_(block), device)
    head = rate(min(tokens, 512), config.hidden, min(config.vocab, 16384), torch.float32)
    return Peaks(rate(tokens, config.hidden, 2 * config.intermediate, dtype), head, moved)


def matrix_parameters(config: DecoderConfig) -> tuple[int, int]:
    """Numbers in the matrices of the layers, and in the head."""
    layers = sum(prod(s) for n, s in config.shapes().items() if len(s) == 2 and n not in ("embed", "head"))
    return layers, config.vocab * config.hidden


def update_bound(
    config: DecoderConfig, peaks: Peaks, prompts: Sequence[int], replies: Sequence[Sequence[int]]
) -> float:
    """Seconds of one worker for the gradient of groups: a prompt's length, and those of its replies."""
    layers, head = matrix_parameters(config)
    width = config.layers * config.heads * config.head_dim
    tokens = sum(prompts) + sum(sum(r) for r in replies)
    columns = sum(p * p / 2 for p in prompts)
    columns += sum(r * p + r * r / 2 for p, rows in zip(prompts, replies, strict=True) for r in rows)
    scored = sum(sum(r) for r in replies)
    body = 3 * (2.0 * layers * tokens + 4.0 * width * columns) / peaks.flops
    return body + 2.0 * head * scored / peaks.head_flops + 4.0 * head * scored / peaks.flops


def decode_bound(
    config: DecoderConfig, peaks: Peaks, prompts: Sequence[int], replies: Sequence[int], slots: int, element: int
) -> float:
    """Seconds of one worker to decode a reply for each prompt with so many slots; `element` bytes a number."""
    layers, head = matrix_parameters(config)
    tokens = sum(replies)
    steps = max(max(replies), -(-tokens // slots))
    columns = sum(r * p + r * r / 2 for p, r in zip(prompts, replies, strict=True))
    width = config.layers * config.heads * config.head_dim
    cache = 2.0 * config.layers * config.kv_heads * config.head_dim * element
    compute = (2.0 * layers * tokens + 4.0 * width * columns) / peaks.flops + 2.0 * head * tokens / peaks.head_flops
    moved = (steps * (layers * element + head * 4) + cache * columns) / peaks.bytes
    return max(compute, moved)


def memory_bound(config: DecoderConfig, element: int, slots: int, columns: int, tokens: int) -> float:
    """Bytes: master weights, gradient and two moments in fp32, the computing copy, the cache, and one micro-batch."""
    layers, head = matrix_parameters(config)
    numbers = layers + head * (1 if config.tied else 2)
    cache = 2.0 * config.layers * config.kv_heads * config.head_dim * element * slots * columns
    kept = config.hidden * (4 + element) * 2 + config.intermediate * element * 4
    kept += (2 * config.heads + 2 * config.kv_heads) * config.head_dim * element * 2
    return numbers * (16.0 + (element if element < 4 else 0)) + cache + config.layers * tokens * kept
