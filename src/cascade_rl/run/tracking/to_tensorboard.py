"""TensorBoard: event files in the run directory, by its own writer, without torch or TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event as Record
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from cascade_rl.run.files import dumps
from cascade_rl.run.tracking.events import Event, Table
from cascade_rl.run.tracking.targets import Target, Tracker


class _TensorBoard:
    """A folder of event files; each event is one record there."""

    def __init__(self, target: Target) -> None:
        folder = target.folder / target.name
        self._held = sum(1 for _ in _records(folder))
        self._writer = EventFileWriter(str(folder))
        self.where = f"see it with: tensorboard --logdir {target.folder}"
        if not self._held:
            # the version that a file begins with is no event, and this one neither: it carries no step
            config = f"```\n{dumps(dict(target.config), indent=1)}\n```"
            self._add(-1, [_text("recipe", config)])

    def held(self) -> int | None:
        return self._held

    def send(self, number: int, event: Event) -> None:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in event.numbers.items()]
        values += [_text(tag, text) for tag, text in event.texts.items()]
        values += [_text(tag, _markdown(table)) for tag, table in event.tables.items()]
        self._add(event.step, values)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _add(self, step: int, values: list[Any]) -> None:
        self._writer.add_event(Record(step=step, wall_time=time.time(), summary=Summary(value=values)))


def _records(folder: Path) -> Iterator[Any]:
    """What the event files hold of events; a torn last record of a process that was killed is left out."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        yield from (r for r in EventFileLoader(str(path)).Load() if r.HasField("summary") and r.step >= 0)


def _text(tag: str, text: str) -> Any:
    tensor = make_tensor_proto([text.encode()], shape=(1,))
    return Summary.Value(tag=tag, metadata=create_summary_metadata(tag, ""), tensor=tensor)


def _markdown(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return text.replace("|", "\\|").replace("\n", "<br>")


def open_tracker(target: Target) -> Tracker:
    """The folder of that name, which a resumed run goes on with by a file more."""
    return _TensorBoard(target)
