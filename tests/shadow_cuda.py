"""A device that says `cuda:0` and computes on the CPU: what a GPU would refuse is refused, what it would cost is counted.

A `Shadow` is a tensor whose numbers are real and lie on the CPU. An operator that mixes it with a tensor of
the CPU raises, as CUDA does; operators, waits of the host for the device and copies between the two are
counted by the line of our code that asked. Kernels, streams and rounding are not a GPU's: equality with the
CPU's path, mixes, waits and numbers of launches can be tested here, speed and memory can't. Its CUDA graphs
are those of `shadow_graphs`.

FakeTensorMode would not do: autograd aborts on a build without CUDA.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import shadow_graphs
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from cascade_rl.model.products import Weight
from cascade_rl.rollout.graphs import graphs_of

CUDA = torch.device("cuda:0")
OURS = "cascade_rl"

# Operators that launch no kernel: they make another view, memory without content, or say something.
FREE = {
    "view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select", "split", "split_with_sizes", "chunk",
    "unbind", "unsqueeze", "squeeze", "detach", "alias", "as_strided", "narrow", "_reshape_alias", "unfold", "diagonal",
    "lift_fresh", "view_as", "unsafe_split", "unsafe_chunk", "empty", "empty_like", "new_empty", "empty_strided",
    "new_empty_strided", "is_same_size", "sym_size", "resize_", "set_", "record_stream",
}  # fmt: skip
# Operators whose result has a size that only the device knows, or that end in a number of the host.
WAITS = {
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim", "unique_consecutive",
}  # fmt: skip
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
COPIES = {"copy_", "_to_copy", "copy"}


@dataclass
class Log:
    """What happened since it was cleared, by operator or by line of our code.

    launches  kernels, by operator        places  the same, by line
    waits     of the host for the device  copies  from the host to the device, for which it waits
                                          ahead   the same out of pinned memory, for which it does not
    """

    launches: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)
    ahead: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        for counter in (self.launches, self.places, self.waits, self.copies, self.ahead):
            counter.clear()

    def taken(self) -> tuple[Counter[str], Counter[str], Counter[str]]:
        """(launches, waits, copies) since the last time."""
        found = (Counter(self.launches), Counter(self.waits), Counter(self.copies))
        self.clear()
        return found


LOG = Log()


def _place() -> str:
    """The innermost line of our package that is being run."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if f"/{OURS}/" in path:
            return f"{path.rpartition(f'/{OURS}/')[2]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"


class Shadow(torch.Tensor):
    """A tensor that lies on the shadow device; `host` holds its numbers."""

    host: torch.Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, real: torch.Tensor) -> Shadow:
        # Its dispatch key stays the CPU's: with CUDA's autograd would look for a device that is not there.
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            real.shape,
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            layout=real.layout,
            device=real.device,
        )
        made.host = real
        return made

    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    def __repr__(self, **_: object) -> str:
        return f"Shadow({tuple(self.shape)}, {self.dtype})"

    def numpy(self, **_: object) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    def share_memory_(self) -> Any:
        raise RuntimeError("a tensor of the GPU goes to another process by a handle, not by shared memory")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        shadows = [x for x in tensors if isinstance(x, Shadow)]
        _refuse_mix(name, args, tensors)
        _count_waits(name, func, args)
        # a number of the host is what it was when the operator was launched
        reals = tree_map(_real, args), tree_map(_real, kwargs)
        shadow_graphs.before(func, *reals)
        out = shadow_graphs.computed(func, *reals[0], **reals[1])
        _count(name, func, args, out)
        told = tree_map(_baked, args), tree_map(_baked, kwargs)
        shadow_graphs.noted(name, func, *told, out, empty=name in FREE)
        # what was written in place is the tensor that was given, not another one over it
        given = {id(x.host): x for x in shadows}
        return tree_map(lambda x: given.get(id(x), _shadowed(x)), out)


def _shadowed(x: Any) -> Any:
    return Shadow(x) if isinstance(x, torch.Tensor) else x


def _real(x: Any) -> Any:
    return x.host if isinstance(x, Shadow) else x


def _baked(x: Any) -> Any:
    return x.clone() if isinstance(x, torch.Tensor) and not isinstance(x, Shadow) else _real(x)


def _refuse_mix(name: str, args: Any, tensors: list[torch.Tensor]) -> None:
    """CUDA's own rules: numbers of the host may stand in (0 dimensions), and indices of the host are copied."""
    foreign = [x for x in tensors if not isinstance(x, Shadow) and x.dim() > 0]
    if not foreign:
        return
    if name in COPIES:
        _copied()
        return
    if name in INDEXING and isinstance(args[0], Shadow):
        indices = [x for x in tree_leaves(args[1]) if isinstance(x, torch.Tensor)]
        if all(any(x is y for y in indices) for x in foreign):
            _copied()
            return
    raise RuntimeError(
        f"{name}: expected all tensors to be on the same device, but found at least two, cuda:0 and cpu "
        f"({_place()}; {[tuple(x.shape) for x in foreign]})"
    )


def _copied() -> None:
    shadow_graphs.refuse(f"a copy from the host at {_place()}")
    LOG.copies[_place()] += 1


def _waited(what: str) -> None:
    shadow_graphs.refuse(f"{what} {_place()}")
    LOG.waits[f"{what} {_place()}"] += 1


def _count_waits(name: str, func: Any, args: Any) -> None:
    waits = name in WAITS or (name == "repeat_interleave" and func._overloadname == "Tensor")
    # beyond that it sorts what is unique, whose number the host must know (ATen, TensorCompare.cpp)
    waits |= name == "isin" and args[1].numel() >= 10 * args[0].numel() ** 0.145
    if name in INDEXING:
        masks = (torch.bool, torch.uint8)
        waits |= any(isinstance(x, torch.Tensor) and x.dtype in masks for x in tree_leaves(args[1]))
    if waits:
        _waited(name)


def _count(name: str, func: Any, args: Any, out: Any) -> None:
    first = _real(args[0]) if args and isinstance(args[0], Shadow) else None
    same = isinstance(out, torch.Tensor) and first is not None and out.data_ptr() == first.data_ptr()
    # `to`, `contiguous` and the like do nothing where nothing is to be done; what writes in place ends in _
    idle = same and not name.endswith("_") and "out" not in func._overloadname
    if name not in FREE and name != "_local_scalar_dense" and not idle:
        LOG.launches[name] += 1
        LOG.places[_place()] += 1


class _ShadowWeight(Shadow, Weight):
    """A `Weight` on the shadow device."""


def _weight_of(numbers: torch.Tensor, master: Any = None, main_grad: Any = None) -> Weight:
    """`Weight.of`, which changes a tensor's class: of a shadow to one that is a shadow still."""
    if isinstance(numbers, Shadow):
        weight = torch.ops.aten.alias(numbers)
        weight.host, weight.__class__ = numbers.host, _ShadowWeight
    else:
        weight = numbers.as_subclass(Weight)
    weight.master, weight.main_grad = master, main_grad
    return weight  # type: ignore[no-any-return]


def _is_cuda(device: object) -> bool:
    return device is not None and not isinstance(device, int) and torch.device(device).type == "cuda"  # type: ignore[call-overload]


def upload(x: torch.Tensor) -> Shadow:
    """A copy on the shadow device."""
    if isinstance(x, Shadow):
        return x
    _copied()
    return Shadow(x.detach().clone()).requires_grad_(x.requires_grad)  # type: ignore[return-value]


class _Pinned(torch.Tensor):
    """A tensor of the host in pinned memory."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class _Mode(TorchFunctionMode):
    """What the wrapper alone can't see: tensors that are made on the device, or moved to it and back."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        shadow = bool(args) and isinstance(args[0], Shadow)
        if name == "pin_memory" and not shadow:
            return args[0].clone().as_subclass(_Pinned)
        if name in ("to", "cpu", "cuda") and args and isinstance(args[0], torch.Tensor):
            return _moved(func, name, args, kwargs)
        if name == "tolist" and shadow:
            _waited("tolist")
            return args[0].detach().host.tolist()
        if name == "rms_norm" and shadow:  # one kernel on CUDA, put together of several on a CPU
            before = Counter(LOG.launches), Counter(LOG.places)
            found = func(*args, **kwargs)
            LOG.launches, LOG.places = before
            LOG.launches[name] += 1
            LOG.places[_place()] += 1
            return found
        if name == "new_tensor" and shadow:
            _copied()
            kwargs.pop("device", None)
            return Shadow(torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)))
        if _is_cuda(kwargs.get("device")):
            kwargs.pop("device")
            if shadow:  # new_* and *_like
                return func(*args, **kwargs)
            if name in ("tensor", "as_tensor"):
                _copied()
            found = func(*args, **kwargs)
            if not isinstance(found, torch.Tensor) or isinstance(found, Shadow):
                return found
            shadow_graphs.noted(name, func, args, kwargs, found, empty=name in FREE)
            if name not in FREE:
                LOG.launches[name] += 1
                LOG.places[_place()] += 1
            return Shadow(found.detach()).requires_grad_(found.requires_grad)
        return func(*args, **kwargs)


def _moved(func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """`to`, `cpu` and `cuda` of a tensor of either device."""
    x, *rest = args
    ahead = kwargs.pop("non_blocking", False) and isinstance(x, _Pinned)
    target = {"cpu": "cpu", "cuda": CUDA}.get(name, kwargs.pop("device", None))
    if name == "to" and rest and isinstance(rest[0], torch.device | str):
        target = rest.pop(0)
    elif name == "to" and rest and isinstance(rest[0], torch.Tensor):
        target, rest[0] = rest[0].device, rest[0].dtype
    if _is_cuda(target) and ahead:
        LOG.ahead[_place()] += 1
        x = Shadow(x.as_subclass(torch.Tensor).clone())
    elif _is_cuda(target):
        x = upload(x)
    elif target is not None and isinstance(x, Shadow):
        _waited("to cpu")
        x = x.detach().host
    if name != "to" or not (rest or kwargs):
        return x
    return func(x, *rest, **kwargs)


class _Generator(torch._C.Generator):
    """Generators of the device are the CPU's."""

    def __new__(cls, device: object = "cpu") -> Any:
        return torch._C.Generator.__new__(torch._C.Generator, "cpu")


@dataclass
class Memory:
    """What the device says of its memory, in bytes."""

    total: int = 80 * 10**9
    free: int = 70 * 10**9
    reserved: int = 10**9
    allocated: int = 10**9


class Event:
    """A moment of the device; the shadow has none of its own, so that it is the host's."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.enable_timing, self.at = enable_timing, None

    @staticmethod
    def now() -> float:
        return 1e3 * time.perf_counter()  # ms, as CUDA tells

    def record(self) -> None:
        self.at = type(self).now()

    def synchronize(self) -> None:
        _synchronise()

    def elapsed_time(self, later: Event) -> float:
        if not (self.enable_timing and later.enable_timing) or self.at is None or later.at is None:
            raise RuntimeError("both events must be made with enable_timing=True and recorded")
        return later.at - self.at


def _synchronise(device: object = None) -> None:
    LOG.waits[f"synchronize {_place().partition(':')[0]}"] += 1


@contextmanager
def shadow_cuda(memory: Memory | None = None) -> Iterator[Log]:
    """Inside, torch has a CUDA device, cuda:0, that is a shadow; what it is asked for is logged."""
    says = memory or Memory()
    fakes: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "mem_get_info": lambda device=None: (says.free, says.total),
        "get_device_properties": lambda device=None: SimpleNamespace(L2_cache_size=50 << 20),
        "memory_reserved": lambda device=None: says.reserved,
        "memory_allocated": lambda device=None: says.allocated,
        "synchronize": _synchronise,
        "Event": Event,
        "is_bf16_supported": lambda *_: True,
        "empty_cache": lambda: None,
        "set_device": lambda device: None,
    }
    LOG.clear()
    shadow_graphs.clear()
    graphs_of.cache_clear()  # what it holds is of another device
    with (
        patch.multiple(torch.cuda, **fakes, **shadow_graphs.FAKES),
        patch.object(torch, "Generator", _Generator),
        patch.object(Weight, "of", _weight_of),
        _Mode(),
    ):
        yield LOG
    graphs_of.cache_clear()


def real(x: torch.Tensor) -> torch.Tensor:
    """A copy of the numbers of a tensor of either device."""
    return (x.detach().host if isinstance(x, Shadow) else x.detach()).clone()


def ours() -> Path:
    """Where the lines that the log names lie."""
    return Path(sys.modules[OURS].__file__ or "").parent
