"""What works on a node of a Ray cluster: this package's own verifiers and sandbox, as one actor.

Whatever comes in and goes out is bytes (`remote/ray_wire.py`). A call's deadline is kept here, by the same
code as on one machine, from when a worker takes it. Ray is not imported: `remote/ray_dealer.py` makes an
actor of the class.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cascade_rl
from cascade_rl.errors import SandboxUnavailable
from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.remote.ray_wire import (
    CALL,
    frame,
    from_bytes,
    packed_execution,
    packed_judgement,
    parts,
    program_of,
    to_bytes,
)
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.verify.programs.languages import LANGUAGES

BREATH_S = 5.0  # an answer goes out at least so often, empty if need be: whoever waits knows that we live
# what verdicts rest on beside this package: another version of one may say another word
PACKAGES = (
    "antlr4-python3-runtime", "emoji", "langdetect", "latex2sympy2_extended", "math-verify", "mpmath", "nltk",
    "pytest", "sympy", "syllapy",
)  # fmt: skip


@cache
def likeness() -> dict[str, str]:
    """All that two machines must have in common to give the same verdicts, by name."""
    root = Path(cascade_rl.__file__).parent
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    found = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cascade_rl": digest.hexdigest(),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    for language in LANGUAGES.values():
        if language.compile:
            found[language.compile[0]] = _compiler(language.compile[0])
    return found


def _compiler(name: str) -> str:
    """The first line of what a compiler says of its version."""
    path = shutil.which(name)
    if path is None:
        return "absent"
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
    return done.stdout.partition("\n")[0].strip()


class Node:
    """The services on one node; made in the process of a Ray actor, which ends with it.

    options  JSON: `needs` (of `verifiers`, `sandbox`), `workers` of each, `unsafe`
    """

    def __init__(self, options: bytes) -> None:
        said = from_bytes(options)
        needs, workers = said["needs"], said["workers"]
        self._verifiers = ProcessVerifiers(workers) if "verifiers" in needs else None
        self._sandbox = ZygoteSandbox(workers, unsafe=said["unsafe"]) if "sandbox" in needs else None
        self._done: list[tuple[int, bytes]] = []
        self._some = asyncio.Event()
        # a task that nobody holds may be collected before it ends
        self._tasks: set[asyncio.Task[None]] = set()

    async def hello(self) -> bytes:
        """What this node is like, and the sandbox's level or why there is none."""
        told: dict[str, Any] = {"likeness": await asyncio.to_thread(likeness), "pid": os.getpid()}
        if self._sandbox:
            try:
                standing = await asyncio.to_thread(self._sandbox.start)
            except SandboxUnavailable as error:
                told["refused"] = str(error)
            else:
                told |= {"level": standing.level, "walls": standing.walls, "advice": list(standing.advice)}
        return to_bytes(told)

    async def take(self, data: bytes) -> None:
        """Begin the calls and programs of a frame."""
        head, blobs = parts(data)
        for (number, kind), blob in zip(head["jobs"], blobs, strict=True):
            task = asyncio.create_task(self._one(number, kind, blob))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def given(self) -> bytes:
        """A frame of what has ended since it was asked last; waits until something has, for a while."""
        try:
            await asyncio.wait_for(self._some.wait(), BREATH_S)
        except TimeoutError:
            pass
        done, self._done = self._done, []
        self._some.clear()
        head = {"done": [number for number, _ in done], "counts": self._counts()}
        return frame(head, [result for _, result in done])

    async def _one(self, number: int, kind: str, blob: bytes) -> None:
        try:
            result = await (self._call(blob) if kind == CALL else self._run(blob))
        except Exception as error:  # raised again where it is waited for
            result = to_bytes({"raised": f"{type(error).__name__}: {error}"})
        self._done.append((number, result))
        self._some.set()

    async def _call(self, blob: bytes) -> bytes:
        if self._verifiers is None:
            raise RuntimeError("this node was opened without verifiers")
        function, arguments, deadline_s = from_bytes(blob)
        return packed_judgement(await self._verifiers.call(function, *arguments, deadline_s=deadline_s))

    async def _run(self, blob: bytes) -> bytes:
        if self._sandbox is None:
            raise RuntimeError("this node was opened without a sandbox")
        return packed_execution(await self._sandbox.run(program_of(blob)))

    def _counts(self) -> dict[str, int]:
        """Totals so far."""
        return {
            "replaced": self._verifiers.counts["replaced"] if self._verifiers else 0,
            "respawns": self._sandbox.counters["respawns"] if self._sandbox else 0,
        }
