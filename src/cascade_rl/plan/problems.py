"""What does not fit, and the setting to change: the mildest change that is enough by the same count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from cascade_rl.plan.hardware import GIB, Hardware
from cascade_rl.plan.local_memory import Place, computed_by_us, local_memory
from cascade_rl.plan.memory import Memory
from cascade_rl.plan.phases import EVALUATION, Phase
from cascade_rl.plan.shapes import Shape
from cascade_rl.plan.verl_memory import reward_short, sampler_short, verl_memory
from cascade_rl.recipe.lora import LoRA
from cascade_rl.recipe.training import Training
from cascade_rl.recipe.verl import Verl

MOST = 4096  # GPUs that are thought of


@dataclass(frozen=True, slots=True)
class Problem:
    """What to change, and why: `place` is a path of the recipe or an option, `phase` what does not fit."""

    place: str
    change: str
    why: str
    phase: str

    def __str__(self) -> str:
        return f"{self.place}: {self.change} ({self.phase}: {self.why})"


def gathered(problems: Iterable[Problem]) -> list[Problem]:
    """Each change once, with the phases that need it and the first one's reason."""
    found: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        found.setdefault((problem.place, problem.change), []).append(problem)
    return [
        replace(same[0], phase=", ".join(dict.fromkeys(each.phase for each in same)))
        for same in found.values()
    ]


def gib(size: float) -> str:
    """Bytes in GiB."""
    return f"{size / GIB:,.1f} GiB"


def _over(memory: Memory) -> str:
    if memory.peak > memory.room:
        part = max(memory.parts, key=lambda name: memory.parts[name])
        return f"needs {gib(memory.peak)} of {gib(memory.room)} (most: {part}, {gib(memory.parts[part])})"
    return f"the machine needs {gib(sum(memory.host.values()))} of {gib(memory.host_room)} beside its GPUs"


def _doublings(start: int, most: int) -> Iterator[int]:
    while (start := 2 * start) <= most:
        yield start


def _halves(start: int, least: int) -> Iterator[int]:
    while start > least:
        start = max(least, start // 2)
        yield start


def local_problems(phase: Phase, spec: Training, shape: Shape, place: Place, memory: Memory) -> list[Problem]:
    """Of our own engine: everything at once."""
    found, hardware = [], place.hardware
    stage = f"stages.{phase.stage}"
    if hardware.device == "cuda" and place.workers > hardware.node:
        why = f"{place.workers} GPUs are more than one machine has ({hardware.node})"
        found.append(Problem("--engine", "verl", why, phase.name))
    if not computed_by_us(phase.trained(shape)) and place.workers > 1 and hardware.device == "cuda":
        why = f"our own engine can't spread {shape.name} over several GPUs"
        found.append(Problem("--engine", "verl", why, phase.name))
    if memory.fits:
        return found

    def fits(other: Training = spec, workers: int = place.workers) -> bool:
        return local_memory(phase, other, shape, replace(place, workers=workers)).fits

    over = _over(memory)
    tokens = spec.tokens_per_microbatch
    if phase.trees:
        for fewer in _halves(tokens, max(1, min(tokens, sum(phase.longest)))):
            if fits(spec.model_copy(update={"tokens_per_microbatch": fewer})):
                return [
                    *found,
                    Problem(f"{stage}.tokens_per_microbatch", f"{tokens} -> {fewer}", over, phase.name),
                ]
        if spec.lora is None and fits(spec.model_copy(update={"lora": LoRA()})):
            return [*found, Problem(f"{stage}.lora", "{rank: 16}", over, phase.name)]
    if hardware.device == "cpu":
        for fewer in range(place.workers - 1, 0, -1):
            if fits(workers=fewer):
                return [*found, Problem("workers", f"{place.workers} -> {fewer}", over, phase.name)]
    else:
        for more in _doublings(place.workers, hardware.node):
            if fits(workers=more):
                return [*found, Problem(place.asked, f"{place.workers} -> {more}", over, phase.name)]
    if phase.kind == EVALUATION:
        served = "[], and cascade eval of each checkpoint as a server has it"
        return [*found, Problem("benchmarks", served, over, phase.name)]
    where = (
        "model.init"
        if phase.engine == "verl" or not phase.trees or phase.kind == "reward_model"
        else "--engine"
    )
    change = "verl" if where == "--engine" else "a smaller model: no setting of our own engine is enough"
    return [*found, Problem(where, change, over, phase.name)]


def verl_problems(
    phase: Phase, spec: Training, shape: Shape, block: Verl, hardware: Hardware, gpus: int, memory: Memory
) -> list[Problem]:
    """Of verl: everything at once, the sampler and the trainer each with a setting of its own."""
    found = []
    for key in ("tensor_parallel", "sequence_parallel"):
        if gpus % getattr(block, key):
            found.append(
                Problem(f"verl.{key}", "1", f"{getattr(block, key)} does not divide {gpus} GPUs", phase.name)
            )
    if sampler_short(phase, shape, block, hardware):
        change = _for_sampler(phase, shape, block, hardware, gpus)
        found.append(change)
        block = _changed(block, change)
    if reward_short(phase, shape, block, hardware):
        found.append(_for_reward(phase, shape, block, hardware))
    memory = verl_memory(phase, spec, shape, block, hardware, gpus)
    if not memory.fits:
        found.append(_for_trainer(phase, spec, shape, block, hardware, gpus, memory))
    return found


def _for_sampler(phase: Phase, shape: Shape, block: Verl, hardware: Hardware, gpus: int) -> Problem:
    what = "the sampler's weights and one sequence are more than its share of the memory"
    for parts in _doublings(block.tensor_parallel, min(gpus, hardware.node)):
        if gpus % parts == 0 and not sampler_short(
            phase, shape, block.model_copy(update={"tensor_parallel": parts}), hardware
        ):
            return Problem("verl.tensor_parallel", f"{block.tensor_parallel} -> {parts}", what, phase.name)
    for share in (0.6, 0.7, 0.8, 0.85):
        if share > block.memory and not sampler_short(
            phase, shape, block.model_copy(update={"memory": share}), hardware
        ):
            return Problem("verl.memory", f"{block.memory:g} -> {share:g}", what, phase.name)
    return Problem("--hardware", f"larger cards, or more than {gpus}", what, phase.name)


def _for_reward(phase: Phase, shape: Shape, block: Verl, hardware: Hardware) -> Problem:
    what = f"the reward model has {gib(2.0 * phase.judged(shape).parameters)} of weights"
    for more in _doublings(block.reward_gpus, hardware.node):
        if not reward_short(phase, shape, block.model_copy(update={"reward_gpus": more}), hardware):
            return Problem("verl.reward_gpus", f"{block.reward_gpus} -> {more}", what, phase.name)
    return Problem("--hardware", "larger cards: one machine can't hold it", what, phase.name)


def _changed(block: Verl, change: Problem) -> Verl:
    """The block with a change that was proposed, so that what is left is judged with it."""
    key, value = change.place.partition(".")[2], change.change.partition(" -> ")[2]
    if not key:
        return block
    return block.model_copy(update={key: float(value) if key == "memory" else int(value)})


def _for_trainer(
    phase: Phase, spec: Training, shape: Shape, block: Verl, hardware: Hardware, gpus: int, memory: Memory
) -> Problem:
    def fits(changed: Verl = block, other: Training = spec, count: int = gpus) -> bool:
        return verl_memory(phase, other, shape, changed, hardware, count).fits

    over, stage = _over(memory), f"stages.{phase.stage}"
    tries: list[tuple[Callable[[], bool], Problem]] = []
    if not block.offload:
        kept = block.model_copy(update={"offload": True})
        tries.append((lambda: fits(kept), Problem("verl.offload", "true", over, phase.name)))
    tokens = spec.tokens_per_microbatch
    for fewer in _halves(tokens, max(1, min(tokens, sum(phase.longest) // block.sequence_parallel))):
        other = spec.model_copy(update={"tokens_per_microbatch": fewer})
        told = Problem(f"{stage}.tokens_per_microbatch", f"{tokens} -> {fewer}", over, phase.name)
        tries.append((lambda other=other: fits(other=other), told))  # type: ignore[misc]  # its default
    for parts in _doublings(block.sequence_parallel, min(gpus, hardware.node)):
        wider = block.model_copy(update={"sequence_parallel": parts})
        shorter = spec.model_copy(update={"tokens_per_microbatch": min(tokens, sum(phase.longest) // parts)})
        told = Problem("verl.sequence_parallel", f"{block.sequence_parallel} -> {parts}", over, phase.name)
        if gpus % parts == 0:
            tries.append((lambda w=wider, s=shorter: fits(w, s), told))  # type: ignore[misc]  # as above
    for parts in _doublings(block.tensor_parallel, min(gpus, hardware.node)):
        split = block.model_copy(update={"tensor_parallel": parts})
        told = Problem("verl.tensor_parallel", f"{block.tensor_parallel} -> {parts}", over, phase.name)
        if gpus % parts == 0:
            tries.append((lambda s=split: fits(s), told))  # type: ignore[misc]  # as above
    for more in _doublings(gpus, MOST):
        told = Problem("--gpus", f"{gpus} -> {more}", over, phase.name)
        tries.append((lambda more=more: fits(count=more), told))  # type: ignore[misc]  # as above
    found = next((told for enough, told in tries if enough()), None)
    return found or Problem("--hardware", "larger cards: no number of these is enough", over, phase.name)
