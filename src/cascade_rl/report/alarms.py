"""The steps of a stage that broke a rule of `cascade_rl.run.alarms`, for the marks on its curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.report.records import Step
from cascade_rl.run.alarms import RULES, Rule, broken_steps


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rule and the steps that broke it, of `total` steps with that metric."""

    rule: Rule
    steps: tuple[int, ...]
    total: int


def _check(rule: Rule, steps: Sequence[Step]) -> Alarm | None:
    found = [s for s in steps if rule.applies(s.metrics)]
    broken = tuple(found[i].step for i in broken_steps(rule, [s.metrics[rule.metric] for s in found]))
    return Alarm(rule, broken, len(found)) if broken else None


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
