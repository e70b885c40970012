"""What a tracker has had of a run: counted for each stage, in a file of the run directory.

Two chains are compared, what was sent and what the journals say now. Where they part, since a stage was begun
anew or its steps came out otherwise after a resume, the tracker's run is left and another one begun.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError, NoRoom
from cascade_rl.run.files import read_record, write_json
from cascade_rl.run.tracking.events import Event, Told


class Otherwise(Exception):
    """The journals contradict what was sent; the message says where."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Events in a row: their stage's key, how many there are, and 16 hex digits of all of them."""

    key: str
    events: int = 0
    digest: str = ""

    def after(self, event: Event) -> Chain:
        """With one more."""
        text = self.digest + event.written()
        return replace(self, events=self.events + 1, digest=hashlib.sha256(text.encode()).hexdigest()[:16])


@dataclass(frozen=True, slots=True)
class Sent:
    """The record of one tracker: its run's id, how many runs it took, the chain of each stage's folder.

    fault  why it gets nothing any more, until it is tried again
    """

    id: str
    attempt: int = 1
    stages: Mapping[str, Chain] = field(default_factory=dict)
    fault: str = ""

    @property
    def events(self) -> int:
        """How many were sent in all."""
        return sum(chain.events for chain in self.stages.values())

    def name(self, run: Path) -> str:
        """What the tracker calls its run: the directory's name, the id, and the number of the attempt."""
        again = f"-{self.attempt}" if self.attempt > 1 else ""
        return f"{run.resolve().name}-{self.id}{again}"

    def anew(self) -> Sent:
        """Nothing sent, to a new run of the tracker."""
        return Sent(self.id, self.attempt + 1)

    def with_one(self, stage: str, chain: Chain) -> Sent:
        """With an event more of a stage."""
        return replace(self, stages={**self.stages, stage: chain})


def sent_path(run: Path, tracker: str) -> Path:
    """Where the record of a tracker lies."""
    return run / "track" / f"{tracker}.json"


def read_sent(run: Path, tracker: str) -> Sent:
    """The record of a tracker; that of one that has had nothing if there is none."""
    path = sent_path(run, tracker)
    found = read_record(path, "id", "attempt", "stages")
    if found is None:
        # not the run directory's path: another run may come to lie there, and this one may be moved
        return Sent(uuid.uuid4().hex[:8])
    try:
        stages = {name: Chain(**chain) for name, chain in found["stages"].items()}
    except (TypeError, AttributeError) as error:
        raise InputError(f"{path} is no record of a tracker ({error}); remove it") from None
    return Sent(found["id"], found["attempt"], stages, found.get("fault", ""))


def write_sent(run: Path, tracker: str, sent: Sent) -> None:
    """Keep the record."""
    stages: dict[str, Any] = {
        name: {"key": chain.key, "events": chain.events, "digest": chain.digest}
        for name, chain in sent.stages.items()
    }
    record = {"run": sent.name(run), "id": sent.id, "attempt": sent.attempt, "stages": stages}
    write_json(sent_path(run, tracker), record | ({"fault": sent.fault} if sent.fault else {}))


def mark_fault(run: Path, tracker: str, why: str) -> None:
    """Keep why a tracker gets nothing more; where even that finds no room it was said on the screen."""
    with suppress(OSError, NoRoom, InputError):
        write_sent(run, tracker, replace(read_sent(run, tracker), fault=why))


def faults(run: Path) -> dict[str, str]:
    """The trackers that have not had all of a run, with the reasons; damaged records are passed over."""
    found: dict[str, str] = {}
    for path in sorted((run / "track").glob("*.json")):
        with suppress(InputError):
            if fault := read_sent(run, path.stem).fault:
                found[path.stem] = fault
    return found


class Compared:
    """The events of one reading from the start, held against those that were sent.

    extra  events that the tracker says it has beyond the record: a process died between sending and writing
    """

    def __init__(self, sent: Sent, extra: int = 0) -> None:
        self.sent, self._extra = sent, extra
        self._now: dict[str, Chain] = {}

    def again(self) -> None:
        """A new reading begins."""
        self._now.clear()

    def new(self, told: Told) -> bool:
        """Whether an event has still to be sent; it counts as sent then. Raises Otherwise."""
        before = self.sent.stages.get(told.stage)
        if before and before.key != told.key:
            raise Otherwise(f"stage {told.stage} was begun anew")
        chain = self._now.get(told.stage, Chain(told.key)).after(told.event)
        self._now[told.stage] = chain
        if before and chain.events <= before.events:
            if chain.events == before.events and chain != before:
                raise Otherwise(f"stage {told.stage} reads otherwise than before")
            return False
        self.sent = self.sent.with_one(told.stage, chain)
        if self._extra > 0:
            self._extra -= 1
            return False
        return True
