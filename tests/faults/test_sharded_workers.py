"""One of several sharded workers fails: the call ends with what happened, though others wait in a collective."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parent.parent))
from tiny import Policy

from cascade_rl.errors import WorkerError
from cascade_rl.model.replicas import Replicas


def _fail(worker, how):
    if worker.rank == 1:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise MemoryError("no memory for this")
    worker.models["policy"].begin(1)


@pytest.mark.parametrize(("how", "message"), [("kill", "worker 1 died.*-9"), ("raise", "no memory for this")])
def test_a_worker_that_fails_ends_the_call_of_those_who_wait_for_it(how, message):
    policy = Policy(2, sharded=True)
    with policy.replicas as replicas:
        with pytest.raises(WorkerError, match=message):
            replicas.all(_fail, how)
        with pytest.raises(WorkerError, match="start them again"):
            replicas.flat("policy")
    assert (
        not any(process.is_alive() for process in replicas.processes._processes) and not dist.is_initialized()
    )


def test_a_worker_killed_between_calls_is_told():
    policy = Policy(2, sharded=True)
    with policy.replicas as replicas:
        os.kill(replicas.processes._processes[0].pid, signal.SIGKILL)
        replicas.processes._processes[0].join()
        with pytest.raises(WorkerError, match=r"worker 1 died \(exit code -9"):
            replicas.flat("policy")


def test_the_driver_that_fails_leaves_no_worker_waiting():
    policy = Policy(2, sharded=True)
    with pytest.raises(KeyError, match="driver"), policy.replicas as replicas:
        replicas.all(_fail_in_driver)
    assert not any(process.is_alive() for process in replicas.processes._processes)


def _fail_in_driver(worker):
    if worker.rank == 0:
        raise KeyError("driver")
    worker.models["policy"].begin(1)


def test_a_second_group_in_one_process_is_refused():
    with Replicas(2, sharded=True) as first:
        with pytest.raises(ValueError, match="close those first"):
            Replicas(2, sharded=True)
        assert len(first.all(_rank)) == 2


def _rank(worker):
    return worker.rank
