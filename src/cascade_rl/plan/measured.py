"""What runs that were made say for a plan: how near to the limit each phase came, and how long replies were.

From the run directory alone (timings.jsonl, journal.jsonl), against the rates that each process measured when
it began. A stage's first step stands apart: kernels are compiled and memory is taken in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.plan.lengths import Measured, measured
from cascade_rl.report.read import read_run, require_run
from cascade_rl.report.records import Run, Stage
from cascade_rl.report.values import as_mapping, number, text
from cascade_rl.run.journal import read_lines

PARTS = {"rollout": ("prefill", "decode"), "update": ("update",)}


@dataclass(frozen=True, slots=True)
class Rate:
    """Seconds a phase takes: its least time over `fraction`, and `fixed` seconds a pass beside it.

    A pass is an iteration of decoding, or an update: what Python and calls of kernels cost at any size.
    """

    fraction: float
    fixed: float = 0.0

    def seconds(self, bound: float, passes: float) -> float:
        """For work whose least time is `bound` seconds, in so many passes."""
        return bound / self.fraction + self.fixed * passes


@dataclass(frozen=True, slots=True)
class Taken:
    """A phase of one step: seconds, the least that the cost model allows, and the passes of one worker."""

    seconds: float
    bound: float
    passes: float


def taken(timings: Iterable[Mapping[str, Any]], phase: str) -> list[Taken]:
    """The steps after the first that say what they did in a phase, in order."""
    found, workers = [], 1.0
    for row in timings:
        workers = number(as_mapping(row.get("peaks")).get("workers")) or workers
        seconds = number(as_mapping(row.get("seconds")).get(phase))
        work = as_mapping(row.get("work"))
        done = [as_mapping(work.get(part)) for part in PARTS[phase] if part in work]
        bounds = [number(part.get("bound_s")) for part in done]
        if row.get("step") and seconds and done and None not in bounds:
            # a model without a cache writes no passes of an update: each is one
            passes = sum(number(part.get("passes")) or 0.0 for part in done) / workers
            found.append(Taken(seconds, math.fsum(b or 0.0 for b in bounds), passes or 1.0))
    return found


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def rate(steps: Sequence[Taken]) -> Rate | None:
    """The fraction of the limit and the fixed seconds a pass by least squares, neither negative.

    Where all steps are alike the two can't be told apart, and a negative one is noise: then all is
    fraction. None without a step.
    """
    if not steps:
        return None
    bounds, passes, seconds = ([getattr(s, key) for s in steps] for key in ("bound", "passes", "seconds"))
    alone = Rate(math.fsum(bounds) / math.fsum(seconds))
    bb, bp, pp = _dot(bounds, bounds), _dot(bounds, passes), _dot(passes, passes)
    tb, tp = _dot(seconds, bounds), _dot(seconds, passes)
    determinant = bb * pp - bp * bp
    if determinant <= 1e-6 * bb * pp:
        return alone
    slope, fixed = (tb * pp - tp * bp) / determinant, (tp * bb - tb * bp) / determinant
    return Rate(1 / slope, fixed) if slope > 0 and fixed > 0 else alone


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A run that was made, its stages' timings by name."""

    run: Run
    timings: Mapping[str, Sequence[Mapping[str, Any]]]

    def stage(self, name: str) -> Stage | None:
        """A stage of this name, if the run has got so far."""
        return next((stage for stage in self.run.stages if stage.name == name), None)

    @property
    def name(self) -> str:
        """As the recipe says."""
        return self.run.name

    @property
    def device(self) -> str:
        """What it computed on, `cpu` or `cuda`; empty where it does not say."""
        return text(self._machine().get("device"))

    @property
    def named(self) -> str:
        """What the processor or GPU calls itself; empty where the run does not say."""
        return text(self._machine().get("name"))

    @property
    def peaks(self) -> Mapping[str, float]:
        """The rates that were measured when the run began, of all workers; empty where it does not say."""
        rows = (as_mapping(row.get("peaks")) for each in self.timings.values() for row in each)
        found = next((row for row in rows if row), {})
        return {name: rate for name, raw in found.items() if (rate := number(raw)) is not None}

    @property
    def machine(self) -> str:
        """The processor or GPU and how many worked, else what they reached together."""
        count = f"{self.peaks.get('workers', 1):.0f} workers"
        reached = f"{self.peaks.get('flops', 0.0) / 1e9:,.0f} GFLOP/s"
        return f"{self.named or reached}, {count}"

    def _machine(self) -> Mapping[str, Any]:
        rows = (as_mapping(row.get("machine")) for each in self.timings.values() for row in each)
        return next((row for row in rows if row), {})

    def lengths(self, name: str, limit: int, *, of_all: bool = False) -> Measured | None:
        """How long the replies of a stage were in the steps with this limit; None if there were none.

        `of_all`: in all of its steps, whatever their limit.
        """
        stage = self.stage(name)
        steps = list(stage.steps) if stage else []
        if not of_all:
            # as train/rl.py names a phase
            steps = [step for step in steps if step.phase.startswith(f"{limit} tokens")]
        said = f"measured: {self.run.name}, {name}, {len(steps)} steps"
        return measured([step.metrics for step in steps], limit, said)

    def trained(self, name: str) -> float | None:
        """Tokens of an update of a stage, prompts and replies; None where no step says."""
        return self._mean_tokens(name, "update")

    def prompts(self, name: str) -> float | None:
        """Tokens of a prompt of an RL stage; None where no step says."""
        stage = self.stage(name)
        read = self._mean_tokens(name, "prefill")
        asked = (
            number(as_mapping(stage.description.get("settings")).get("prompts_per_step")) if stage else None
        )
        # each is read once a round, however many replies there are to it
        return read / asked / fmean(_rounds(stage)) if stage and read and asked and stage.steps else None

    def rounds(self, name: str) -> float | None:
        """How often as many replies are drawn as are trained on; None for a stage without steps."""
        stage = self.stage(name)
        return fmean(_rounds(stage)) if stage and stage.steps else None

    def signal(self, name: str) -> float | None:
        """The share of a stage's groups whose replies differed in reward; None where no step says."""
        stage = self.stage(name)
        known = [step.metrics["signal"] for step in stage.steps if "signal" in step.metrics] if stage else []
        return fmean(known) if known else None

    def _mean_tokens(self, name: str, part: str) -> float | None:
        done = [as_mapping(as_mapping(row.get("work")).get(part)) for row in self.timings.get(name, ())]
        tokens = [found for one in done if (found := number(one.get("tokens")))]
        return fmean(tokens) if tokens else None

    def rates(self) -> dict[str, Rate]:
        """Of `rollout` and `update`, over all stages; a phase that no step tells of is left out."""
        found = {}
        for phase in PARTS:
            steps = [step for stage in self.run.stages for step in taken(self.timings[stage.name], phase)]
            if known := rate(steps):
                found[phase] = known
        return found


def _rounds(stage: Stage) -> list[float]:
    return [step.metrics.get("rounds", 1.0) for step in stage.steps]


def read_measured(run_dir: Path) -> MeasuredRun:
    """The run in a directory; InputError when it is none."""
    require_run(run_dir)
    run = read_run(run_dir)
    if not run.stages:
        raise InputError(f"{run_dir} has trained no stage yet: nothing is measured there")
    timings = {s.name: list(read_lines(run_dir / "stages" / s.folder / "timings.jsonl")) for s in run.stages}
    return MeasuredRun(run, timings)
