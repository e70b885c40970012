"""Where the items of gpu_check run, and what an item says; loads without this package's dependencies."""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))


@dataclass
class Found:
    """What an item saw: figures by name, whether they are as expected (None: no bound), and what was."""

    figures: dict[str, Any]
    ok: bool | None
    expected: str


@dataclass(frozen=True)
class Setting:
    """Where the items run and how large they are: `small` takes sizes at which only the code is tried.

    `deadline` is by `time.perf_counter`.
    """

    device: torch.device
    small: bool
    deadline: float = math.inf

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.perf_counter()

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def release(self) -> None:
        """Give the device what torch keeps of its memory: another program is to use it."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()

    def wait(self) -> None:
        """Until the device has done what was asked."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object], repeats: int = 5) -> float:
        """The median of some runs, warm."""
        found = []
        for _ in range(repeats + 1):
            self.wait()
            begin = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - begin)
        return statistics.median(found[1:])

    def models(self) -> list[str]:
        return ["135m"] if self.small else ["135m", "0.6b"]
