"""How long a batch waits for its verdicts: replies end one after the other, each needs a worker for a while.

An exact simulation, not a formula: the worker that is free first takes the reply that came first. Synchronous
grading begins when the whole batch is decoded, asynchronous grading with the first reply that has ended.

Not covered: a memory or a disk that all workers share, and machines that differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verification:
    """Seconds of one batch: until its last reply, and what is then still waited for by either way of grading.

    `work` are the worker-seconds of all verdicts, `workers` how many may be given at once.
    """

    decoding: float
    synchronous: float
    asynchronous: float
    work: float
    workers: int

    @property
    def hidden(self) -> float:
        """The share of synchronous grading that decoding hides when it is asynchronous."""
        return 1 - self.asynchronous / self.synchronous if self.synchronous else 0.0

    @property
    def wanted(self) -> int:
        """Workers that could do all the work while the batch is decoded, at the least."""
        return math.ceil(self.work / self.decoding) if self.decoding else self.workers


def finishes(lengths: Sequence[int], slots: int, token: float) -> list[float]:
    """When each reply ends, if `slots` are decoded at a time, in order, and a token takes `token` seconds."""
    if slots < 1:
        raise ValueError(f"{slots} slots decode nothing")
    free = [0] * min(slots, len(lengths))
    ends = []
    for tokens in lengths:
        # tokens and not seconds: sums of integers do not depend on their order
        ends.append(free[0] + tokens)
        heapreplace(free, ends[-1])
    return [end * token for end in ends]


def verdicts(ready: Sequence[float], services: Sequence[float], workers: int) -> list[float]:
    """When each verdict is there: first come, first served; those that come together in their order."""
    if workers < 1:
        raise ValueError(f"{workers} workers give no verdict")
    free = [0.0] * workers
    heapify(free)
    there = [0.0] * len(ready)
    for place in sorted(range(len(ready)), key=ready.__getitem__):
        there[place] = max(free[0], ready[place]) + services[place]
        heapreplace(free, there[place])
    return there


def verification(ready: Sequence[float], services: Sequence[float], workers: int) -> Verification:
    """Both ways of grading replies that end at `ready` and take `services` seconds of a worker each."""
    if len(ready) != len(services) or not ready:
        raise ValueError(f"{len(ready)} replies and {len(services)} services are no batch")
    decoding = max(ready)
    overlapped = max(decoding, *verdicts(ready, services, workers)) - decoding
    # in the order in which they ended, too: another one could pack the last verdicts better or worse
    order = sorted(range(len(ready)), key=ready.__getitem__)
    after = max(verdicts([0.0] * len(order), [services[i] for i in order], workers))
    return Verification(decoding, after, overlapped, math.fsum(services), workers)


def waited(lengths: Sequence[int], slots: int, seconds: float, service: float, workers: int) -> float:
    """Seconds that are left to wait for verdicts after `seconds` of decoding; each is graded once it ends."""
    ends = finishes(mixed(sorted(lengths)), slots, 1.0)
    # the clock of decoding is what it took: an iteration costs the same, early or late
    scale = seconds / max(ends)
    return verification([end * scale for end in ends], alike(service, len(ends)), workers).asynchronous


def alike(mean: float, n: int) -> list[float]:
    """Every verdict takes the same time: the least that a batch of this work waits for its last ones."""
    return [mean] * n


def exponential(mean: float, n: int) -> list[float]:
    """Even quantiles of an exponential distribution, their mean exactly `mean`, in mixed order."""
    raw = [-math.log1p(-(i + 0.5) / n) for i in range(n)]
    scale = mean * n / math.fsum(raw)
    return mixed([scale * value for value in raw])


def mixed(values: Sequence[T]) -> list[T]:
    """Values in ascending order, spread evenly over the batch: the golden section as a step, so no draw."""
    n = len(values)
    step = max(1, round(n * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, n) > 1:
        step += 1
    return [values[i * step % n] for i in range(n)]
