"""A server from its model to its end: answers until it is asked to stop, then completes what it can."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from cascade_rl.errors import InputError
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.rollout.world import World
from cascade_rl.serve.app import Server, Told
from cascade_rl.serve.batches import Batches
from cascade_rl.serve.completions import Served

GRACE_S = 10.0  # after the first Ctrl-C; what is not complete by then is told that it will not be


class Listener(uvicorn.Server):
    """uvicorn's, that tells what it does on a signal and does not send itself the signal again."""

    def __init__(self, config: uvicorn.Config, batches: Batches, told: Told) -> None:
        super().__init__(config)
        self.should_exit = False
        self.batches, self.told = batches, told
        self.signal: int | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first stops to take requests, the second gives up those that are open."""
        if self.signal is None and self.batches.requests:
            self.told(
                f"stopping: {self.batches.requests} still to answer, {GRACE_S:.0f} s (once more: at once)"
            )
        again = self.signal is not None
        self.signal = self.signal or sig
        asyncio.get_running_loop().call_soon_threadsafe(self.stop, again)

    def stop(self, at_once: bool = False) -> None:
        """Take no more requests; answer those that are open within the grace, or say at once that it ends."""
        self.should_exit = True
        self.batches.closed = True  # uvicorn looks ten times a second, and takes connections until then
        asyncio.get_running_loop().call_later(0 if at_once else GRACE_S, self.batches.dismiss)


@contextmanager
def served(world: World, name: str) -> Iterator[Served]:
    """An open world with the thread that decodes requests for it."""
    if not isinstance(world.sampler, TorchSampler):
        raise InputError("only our own sampler hands out tokens as they come")
    batches = Batches(world.sampler)
    try:
        yield Served(name, world.tokenizer, batches, world.config.max_positions)
    finally:
        batches.close()


def listener_of(found: Served, key: str | None, told: Told) -> Listener:
    """A server of the routes, to be run over a socket."""
    app = Server(found, key, told).app()
    # the last setting: a client that does not read its reply can't hold the end up
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="none",
        http="h11",
        loop="asyncio",
        timeout_graceful_shutdown=int(GRACE_S) + 5,
    )
    return Listener(config, found.batches, told)


def answer(found: Served, listening: socket.socket, key: str | None, told: Told) -> signal.Signals:
    """Serve until a signal comes; which one."""
    listener = listener_of(found, key, told)
    listener.run(sockets=[listening])
    return signal.Signals(listener.signal or signal.SIGINT)
