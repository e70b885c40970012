"""verl's names for the numbers of a step, and ours.

What means the same takes our name (docs/runs.md), so that alarms, pages and trackers know it; what has no
counterpart keeps verl's name behind `verl/`. What depends on the clock or the machine goes to the timings.
Source: verl 0.9.1, trainer/ppo/metric_utils.py, trainer/ppo/rollout_corr_helper.py, trainer/sft_trainer.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# `response_length/clip_ratio` is not among them: verl compares with the longest reply of the batch instead of
# the limit, so that it is never 0. Ours counts the replies that were cut (`replies.summary`).
NAMES = {
    "critic/score/mean": "reward",
    "critic/score/min": "reward_min",
    "critic/score/max": "reward_max",
    "response_length/mean": "length",
    "response_length/max": "length_max",
    "actor/entropy": "entropy",
    "actor/pg_loss": "loss",
    "actor/grad_norm": "grad_norm",
    "actor/kl_loss": "kl",
    "actor/pg_clipfrac": "clip_fraction",
    "rollout_corr/k3_kl": "mismatch_kl",
    "train/loss": "loss",
    "train/grad_norm": "grad_norm",
    "train/global_tokens": "tokens",
}
# Read after the scheduler has stepped (workers/engine_workers.py, train_batch): the rate of the next step.
NEXT_RATES = ("actor/lr", "train/lr")
# verl's phases of a step as ours, for the timings
SECONDS = {
    "gen": "rollout",
    "reward": "grading",
    "old_log_prob": "old_log_prob",
    "ref": "reference",
    "adv": "advantage",
    "update_actor": "update",
    "save_checkpoint": "save",
    "testing": "validation",
    "dump_rollout_generations": "dump",
}
# by the clock or the machine, and so no matter of the journal
CLOCK = ("timing_s/", "timing_per_token_ms/", "perf/", "timing/")
CLOCK_WORDS = ("mfu", "memory", "throughput")
# In a strictly on-policy job the update sees the weights that computed the old log-probabilities: whatever
# these differ by is a fault of the two passes (verl #3996, #6280), and alarmed at (`run/alarms.py`).
ON_POLICY = {"actor/pg_clipfrac": "passes_clipped", "actor/ppo_kl": "passes_kl"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of verl's metrics: the step (from 1), its numbers in our names, seconds, the rest of the clock.

    heldout    what was measured of validation rows; a line of its own where SFT does it
    next_rate  the learning rate of the step after this one; None where none is told
    """

    step: int
    metrics: Mapping[str, float]
    seconds: Mapping[str, float]
    clock: Mapping[str, float]
    heldout: Mapping[str, float]
    next_rate: float | None

    @property
    def trained(self) -> bool:
        """Whether it tells of a training step; validation before the first has a line, too."""
        return bool(self.metrics)


def mapped(step: int, data: Mapping[str, Any], *, on_policy: bool) -> Line:
    """A line in our names."""
    # orjson, which verl writes with, turns what is not finite into null
    numbers = {key: math.nan if value is None else value for key, value in data.items()}
    numbers = {key: float(value) for key, value in numbers.items() if isinstance(value, int | float)}
    own = NAMES | (ON_POLICY if on_policy else {})
    metrics: dict[str, float] = {}
    seconds: dict[str, float] = {}
    clock: dict[str, float] = {}
    heldout: dict[str, float] = {}
    next_rate: float | None = None
    for key, value in numbers.items():
        phase = key.removeprefix("timing_s/")
        if key.startswith(("val/", "val-core/", "val-aux/")):
            heldout[key.removeprefix("val/")] = value
        elif key in NEXT_RATES:
            next_rate = value
        elif phase in SECONDS and phase != key:
            seconds[SECONDS[phase]] = value
        elif key.startswith(CLOCK) or any(word in key for word in CLOCK_WORDS):
            clock[key] = value
        else:
            metrics[own.get(key, f"verl/{key}")] = value
    metrics |= _derived(numbers)
    return Line(step, metrics, seconds | _rest(numbers, seconds), clock, heldout, next_rate)


def _derived(numbers: Mapping[str, float]) -> dict[str, float]:
    """What follows from verl's numbers: `ratio`, `ess`, `skipped`."""
    found: dict[str, float] = {}
    k3, k1 = numbers.get("rollout_corr/k3_kl"), numbers.get("rollout_corr/kl")
    if k3 is not None and k1 is not None:
        # with r = p_trainer / p_sampler: k3 = mean(r - log r - 1) and k1 = -mean(log r)
        found["ratio"] = 1.0 + k3 - k1
        if (chi2 := numbers.get("rollout_corr/chi2_token")) is not None:
            # chi2 = mean(r^2) - 1; Kish's effective share, as train/loss has it
            found["ess"] = found["ratio"] ** 2 / (1.0 + chi2)
    norm = numbers.get("actor/grad_norm", numbers.get("train/grad_norm"))
    if norm is not None:
        # verl leaves the weights alone then, and only prints it
        found["skipped"] = float(not math.isfinite(norm))
    return found


def _rest(numbers: Mapping[str, float], known: Mapping[str, float]) -> dict[str, float]:
    """What of a step's time no phase has: the screen takes the sum for the step's time."""
    whole = numbers.get("timing_s/step")
    left = 0.0 if whole is None else whole - sum(known.values())
    return {"other": left} if left > 0 else {}
