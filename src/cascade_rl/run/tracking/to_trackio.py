"""Trackio: a local SQLite file, or a server or Space by its own environment variables."""

from __future__ import annotations

import os
import time
import warnings

import trackio
from trackio.sqlite_storage import SQLiteStorage
from trackio.utils import get_storage_mode

from cascade_rl.run.tracking.events import Event
from cascade_rl.run.tracking.targets import Target, Tracker

KEPT_S = 60.0  # how long a local file may take until it has what was logged


class _Trackio:
    """A run of trackio. It never raises by itself: what it only warns of is an error here."""

    def __init__(self, target: Target) -> None:
        # into a list, which its own threads fill, too
        self._warned: list[str] = []
        warnings.showwarning = lambda message, *_: self._warned.append(str(message))
        warnings.simplefilter("always")
        self._project = target.project
        self._run = trackio.init(
            project=target.project,
            name=target.name,
            config=dict(target.config),
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        self.where = f"see it with: trackio show --project {target.project}"
        # what a server has can't be counted from here
        remote = any(os.environ.get(name) for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"))
        self._counts = not remote and get_storage_mode() == "sqlite"
        self._logged = self.held() or 0

    def held(self) -> int | None:
        if not self._counts:
            return None
        return int(SQLiteStorage.get_log_count(self._project, self._run.name, run_id=self._run.id))

    def send(self, number: int, event: Event) -> None:
        values: dict[str, object] = dict(event.numbers)
        values |= {name: trackio.Markdown(text) for name, text in event.texts.items()}
        for name, table in event.tables.items():
            values[name] = trackio.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
        self._run.log(values, step=event.step)
        self._logged += 1
        if event.alarm:
            for text in event.texts.values():
                self._run.alert(text, level=trackio.AlertLevel.WARN, step=event.step)

    def flush(self) -> None:
        # its thread writes twice a second
        limit = time.monotonic() + KEPT_S
        while self._counts and (self.held() or 0) < self._logged and not self._warned:
            if time.monotonic() > limit:
                raise RuntimeError(f"it kept {self.held()} of {self._logged} records")
            time.sleep(0.1)
        if self._warned:
            raise RuntimeError(self._warned[0])

    def close(self) -> None:
        self._run.finish()
        self.flush()


def open_tracker(target: Target) -> Tracker:
    """The run of that name, which a resumed run goes on with."""
    return _Trackio(target)
