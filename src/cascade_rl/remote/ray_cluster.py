"""A Ray cluster that works for a run: its nodes, what they are told, and the end of it.

What is covered
- a node that is lost, whenever: what it held is made again elsewhere, and each call is answered once
- a node that joins is used from then on; one that would give other verdicts, or keeps programs in less well
  than was said at the start, is left out, and standard error says so
- no node for `patience_s`, or no cluster any more: ClusterLost, and no verdict at all

What is not
- a call under which three nodes were lost is a crash (a null verdict): it may be what loses them
- Ray's own network is open to whoever reaches it (docs/scale.md)

Only the process of `ray_dealer` imports Ray: neither this one nor what it trains depends on its health.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from cascade_rl.errors import ClusterLost, InputError, Mendable, SandboxUnavailable
from cascade_rl.protocols import Standing
from cascade_rl.remote.ray_dealer import Told
from cascade_rl.remote.ray_link import Link
from cascade_rl.remote.ray_wire import Head

AGAIN = "; no verdict was given for it: start the cluster and give the same command again"


def aloud(text: str) -> None:
    """Say something of the cluster on standard error."""
    print(f"ray: {text}", file=sys.stderr, flush=True)


def check_address(address: str) -> None:
    """Raise InputError for an address that can't be one, or where Ray is not installed."""
    host, colon, port = address.rpartition(":")
    if address not in ("local", "auto") and not (host and colon and port.isdecimal() and "/" not in address):
        raise InputError(
            f"--ray {address}: give the HOST:PORT of a Ray cluster's head that this machine has joined, "
            "`auto` (what RAY_ADDRESS or a node on this machine says), or `local`"
        )
    if importlib.util.find_spec("ray") is None:
        raise InputError("--ray needs the extra ray: pip install 'cascade-rl[ray]'")


@dataclass(frozen=True, slots=True)
class NodeAtWork:
    """A node that took part: its name, its workers of each kind, the process of its actor, its sandbox."""

    name: str
    workers: int
    pid: int
    standing: Standing | None


class RayCluster:
    """A Ray cluster that works for this process; a context manager, ended by `close`.

    told    what is asked of it
    heard   is told what a person should know: nodes that are lost or left out
    joined  is told how many workers of each kind there are, whenever a node begins to take part

    Raises InputError without Ray, SandboxUnavailable where no node isolates programs, ClusterLost where no
    node can be used.
    """

    def __init__(
        self,
        told: Told,
        heard: Callable[[str], None] = aloud,
        joined: Callable[[int], None] = lambda workers: None,
    ) -> None:
        check_address(told.address)
        self._told, self._heard, self._joined = told, heard, joined
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[bytes]] = {}
        self._number = 0
        self._gone: Exception | None = None
        self._closing = False
        self.counts: Mapping[str, int] = {}
        self.nodes: list[NodeAtWork] = []
        self._link = Link(told)
        ready: Future[None] = Future()
        self._reader = threading.Thread(target=self._read, args=(ready,), name="ray", daemon=True)
        self._reader.start()
        try:
            ready.result()
        except (Mendable, KeyboardInterrupt):
            self.close()
            raise

    @property
    def losses(self) -> Mapping[str, int]:
        """Nodes lost so far, and calls that were made again for it."""
        return {
            "ray_nodes_lost": self.counts.get("lost_nodes", 0),
            "ray_calls_again": self.counts.get("calls_again", 0),
        }

    def weakest(self) -> Standing | None:
        """The weakest level of a node's sandbox that took part so far, and where it is; None without any."""
        found = [(node.name, node.standing) for node in list(self.nodes) if node.standing]
        if not found:
            return None
        name, weakest = max(found, key=lambda one: self._told.levels.index(one[1].level))
        levels = [standing.level for _, standing in found]
        better = [
            f"{levels.count(level)} at {level}" for level in dict.fromkeys(levels) if level != weakest.level
        ]
        where = f"weakest of {len(found)} Ray nodes is {name}, {', '.join(better)}"
        alike = f"{len(found)} Ray node{'s' * (len(found) > 1)}"
        return Standing(weakest.level, f"{weakest.walls}; {where if better else alike}", weakest.advice)

    def submit(self, kind: str, blob: bytes) -> Future[bytes]:
        """What a node answers; the future raises ClusterLost when there is no cluster any more."""
        future: Future[bytes] = Future()
        with self._lock:
            if self._gone:
                raise self._gone
            self._number += 1
            number = self._number
            self._waiting[number] = future
            # from here on nobody can cancel it: an answer comes, and has to find it
            future.set_running_or_notify_cancel()
        self._link.tell({"jobs": [[number, kind]]}, [blob])
        return future

    def close(self) -> None:
        """End what works for this process; calls under way end with ClusterLost."""
        self._closing = True
        self._link.hang_up()
        self._reader.join()
        self._link.close()

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, ready: Future[None]) -> None:
        """Hear what comes until there is nothing more; then nobody waits any longer."""
        said: Exception | None = None
        while said is None and (heard := self._link.hear()) is not None:
            said = self._hear(*heard, ready)
        if said is None:
            said = ClusterLost(self._ending())
        with self._lock:
            self._gone = said
            waiting = list(self._waiting.values())
            self._waiting.clear()
        for future in waiting:
            future.set_exception(said)
        if not ready.done():
            ready.set_exception(said)

    def _hear(self, head: Head, blobs: Sequence[bytes], ready: Future[None]) -> Exception | None:
        """One message; the error that ends everything, if it is one."""
        if "counts" in head:
            self.counts = head["counts"]
        for number, blob in zip(head.get("done", ()), blobs, strict=True):
            with self._lock:
                future = self._waiting.pop(number, None)
            if future:
                future.set_result(blob)
        if "node" in head:
            self._join(head["node"])
        if "note" in head and not self._closing:
            self._heard(head["note"])
        if "ready" in head:
            ready.set_result(None)
        if "gone" in head:
            return SandboxUnavailable(head["gone"]) if head["refused"] else ClusterLost(head["gone"] + AGAIN)
        return None

    def _join(self, said: Mapping[str, Any]) -> None:
        standing = Standing(said["level"], said["walls"], tuple(said["advice"])) if "level" in said else None
        self.nodes.append(NodeAtWork(said["name"], said["workers"], said["pid"], standing))
        self._joined(sum(node.workers for node in self.nodes))

    def _ending(self) -> str:
        """Why the dealer ended, as far as it is known."""
        if self._closing:
            return "the Ray cluster was closed"
        return f"the Ray cluster {self._told.address} is lost: {self._link.last_words()}{AGAIN}"
