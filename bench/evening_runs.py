"""Runs as `bench/evening.py` tells of them: read by the package's own readers, with what each stage trains for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cascade_rl.plan.measured import MeasuredRun, read_measured
from cascade_rl.report.curves import REWARD_MODEL, SFT, kind
from cascade_rl.report.records import Run, Stage
from cascade_rl.report.values import as_list, as_mapping, text
from cascade_rl.scores.matrix import Matrix
from cascade_rl.types import Mode, ModeScore, Scorecard


@dataclass(frozen=True, eq=False)  # one is itself: what is computed of it is kept by that
class Told:
    """A run that is told of. `run.matrix` names an own stage only where a stage has data of the benchmark's domain."""

    folder: Path
    measured: MeasuredRun
    run: Run
    domains: Mapping[str, frozenset[str]]  # of a stage's data
    domain: Mapping[str, str]  # of a benchmark

    @property
    def seed(self) -> str:
        """`seed 0`, as the recipe has it."""
        return f"seed {self.run.recipe.get('seed', 0)}"

    @property
    def matrix(self) -> Matrix:
        """Its scores."""
        return self.run.matrix

    @property
    def stages(self) -> tuple[str, ...]:
        """Rows of its tables: what was scored and has a policy of its own, so not after a reward model."""
        same = {stage.name for stage in self.run.stages if kind(stage) == REWARD_MODEL}
        return tuple(name for name in self.matrix.stages if name not in same)

    @cached_property
    def cards(self) -> dict[str, Scorecard]:
        """By stage."""
        return {stage.name: stage.card for stage in self.run.scored if stage.card}

    @property
    def rewarded(self) -> Iterator[Stage]:
        """Its RL stages that took a step."""
        return (stage for stage in self.run.stages if any("reward" in step.metrics for step in stage.steps))

    def trains(self, stage: str, benchmark: str) -> bool:
        """Whether the stage has data of the benchmark's domain, or is said to be its own."""
        row = next((row for row in self.matrix.rows if row.name == benchmark), None)
        named = row is not None and row.own_stage == stage
        return named or self.domain.get(benchmark, "") in self.domains.get(stage, frozenset())

    @property
    def taught(self) -> str | None:
        """The last stage of SFT that was scored."""
        names = [stage.name for stage in self.run.stages if kind(stage) == SFT and stage.name in self.stages]
        return names[-1] if names else None

    def mode(self, stage: str, benchmark: str, mode: Mode | None = None) -> ModeScore | None:
        """A benchmark's scores after a stage, with its problems, in the headline mode if none is said; None without."""
        row = next((row for row in self.matrix.rows if row.name == benchmark), None)
        card = self.cards.get(stage)
        found = card.benchmarks.get(benchmark) if card else None
        return found.modes.get(mode or row.headline) if found and row else None


def read_told(folder: Path) -> Told:
    """The run in a directory; InputError where there is none, or where it has trained nothing yet."""
    measured = read_measured(folder)
    run = measured.run
    stages = {text(raw.get("name")): raw for raw in map(as_mapping, as_list(run.recipe.get("stages")))}
    benchmarks = {
        text(raw.get("name")): raw for raw in map(as_mapping, as_list(run.recipe.get("benchmarks")))
    }
    domains = {name: frozenset(_domains(raw)) for name, raw in stages.items()}
    domain = {name: text(raw.get("domain")) for name, raw in benchmarks.items()}
    return Told(folder, measured, run, domains, domain)


def _domains(raw: Any) -> Iterator[str]:
    """Every domain that a stage's block names, at any depth: data, phases of a curriculum, a reward model's pairs."""
    if isinstance(raw, Mapping):
        if isinstance(found := raw.get("domain"), str):
            yield found
        for value in raw.values():
            yield from _domains(value)
    for value in as_list(raw):
        yield from _domains(value)
