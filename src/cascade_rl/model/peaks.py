"""The rates that this machine reaches now, in the processes that do the work: what `cost` divides by."""

from __future__ import annotations

import mmap
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import linear

from cascade_rl.model.cost import Peaks
from cascade_rl.model.network import Network
from cascade_rl.model.products import Weight, laid_out, read_out_linear
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.worker import Worker

BLOCK = 1 << 25  # numbers that are copied: 128 MB, more than a cache holds
HEAD_ROWS, HEAD_COLUMNS = 512, 16384  # of the head that is multiplied, at most
GPU_HEAD_ROWS, GPU_HEAD_COLUMNS = 4096, 32768  # the same where smaller products leave a GPU idle
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # of Linux; whole kilobytes, as in "32768K"
CPU_INFO = Path("/proc/cpuinfo")  # of Linux
CALLS = 20  # on a GPU, between two events


def measure_peaks(replicas: Replicas, config: Network) -> Peaks:
    """The sum over the workers, all measured at once: the model's widest product, the fp32 head, a copy.

    Takes about a second. Draws from no generator but its own and leaves no memory behind that matters.
    """
    found = replicas.all(_probe, config, replicas.dtype)
    flops, head_flops, moved = (sum(each) for each in zip(*found, strict=True))
    cache = cache_bytes(replicas.device, replicas.size)
    return Peaks(flops, head_flops, moved, replicas.size, cache)


def machine_name(device: torch.device) -> str:
    """What the processor or the GPU calls itself; empty where nobody says."""
    if device.type != "cpu":
        return torch.cuda.get_device_name(device)
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def cache_bytes(device: torch.device, workers: int) -> int:
    """A worker's part of the last cache before the memory; 0 where nobody says how large that is.

    A GPU has one of its own; the processor's is shared.
    """
    if device.type != "cpu":
        return int(getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0))
    sizes = [_kilobytes(file.read_text()) for file in CACHES.glob("index*/size")]
    return 1024 * max(sizes, default=0) // workers


def _kilobytes(text: str) -> int:
    found = text.strip()
    return int(found[:-1]) * (1024 if found.endswith("M") else 1)


def _probe(worker: Worker, config: Network, dtype: torch.dtype) -> tuple[float, float, float]:
    """Runs in a worker."""
    return rates(worker.device, config, dtype)


def rates(device: torch.device, config: Network, dtype: torch.dtype) -> tuple[float, float, float]:
    """Operations a second of two products, and bytes a second of a copy, of this process.

    Narrow layers may be slower than the fp32 head; what is bound by a peak must not beat it.
    """
    generator = torch.Generator(device).manual_seed(0)

    def rate(rows: int, inner: int, outer: int, kind: torch.dtype) -> float:
        x, w = (torch.randn(n, inner, generator=generator, device=device).to(kind) for n in (rows, outer))
        return 2.0 * rows * inner * outer / _seconds(lambda: linear(x, w), device)

    rows = 2048 if device.type == "cpu" else 8192
    with torch.inference_mode():
        source, target = _block(device), _block(device)
        blocks = rate(rows, config.hidden, config.size().wide, dtype)
        head = _head_rate(device, config, dtype, generator)
        # a copy reads and writes
        moved = 2.0 * source.nbytes / _seconds(lambda: target.copy_(source), device)
    return max(blocks, head), head, moved  # operations a second, twice, and bytes a second


def _head_rate(
    device: torch.device, config: Network, dtype: torch.dtype, generator: torch.Generator
) -> float:
    """Operations a second of the head as `products` reads it, a GPU's three products counted as one."""
    on_cpu = device.type == "cpu"
    rows = HEAD_ROWS if on_cpu else GPU_HEAD_ROWS
    columns = min(config.vocab, HEAD_COLUMNS if on_cpu else GPU_HEAD_COLUMNS)
    x, master = (torch.randn(n, config.hidden, generator=generator, device=device) for n in (rows, columns))
    weight = Weight.of(master.to(dtype), master)
    with laid_out({"embed": weight}, layers=False):
        return 2.0 * rows * config.hidden * columns / _seconds(lambda: read_out_linear(x, weight), device)


def _block(device: torch.device) -> Tensor:
    """`BLOCK` numbers, written to: pages that never were are all one page of zeros, which a cache holds.

    On a CPU not from malloc, which would keep them for good (`worker.keep_memory`).
    """
    if device.type != "cpu":
        return torch.ones(BLOCK, device=device)
    pages = mmap.mmap(-1, 4 * BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=torch.float32).fill_(1.0)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The time of some work, warm: the median of a few calls, on a GPU the mean of `CALLS` in a row."""
    work()
    if device.type == "cuda":
        return _between_events(work)
    found = []
    for _ in range(5):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def _between_events(work: Callable[[], object]) -> float:
    """By the device's clock, not waiting for each call: that would count the way to the host and back."""
    begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch gives it no types
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # as above
    begin.record()
    for _ in range(CALLS):
        work()
    end.record()
    end.synchronize()
    milliseconds: float = begin.elapsed_time(end)
    return milliseconds / 1e3 / CALLS
