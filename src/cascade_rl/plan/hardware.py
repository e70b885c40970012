"""What a run may be planned for: GPUs by name with the figures of their makers, and this machine, measured.

A name may say how many: `8xh100`. Rates are dense ones of a GPU, as its data sheet has them; how much of them
is reached is no matter of this table.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from cascade_rl.errors import InputError

GIB, GB, TERA = 2**30, 10**9, 10**12
HERE = "here"


@dataclass(frozen=True, slots=True)
class Hardware:
    """A kind of GPU and the machine around it; of a processor (`device` cpu) all of its cores are one.

    flops     operations a second, dense, products of bf16 with sums in fp32; `fp32` those of plain fp32
    bytes     a second, to and from its memory
    memory    bytes
    watts     of the board
    node      GPUs of one machine
    link      bytes a second of a GPU to others of its machine, one way; `network` to other machines
    cores     of the machine, with `ram` bytes
    head      operations a second of the fp32 head where that was measured; 0: not
    cache     bytes of a processor's last cache
    short     whether products run in bf16 where a recipe leaves it open
    """

    name: str
    flops: float
    fp32: float
    bytes: float
    memory: float
    watts: float
    node: int
    link: float
    network: float
    cores: int
    ram: float
    source: str
    device: str = "cuda"
    head: float = 0.0
    cache: int = 0
    short: bool = True

    def nodes(self, gpus: int) -> int:
        """Machines for so many GPUs."""
        return -(-gpus // self.node)


def _row(
    name: str,
    sheet: tuple[float, float, float, float, float],
    machine: tuple[int, float, float, int, float],
    source: str,
) -> Hardware:
    """`sheet`: Tflop/s bf16 and fp32, GB/s, GiB, W. `machine`: GPUs, GB/s link and network, cores, GiB."""
    flops, fp32, moved, memory, watts = sheet
    node, link, network, cores, ram = machine
    rates = (flops * TERA, fp32 * TERA, moved * GB, memory * GIB)
    return Hardware(name, *rates, watts, node, link * GB, network * GB, cores, ram * GIB, source)


DESK = "; around it a workstation as assumed: 16 cores, 128 GiB, PCIe 4 x16"
DGX = "; around it NVIDIA's DGX"
# A network of 400 Gbit/s a GPU (ConnectX-7) is 50 GB/s, of 200 Gbit/s 25. A DGX A100 has 128 cores and 2 TB
# (1 TB with the 40 GB card), a DGX H100 and H200 112 cores and 2 TB; a tray of GB200 NVL72 144 and 960 GB.
TABLE = tuple(
    _row(*row)
    for row in (
        ("rtx3090", (71, 35.6, 936, 24, 350), (4, 32, 3, 16, 128), "NVIDIA GA102 white paper" + DESK),
        ("rtx4090", (165.2, 82.6, 1008, 24, 450), (4, 32, 3, 16, 128), "NVIDIA Ada white paper" + DESK),
        (
            "rtx5090",
            (209.5, 104.8, 1792, 32, 575),
            (4, 32, 3, 16, 128),
            "NVIDIA RTX Blackwell white paper" + DESK,
        ),
        ("a100-40", (312, 19.5, 1555, 40, 400), (8, 300, 25, 128, 1024), "NVIDIA A100 data sheet, SXM" + DGX),
        ("a100-80", (312, 19.5, 2039, 80, 400), (8, 300, 25, 128, 2048), "NVIDIA A100 data sheet, SXM" + DGX),
        ("h100", (989.4, 66.9, 3350, 80, 700), (8, 450, 50, 112, 2048), "NVIDIA H100 data sheet, SXM5" + DGX),
        ("h200", (989.4, 66.9, 4800, 140, 700), (8, 450, 50, 112, 2048), "NVIDIA H200 data sheet, SXM" + DGX),
        (
            "gb200",
            (2500, 80, 8000, 185, 1200),
            (4, 900, 50, 144, 894),
            "NVIDIA GB200 NVL72 data sheet, a 72nd",
        ),
    )
)
HARDWARE = {row.name: row for row in TABLE}


def names() -> list[str]:
    """What `find` knows."""
    return [HERE, *HARDWARE]


def find(name: str) -> tuple[Hardware | None, int | None]:
    """The hardware of a name such as `h100` or `64xh100`, and how many it says; None of it is this machine.

    Raises InputError for a name that there is not.
    """
    counted = re.fullmatch(r"(?:(?P<count>[1-9][0-9]*)x)?(?P<kind>[a-z0-9-]+)", name.lower())
    kind = counted["kind"] if counted else ""
    if kind not in names():
        raise InputError(
            f"no such hardware: {name}; known: {', '.join(names())}, or N of them, such as 8xh100"
        )
    count = int(counted["count"]) if counted and counted["count"] else None
    if kind == HERE:
        if count is not None:
            raise InputError(f"{name}: this machine has the GPUs that it has; write here, and --gpus N")
        return None, None
    return HARDWARE[kind], count


def cores_here() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
