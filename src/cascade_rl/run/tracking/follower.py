"""The process that tells one tracker of a run: `python -m cascade_rl.run.tracking.follower RUN TRACKER`.

Its standard input is held open by whoever started it: once that ends, however it ended, what the journals
hold is sent and the process ends. What it has to say to people goes to standard output, a line a message;
what the tracker's package prints goes to standard error.
"""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from cascade_rl.errors import NoRoom
from cascade_rl.recipe.reading import stored
from cascade_rl.run.tracking.events import Reading, Rewound, recipe_of
from cascade_rl.run.tracking.sent import Compared, Otherwise, Sent, read_sent, sent_path, write_sent
from cascade_rl.run.tracking.targets import Target, Tracker, open_tracker

POLL_S = 1.0  # how late a tracker is at most, beside its own delay
GRACE_S = 10.0  # what is not sent in this time after the run is sent by `cascade track`
PATIENT = "--patient"  # the argument without which that limit holds
LATE, FAILED = 4, 5  # exit statuses: not all was sent in time; a fault


def rest_of(run: Path) -> str:
    """How to send what a tracker has not had."""
    return f"the journals have all of it, and `cascade track {shlex.quote(str(run))}` sends the rest"


class Say:
    """Says lines to whoever started the process; nobody may be there any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, text: str) -> None:
        try:
            print(" ".join(text.split()), file=self._stream, flush=True)
        except BrokenPipeError:
            pass


class Follower:
    """Sends the events of a run directory to one tracker until it is told that the run has ended."""

    def __init__(self, run: Path, name: str, say: Say) -> None:
        self._run, self._name, self._say = run, name, say
        self._config = recipe_of(run)
        recipe = stored(self._config, str(run / "recipe.yaml"))
        self._project = next((s.project for s in recipe.track if s.to == name), None) or recipe.name
        self._written = read_sent(run, name)  # as it stands in the file
        self._compared = Compared(self._written)
        self._tracker: Tracker | None = None

    def follow(self, ended: threading.Event) -> None:
        """Send all there is, and what comes until the run has ended; raises whatever the tracker raises."""
        self._open(self._compared.sent)
        reading = Reading(self._run)
        while True:
            last = ended.is_set()  # asked before reading: what was written until then is read below
            try:
                self._send(reading)
            except Rewound:
                reading = Reading(self._run)
                self._compared.again()
                continue
            except Otherwise as why:
                self._say(f"{self._name}: {why}: everything is sent anew, to another run")
                self._open(self._compared.sent.anew())
                reading = Reading(self._run)
                continue
            if last:
                break
            ended.wait(POLL_S)
        if self._tracker:
            self._tracker.close()

    def fault(self, error: BaseException) -> str:
        """Record why nothing more is sent; the reason in one line."""
        lines = str(error).strip().splitlines() or ["no reason given"]
        why = f"{type(error).__name__}: {lines[0]}"
        with suppress(OSError, NoRoom):  # on a full disk it is said all the same
            self._write(replace(self._written, fault=why))
        return why

    def _open(self, sent: Sent) -> None:
        """Go on with the tracker's run, or begin another where it has lost what was sent."""
        if self._tracker:
            self._tracker.close()
        sent = replace(sent, fault="")
        self._write(sent)  # the id first: nothing may be sent under one that is lost
        folder = self._run / "track" / self._name
        name = sent.name(self._run)
        self._tracker = open_tracker(self._name, Target(self._project, name, folder, self._config))
        held = self._tracker.held()
        if held is not None and held < sent.events:
            self._say(f"{self._name} no longer has all of {name}: everything is sent anew, to another run")
            return self._open(sent.anew())
        self._say(f"{self._name}: {name} in {self._project}; {self._tracker.where}")
        self._compared = Compared(sent, 0 if held is None else held - sent.events)

    def _send(self, reading: Reading) -> None:
        assert self._tracker is not None
        for told in reading.new():
            number = self._compared.sent.events
            if self._compared.new(told):
                self._tracker.send(number, told.event)
        if self._compared.sent != self._written:
            self._tracker.flush()
            # only now: killed before this line the tracker has events that the record does not know, which
            # it is asked for when it is opened again
            self._write(self._compared.sent)

    def _write(self, sent: Sent) -> None:
        write_sent(self._run, self._name, sent)
        self._written = sent


def main(arguments: Sequence[str]) -> int:
    """Follow a run; the exit status."""
    run, name, patient = Path(arguments[0]), arguments[1], PATIENT in arguments
    os.nice(10)  # training goes first
    say = Say(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    ended = threading.Event()
    threading.Thread(target=_watch, args=(ended, patient), daemon=True).start()
    follower: Follower | None = None
    try:
        with sent_path(run, name).with_suffix(".lock").open("a") as lock:
            # a process of the run before, which was killed, may be sending its last events
            fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if patient else 0))
            follower = Follower(run, name, say)
            follower.follow(ended)
    except BlockingIOError:
        say(f"{name} is being told of {run} by another process, which sends all of it")
        return FAILED
    except Exception as error:
        why = follower.fault(error) if follower else str(error)
        say(f"{name} failed ({why}) and gets nothing more of this run; {rest_of(run)}")
        with suppress(OSError):  # standard error is a file of the run, on a disk that may be full
            traceback.print_exception(error)
            sys.stderr.flush()
        os._exit(FAILED)  # what its package does as Python ends might hang
    return 0


def _watch(ended: threading.Event, patient: bool) -> None:
    """Tell when whoever started the process has ended, or wants it to; then see that it ends in time."""
    parent = os.getppid()
    # the parent is looked at, too: a process that it forked may hold the other end of the pipe
    while os.getppid() == parent:
        if select.select([0], [], [], POLL_S)[0] and not os.read(0, 1):
            break
    ended.set()
    if not patient:
        time.sleep(GRACE_S)
        os._exit(LATE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
