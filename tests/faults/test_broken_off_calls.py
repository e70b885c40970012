"""A call that fails in the driver or in one worker leaves nothing behind that could pass for the next one's answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cascade_rl.errors import WorkerError
from cascade_rl.model.replicas import Replicas


def number(worker, base, failing=(), wait_s=0.0):
    """What a worker says: of this call and of no other."""
    worker.report(base)
    if worker.rank in failing:
        raise KeyError(f"worker {worker.rank}")
    time.sleep(wait_s * worker.rank)
    return base + worker.rank


@pytest.fixture(scope="module")
def replicas() -> Iterator[Replicas]:
    """One set for all cases: none of them may harm the next."""
    with Replicas(3) as found:
        yield found


@pytest.mark.parametrize("heard", [None, lambda rank, part: None], ids=["unheard", "heard"])
@pytest.mark.parametrize("failing", [(0,), (1,), (0, 1), (0, 2), (1, 2), (2,)], ids=str)
def test_the_next_call_gets_its_own_answers(replicas, failing, heard):
    for base in (100, 200):
        with pytest.raises(KeyError if 0 in failing else WorkerError, match=f"worker {min(failing)}"):
            # the others are still at work when the fault is raised here
            replicas.map(number, [(base, failing, 0.2)] * 3, heard)
        assert replicas.map(number, [(base + 50,)] * 3, heard) == [base + 50 + rank for rank in range(3)]
    parts: list[tuple[int, int]] = []
    replicas.map(number, [(7,)] * 3, lambda rank, part: parts.append((rank, part)))
    assert sorted(parts) == [(0, 7), (1, 7), (2, 7)]


def test_who_is_asked_no_more_is_not_waited_for():
    replicas = Replicas(2)
    with pytest.raises(KeyError):
        replicas.map(number, [(1, (0,), 3600.0)] * 2)
    replicas.close()
    assert not any(process.is_alive() for process in replicas.processes._processes)
