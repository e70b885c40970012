"""How long a step takes: the cost model's work at the hardware's rates, over the share that is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cascade_rl.model.cost import Peaks, Work, decode_work, prefill_work, update_work
from cascade_rl.plan.efficiency import Efficiency
from cascade_rl.plan.hardware import Hardware
from cascade_rl.plan.local_memory import Place
from cascade_rl.plan.memory import Memory
from cascade_rl.plan.phases import Phase
from cascade_rl.plan.shapes import Shape
from cascade_rl.plan.verification import waited
from cascade_rl.plan.verl_memory import tokens_at_once
from cascade_rl.recipe.training import Training
from cascade_rl.recipe.verl import Verl

Sampled = Sequence[tuple[int, int]]
ROLLOUT, GRADING, REWARD, LOGPROBS, UPDATE = "rollout", "grading", "reward model", "old log-probs", "update"
# What a decode step of a GPU takes at least, by its host: a captured graph, a draw, the bookkeeping. Assumed.
LATENCY = 0.003
AGAIN = 4 / 3  # of an update whose layers run again in the backward pass


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a step by part and those before the first one, operations of a step, and why it waits."""

    seconds: Mapping[str, float]
    once: float
    flops: float
    why: Mapping[str, str]

    @property
    def total(self) -> float:
        """Seconds of a step."""
        return sum(self.seconds.values())

    @property
    def pole(self) -> str:
        """What takes longest, and why."""
        if not self.seconds:
            return ""
        name = max(self.seconds, key=lambda part: self.seconds[part])
        return f"{name}: {self.why[name]}" if name in self.why else name


def one_by_one(parts: Sequence[tuple[str, StepTime]]) -> StepTime:
    """The time of named parts, one after the other; why is that of the longest."""
    seconds: dict[str, float] = {}
    for _, part in parts:
        for name, took in part.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + took
    label, longest = max(parts, key=lambda part: part[1].total)
    why = {name: f"{text} ({label})" if label else text for name, text in longest.why.items()}
    return StepTime(seconds, sum(p.once for _, p in parts), sum(p.flops for _, p in parts), why)


@dataclass(frozen=True, slots=True)
class Rates:
    """Who computes: `samplers`, the peaks of each and a step's least time, and all trainers together.

    `judges`: GPUs of a reward model's own, which reads a reply as soon as it is there; None: the trainers'.
    """

    samplers: int
    sampler: Peaks
    trainers: Peaks
    element: int
    latency: float = 0.0
    judges: Peaks | None = None


def local_rates(place: Place) -> Rates:
    """Of our own engine: each worker samples and trains. A CPU's cores are shared out."""
    hardware, short = place.hardware, place.element < 4
    blocks = hardware.flops if short else min(hardware.flops, hardware.fp32)
    # the fp32 head: measured here; on a GPU three products of halves (model/halves.py)
    head = hardware.head or (hardware.flops / 3 if short else hardware.fp32)
    if hardware.device == "cpu":
        used = min(1.0, place.workers / hardware.cores)
        one = Peaks(blocks * used, head * used, hardware.bytes * used, place.workers, hardware.cache)
        return Rates(1, one, one, place.element)
    one = Peaks(blocks, head, hardware.bytes)
    return Rates(place.workers, one, _times(one, place.workers), place.element, LATENCY)


def verl_rates(hardware: Hardware, gpus: int, block: Verl) -> Rates:
    """Of verl: each sampler is `tensor_parallel` GPUs, its head in bf16."""
    one = Peaks(hardware.flops, hardware.flops, hardware.bytes)
    parts = min(block.tensor_parallel, gpus)
    return Rates(
        max(1, gpus // parts),
        _times(one, parts),
        _times(one, gpus),
        2,
        LATENCY,
        _times(one, block.reward_gpus),
    )


def _times(peaks: Peaks, count: int) -> Peaks:
    return Peaks(peaks.flops * count, peaks.head_flops * count, peaks.bytes * count, count)


def local_time(
    phase: Phase, spec: Training, shape: Shape, place: Place, memory: Memory, share: Efficiency
) -> StepTime:
    """Of our own engine."""
    rates, slots = local_rates(place), memory.slots
    if place.hardware.device == "cpu":
        slots *= place.workers
    found = _sampling(phase, shape, rates, slots, share, place.hardware.cores)
    if phase.trees:
        trained = phase.trained(shape)
        work = update_work(trained, phase.trees, scored=phase.scored, teachers=phase.teachers)
        seconds = work.seconds(rates.trainers) / share.update * (AGAIN if memory.again else 1.0)
        seconds += share.each_update
        moved = _gathering(
            phase.trained_tokens, spec.tokens_per_microbatch, trained, place.hardware, place.sharded
        )
        found = _with_update(found, work, seconds, moved)
    return found


def verl_time(
    phase: Phase,
    spec: Training,
    shape: Shape,
    block: Verl,
    hardware: Hardware,
    gpus: int,
    memory: Memory,
    share: Efficiency,
) -> StepTime:
    """Of verl: no prompt is shared in training, layers run again, old log-probabilities are computed."""
    rates = verl_rates(hardware, gpus, block)
    found = _sampling(phase, shape, rates, memory.slots, share, hardware.cores * hardware.nodes(gpus))
    if not phase.trees:
        return found
    alone = [(prompt, (reply,)) for prompt, replies in phase.trees for reply in replies]
    once = forward_work(shape, alone)
    passes = 4 + phase.teachers
    work = Work(once.tokens, passes * once.flops, (passes - 1) * once.head_flops)
    if phase.kind == "rl":
        seconds = once.seconds(rates.trainers) / share.update
        found = replace(
            found,
            seconds={**found.seconds, LOGPROBS: seconds},
            flops=found.flops + once.flops + once.head_flops,
        )
    tokens = sum(prompt + reply for prompt, (reply,) in alone)
    moved = _gathering(tokens, tokens_at_once(phase, spec, block), shape, hardware, gpus)
    return _with_update(found, work, work.seconds(rates.trainers) / share.update, moved)


def forward_work(shape: Shape, trees: Sequence[tuple[int, tuple[int, ...]]]) -> Work:
    """One pass forward, with the head."""
    found = update_work(shape, trees)
    return Work(found.tokens, (found.flops - 2 * found.head_flops) // 3, found.head_flops)


def _with_update(found: StepTime, work: Work, seconds: float, moved: float) -> StepTime:
    why = (
        "weights and gradients on their way between GPUs"
        if moved > seconds
        else "products of forward and backward"
    )
    return StepTime(
        {**found.seconds, UPDATE: max(seconds, moved)},
        found.once,
        found.flops + work.flops + work.head_flops,
        {**found.why, UPDATE: why},
    )


def _gathering(tokens: float, at_once: float, shape: Shape, hardware: Hardware, gpus: int) -> float:
    """Seconds that weights (bf16, twice) and gradients (fp32, once) of each micro-batch are on their way."""
    if gpus < 2:
        return 0.0
    rounds = max(1.0, tokens / gpus / at_once)
    rate = hardware.link if gpus <= hardware.node else hardware.network
    return rounds * (2 * 2 + 4) * shape.parameters * (gpus - 1) / gpus / rate


def _sampling(
    phase: Phase, shape: Shape, rates: Rates, slots: int, share: Efficiency, cores: int
) -> StepTime:
    """What is sampled, graded and scored by a reward model."""
    if not (phase.sampled or phase.once):
        return StepTime({}, 0.0, 0.0, {})
    once, _, _ = rollout_seconds(phase.once, phase.group, shape, rates, slots, share)
    seconds, work, why = rollout_seconds(phase.sampled, phase.group, shape, rates, slots, share)
    if not phase.sampled:
        return StepTime({}, once, 0.0, {})
    found = {ROLLOUT: seconds}
    words = {ROLLOUT: why}
    # each reply is graded as soon as it is there: what is not done when the last one ends is waited for
    lengths = [reply for _, reply in phase.sampled]
    if left := waited(lengths, slots * rates.samplers, seconds, phase.verdicts / len(lengths), cores):
        found[GRADING] = left
        words[GRADING] = f"{phase.verdicts:,.0f} s of verdicts on {cores} cores"
    if phase.learned:
        texts = [(0, (p + r,)) for p, r in phase.sampled]
        scored = update_work(phase.judged(shape), texts, scored=False)
        read = Work(scored.tokens, scored.flops // 3)
        took = read.seconds(rates.judges or rates.trainers) / share.update
        if rates.judges:
            words[REWARD] = f"its {rates.judges.workers} GPUs read replies for {took:,.0f} s"
        found[REWARD] = max(0.0, took - seconds) if rates.judges else took
        work += read
    return StepTime(found, once, work.flops + work.head_flops, words)


def rollout_seconds(
    sampled: Sampled, group: int, shape: Shape, rates: Rates, slots: int, share: Efficiency
) -> tuple[float, Work, str]:
    """Seconds of the sampler with most to do, the work of all, and what bounds it."""
    if not sampled:
        return 0.0, Work(), ""
    # dealt in order of length: the first sampler has the longest reply, and no less than any other
    own = sorted(sampled, key=lambda pair: pair[1], reverse=True)[:: rates.samplers]
    prompts, replies = [p for p, _ in own], [r for _, r in own]
    before = prefill_work(shape, prompts[::group], rates.element)
    after = decode_work(shape, prompts, replies, max(1, slots), rates.element)
    # of experts, more are read than a token passes
    more = (shape.touched(min(slots, len(own))) - shape.size().matrices) * rates.element
    after = replace(after, bytes=after.bytes + int(after.passes * more))
    # prompts are read as an update reads them, in large products; a server may be better at it than a trainer
    seconds = before.seconds(rates.sampler) / max(share.update, share.rollout)
    seconds += after.seconds(rates.sampler) / share.rollout
    seconds += after.passes * share.each_pass
    seconds = max(seconds, after.passes * rates.latency)
    count = min(rates.samplers, len(sampled))
    whole = Work(
        *(
            count * getattr(before + after, key)
            for key in ("tokens", "flops", "head_flops", "bytes", "passes")
        )
    )
    return seconds, whole, _why(after, replies, shape, rates, slots)


def _why(after: Work, replies: Sequence[int], shape: Shape, rates: Rates, slots: int) -> str:
    weights = after.passes * (shape.touched(slots) * rates.element + 4 * shape.size().head)
    if after.flops / rates.sampler.flops > after.bytes / rates.sampler.bytes:
        return "products of decoding"
    if after.passes > -(-sum(replies) // max(1, slots)):
        return f"the longest reply, {max(replies):,} tokens one after another"
    return "reading weights" if 2 * weights > after.bytes else "reading the cache of keys and values"
