"""The plan of one phase: its memory, its time, its disk, what it waits for and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cascade_rl.plan.disk import disk_bytes
from cascade_rl.plan.efficiency import Efficiency
from cascade_rl.plan.expected import ASSUMED, Expected
from cascade_rl.plan.hardware import Hardware
from cascade_rl.plan.local_memory import Place, local_memory, lora_numbers
from cascade_rl.plan.memory import Memory
from cascade_rl.plan.phases import EVALUATION, Phase, asked_by_verl
from cascade_rl.plan.problems import Problem, local_problems, verl_problems
from cascade_rl.plan.shapes import Shape
from cascade_rl.plan.step_time import StepTime, local_time, one_by_one, verl_time
from cascade_rl.plan.verl_memory import verl_memory
from cascade_rl.recipe import BASE, Recipe, Stage
from cascade_rl.recipe.verl import Verl


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """What a phase takes. `gpus` work on it; `trained` of its model's numbers are trained."""

    phase: Phase
    shape: Shape
    gpus: int
    trained: int
    memory: Memory
    time: StepTime
    disk: Mapping[str, float]
    problems: tuple[Problem, ...]
    efficiency: Efficiency

    @property
    def seconds(self) -> float:
        """Of all its steps, and of what comes before them."""
        return self.seconds_of(self.phase.steps)

    def seconds_of(self, steps: int) -> float:
        """Of its last `steps` steps; what comes before the first is not done again."""
        return steps * self.time.total + (self.time.once if steps == self.phase.steps else 0.0)

    @property
    def flops(self) -> float:
        """Operations of all its steps."""
        return self.phase.steps * self.time.flops

    @property
    def tokens(self) -> int:
        """Tokens that it samples and trains on, in all its steps."""
        return self.phase.steps * (self.phase.sampled_tokens + self.phase.trained_tokens)


@dataclass(frozen=True, slots=True)
class Setting:
    """On what a recipe is planned: `gpus` of the hardware, on a CPU one machine with as many processes.

    beside   GPUs that hold the reward model of a stage that verl trains
    """

    hardware: Hardware
    gpus: int
    short: bool
    beside: int = 0

    @property
    def element(self) -> int:
        """Bytes of a number in products."""
        return 2 if self.short else 4


def setting_of(recipe: Recipe, hardware: Hardware, gpus: int | None) -> Setting:
    """As asked, else as the recipe says: `workers`, or the GPUs of its block `verl`."""
    short = hardware.short if recipe.precision == "auto" else recipe.precision == "bf16"
    if hardware.device == "cpu":
        return Setting(hardware, gpus or min(recipe.workers, hardware.cores), short)
    if gpus is None and recipe.verl is not None:
        gpus = recipe.verl.gpus
    # processes on a CPU are what most recipes with several workers mean
    own = recipe.workers if recipe.device == "cuda" else 1
    return Setting(hardware, gpus or own, short, _beside(recipe))


def _beside(recipe: Recipe) -> int:
    return (recipe.verl or Verl()).reward_gpus if asked_by_verl(recipe) else 0


def plan_phase(
    recipe: Recipe, phase: Phase, shape: Shape, setting: Setting, known: Expected = ASSUMED, *, last: bool
) -> PhasePlan:
    """`last`: whether it is the last of its stage's phases of training."""
    # while the base model is scored the workers hold what the first stage will need
    stage = recipe.stages[0] if phase.stage == BASE else recipe.stage(phase.stage)
    hardware, gpus = setting.hardware, setting.gpus
    share = known.efficiency(phase.engine, hardware, shape)
    trained = _trained(stage, phase.trained(shape)) if phase.trees else 0
    if phase.engine == "verl" and hardware.device == "cuda":
        block = recipe.verl or Verl()
        memory = verl_memory(phase, stage, shape, block, hardware, gpus)
        time = verl_time(phase, stage, shape, block, hardware, gpus, memory, share)
        problems = verl_problems(phase, stage, shape, block, hardware, gpus, memory)
    else:
        # what verl does not do is done by our own engine on one machine of them
        on_one = min(recipe.workers, hardware.node) if recipe.verl and hardware.device == "cuda" else gpus
        asked = "workers" if recipe.verl else "--gpus"
        place = Place(hardware, on_one, setting.element, recipe.sampler == "vllm", asked)
        memory, time = _local(phase, stage, shape, place, share)
        problems = local_problems(phase, stage, shape, place, memory)
        gpus = on_one
    if phase.engine == "verl" and hardware.device == "cpu":
        problems.append(Problem("--engine", "local, or name GPUs", "verl needs GPUs", phase.name))
    disk = disk_bytes(phase, stage, shape, phase.engine, recipe.model.export_dtype, last=last)
    return PhasePlan(phase, shape, gpus, trained, memory, time, disk, tuple(problems), share)


def _local(
    phase: Phase, stage: Stage, shape: Shape, place: Place, share: Efficiency
) -> tuple[Memory, StepTime]:
    """By our own engine: the memory of the fullest part, the time of all."""
    parts = phase.parts or (phase,)
    memories = [local_memory(part, stage, shape, place) for part in parts]
    times = [
        (part.label if phase.parts else "", local_time(part, stage, shape, place, memory, share))
        for part, memory in zip(parts, memories, strict=True)
    ]
    return max(memories, key=lambda memory: memory.peak), one_by_one(times)


def _trained(stage: Stage, shape: Shape) -> int:
    return lora_numbers(stage.lora, shape) if stage.lora else shape.parameters


def is_evaluation(plan: PhasePlan) -> bool:
    """Whether it trains nothing."""
    return plan.phase.kind == EVALUATION
