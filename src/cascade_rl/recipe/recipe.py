"""A whole run as one validated value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cascade_rl.recipe.base import RUN_NAME, Positive, Strict, digest
from cascade_rl.recipe.kinds import Stage, kind_of
from cascade_rl.recipe.model import ModelSpec
from cascade_rl.recipe.scoring import BenchmarkSpec, Gate, PreflightSpec
from cascade_rl.recipe.stage import Entry, OwnRows
from cascade_rl.recipe.tables import is_none, reading_of
from cascade_rl.recipe.track import Track
from cascade_rl.recipe.verl import Engine, Verl
from cascade_rl.types import Split

BASE = "base"  # what stands for the model before the first stage: its folder, and its row of the matrix


def _is_local(value: object) -> bool:
    return value == "local"


def _is_false(value: object) -> bool:
    return value is False


class Recipe(Strict):
    """Model, stages in their order, benchmarks, and what the whole run shares; see docs/recipe.md."""

    name: Annotated[str, Field(pattern=RUN_NAME)]
    seed: Annotated[int, Field(ge=0)] = 0
    # `auto` is settled by the machine, so it is the settled values that keys of stages hold
    device: Literal["auto", "cpu", "cuda"] = "auto"
    sampler: Literal["torch", "vllm"] = "torch"
    # What trains stages that do not say it themselves. Left out of the record where it is as ever, as
    # `verl` is, so that it is no change of older runs.
    engine: Annotated[Engine, Field(exclude_if=_is_local)] = "local"
    verl: Annotated[Verl | None, Field(exclude_if=is_none)] = None
    # one process a core, or a GPU each; the gradient depends on their number by rounding only
    workers: Positive = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    model: ModelSpec = Field(default_factory=lambda: ModelSpec.model_validate({}))
    stages: Annotated[list[Stage], Field(min_length=1)]
    # none: the run trains, and says that nothing was measured
    benchmarks: list[BenchmarkSpec] = Field(default_factory=list)
    # what was there before the first stage is measured, too; left out of the record where it is not, as ever
    score_base: Annotated[bool, Field(exclude_if=_is_false)] = False
    gate: Gate = Gate()
    preflight: PreflightSpec = PreflightSpec()
    # who is told of the run, not what it is: in no key, no hash, and in no comparison with an earlier recipe
    track: list[Track] = Field(default_factory=list)
    smoke: bool = Field(
        default=False, description="set by --smoke: a stage without signal is then only noted"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_for_second_engine(cls, raw: object) -> object:
        """Fill in what depends on the sampler before stages are read, so that they show and record it."""
        if not isinstance(raw, Mapping) or raw.get("sampler") != "vllm":
            return raw
        stages = raw.get("stages")
        return {**raw, "stages": [_adapted(s) for s in stages]} if isinstance(stages, list) else raw

    @model_validator(mode="after")
    def _a_block_for_verl(self) -> Recipe:
        """Stages on verl have its block, if only with its defaults; without any it would say nothing."""
        used = any(self.engine_of(stage) == "verl" for stage in self.stages)
        if used and self.verl is None:
            # frozen for everybody else: this is still the making of the value
            object.__setattr__(self, "verl", Verl())
        if not used and self.verl is not None:
            raise ValueError("verl: no effect, no stage is trained by it; set engine: verl, or remove it")
        return self

    @property
    def hash(self) -> str:
        """16 hex digits over every key of the resolved recipe that says what the run is."""
        return digest(self.model_dump(mode="json", exclude={"track"}))

    @property
    def scored(self) -> list[str]:
        """What the benchmarks are run on, in order: `base` if the recipe asks for it, and every stage."""
        return [*([BASE] if self.score_base else []), *(stage.name for stage in self.stages)]

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next(s for s in self.stages if s.name == name)

    def engine_of(self, stage: Stage) -> Engine:
        """What trains a stage: as it says itself, else as the run does; a reward model always this package.

        verl has no trainer of Bradley-Terry models.
        """
        return "local" if stage.trains == "reward_model" else stage.engine or self.engine

    def before(self, name: str) -> list[Stage]:
        """The stages before the one of that name."""
        return self.stages[: [s.name for s in self.stages].index(name)]

    def entries(self) -> list[Entry]:
        """All problems that the run draws: the stages', then the benchmarks'."""
        asked = [
            Entry(f"benchmarks.{b.name}", b.domain, b.source, Split.HELDOUT, reading_of(b))
            for b in self.benchmarks
            # a published benchmark reads its rows itself
            if b.domain is not None and b.suite is None
        ]
        return [entry for stage in self.stages for entry in stage.entries()] + asked

    def own_rows(self) -> list[OwnRows]:
        """All rows that are read without a domain: the stages', then the benchmarks'."""
        asked = [
            OwnRows(f"benchmarks.{b.name}", b.source, b.map, b.bad_rows, b.split, chats=False)
            for b in self.benchmarks
            if b.domain is None and b.map is not None
        ]
        return [rows for stage in self.stages for rows in stage.own_rows()] + asked

    def judge_of(self, benchmark: BenchmarkSpec) -> str | None:
        """The stage whose reward model judges a benchmark of own pairs; None of any other, or without one."""
        if benchmark.domain is not None:
            return None
        trained = [stage.name for stage in self.stages if stage.trains == "reward_model"]
        return benchmark.reward_model or (trained[-1] if trained else None)

    def own_stage(self, benchmark: BenchmarkSpec) -> str | None:
        """The stage that trains for a benchmark (see BenchmarkSpec); None where no stage draws its domain."""
        if benchmark.own_stage:
            return benchmark.own_stage
        if judge := self.judge_of(benchmark):
            asking = [s.name for s in self.stages if s.reward_model_among(self.before(s.name)) == judge]
            # the first: later ones have other rewards, as a rule
            return asking[0] if asking else None
        # max takes the highest claim, and of equal ones the last place
        claims = [
            (stage.claim, place)
            for place, stage in enumerate(self.stages)
            if stage.claim and benchmark.domain in stage.domains()
        ]
        return self.stages[max(claims)[1]].name if claims else None


def _adapted(stage: object) -> object:
    if not isinstance(stage, Mapping) or (kind := kind_of(stage)) is None:
        return stage
    return kind.for_second_engine(stage)
