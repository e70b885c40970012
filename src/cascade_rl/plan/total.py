"""The plan of a whole run: its phases, and what they come to in hours, energy, disk and money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

from cascade_rl.errors import InputError
from cascade_rl.plan.disk import STATES
from cascade_rl.plan.expected import ASSUMED, Expected
from cascade_rl.plan.phases import EVALUATION, phases_of
from cascade_rl.plan.problems import Problem, gathered
from cascade_rl.plan.shapes import Shape, recipe_shape
from cascade_rl.plan.stage_plan import PhasePlan, Setting, plan_phase
from cascade_rl.recipe import Recipe
from cascade_rl.recipe.verl import Engine, Verl

HOUR = 3600.0
MANY = 64  # replies at a time, below which a GPU mostly reads weights


@dataclass(frozen=True, slots=True)
class Plan:
    """All phases in order, on one setting; `price` is of an hour of a GPU (on a CPU: of the machine)."""

    recipe: str
    shape: Shape
    setting: Setting
    phases: tuple[PhasePlan, ...]
    price: float | None = None
    sampler: str = "torch"

    @property
    def seconds(self) -> float:
        """From the first step to the last evaluation."""
        return fsum(phase.seconds for phase in self.phases)

    @property
    def units(self) -> int:
        """What is paid for while the run lasts: all GPUs, also those that a phase leaves idle."""
        setting = self.setting
        return setting.gpus + setting.beside if setting.hardware.device == "cuda" else 1

    @property
    def gpu_hours(self) -> float:
        """Hours of all GPUs."""
        return self.units * self.seconds / HOUR

    @property
    def kilowatt_hours(self) -> float:
        """By the boards' power alone, as if they took all of it all the time."""
        return self.gpu_hours * self.setting.hardware.watts / 1000

    @property
    def cost(self) -> float | None:
        """In the currency of the price."""
        return None if self.price is None else self.price * self.gpu_hours

    @property
    def flops(self) -> float:
        """Operations of all."""
        return fsum(phase.flops for phase in self.phases)

    @property
    def tokens(self) -> int:
        """Tokens sampled and trained on."""
        return sum(phase.tokens for phase in self.phases)

    @property
    def disk(self) -> Mapping[str, float]:
        """Bytes by name: all that stays, and the states of the stage that has the largest."""
        found: dict[str, float] = {}
        for phase in self.phases:
            for name, size in phase.disk.items():
                before = found.get(name, 0.0)
                # those of a stage go when it is done
                found[name] = max(before, size) if name == STATES else before + size
        return found

    @property
    def problems(self) -> list[Problem]:
        """What does not fit, each change once."""
        return gathered(problem for phase in self.phases for problem in phase.problems)

    @property
    def longest(self) -> PhasePlan:
        """The phase that takes most of the time."""
        return max(self.phases, key=lambda phase: phase.seconds)

    @property
    def hints(self) -> list[str]:
        """What would take a tenth of the time or more off the plan, where evaluations leave GPUs idle."""
        scored = [each for each in self.phases if each.phase.kind == EVALUATION]
        took, node = fsum(each.seconds for each in scored), self.setting.hardware.node
        if took < self.seconds / 10 or self.setting.hardware.device == "cpu":
            return []
        found = []
        if (own := scored[0].gpus) < min(node, self.setting.gpus):
            found.append(f"workers: {own} -> {min(node, self.setting.gpus)} (with device: cuda)")
        # our sampler sets a slot aside for the longest reply there may be, vLLM for what there is
        if (count := scored[0].memory.slots) < MANY and self.sampler == "torch":
            room = f"ours has room for {count} repl{'y' if count == 1 else 'ies'} at a time"
            # which takes one worker (recipe/rules.py): on several GPUs a server does it
            served = "benchmarks=[], and cascade eval of each checkpoint as a server of vLLM has it"
            found.append(f"{'sampler: vllm' if self.setting.gpus == 1 else served} ({room})")
        share = took / self.seconds
        return [f"{each}: evaluations take {share:.0%} of the time" for each in found]

    def stage_seconds(self) -> dict[str, float]:
        """Seconds by stage, its evaluation included."""
        found: dict[str, float] = {}
        for phase in self.phases:
            found[phase.phase.stage] = found.get(phase.phase.stage, 0.0) + phase.seconds
        return found


def with_engine(recipe: Recipe, engine: Engine | None) -> Recipe:
    """The recipe as if all its stages were trained by one engine; None: as it says."""
    if engine is None:
        return recipe
    stages = [stage.model_copy(update={"engine": None}) for stage in recipe.stages]
    block = (recipe.verl or Verl()) if engine == "verl" else None
    return recipe.model_copy(update={"engine": engine, "verl": block, "stages": stages})


def make_plan(
    recipe: Recipe, setting: Setting, price: float | None = None, known: Expected = ASSUMED
) -> Plan:
    """The plan of a recipe by what is expected; raises InputError where its model has no known shape."""
    shape = recipe_shape(recipe)
    phases = phases_of(recipe, shape.positions, known)
    if price is not None and price < 0:
        raise InputError(f"--price {price:g}: a price is not below 0")
    # the last phase of training by stage
    last = {phase.stage: place for place, phase in enumerate(phases) if phase.kind != EVALUATION}
    plans = [
        plan_phase(recipe, phase, shape, setting, known, last=last.get(phase.stage) == place)
        for place, phase in enumerate(phases)
    ]
    return Plan(recipe.name, shape, setting, tuple(plans), price, recipe.sampler)
