"""The process that speaks with a Ray cluster for a run: it deals calls to nodes and hands their answers back.

A process of its own, since Ray ends the process that uses it when a cluster's head is gone, and unpickles
what nodes send when they raise. Here nothing is at stake: the run hears what is wrong, or sees it end.
Started by `ray_link`, over a socket that is open as long as the run is.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.protocols import Execution, Judgement
from cascade_rl.remote.ray_deck import Deck, Job, Seat
from cascade_rl.remote.ray_wire import (
    CALL,
    Head,
    frame,
    from_bytes,
    packed_execution,
    packed_judgement,
    parts,
    receive,
    send,
    to_bytes,
)

CONNECT_S = 10.0  # to reach the head
CLOSE_S = 8.0  # to give the nodes back; where that takes longer, Ray sees the end of this process
SCAN_S = 1.0  # how late a node that joins is seen
START_S = 90.0  # for a node to start its actor, import this package and find its sandbox's level
SILENCE_S = 60.0  # a node gives a sign every five seconds: one that gives none for so long is lost
MOST_STARTS = 4  # of an actor on one node; a node on which it can't live is left out


@dataclass(frozen=True, slots=True)
class Told:
    """What the dealer is started with; JSON on its command line.

    node        the class of the actor, `module:name`
    workers     of each service on a node; None: one a core that is free there
    likeness    what a node must have in common with this machine, by name
    levels      the sandbox's, strongest first
    patience_s  how long calls may wait while there is no node at all
    """

    address: str
    node: str
    needs: Sequence[str]
    workers: int | None
    unsafe: bool
    likeness: Mapping[str, str]
    levels: Sequence[str]
    patience_s: float


class _Refused(Exception):
    """A node that does not take part; the text says why and how to mend it."""


class _Lost(Exception):
    """A node does not answer; the text is what Ray calls that."""


class Actor:
    """An actor on a node: bytes go there, bytes come back."""

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray, self._handle = ray, handle

    def tell(self, method: str, data: bytes) -> None:
        """Send, and wait for nothing: if it does not arrive, what is asked next fails, too."""
        getattr(self._handle, method).remote(data)

    def ask(self, method: str, limit_s: float) -> bytes:
        """The answer of a method; raises _Lost when none comes."""
        try:
            answer: bytes = self._ray.get(getattr(self._handle, method).remote(), timeout=limit_s)
        except self._ray.exceptions.RayError as error:
            last = "".join(str(error).strip().splitlines()[-1:])
            raise _Lost(f"{type(error).__name__}: {last}") from None
        return answer

    def kill(self) -> None:
        """End it, if it is there."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._handle)


class Line:
    """What goes to the run, from any thread."""

    def __init__(self, link: socket.socket) -> None:
        self._stream, self._lock = link.makefile("wb"), threading.Lock()

    def tell(self, head: Head, blobs: Sequence[bytes] = ()) -> None:
        with self._lock, contextlib.suppress(OSError):  # nobody may be there any more; `main` ends then
            send(self._stream, frame(head, blobs))

    def gone(self, text: str, refused: bool = False) -> None:
        """Say why there is no cluster, and end."""
        self.tell({"gone": text, "refused": refused})
        os._exit(1)  # not sys.exit: Ray's threads may wait for what never comes


class Work:
    """What nodes at work hold, and what comes of it."""

    def __init__(self, deck: Deck, line: Line) -> None:
        self.deck, self._line = deck, line
        self._actors: dict[Seat, Actor] = {}
        self._totals: dict[Seat, Mapping[str, int]] = {}
        self._lost = Counter(lost_nodes=0, calls_again=0)

    def last(self, actor: Actor, seat: Seat) -> None:
        """Work with a node until it is lost."""
        self._actors[seat] = actor
        threading.Thread(target=self._feed, args=(actor, seat), daemon=True).start()
        self._collect(actor, seat)

    def close(self) -> None:
        """Give all nodes back to the cluster, and end one that was begun for this process."""
        for actor in tuple(self._actors.values()):
            actor.kill()
        if (ray := sys.modules.get("ray")) and ray.is_initialized():
            ray.shutdown()

    def _feed(self, actor: Actor, seat: Seat) -> None:
        while jobs := self.deck.take(seat):
            head = {"jobs": [[job.number, job.kind] for job in jobs]}
            actor.tell("take", frame(head, [job.blob for job in jobs]))

    def _collect(self, actor: Actor, seat: Seat) -> None:
        """Hand on what a node gives until it gives nothing more."""
        try:
            while not seat.gone:
                head, blobs = parts(actor.ask("given", SILENCE_S))
                self._totals[seat] = head["counts"]
                results = dict(zip(head["done"], blobs, strict=True))
                self._answer({number: results[number] for number in self.deck.done(seat, results)})
        except _Lost as error:
            actor.kill()
            self._lose(seat, error)

    def _lose(self, seat: Seat, error: _Lost) -> None:
        held, given_up = self.deck.lose(seat)
        self._lost.update(lost_nodes=1, calls_again=held - len(given_up))
        what = f"; {held} calls that it held are made again" if held else ""
        self._line.tell({"note": f"node {seat.name} is lost ({error}){what}"})
        results = {job.number: _given_up(job) for job in given_up}
        self._answer(results)

    def _answer(self, results: Mapping[int, bytes]) -> None:
        counts = Counter(self._lost)
        for totals in tuple(self._totals.values()):  # of nodes that are lost, too
            counts.update(totals)
        self._line.tell({"done": list(results), "counts": dict(counts)}, list(results.values()))


class Nodes:
    """The nodes of the cluster: found, opened, worked with and lost."""

    def __init__(self, ray: Any, told: Told, line: Line, work: Work) -> None:
        module, _, name = told.node.partition(":")
        self._ray, self._told, self._line = ray, told, line
        self._actor = ray.remote(getattr(importlib.import_module(module), name))
        self.work = work
        self._at_work: dict[str, threading.Thread] = {}  # by Ray's id of the node
        self._starts: Counter[str] = Counter()
        self._left_out: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._full: set[str] = set()
        # held while it is decided whether a node takes part; places in `levels`, of which more is weaker
        self._door = threading.Lock()
        self._levels: list[int] = []
        self._floor: int | None = None
        self._refused = 0

    def open(self) -> None:
        """Open all nodes that are there; says which, or that there is none."""
        end = time.monotonic() + START_S
        opening = self.scan()
        # a thread lives as long as its node takes part
        while sum(one.is_alive() for one in opening) > len(self.work.deck.seats) and time.monotonic() < end:
            time.sleep(0.02)
        if not self.work.deck.seats:
            why = "; ".join((self._failed | self._left_out).values()) or "none has a free core"
            sandbox = bool(self._left_out) and self._refused == len(self._left_out)
            self._line.gone(f"no node of the Ray cluster {self._told.address} can grade: {why}", sandbox)
        with self._door:
            # from now on no node below the weakest takes part: the run states it
            self._floor = max(self._levels, default=None)
        self._line.tell({"ready": True})

    def scan(self) -> list[threading.Thread]:
        """Begin to open nodes that take no part yet."""
        from ray._private.state import available_resources_per_node

        free = available_resources_per_node()
        opening = []
        for node in self._ray.nodes():
            key, name = node["NodeID"], f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"
            thread = self._at_work.get(key)
            if not node["Alive"] or key in self._left_out or (thread and thread.is_alive()):
                continue
            cores = int(free.get(key, {}).get("CPU", 0))
            if cores < 1:
                # a machine that only takes part to start runs has none by intent
                if node["Resources"].get("CPU") and key not in self._full:
                    self._full.add(key)
                    self._note(f"node {name} has no free core now: it is used once it has")
                continue
            thread = threading.Thread(target=self._work, args=(key, name, cores), daemon=True)
            self._at_work[key] = thread
            thread.start()
            opening.append(thread)
        return opening

    def _work(self, key: str, name: str, cores: int) -> None:
        """A node from its start to its loss."""
        workers = self._told.workers or cores
        self._starts[key] += 1
        seat, actor = Seat(name, workers), self._made(key, workers, min(cores, workers))
        try:
            said = from_bytes(actor.ask("hello", START_S))
            self._check(said)
            self._let_in(seat, said)
        except _Refused as error:
            actor.kill()
            self._leave_out(key, name, str(error))
            return
        except _Lost as error:
            actor.kill()
            why = f"it could not start ({error}); is this package installed there?"
            self._failed[key] = f"{name}: {why}"
            if self._starts[key] >= MOST_STARTS:
                self._leave_out(key, name, why)
            return
        self.work.last(actor, seat)

    def _made(self, key: str, workers: int, cores: int) -> Actor:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(key, soft=False)
        options = {"needs": list(self._told.needs), "workers": workers, "unsafe": self._told.unsafe}
        placed = self._actor.options(
            num_cpus=cores, scheduling_strategy=there, max_restarts=0, max_task_retries=0
        )
        return Actor(self._ray, placed.remote(to_bytes(options)))

    def _check(self, said: Head) -> None:
        """Raise _Refused for a node that would give other verdicts, or keep programs in less well."""
        here, there = self._told.likeness, said["likeness"]
        other = [
            f"{what} {there.get(what)}, here {here[what]}" for what in here if there.get(what) != here[what]
        ]
        if other:
            raise _Refused(f"its verdicts might be others: it has {'; '.join(other)}")
        if "refused" in said:
            self._refused += 1
            raise _Refused(said["refused"])

    def _let_in(self, seat: Seat, said: Head) -> None:
        with self._door:
            if "level" in said:
                level = self._told.levels.index(said["level"])
                if self._floor is not None and level > self._floor:
                    began = self._told.levels[self._floor]
                    raise _Refused(f"its sandbox has the level {said['level']}, and this began at {began}")
                self._levels.append(level)
            self._line.tell({"node": {"name": seat.name, "workers": seat.workers, **_of(said)}})
            self.work.deck.sit(seat)

    def _leave_out(self, key: str, name: str, why: str) -> None:
        self._left_out[key] = f"{name}: {why}"
        self._note(f"node {name} is left out: {why}")

    def _note(self, text: str) -> None:
        self._line.tell({"note": text})


def _of(said: Head) -> Head:
    """What of a node's words goes to the run."""
    return {key: said[key] for key in ("level", "walls", "advice", "pid") if key in said}


def _given_up(job: Job) -> bytes:
    why = f"{job.losses} nodes of the Ray cluster were lost while they worked on it"
    if job.kind == CALL:
        return packed_judgement(Judgement(fault="crash", note=why))
    return packed_execution(Execution("", "", -1, error=why))


def _watch(nodes: Nodes, told: Told, line: Line) -> None:
    """Look for nodes that join, and end where there is none for too long."""
    seen = time.monotonic()
    while True:
        time.sleep(SCAN_S)
        if nodes.work.deck.seats:
            seen = time.monotonic()
        elif time.monotonic() - seen > told.patience_s:
            line.gone(
                f"the Ray cluster {told.address} has had no node that can grade for {told.patience_s:g} s"
            )
        nodes.scan()


def _hear(link: socket.socket, deck: Deck, work: Work) -> None:
    """Take what the run asks for, until it closes the socket or ends; then end, whatever is under way."""
    stream = link.makefile("rb")
    while (data := receive(stream)) is not None:
        head, blobs = parts(data)
        jobs = zip(head["jobs"], blobs, strict=True)
        deck.add(Job(number, kind, blob) for (number, kind), blob in jobs)
    threading.Timer(CLOSE_S, os._exit, (1,)).start()
    work.close()
    os._exit(0)


def _connect(told: Told, line: Line) -> Any:
    """Ray, connected; says why not where it can't be."""
    # read when the library starts: without a head it would wait longer than calls may
    os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = str(max(1, int(told.patience_s)))  # noqa: SIM112
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    address = os.environ.get("RAY_ADDRESS", "auto") if told.address == "auto" else told.address
    where = f"no Ray cluster at {address}" + f" ({told.address})" * (address != told.address)
    if ":" in address:
        # asked here, since Ray goes on asking for many minutes
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), CONNECT_S).close()
        except (OSError, ValueError, OverflowError) as error:
            line.gone(f"{where}: {error}")
    late = threading.Timer(START_S, line.gone, (f"{where}: it does not answer within {START_S:g} s",))
    late.daemon = True
    late.start()
    import ray

    more = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **more)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        line.gone(f"{where}: {' '.join(str(error).split())}")
    late.cancel()
    return ray


def main(descriptor: int, settings: Mapping[str, Any]) -> None:
    """Deal until the run closes the socket."""
    told, link = Told(**settings), socket.socket(fileno=descriptor)
    line, deck = Line(link), Deck()
    work = Work(deck, line)
    threading.Thread(target=_hear, args=(link, deck, work), daemon=True).start()
    nodes = Nodes(_connect(told, line), told, line, work)
    try:
        nodes.open()
        _watch(nodes, told, line)
    except Exception as error:  # the run hears of it and ends; else it would wait for ever
        line.gone(f"the Ray cluster {told.address} does not answer: {type(error).__name__}: {error}")
