"""This machine as a row of the hardware table: rates measured for about a second, memory as it is free."""

from __future__ import annotations

import os

import torch

from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.free_memory import shared_bytes
from cascade_rl.model.network import Network
from cascade_rl.model.peaks import cache_bytes, rates
from cascade_rl.plan.hardware import HERE, Hardware, cores_here
from cascade_rl.plan.shapes import Shape

CORE_WATTS = 8.0  # of a processor, at work: a server's 64 to 128 cores share 400 to 500 W
BUSY = 0.5  # cores that other processes keep busy, from which on rates measured for a second are theirs, too
GPU_WATTS = 400.0  # where nobody says what a board takes


def this_machine(config: Network, precision: str = "auto") -> Hardware:
    """The GPU if there is one, else all cores of the processor, by the widest product of `config`."""
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    native = torch.cuda.is_bf16_supported() if gpu else torch.cpu._is_avx512_bf16_supported()
    short = precision == "bf16" or (precision == "auto" and native)
    flops, head, moved = rates(device, config, torch.bfloat16 if short else torch.float32)
    cores, free = cores_here(), shared_bytes(device)
    return Hardware(
        name=HERE,
        flops=flops,
        fp32=head,
        bytes=moved,
        memory=free,
        watts=GPU_WATTS if gpu else CORE_WATTS * cores,
        node=torch.cuda.device_count() if gpu else 1,
        # between processes of one machine: through its memory
        link=moved / 2,
        network=0.0,
        cores=cores,
        ram=shared_bytes(torch.device("cpu")),
        source=f"measured now in {'bf16' if short else 'fp32'}{'' if gpu else _beside()}; "
        "memory as it is free, watts assumed",
        device=device.type,
        head=head,
        cache=cache_bytes(device, 1),
        short=short,
    )


def _beside() -> str:
    """Words on what else keeps the processor busy, from the last minute's load; empty on a free machine."""
    busy = os.getloadavg()[0]
    return f" BESIDE OTHER WORK (load {busy:.1f}): a free machine is faster" if busy > BUSY else ""


def here_for(shape: Shape, precision: str) -> Hardware:
    """This machine, measured by the products of a shape; of another family by a decoder as wide."""
    return this_machine(shape.decoder or _alike(shape), precision)


def _alike(shape: Shape) -> DecoderConfig:
    size = shape.size()
    raw = {
        "model_type": "llama",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": size.wide // 2,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "head_dim": size.width,
    }
    return DecoderConfig.from_hf(raw)
