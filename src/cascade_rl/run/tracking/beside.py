"""The run's side of its trackers: processes started, what they say handed on, a bounded wait at the end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cascade_rl.errors import Interrupted, NoRoom
from cascade_rl.run.files import Saving
from cascade_rl.run.tracking.follower import FAILED, GRACE_S, LATE, PATIENT, rest_of
from cascade_rl.run.tracking.sent import mark_fault, sent_path

Note = Callable[[str], None]


class _Beside:
    """A process that follows the run; nothing here waits for it but `join`."""

    def __init__(self, run: Path, name: str, note: Note, patient: bool) -> None:
        self._run, self._name, self._note = run, name, note
        self.status: int | None = None
        self._given_up = False  # killed here: one that somebody else killed may look the same
        command = [sys.executable, "-P", "-m", "cascade_rl.run.tracking.follower", str(run), name]
        log = sent_path(run, name).with_suffix(".log")
        with Saving(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as errors:
                self._process = subprocess.Popen(
                    command + [PATIENT] * patient,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    # a Ctrl-C at the terminal is for the run
                    start_new_session=True,
                )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def end(self) -> None:
        """Let it send what is left, and end."""
        if self._process.stdin:
            self._process.stdin.close()

    def join(self, limit: float | None) -> None:
        """Wait until it has ended; after so many seconds it is killed."""
        self._listener.join(limit)
        if self._listener.is_alive():
            self._given_up = True
            self._process.kill()
            self._listener.join()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._note(line.decode(errors="replace").rstrip("\n"))
        self.status = self._process.wait()
        if self.status in (0, FAILED):  # a fault that it has told itself
            return
        if self.status == LATE or self._given_up:
            why = f"has not taken all of the run within {GRACE_S:.0f} s"
        else:
            log = sent_path(self._run, self._name).with_suffix(".log")
            why = f"lost its process ({self.status}, see {log})"
        mark_fault(self._run, self._name, why)
        self._note(f"{self._name} {why}; {rest_of(self._run)}")


@contextmanager
def followed(run: Path, trackers: Sequence[str], note: Note, *, patient: bool = False) -> Iterator[list[str]]:
    """Tell trackers of a run while the context lasts, and at its end of the rest.

    What they have to say, faults included, goes to `note`, from other threads. Without `patient` they have
    ten seconds at the end. The list holds the names of those that failed once the context has ended.
    """
    begun: dict[str, _Beside] = {}
    failed: list[str] = []
    for name in trackers:
        try:
            begun[name] = _Beside(run, name, note, patient)
        except (OSError, NoRoom) as error:  # no room, no process: the run goes on all the same
            note(f"{name} could not be started: {error}")
            failed.append(name)
    at_once = False
    try:
        yield failed
    except KeyboardInterrupt as interrupt:
        # the second Ctrl-C: they end by themselves
        at_once = not isinstance(interrupt, Interrupted)
        raise
    finally:
        for beside in begun.values():
            beside.end()
        for name, beside in begun.items():
            if not at_once:
                beside.join(None if patient else GRACE_S + 2)
                failed += [name] * (beside.status != 0)
