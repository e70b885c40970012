"""A plan by a run that was made, of the same recipe or of one with stages of the same names.

Lengths, rounds and speed are that run's where it tells of them; what it is silent on is assumed as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

import torch

from cascade_rl.model.peaks import machine_name
from cascade_rl.plan.efficiency import Efficiency
from cascade_rl.plan.expected import Expected
from cascade_rl.plan.hardware import Hardware
from cascade_rl.plan.lengths import Spread, near_mean
from cascade_rl.plan.measured import MeasuredRun
from cascade_rl.plan.shapes import Shape
from cascade_rl.recipe import Recipe, RLStage
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.recipe.verl import Engine


class Like(Expected):
    """What is expected of a recipe after a run of it."""

    def __init__(self, run: MeasuredRun, recipe: Recipe, stated: Mapping[str, str] | None = None) -> None:
        super().__init__(stated)
        self.run = run
        self._sizes = {stage.name: stage.batch()[1] for stage in recipe.stages}
        self._asking = {stage.name: stage.domains() for stage in recipe.stages if isinstance(stage, RLStage)}

    @property
    def said(self) -> str:
        """Where the answers are from."""
        return f"measured: {self.run.name}"

    def machine(self, found: Hardware) -> Hardware:
        """The hardware at hand with the rates that the run measured, if that was the same machine.

        They were measured while the run began, by the processes that did the work; a moment's probe may meet
        other work on the machine.
        """
        rates, workers = self.run.peaks, self.run.peaks.get("workers", 1.0)
        if not self.run.named or self.run.named != machine_name(torch.device(found.device)) or not rates:
            return found
        # of all cores, as `here` counts a processor; of each GPU
        times = found.cores / workers if found.device == "cpu" else 1 / workers
        return replace(
            found,
            flops=rates["flops"] * times,
            head=rates["head_flops"] * times,
            bytes=rates["bytes"] * times,
            source=f"rates {self.said}; memory that is free now; watts assumed",
        )

    def replies(self, stage: RLStage, limit: int, first: int, end: int) -> Spread:
        """Those of the stage's steps with this limit, else of all of its steps."""
        if stage.name in self.stated:
            return super().replies(stage, limit, first, end)
        found = self.run.lengths(stage.name, limit) or self.run.lengths(stage.name, limit, of_all=True)
        return found or super().replies(stage, limit, first, end)

    def asked(self, benchmark: BenchmarkSpec) -> Spread:
        """As long as the replies of all scorecards in the mean."""
        modes = [
            mode
            for stage in self.run.run.scored
            if stage.card and benchmark.name in stage.card.benchmarks
            for mode in stage.card.benchmarks[benchmark.name].modes.values()
        ]
        known = [mode for mode in modes if mode.mean_tokens > 0]
        if not known:
            return super().asked(benchmark)
        mean, cut = fmean(mode.mean_tokens for mode in known), fmean(mode.clipped for mode in known)
        said = f"{self.said}, {benchmark.name}, {len(known)} times"
        return near_mean(benchmark.max_response_tokens, mean, cut, said)

    def samples(self, stage: str, limit: int) -> Spread:
        """As long as makes the tokens of the stage's updates."""
        tokens, size = self.run.trained(stage), self._sizes.get(stage)
        known = self.run.stage(stage)
        if tokens is None or not size or known is None:
            return super().samples(stage, limit)
        # a pair is one sample whose prompt stands once and whose answer stands twice: 7 quarters
        each = tokens / size / (7 / 4 if known.description.get("kind") == "reward_model" else 1)
        return near_mean(limit, each, 0.0, f"{self.said}, {stage}")

    def prompt(
        self, limit: int, reply: int, positions: int, stage: str = "", domain: str = ""
    ) -> tuple[int, str]:
        """The stage's mean, or that of the RL stages that ask this domain."""
        names = [stage] if stage else [name for name, asked in self._asking.items() if domain in asked]
        known = {name: tokens for name in names if (tokens := self.run.prompts(name)) is not None}
        if not known:
            return super().prompt(limit, reply, positions, stage, domain)
        return max(1, round(fmean(known.values()))), f"{self.said}, {', '.join(known)}"

    def rounds(self, stage: RLStage) -> tuple[float, str]:
        """The stage's mean."""
        found = self.run.rounds(stage.name)
        return super().rounds(stage) if found is None else (found, f"{self.said}, {stage.name}")

    def signal(self, stage: RLStage) -> tuple[float, str]:
        """The stage's mean."""
        found = self.run.signal(stage.name)
        return super().signal(stage) if found is None else (found, f"{self.said}, {stage.name}: {found:.0%}")

    def efficiency(self, engine: Engine, hardware: Hardware, shape: Shape) -> Efficiency:
        """The run's own shares for the engine and the kind of machine that it ran on, else as ever."""
        usual, rates = super().efficiency(engine, hardware, shape), self.run.rates()
        if engine != "local" or not rates or self.run.device not in ("", hardware.device):
            return usual
        update, rollout = rates.get("update"), rates.get("rollout")
        found = replace(usual, source=f"{self.said} ({self.run.machine})")
        if update:
            found = replace(found, update=update.fraction, each_update=update.fixed)
        if rollout:
            return replace(found, rollout=rollout.fraction, each_pass=rollout.fixed)
        return replace(found, source=f"{found.source}; rollouts: {usual.source}")
