"""CUDA graphs of the shadow device: they repeat what a GPU's would, to the letter, and nothing else.

While one is captured, each operator is written down with where its tensors lie and with the numbers that it
was given; what it changed is put back afterwards, since a capture does nothing. A replay runs precisely those
operators on precisely that memory. So whatever a graph can't see shows: a number of Python's that changes from
step to step, a tensor that is made anew on the host, state that moved elsewhere, memory that was freed, a wait.
As on CUDA, a wait or a copy from the host spoils a capture, and a spoilt one leaves torch's allocator and
stream as they should not be, unless the wait was refused before CUDA heard of it.

`shadow_cuda` calls `noted`, `before` and `refuse`, and puts `FAKES` into `torch.cuda`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves, tree_map


@dataclass(frozen=True)
class Address:
    """A tensor over memory that lay there before the capture: where and in what shape; it does not keep it."""

    memory: StorageWeakRef
    at: int
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @staticmethod
    def of(x: torch.Tensor) -> Address:
        storage = x.untyped_storage()
        return Address(
            StorageWeakRef(storage),
            storage.data_ptr(),
            x.dtype,
            tuple(x.shape),
            tuple(x.stride()),
            x.storage_offset(),
        )

    def tensor(self) -> torch.Tensor:
        if self.memory.expired():
            raise RuntimeError(f"a replay reads memory that was freed: {self.dtype}, {self.size}")
        storage = torch.UntypedStorage._new_with_weak_ptr(self.memory.cdata)
        return torch.empty(0, dtype=self.dtype).set_(storage, self.offset, self.size, self.stride)


@dataclass(frozen=True)
class Operator:
    """One of a graph: `args` and `kwargs` hold addresses or the graph's own memory, `made` what it writes anew."""

    name: str
    func: Callable[..., Any]
    args: Any
    kwargs: Any
    made: list[torch.Tensor | None]


@dataclass
class Tape:
    """What a graph repeats.

    own      its memory: made while it was captured, by where it begins
    changed  what it changed of other memory, as that was before
    """

    operators: list[Operator] = field(default_factory=list)
    own: dict[int, torch.UntypedStorage] = field(default_factory=dict)
    changed: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = field(default_factory=dict)
    spoilt: bool = False

    def placed(self, x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        return x if x.untyped_storage().data_ptr() in self.own else Address.of(x)

    def sign(self) -> list[Any]:
        """What must be the same from capture to capture: operators, numbers, where outer memory lies, shapes."""

        def said(x: Any) -> Any:
            if isinstance(x, Address):
                return (x.at, x.dtype, x.size, x.stride, x.offset)
            return (x.dtype, tuple(x.shape)) if isinstance(x, torch.Tensor) else x

        return [(o.name, [said(x) for x in tree_leaves((o.args, o.kwargs))]) for o in self.operators]


@dataclass
class State:
    """Of the device: which stream is current, what is being captured, whether the allocator thinks so."""

    streams: list[Stream] = field(default_factory=list)
    tape: Tape | None = None
    underway: int = 0
    sync: int = 0
    graphs: int = 0  # that were launched
    broken: str = ""  # what the next captures fail with, at their end
    tapes: list[Tape] = field(default_factory=list)  # of all captures that ended well


class Stream:
    def __init__(self, device: object = None) -> None:
        pass

    def wait_stream(self, other: Stream) -> None:
        pass


STATE = State()


def clear() -> State:
    """The device as it is at the start of a process."""
    STATE.__init__([Stream()])  # type: ignore[misc]
    return STATE


# ---- what the shadow device tells


def refuse(what: str) -> None:
    """Something that no graph can hold: a wait, or a copy from the host."""
    if STATE.tape is None:
        return
    if STATE.sync == 2 and "copy" not in what:
        raise RuntimeError(f"called a synchronizing CUDA operation ({what})")
    STATE.tape.spoilt = True
    raise RuntimeError(f"operation not permitted when stream is capturing ({what})")


def before(func: Any, args: Any, kwargs: Any) -> None:
    """Keep what an operator is about to change of memory that is not the graph's own."""
    if STATE.tape is None:
        return
    for argument, value in zip(func._schema.arguments, args, strict=False):
        _keep(argument, value)
    for argument in func._schema.arguments:
        if argument.name in kwargs:
            _keep(argument, kwargs[argument.name])


def _keep(argument: Any, value: Any) -> None:
    tape = STATE.tape
    if tape is None or argument.alias_info is None or not argument.alias_info.is_write:
        return
    for x in tree_leaves(value):
        storage = x.untyped_storage()
        at = storage.data_ptr()
        if at not in tape.own and at not in tape.changed:
            tape.changed[at] = (storage, storage.clone())


def noted(name: str, func: Any, args: Any, kwargs: Any, out: Any, *, empty: bool) -> None:
    """An operator ran, on tensors of the host that stand for the device's; `empty`: it put no numbers in."""
    tape = STATE.tape
    if tape is None:
        return
    given = {
        x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)
    }
    made = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
    placed = tree_map(tape.placed, (args, kwargs))
    fresh = [None if x.untyped_storage().data_ptr() in given else x for x in made]
    for x in fresh:
        if x is not None:
            tape.own[x.untyped_storage().data_ptr()] = x.untyped_storage()
    # a view changes nothing and makes nothing: where it lies is told by who reads it
    if not empty and (any(x is not None for x in fresh) or _mutates(func)):
        tape.operators.append(Operator(name, func, *placed, fresh))


def _mutates(func: Any) -> bool:
    schema = getattr(func, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def computed(func: Any, *args: Any, **kwargs: Any) -> Any:
    """What an operator gives; also of the one that CPUs lack, by the rules that CUDA has for it."""
    if func is not torch.ops.aten.mm.dtype:
        return func(*args, **kwargs)
    a, b, dtype = args
    if a.dtype is not b.dtype or a.dtype not in (torch.float16, torch.bfloat16) or dtype is not torch.float32:
        raise RuntimeError("out_dtype must be the same as input dtype or fp32 for fp16/bf16 inputs")
    return a.float() @ b.float()  # products of short numbers are exact in fp32


# ---- torch.cuda's own names


class Graph:
    """`torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.tape: Tape | None = None

    def replay(self) -> None:
        assert self.tape is not None and STATE.tape is None
        STATE.graphs += 1
        for operator in self.tape.operators:
            args, kwargs = tree_map(_there, (operator.args, operator.kwargs))
            found = computed(operator.func, *args, **kwargs)
            found = [x for x in tree_leaves(found) if isinstance(x, torch.Tensor)]
            for x, new in zip(operator.made, found, strict=True):
                if x is not None:
                    x.copy_(new)


def _there(x: Any) -> Any:
    return x.tensor() if isinstance(x, Address) else x


class Capture:
    """`torch.cuda.graph`, as torch 2.11 writes it: where the end fails, the stream stays."""

    def __init__(
        self, graph: Graph, pool: object = None, stream: Any = None, capture_error_mode: str = "global"
    ):
        self.graph, self.stream = graph, stream
        assert capture_error_mode == "thread_local"

    def __enter__(self) -> None:
        assert STATE.tape is None
        if STATE.underway:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")
        STATE.streams.append(self.stream)
        assert self.stream is not STATE.streams[0], "captured on the default stream"
        STATE.tape, STATE.underway = Tape(), 1

    def __exit__(self, *_: object) -> None:
        tape, STATE.tape = STATE.tape, None
        assert tape is not None
        for storage, was in tape.changed.values():
            storage.copy_(was)
        for storage in tape.own.values():
            storage.fill_(255)  # nothing was computed: NaN, and places that are nowhere
        if tape.spoilt:
            raise RuntimeError("operation failed due to a previous error during capture")
        STATE.underway = 0
        if STATE.broken:
            raise RuntimeError(STATE.broken)
        STATE.streams.pop()
        STATE.tapes.append(tape)
        self.graph.tape = tape


@contextmanager
def on_stream(stream: Stream) -> Iterator[None]:
    depth = len(STATE.streams)
    STATE.streams.append(stream)
    try:
        yield
    finally:
        del STATE.streams[depth:]


def _set_sync(mode: int | str) -> None:
    STATE.sync = {"default": 0, "warn": 1, "error": 2}.get(mode, mode)  # type: ignore[arg-type, assignment]


FAKES: dict[str, Any] = {
    "CUDAGraph": Graph,
    "graph": Capture,
    "Stream": Stream,
    "stream": on_stream,
    "current_stream": lambda device=None: STATE.streams[-1],
    "get_sync_debug_mode": lambda: STATE.sync,
    "set_sync_debug_mode": _set_sync,
}
