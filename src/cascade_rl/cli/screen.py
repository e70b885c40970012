"""What a run shows while it works: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cascade_rl.report.numbers import THIN_ARROWS, duration
from cascade_rl.report.terminal import matrix_table
from cascade_rl.scores.as_json import matrix_from_json
from cascade_rl.types import StepReport

NOTHING = ("", 0.0, 0.0)
PLAIN_EVERY_S = 10.0  # where there is no terminal: a log of hours stays readable
# Of the step's metrics those that a person follows: key, label, format.
SHOWN = (
    ("reward", "reward", ".3f"),
    ("loss", "loss", ".3f"),
    ("accuracy", "pairs right", ".2f"),
    ("length", "tokens", ".0f"),
    ("clipped", "clipped", ".0%"),
    ("signal", "signal", ".0%"),
    ("entropy", "entropy", ".2f"),
)


class ConsoleScreen:
    """Shows stage, step, reward, length, clipped share, time left, and what the run waits for."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._live = (
            Live(console=self.console, refresh_per_second=4, transient=True)
            if self.console.is_terminal
            else None
        )
        self._prefix = ""
        self._begin, self._last_plain = time.monotonic(), 0.0
        self._times: list[float] = []
        # what is waited for, since when, and how much of it was done then
        self._waited = NOTHING

    def __enter__(self) -> ConsoleScreen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def stage(self, name: str, index: int, count: int) -> None:
        """A stage begins."""
        self._prefix = f"[{index + 1}/{count}] {name}"
        self._times = []
        self._waited = NOTHING
        self._say(f"{self._prefix}  ({duration(time.monotonic() - self._begin)} so far)")

    def step(self, report: StepReport, total: int, phase: str) -> None:
        """A training step ended."""
        self._times.append(sum(report.seconds.values()))
        self._waited = NOTHING  # an evaluation of the next stage is another wait than that of this one
        # 20 steps: replies get longer or shorter on the way, so old times say little
        recent = self._times[-20:]
        left = sum(recent) / len(recent) * (total - report.step - 1)
        shown = [
            f"{label} {report.metrics[key]:{form}}" for key, label, form in SHOWN if key in report.metrics
        ]
        text = f"{self._prefix}  step {report.step + 1}/{total}  " + "  ".join(shown)
        self._update(
            f"{text}  {phase + '  ' if phase else ''}about {duration(left)} left", report.step + 1 == total
        )

    def waiting(self, what: str, share: float | None = None) -> None:
        """Something other than training takes its time; with `share` how long it goes on is told."""
        now = time.monotonic()
        kind = what.partition(":")[0]  # what follows says how far it is
        if kind != self._waited[0]:
            self._waited = (kind, now, share or 0.0)
        text = f"{self._prefix}  {what} ...".strip()
        if share is not None:
            _, begin, before = self._waited
            # by the pace since it was first told of: what an earlier try had done took no time now
            done = share - before
            left = f", about {duration((now - begin) / done * (1 - share))} left" if done > 0 else ""
            text = f"{text} {share:.0%}{left}"
        self._update(text, False)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._say(f"  {text}")

    def scores(self, found: Mapping[str, Any], verdicts: Mapping[tuple[str, str], str]) -> None:
        """The matrix so far: the newest column in one line; the whole table comes at the end."""
        stage = found["stages"][-1]
        cells = []
        for name, row in found["benchmarks"].items():
            arrow = THIN_ARROWS.get(verdicts.get((stage, name), ""), "")
            score = row["scores"].get(stage)
            cells.append(f"{name} {score['mean'] * 100:.1f}{arrow}" if score else f"{name} not scored")
        told = "  ".join(cells) or "nothing measured"
        self._say(f"  after {stage}: {told}  ({duration(found['seconds'][stage])})")

    def table(self, found: Mapping[str, Any], verdicts: Mapping[tuple[str, str], str]) -> None:
        """The whole matrix, if anything was measured."""
        if not found["benchmarks"]:
            return
        self.console.print(matrix_table(matrix_from_json(found), verdicts))

    def _say(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def _update(self, text: str, last: bool) -> None:
        if self._live:
            # no wrap: a live line that takes two can't be drawn over cleanly
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"))
        elif last or time.monotonic() - self._last_plain >= PLAIN_EVERY_S:
            self._last_plain = time.monotonic()
            self._say(text)
