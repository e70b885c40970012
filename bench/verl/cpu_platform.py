"""verl on a processor: a platform for verl's own registry, which knows NVIDIA, ROCm and Ascend alone.

Read by each of verl's processes through VERL_USE_EXTERNAL_MODULES. With VERL_ENGINE_DEVICE=cuda verl takes
its own FSDP engine (workers/engine/base.py, get_engine_cls); what that asks of a device is answered here. It
proves what a job does, not how fast: nobody trains so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed
from verl.plugin.platform import platform_manager
from verl.plugin.platform.platform_base import PlatformBase

# what a device module answers that torch.cpu doesn't: no memory of its own, nothing to wait for
ANSWERS: dict[str, Any] = {
    "get_device_name": "cpu", "max_memory_allocated": 0, "max_memory_reserved": 0, "memory_allocated": 0,
    "memory_reserved": 0, "mem_get_info": (0, 0), "reset_peak_memory_stats": None, "empty_cache": None,
    "ipc_collect": None, "set_device": None,
}  # fmt: skip


class Device:
    """torch.cpu with what verl asks of torch.cuda."""

    def __getattr__(self, name: str) -> Any:
        if name in ANSWERS:
            return lambda *_: ANSWERS[name]
        if name in ("manual_seed", "get_rng_state", "set_rng_state"):
            return lambda *a: getattr(torch, name)(*a[:1] if name != "get_rng_state" else ())
        return torch.manual_seed if name == "manual_seed_all" else getattr(torch.cpu, name)


@platform_manager.PlatformRegistry.register(platform="cpu")
class Processor(PlatformBase):
    """What verl asks of a platform, as far as it means anything here."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = Device()

    def is_available(self) -> bool:
        return True

    def current_device(self) -> Any:
        # where tensors go: verl hands it to `Tensor.to`
        return "cpu"

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        pass

    def synchronize(self, device_index: int | None = None) -> None:
        pass

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        pass

    def empty_cache(self) -> None:
        pass

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        pass

    def profiler_stop(self) -> None:
        pass

    def ray_resource_name(self) -> str:
        # the only name beside NPU that verl counts (single_controller/ray/base.py); Ray is told of one
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None:
        return None


platform_manager.set_platform(Processor())

_init_process_group = torch.distributed.init_process_group


def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> None:
    """verl asks for "cpu:gloo" beside the device's own (utils/distributed.py); torch refuses it twice."""
    _init_process_group("cpu:gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *args, **kwargs)


torch.distributed.init_process_group = init_process_group
