"""Work that a GPU does again and again, launched all at once: captured as a CUDA graph, then replayed.

A decode step launches a thousand kernels, and each costs the host some 5 microseconds: more than many of them
run. A graph is launched once, but repeats its kernels to the letter: on the memory and with the numbers that
they were captured with. So captured work finds what changes on the device, where it left it, asks the device
nothing and takes nothing of the host's. What could not be captured is done as it is written, with the same
results. Nothing of this has run on a GPU; tests/shadow_graphs.py replays on a CPU what a graph would repeat.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Generic, TypeVar

import torch

T = TypeVar("T")

# So often work is done as it is written before it is captured. To capture costs the host about four such
# times (once to call all operators, once or twice to build the graph, once to wait and to free memory), and a
# replay saves about half of one: so many replays earn it. How often a step comes again depends on replies
# that nobody knows; who waits until the cost would have been earned spends at most twice what the best choice
# made beforehand would.
PLAIN = 8


class Graphs:
    """The CUDA graphs of a device.

    `fault` says why there are none any more: what failed once is not tried again in this process.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.fault = device, ""
        # One for all captures: cuBLAS keeps a workspace of 32 MB for each stream that it was called on.
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch gives it no types

    def aside(self, work: Callable[[], T]) -> T:
        """Do the work on the stream of the captures; handles and workspaces can't be made inside of one."""
        main = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(main)
        with torch.cuda.stream(self.stream):
            found = work()
        main.wait_stream(self.stream)
        return found

    def capture(self, work: Callable[[], T]) -> tuple[torch.cuda.CUDAGraph, T] | None:
        """The graph of the work, which is not done thereby, and where it will put its result.

        None if it can't be captured: then `fault` says why, and a warning has.
        """
        # Memory of its own, and not a handle that outlives its graphs: torch's allocator refuses to capture
        # into a pool whose graphs are all gone. `torch.cuda.graph` begins by freeing what no graph holds.
        graph = torch.cuda.CUDAGraph()
        try:
            # the outer one sets the stream back: the inner does not where the end of a capture fails
            with torch.cuda.stream(self.stream):
                # errors of this thread alone end it: others may free memory meanwhile
                mode = "thread_local"
                with torch.cuda.graph(graph, stream=self.stream, capture_error_mode=mode), _waits_raise():
                    found = self._first_fault(work)
        # of CUDA, of its memory, of an operator that waits; a fault of the work itself comes again where it
        # is done as it is written
        except RuntimeError as error:
            self.fault = self.fault or str(error)
            warnings.warn(
                f"decoding goes on without CUDA graphs, slower and with the same replies: {self.fault}",
                RuntimeWarning,
                stacklevel=2,
            )
            return None
        return graph, found

    def _first_fault(self, work: Callable[[], T]) -> T:
        # what a spoilt capture raises at its end says nothing of why
        try:
            return work()
        except RuntimeError as error:
            self.fault = str(error)
            raise


@contextmanager
def _waits_raise() -> Iterator[None]:
    """Inside, what would wait for the device raises before CUDA hears of it.

    Heard of, it would spoil the capture, and torch's allocator would take it for one that goes on for ever.
    """
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that it may overlook a wait: then the capture fails
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@cache
def graphs_of(device: torch.device) -> Graphs | None:
    """The one `Graphs` that this process has for a device; None for one that has no graphs."""
    return Graphs(device) if device.type == "cuda" else None


class Replayed(Generic[T]):
    """Work that is done again and again, replayed once it has come often enough.

    `captures` counts its graphs, of which there is one at a time. Without `graphs` it is only ever done.
    """

    def __init__(self, graphs: Graphs | None) -> None:
        self.captures = 0
        self._graphs, self._times, self._replays = graphs, 0, 0
        self._captured: tuple[torch.cuda.CUDAGraph, T] | None = None

    def __call__(self, work: Callable[[], T]) -> T:
        """Its result, which holds until the next time; `work` is given each time, and always the same."""
        if self._captured is not None:
            graph, found = self._captured
            graph.replay()
            self._replays += 1
            return found
        if self._graphs is None or self._graphs.fault:
            return work()
        if self._times < PLAIN:
            self._times += 1
            # the last time before it is captured, where it will be
            return work() if self._times < PLAIN else self._graphs.aside(work)
        self._captured = self._graphs.capture(work)
        self.captures += self._captured is not None
        return self(work)

    def moved(self) -> None:
        """Some of its memory is another from now on: a graph is let go with all that it holds."""
        # work that came often enough where it was is taken to do so again, and captured at once
        self._times = PLAIN - 1 if self._replays >= PLAIN else 0
        self._captured, self._replays = None, 0
