"""Grading beside decoding gives what grading after it gives, and begins before decoding has ended."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import Policy, random_flat, toy_domain, toy_problem

from cascade_rl.domain import Services
from cascade_rl.protocols import Sampling
from cascade_rl.rollout.collect import collect
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.testing import ScriptedSampler
from cascade_rl.train.learned_reward import LearnedReward
from cascade_rl.types import Outcome, Verdict

PROBLEMS = [toy_problem(i) for i in range(12)]
SAMPLING = Sampling(3, 12, seed=(5,))
LEARNED = frozenset({"reward_model"})


class After:
    """A sampler that tells of no group before all are done: grading can't overlap with it."""

    def __init__(self, sampler) -> None:
        self.sampler = sampler

    def sample(self, problems, sampling, finished=None):
        return self.sampler.sample(problems, sampling)


@pytest.fixture(scope="module", params=[1, 2], ids="{} workers".format)
def policy(request):
    found = Policy(request.param, seed=1)
    extra = {"score": (1, found.config.hidden)}
    found.replicas.add_model(
        "reward", found.config, random_flat(found.config, 2, 0.1, extra), train=False, extra=extra
    )
    yield found
    found.replicas.close()


@pytest.mark.parametrize("max_rows", [256, 6])
def test_with_and_without_overlap_the_groups_are_the_same(policy, max_rows):
    sampler, domains = (
        TorchSampler(policy.replicas, policy.tokenizer, max_rows=max_rows),
        {"toy": toy_domain()},
    )
    found, wanted = (
        collect(PROBLEMS, domains, s, Services(), SAMPLING).groups for s in (sampler, After(sampler))
    )
    assert found == wanted
    assert [g.problem for g in found] == PROBLEMS and {v.reward for g in found for v in g.verdicts} == {
        0.0,
        1.0,
    }


def test_a_learned_reward_waits_until_sampling_has_ended(policy):
    """It runs on the sampler's own workers, whose pipes belong to one thread, and in one batch."""
    threads, sampling = set(), threading.Event()

    class Watched(LearnedReward):
        def score_batch(self, rows):
            threads.add((threading.current_thread(), sampling.is_set(), len(rows)))
            return super().score_batch(rows)

    class Sampler(After):
        def sample(self, problems, rule, finished=None):
            sampling.set()
            found = self.sampler.sample(problems, rule, finished)
            sampling.clear()
            return found

    async def grade(problem, rollout, services):
        return Verdict(await services.reward_model.score(problem.messages, rollout.text), Outcome.PARTIAL)

    sampler = TorchSampler(policy.replicas, policy.tokenizer)
    services = Services(reward_model=Watched(policy.replicas, policy.tokenizer))
    mixed = [p if i % 2 else replace(p, domain="ruled") for i, p in enumerate(PROBLEMS)]
    domains = {"toy": replace(toy_domain("toy", grade), needs=LEARNED), "ruled": toy_domain("ruled")}
    found = collect(mixed, domains, Sampler(sampler), services, SAMPLING).groups
    assert threads == {(threading.main_thread(), False, 18)}, "6 groups of 3, at once, in this thread"
    assert found == collect(mixed, domains, After(sampler), services, SAMPLING).groups
    assert len({v.reward for g in found[1::2] for v in g.verdicts}) > 6


def test_each_group_is_told_of_once(policy):
    told = {}

    def finished(index, rollouts):
        assert index not in told
        told[index] = rollouts

    for max_rows in (256, 6, 3):
        told.clear()
        found = TorchSampler(policy.replicas, policy.tokenizer, max_rows=max_rows).sample(
            PROBLEMS, SAMPLING, finished
        )
        assert [told[i] for i in range(len(PROBLEMS))] == found


def test_a_worker_tells_before_it_is_done():
    """Parts come while the worker still works: it waits for a file that only the hearing of the first part writes."""
    policy = Policy(2)
    heard = []
    read, write = os.pipe()
    try:

        def hear(rank, part):
            heard.append((rank, part))
            if part == "first":
                os.write(write, b"go")

        assert policy.replicas.map(_tell_and_wait, [(None,), (f"/proc/{os.getpid()}/fd/{read}",)], hear) == [
            None,
            "went on",
        ]
    finally:
        policy.replicas.close()
        os.close(read)
        os.close(write)
    assert sorted(heard) == [(1, "first"), (1, "second")]
    assert policy.replicas.size == 2


def _tell_and_wait(worker, gate):
    if gate is None:
        return None
    worker.report("first")
    with Path(gate).open("rb") as file:
        assert file.read(2) == b"go"
    worker.report("second")
    return "went on"


def test_grading_begins_while_others_decode():
    graded = threading.Event()

    async def grade(problem, rollout, services):
        graded.set()
        return Verdict.binary(True)

    class Slow(ScriptedSampler):
        def sample(self, problems, sampling, finished=None):
            found = super().sample(problems[:1], sampling, finished)
            assert graded.wait(30), "the first group is graded while this sampler is not done"
            return found + super().sample(problems[1:], sampling)

    found = collect(
        PROBLEMS[:3], {"toy": toy_domain("toy", grade)}, Slow(lambda p: "x"), Services(), SAMPLING
    ).groups
    assert [v.reward for g in found for v in g.verdicts] == [1.0] * 9
