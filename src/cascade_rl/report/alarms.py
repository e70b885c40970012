"""What a curve should not do: a stage that looks alive and learns nothing, or is about to fall apart.

Rules look at one metric each; `start` is the mean of its first values, so that entropy is judged against
where the stage began.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cascade_rl.report.records import Step

START_STEPS = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """When `broken(value, start)` holds, the step gets a mark on the metric's curve."""

    metric: str
    title: str
    meaning: str
    broken: Callable[[float, float], bool]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rule and the steps that broke it, of `total` steps with that metric."""

    rule: Rule
    steps: tuple[int, ...]
    total: int


RULES = (
    Rule("signal", "Reward without signal", "all replies to each prompt earned the same, so nothing was learnt",
         lambda value, _: value == 0),
    Rule("clipped", "More than 30 % clipped", "replies hit the token limit before they could answer",
         lambda value, _: value > 0.30),
    Rule("entropy", "Entropy under 0.05", "the policy has nearly stopped exploring",
         lambda value, _: value < 0.05),
    Rule("entropy", "Entropy above 3 × its start", "the policy is dissolving into noise",
         lambda value, start: value > 3 * start),
    Rule("grad_norm", "Gradient norm is 0", "the update changed nothing", lambda value, _: value == 0),
    Rule("grad_norm", "Gradient norm is not a number", "the update was lost or harmful",
         lambda value, _: not math.isfinite(value)),
    Rule("skipped", "Update skipped", "its gradient was not finite, so the weights stayed as they were",
         lambda value, _: value > 0),
    Rule("failed", "More than 5 % not graded", "the grader failed; these replies were dropped, not scored 0",
         lambda value, _: value > 0.05),
)  # fmt: skip


def _check(rule: Rule, steps: Sequence[Step]) -> Alarm | None:
    values = [(s.step, s.metrics[rule.metric]) for s in steps if rule.metric in s.metrics]
    first = [value for _, value in values if math.isfinite(value)][:START_STEPS]
    start = math.fsum(first) / len(first) if first else math.inf
    broken = tuple(step for step, value in values if rule.broken(value, start))
    return Alarm(rule, broken, len(values)) if broken else None


def alarms(steps: Sequence[Step]) -> tuple[Alarm, ...]:
    """All alarms of a stage, in the order of the rules."""
    return tuple(alarm for rule in RULES if (alarm := _check(rule, steps)))


def ranges(steps: Sequence[int]) -> str:
    """Steps as text, neighbours joined: 3, 7–9."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][-1] + 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
