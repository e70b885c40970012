"""What this machine is, and which sizes of a stage fit it: estimates for a recipe, before a run measures.

Memory is counted from the shapes alone, time by the cost model from rates that are measured for a moment:
both are bounds that a run comes near, not promises.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch

from cascade_rl.model.activations import SHARE, activation_bytes
from cascade_rl.model.cost import Peaks, decode_work, prefill_work, update_work
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.free_memory import shared_bytes
from cascade_rl.model.network import Network
from cascade_rl.model.peaks import cache_bytes, rates
from cascade_rl.train.batch import Row, pack_rows

# Bytes a weight: fp32 with its gradient and AdamW's two moments, and laid out once more for the products.
FULL, FROZEN = 20, 8
MOST_WORKERS = 8  # processes on a CPU: beyond that memory is what they wait for
SLOTS = 64  # replies that a worker decodes at once, for the estimate
UNKNOWN = 2048  # tokens of a micro-batch where nobody knows what the model's own modules keep
MICROBATCHES = (16384, 8192, 4096, 2048, 1024, 512)  # tokens


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a run would work: `device` and processes as a recipe says them, free bytes, and its name."""

    device: str
    workers: int
    free: float
    name: str
    precision: str

    @property
    def element(self) -> int:
        """Bytes of a number in the products."""
        return 2 if self.precision == "bf16" else 4


def this_machine() -> Machine:
    """The GPUs if there are any, else the processor's cores."""
    if torch.cuda.is_available():
        count, device = torch.cuda.device_count(), torch.device("cuda")
        name = f"{count} x {torch.cuda.get_device_name(0)}"
        precision = "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        return Machine("cuda", count, shared_bytes(device) * count, name, precision)
    cores = len(os.sched_getaffinity(0))
    precision = "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
    return Machine(
        "cpu", min(cores, MOST_WORKERS), shared_bytes(torch.device("cpu")), f"{cores} cores", precision
    )


def peaks_of(machine: Machine, config: Network) -> Peaks:
    """The rates of this machine, measured in this process: with all its threads on a CPU, of one GPU."""
    dtype = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    found = rates(torch.device(machine.device), config, dtype)
    times = machine.workers if machine.device == "cuda" else 1
    flops, head_flops, moved = (rate * times for rate in found)
    cache = cache_bytes(torch.device(machine.device), 1)  # all threads together, or each GPU
    return Peaks(flops, head_flops, moved, machine.workers, cache)


def parameters(config: Network) -> int:
    """Numbers in all weights."""
    return sum(prod(shape) for shape in config.shapes().values())


def fits(machine: Machine, config: Network, *, trained: int, frozen: int = 0) -> bool:
    """Whether so many copies of the model fit, with as much again left for activations and the cache."""
    need = parameters(config) * (FULL * trained + FROZEN * frozen)
    return need <= SHARE / 1.6 * machine.free


def microbatch(machine: Machine, config: Network, longest: int, held: float) -> int:
    """The most tokens of a micro-batch whose activations fit beside `held` bytes, at least one sequence."""
    if not isinstance(config, DecoderConfig):
        return max(UNKNOWN, longest)
    free = (machine.free - held) / machine.workers
    for tokens in MICROBATCHES:
        length = min(longest, tokens)
        rows = [Row.of([0] * (length // 2), [0] * (length - length // 2), 1.0)] * max(1, tokens // length)
        packed = pack_rows(rows, torch.device("cpu")).packed
        if activation_bytes(config, packed, machine.element, None) <= SHARE / 2 * free:
            return tokens
    return MICROBATCHES[-1]


def rl_step(config: Network, machine: Machine, prompt: int, reply: int) -> Callable[[int, int, Peaks], float]:
    """Least seconds of an RL step by prompts and rollouts, each reply as long as it may be."""

    def seconds(prompts: int, rollouts: int, peaks: Peaks) -> float:
        trees = [(prompt, (reply,) * rollouts)] * prompts
        work = update_work(config, trees).seconds(peaks)
        work += prefill_work(config, [prompt] * prompts, machine.element).seconds(peaks)
        replies = prompts * rollouts
        decoded = decode_work(
            config, [prompt] * replies, [reply] * replies, SLOTS * machine.workers, machine.element
        )
        return work + decoded.seconds(peaks)

    return seconds
