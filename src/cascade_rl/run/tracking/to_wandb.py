"""Weights & Biases: its server, or with WANDB_MODE=offline files that `wandb sync` sends later."""

from __future__ import annotations

import wandb

from cascade_rl.run.tracking.events import Event
from cascade_rl.run.tracking.targets import Target, Tracker


class _Wandb:
    """A run of wandb. Its own step is the number of the event: the server refuses one that it has."""

    def __init__(self, target: Target) -> None:
        target.folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(console="off", x_disable_stats=True, save_code=False, silent=True)
        self._run = wandb.init(
            project=target.project,
            id=target.name,
            name=target.name,
            resume="allow",
            dir=str(target.folder.parent),
            config=dict(target.config),
            settings=settings,
        )
        self._offline = bool(self._run.offline)
        # what curves are drawn over
        self._run.define_metric("update")
        self._run.define_metric("*", step_metric="update")
        self.where = f"wandb sync {self._run.settings.sync_dir}" if self._offline else str(self._run.url)

    def held(self) -> int | None:
        # without the server nothing is known of earlier processes
        return None if self._offline else int(self._run.step)

    def send(self, number: int, event: Event) -> None:
        values: dict[str, object] = {"update": event.step, **event.numbers, **event.texts}
        for name, table in event.tables.items():
            values[name] = wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
        self._run.log(values, step=number)
        if event.alarm:
            for text in event.texts.values():
                self._run.alert(title="cascade", text=text, level=wandb.AlertLevel.WARN)

    def flush(self) -> None:
        """Nothing to wait for: a process of wandb's own has it in a file."""

    def close(self) -> None:
        self._run.finish()


def open_tracker(target: Target) -> Tracker:
    """The run of that id, which a resumed run goes on with."""
    return _Wandb(target)
