"""`Verifiers` and a `Sandbox` on the nodes of a Ray cluster: the same calls, the same answers."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from cascade_rl.errors import ClusterLost
from cascade_rl.protocols import Execution, Judgement, Program, Standing
from cascade_rl.remote.ray_cluster import RayCluster
from cascade_rl.remote.ray_wire import CALL, PROGRAM, execution, judgement, packed_call, packed_program

# most results that are kept for equal programs, and most characters of their outputs
KEPT_RESULTS, KEPT_BYTES = 20_000, 256 << 20


class RayVerifiers:
    """`Verifiers` on the nodes of a cluster."""

    def __init__(self, cluster: RayCluster) -> None:
        self.cluster = cluster

    @property
    def counts(self) -> Mapping[str, int]:
        """Totals of all nodes."""
        return self.cluster.counts

    async def call(self, function: str, *arguments: Any, deadline_s: float = 3.0) -> Judgement:
        """What `module:name` returns for JSON arguments; the deadline runs on the node, from its start."""
        blob = packed_call(function, arguments, deadline_s)
        return judgement(await asyncio.wrap_future(self.cluster.submit(CALL, blob)))


class RaySandbox:
    """A `Sandbox` on the nodes of a cluster. Equal programs run once, whichever node ran the first."""

    def __init__(self, cluster: RayCluster) -> None:
        self.cluster = cluster
        self._standing = cluster.weakest()
        # again by the same thread: an answer may be there before the first who waits
        self._lock = threading.RLock()
        self._results: dict[bytes, Future[bytes]] = {}
        self._kept_bytes = 0

    def standing(self) -> Standing:
        """The weakest node's level; no node below what it was at the start takes part later."""
        if self._standing is None:
            raise ValueError("the cluster was opened without a sandbox")
        return self._standing

    @property
    def counters(self) -> Mapping[str, int]:
        """Zygotes replaced on all nodes."""
        return {"respawns": self.cluster.counts.get("respawns", 0)}

    async def run(self, program: Program) -> Execution:
        """Run to the end or to a limit on some node."""
        # refused here, too: else it would rest on which node it was dealt to
        if program.profile == "tests" and self.standing().level != "full":
            return Execution(
                "",
                "",
                -1,
                error=f"a repository's tests need the level full on all nodes: {self.standing().line}",
            )
        blob = packed_program(program)
        key = hashlib.blake2b(blob, digest_size=20).digest()
        with self._lock:
            future = self._results.get(key)
            if future is None:
                if len(self._results) > KEPT_RESULTS or self._kept_bytes > KEPT_BYTES:
                    self._results.clear()
                    self._kept_bytes = 0
                future = self._results[key] = self.cluster.submit(PROGRAM, blob)
                future.add_done_callback(lambda done: self._settle(key, done))
        # a waiter that gives up must not cancel the run that others wait for
        return execution(await asyncio.shield(asyncio.wrap_future(future)))

    def _settle(self, key: bytes, done: Future[bytes]) -> None:
        """Keep a result for the next time only if it is the program's own, as the sandbox itself does."""
        try:
            found = execution(done.result())
        except (ClusterLost, RuntimeError, ValueError):  # raised where it is waited for
            found = None
        with self._lock:
            if found is None or found.timed_out or found.error:
                self._results.pop(key, None)
            else:
                self._kept_bytes += len(found.stdout) + len(found.stderr)
