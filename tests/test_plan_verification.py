"""The simulated queue of verifiers: against a simulation that walks second by second, closed forms, and the reports."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.plan.verification import alike, exponential, finishes, mixed, verdicts, verification

JOBS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), min_size=1, max_size=25)
WORKERS = st.integers(1, 6)


def second_by_second(ready: list[int], services: list[int], workers: int) -> list[int]:
    """When each verdict is there, by a clock and a list of who works at what."""
    there, left, clock = [-1] * len(ready), {}, 0
    while -1 in there:
        waiting = [i for i in range(len(ready)) if there[i] < 0 and i not in left and ready[i] <= clock]
        waiting.sort(key=lambda i: (ready[i], i))
        for job in waiting[: workers - len(left)]:
            left[job] = services[job]
        clock += 1
        for job in [*left]:
            left[job] -= 1
            if not left[job]:
                there[job] = clock
                del left[job]
    return there


@given(JOBS, WORKERS)
def test_every_verdict_comes_when_a_clock_says(jobs, workers):
    ready, services = [r for r, _ in jobs], [s for _, s in jobs]
    assert verdicts(ready, services, workers) == second_by_second(ready, services, workers)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), WORKERS)
def test_replies_end_when_a_clock_says(lengths, slots):
    # decoding in slots is the same queue: all wait from the beginning
    assert finishes(lengths, slots, 1.0) == second_by_second([0] * len(lengths), lengths, slots)


@given(JOBS)
def test_one_worker_follows_lindley(jobs):
    jobs.sort(key=lambda job: job[0])
    # the last verdict of one queue: the most that any reply and all after it make
    last = max(jobs[k][0] + sum(service for _, service in jobs[k:]) for k in range(len(jobs)))
    assert max(verdicts([r for r, _ in jobs], [s for _, s in jobs], 1)) == last


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 9))
def test_equal_verdicts_come_in_whole_rounds(n, workers, service):
    assert max(verdicts([0.0] * n, alike(service, n), workers)) == math.ceil(n / workers) * service


@given(JOBS, WORKERS)
def test_no_worker_idles_while_a_reply_waits(jobs, workers):
    services = [s for _, s in jobs]
    found = max(verdicts([0] * len(jobs), services, workers))
    # Graham's bounds of any queue that keeps its workers busy
    assert max(sum(services) / workers, max(services)) <= found <= sum(services) / workers + max(services)


@given(JOBS, WORKERS)
def test_overlap_never_costs_and_never_hides_more_than_decoding(jobs, workers):
    ready, services = [r for r, _ in jobs], [s for _, s in jobs]
    found = verification(ready, services, workers)
    assert 0 <= found.asynchronous <= found.synchronous <= found.asynchronous + found.decoding
    assert 0 <= found.hidden <= 1
    assert verification(ready, services, workers + 1).asynchronous <= found.asynchronous
    if found.decoding:
        assert (found.wanted - 1) * found.decoding < found.work <= found.wanted * found.decoding


@given(st.integers(1, 500), st.floats(0.01, 100))
def test_exponential_services_have_their_mean_and_their_longest(n, mean):
    found = exponential(mean, n)
    assert math.fsum(found) / n == pytest.approx(mean)
    # in the mean the longest of n is the n-th harmonic number of means; a middle quantile is near it
    assert n < 20 or max(found) / mean == pytest.approx(math.fsum(1 / i for i in range(1, n + 1)), rel=0.12)


@given(st.integers(1, 700))
def test_mixing_loses_nothing_and_spreads_evenly(n):
    found = mixed(range(n))
    assert sorted(found) == list(range(n))
    # any tenth of the batch has about the mean of all
    if n >= 100:
        tenth = n // 10
        means = [np.mean(found[i : i + tenth]) for i in range(0, n - tenth, tenth)]
        assert max(abs(mean - (n - 1) / 2) for mean in means) < 0.15 * n


def test_what_is_no_batch_is_refused():
    with pytest.raises(ValueError, match="no batch"):
        verification([], [], 1)
    with pytest.raises(ValueError, match="0 workers"):
        verdicts([1.0], [1.0], 0)
    with pytest.raises(ValueError, match="0 slots"):
        finishes([1], 0, 1.0)
