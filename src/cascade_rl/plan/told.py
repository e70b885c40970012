"""A plan in words and as JSON: its total in one line, what it rests on, and every figure by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cascade_rl.plan.left import Left
from cascade_rl.plan.phases import EVALUATION
from cascade_rl.plan.stage_plan import PhasePlan
from cascade_rl.plan.step_time import LATENCY, ROLLOUT
from cascade_rl.plan.total import Plan
from cascade_rl.report.numbers import duration

NOTHING = "plan: nothing is left to do"


def place_words(plan: Plan) -> str:
    """On what it is planned."""
    hardware, count = plan.setting.hardware, plan.setting.gpus
    if hardware.device == "cpu":
        return f"{count} of {hardware.cores} cores here" if hardware.cores > 1 else "1 core here"
    beside = f" + {plan.setting.beside}" if plan.setting.beside else ""
    return f"{count}{beside} x {hardware.name}"


def summary(left: Left) -> str:
    """The total of what is left in one line."""
    plan = left.plan
    if not any(left.steps):
        return NOTHING
    whole = f" (of {duration(plan.seconds)} in all)" if left.seconds < plan.seconds else ""
    name, took = plan.phases[left.longest].phase.name, left.of(left.longest)
    parts = [
        f"plan: about {duration(left.seconds)}{whole} on {place_words(plan)}",
        f"longest {name} ({duration(took)})",
    ]
    if plan.problems:
        parts.append(f"{len(plan.problems)} to change, see cascade plan")
    return ", ".join(parts)


def verifiers(each: PhasePlan) -> int:
    """Processors that keep up with the sampler, so that no step waits for verdicts; 0 without any."""
    rollout = each.time.seconds.get(ROLLOUT, 0.0)
    return max(1, math.ceil(each.phase.verdicts / rollout)) if rollout and each.phase.verdicts else 0


def assumptions(plan: Plan) -> list[str]:
    """Every efficiency, length and figure that is not the recipe's own, with where it is from; each once."""
    hardware = plan.setting.hardware
    found = [
        f"model: {plan.shape.name}, {plan.shape.source}",
        f"hardware: {hardware.name}: {hardware.source}",
    ]
    said: dict[tuple[str, str], list[str]] = {}
    for each in plan.phases:
        share, phase = each.efficiency, each.phase
        text = f"updates reach {share.update:.0%} of the cost model's limit, rollouts {share.rollout:.0%}"
        found.append(f"time, {phase.engine} engine: {text}: {share.source}")
        for words in phase.words:
            name = EVALUATION if phase.kind == EVALUATION else phase.name
            said.setdefault(words, []).append(name)
    for (what, text), names in said.items():
        found.append(f"{what} of {', '.join(dict.fromkeys(names))}: {text}")
    if any(each.phase.engine == "verl" for each in plan.phases):
        own = next((each.gpus for each in plan.phases if each.phase.engine == "local"), 0)
        found.append(f"beside verl: evaluations and reward models by our own engine, workers: {own}")
    if beside := plan.setting.beside:
        text = "in bf16, half of each card; it reads replies while others are sampled"
        found.append(f"reward model beside verl: verl.reward_gpus: {beside}, {text}")
    found.append("energy: the boards' full power all the time; nothing of the machines around them")
    if plan.setting.hardware.device == "cuda":
        found.append(f"decoding: a step takes {1000 * LATENCY:g} ms at least (assumed)")
        found.append("memory: 94 % of a card can be used; the rest is the driver's and gaps")
    return list(dict.fromkeys(found))


def to_json(plan: Plan) -> dict[str, Any]:
    """All of it."""
    hardware = plan.setting.hardware
    return {
        "recipe": plan.recipe,
        "model": {
            "name": plan.shape.name,
            "parameters": plan.shape.parameters,
            "active": plan.shape.active,
            "source": plan.shape.source,
        },
        "hardware": {
            "name": hardware.name,
            "gpus": plan.units if hardware.device == "cuda" else 0,
            "workers": plan.setting.gpus,
            "nodes": hardware.nodes(plan.setting.gpus) if hardware.device == "cuda" else 1,
            "flops": hardware.flops,
            "bytes_per_s": hardware.bytes,
            "memory": hardware.memory,
            "watts": hardware.watts,
            "source": hardware.source,
        },
        "phases": [_phase(each) for each in plan.phases],
        "total": {
            "seconds": plan.seconds,
            "gpu_hours": plan.gpu_hours,
            "kwh": plan.kilowatt_hours,
            "cost": plan.cost,
            "flops": plan.flops,
            "tokens": plan.tokens,
            "disk": dict(plan.disk),
        },
        "problems": [asdict(each) for each in plan.problems],
        "hints": plan.hints,
        "assumptions": assumptions(plan),
    }


def _phase(each: PhasePlan) -> Mapping[str, Any]:
    phase, memory = each.phase, each.memory
    return {
        "stage": phase.stage,
        "part": phase.label,
        "kind": phase.kind,
        "engine": phase.engine,
        "steps": phase.steps,
        "gpus": each.gpus,
        "trained": each.trained,
        "memory": {
            "parts": memory.parts,
            "peak": memory.peak,
            "room": memory.room,
            "fits": memory.fits,
            "host": dict(memory.host),
            "slots": memory.slots,
            "layers_again": memory.again and bool(phase.trees),
        },
        "tokens": each.tokens,
        "flops": each.flops,
        "step_seconds": dict(each.time.seconds),
        "once_seconds": each.time.once,
        "seconds": each.seconds,
        "waits_for": each.time.pole,
        "verifiers": verifiers(each),
        "disk": dict(each.disk),
        "problems": [str(problem) for problem in each.problems],
    }
