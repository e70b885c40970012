"""The process of `ray_dealer` as a run sees it: started, written to, read from, ended."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import BinaryIO

from cascade_rl.remote.ray_dealer import Told
from cascade_rl.remote.ray_wire import Head, frame, parts, receive, send

CODE = (
    "import json, sys; path, *rest = json.loads(sys.argv[1]); sys.path[:] = path\n"
    "from cascade_rl.remote.ray_dealer import main; main(*rest)"
)
END_S = 10.0  # for the dealer to end in order


class Link:
    """A dealer at work, until `close`."""

    def __init__(self, told: Told) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        # a file, not a pipe, which would fill up: what Ray prints is shown if it is the last that is heard
        self._printed: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        with theirs:
            arguments = json.dumps([sys.path, theirs.fileno(), asdict(told)])
            self._process = subprocess.Popen(
                [sys.executable, "-c", CODE, arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
                pass_fds=[theirs.fileno()],
                # Ctrl-C on the terminal reaches the run alone, which then stops after its step
                start_new_session=True,
            )
        self._out, self._in = self._socket.makefile("wb"), self._socket.makefile("rb")

    def tell(self, head: Head, blobs: Sequence[bytes]) -> None:
        """Send a frame; one that ended hears nothing, and whoever reads learns of it."""
        with self._lock, contextlib.suppress(OSError):
            send(self._out, frame(head, blobs))

    def hear(self) -> tuple[Head, list[bytes]] | None:
        """The next frame, waited for; None once it has ended. For one thread."""
        data = receive(self._in)
        return None if data is None else parts(data)

    def last_words(self) -> str:
        """What it printed last, once it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._printed.seek(0)
        lines = [line.strip() for line in self._printed.read().decode(errors="replace").splitlines()]
        return " | ".join([line for line in lines if line][-2:]) or "it said nothing"

    def hang_up(self) -> None:
        """Tell it to end, and wait for that; whoever reads sees the end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Close what is left, once nobody reads any more."""
        for stream in (self._in, self._socket, self._printed):
            stream.close()
