"""Our learning rates in verl's words, step for step the same."""

from __future__ import annotations

from typing import NamedTuple

from cascade_rl.recipe import Training


class Rates(NamedTuple):
    """Of verl's cosine, counted from 1.

    floor   the share of the rate that it falls to; 1 makes a constant of it
    warmup  its steps of warm-up
    cycles  how many waves fall into the job: 0.5 from the top to the floor, fewer where the schedule goes on
    """

    floor: float
    warmup: int
    cycles: float


def first_rate(stage: Training) -> float:
    """The rate of a job's first step: every job begins its schedule anew. verl tells the others' only."""
    return stage.lr / (stage.warmup_steps + 1)


def rates(stage: Training, steps: int) -> Rates:
    """What a job of `steps` steps, a stage's first, has of the stage's schedule (constant or cosine).

    verl's own constant, and its cosine counted from 0, begin a warm-up with a step without effect. Counted
    from 1, with one step more of warm-up, step s of a warm-up has (s + 1) / (warm-up + 1), as ours. Its wave
    ends with the job: at step s it is (s - warm-up) / (steps - warm-up - 1) through, where ours is
    (s - warm-up) / (schedule_steps - warm-up), and `cycles` is their ratio.
    """
    warm, horizon = stage.warmup_steps, stage.schedule_steps or steps
    if stage.schedule == "constant":
        return Rates(1.0, warm + 1, 0.5)
    cycles = 0.5 * max(1, steps - warm - 1) / max(1, horizon - warm)
    return Rates(stage.final_lr_fraction, warm + 1, cycles)
