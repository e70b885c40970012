"""Two Ray nodes on this machine: the verdicts of one machine, one by one, whatever becomes of a node."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
from hostile_replies import replies
from hypothesis import given
from hypothesis import strategies as st
from ray_nodes import LEVEL, OTHER

from cascade_rl.domain import Services
from cascade_rl.domains import domain_names, load_domain
from cascade_rl.errors import ClusterLost, InputError
from cascade_rl.grading.on_node import likeness
from cascade_rl.grading.services import open_services, standing
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.protocols import Execution, Judgement, Program, Turns
from cascade_rl.remote import ray_cluster
from cascade_rl.remote.ray_cluster import RayCluster, check_address
from cascade_rl.remote.ray_dealer import Told
from cascade_rl.remote.ray_deck import MOST_LOSSES, Deck, Job, Seat
from cascade_rl.remote.ray_wire import (
    CALL,
    PROGRAM,
    execution,
    frame,
    judgement,
    packed_execution,
    packed_judgement,
    packed_program,
    parts,
    program_of,
    to_bytes,
)
from cascade_rl.sandbox.levels import LEVELS
from cascade_rl.types import Rollout, Split

TESTS = str(Path(__file__).parent)
SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}
# A node takes a processor's share of a machine that may have one: what is asked of it is little.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


# ---------------------------------------------------------------- what crosses


TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates, too


@given(st.dictionaries(TEXT, TEXT, max_size=3), TEXT, TEXT, st.lists(TEXT, max_size=2), st.booleans())
def test_a_program_crosses_as_it_is(files, entry, stdin, names, turned):
    turns = Turns(entry, 3, 0.5) if turned else None
    program = Program(files, entry, stdin, 2.5, 64, "tests", tuple(names), tuple(names), turns)
    assert program_of(packed_program(program)) == program
    head, blobs = parts(frame({"jobs": [[1, PROGRAM]]}, [packed_program(program), b"", b"\0x"]))
    assert head == {"jobs": [[1, PROGRAM]]} and program_of(blobs[0]) == program and blobs[1:] == [b"", b"\0x"]


@given(TEXT, st.integers(-64, 255), st.booleans(), st.none() | TEXT, st.dictionaries(TEXT, TEXT, max_size=2))
def test_an_answer_crosses_as_it_is(text, code, late, error, files):
    done = Execution(text, text[::-1], code, late, error, files, error, 0.25)
    found = execution(packed_execution(done))
    assert found == done and found.cpu_s == done.cpu_s
    asked = Judgement([text, {"a": 1.5}], error, text)
    assert judgement(packed_judgement(asked)) == asked


@pytest.mark.parametrize(
    "said",
    [
        b"\x80\x04\x95",  # a pickle's first bytes
        b"[]",
        b"{}",
        b'{"value": 1, "fault": 3, "note": ""}',
        b'{"stdout": "", "stderr": "", "exit_code": "0", "timed_out": false, "files": {}, "cpu_s": 0}',
        b'{"stdout": "", "stderr": "", "exit_code": 0, "timed_out": 0, "files": {}, "cpu_s": 0}',
        b'{"stdout": "", "stderr": "", "exit_code": 0, "timed_out": false, "files": {"a": 1}, "cpu_s": 0}',
    ],
)
def test_an_answer_of_other_types_is_refused(said):
    with pytest.raises(ValueError):
        judgement(said)
    with pytest.raises(ValueError):
        execution(said)


def test_what_a_node_raised_is_raised_here():
    with pytest.raises(RuntimeError, match="KeyError: 'x'"):
        judgement(to_bytes({"raised": "KeyError: 'x'"}))


# ---------------------------------------------------------------- who works on what


@given(st.data())
def test_every_call_is_answered_once_whichever_nodes_are_lost(data):
    """Any order of taking, answering and losing: what comes out is what went in, each once."""
    deck, count = Deck(), data.draw(st.integers(1, 40))
    seats = [Seat(f"node {n}", data.draw(st.integers(1, 4))) for n in range(4)]
    deck.add(Job(n, data.draw(st.sampled_from([CALL, PROGRAM])), b"") for n in range(count))
    for seat in seats:
        deck.sit(seat)
    answers, given_up, losses = Counter(), [], Counter()
    for seat in data.draw(st.permutations(seats))[1:]:  # all but one are lost, in turn
        for one in seats:
            if not one.gone and any(one.room(kind) for kind in (CALL, PROGRAM)):
                with deck._changed:
                    taken = deck._share(one)
                assert all(one.busy[kind] <= one.workers * 2 for kind in one.busy)
                some = [j.number for j in taken if data.draw(st.booleans())]
                answers.update(deck.done(one, some))
        held = set(seat.held)
        losses.update(held)
        number, lost = deck.lose(seat)
        assert number == len(held) and deck.lose(seat) == (0, []) and deck.take(seat) == []
        # too late: it is somebody else's by now
        assert deck.done(seat, held) == []
        given_up += lost
    [last] = deck.seats
    while True:
        with deck._changed:
            deck._share(last)
        if not last.held:
            break
        answers.update(deck.done(last, [*last.held, 10_000]))
    assert all(losses[job.number] == MOST_LOSSES for job in given_up)
    assert answers + Counter(job.number for job in given_up) == Counter(range(count))


def test_calls_are_dealt_by_free_capacity_and_dealt_again_first():
    deck, small, large = Deck(), Seat("small", 1), Seat("large", 3)
    deck.sit(small)
    deck.sit(large)
    deck.add(Job(n, CALL, b"") for n in range(20))
    assert [job.number for job in deck.take(small)] == [0, 1]
    assert [job.number for job in deck.take(large)] == [2, 3, 4, 5, 6, 7]
    assert deck.done(small, [1, 5]) == [1]  # 5 is not its own
    assert [job.number for job in deck.take(small)] == [8]
    deck.lose(large)
    deck.done(small, [0, 8])
    # those of the node that was lost, in their order
    assert [job.number for job in deck.take(small)] == [2, 3]


# ---------------------------------------------------------------- two nodes


@contextmanager
def a_cluster(*nodes):
    """A Ray cluster whose head has no processor, as a trainer's machine, and a node for each of these."""
    from ray.cluster_utils import Cluster

    # what an actor imports; a node hands its own environment on
    path = os.pathsep.join([TESTS, *filter(None, sys.path)])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = path
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
    try:
        for settings in nodes:
            add(cluster, **settings)
        yield cluster
    finally:
        cluster.shutdown()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def add(cluster, **env):
    return cluster.add_node(num_cpus=1, env_vars=env, **SMALL)


def told(cluster, needs=("verifiers",), patience_s=30.0, workers=None):
    node = "ray_nodes:PlacedNode"
    return Told(cluster.address, node, list(needs), workers, False, likeness(), LEVELS, patience_s)


def kill(node):
    """As a machine that loses power: SIGKILL, and nobody says goodbye."""
    for process in node.all_processes["raylet"]:
        os.kill(process.process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def two():
    with a_cluster({}, {}) as cluster:
        yield cluster


def cases():
    """(problem, reply) of every domain whose benchmark needs no model: its examples, golds and junk."""
    for name in domain_names():
        domain = load_domain(name)
        if domain.learned and domain.score is None:
            continue
        problems = list(islice(domain.problems("builtin", Split.RL, 0), 3))
        golds = [gold for problem in problems if (gold := domain.gold(problem))]
        pairs = [(e.problem, e.reply) for e in domain.examples()]
        pairs += list(zip(problems, golds, strict=False))
        pairs += [(problems[0], reply) for reply in islice(replies(random.Random(name), 8, golds), 8)]
        yield domain, [(problem, Rollout.of_text(reply)) for problem, reply in pairs]


def test_verdicts_of_every_domain_are_those_of_this_machine_one_by_one(two):
    every = list(cases())
    needs = frozenset({"verifiers", "sandbox"})
    found = {}
    for where in (None, two.address):
        with open_services(needs, workers=1, ray=where) as services:
            found[where] = [grade_all(d.benchmark_grade, pairs, services) for d, pairs in every]
            level = standing(services)
            counts = {k: services.counts[k] for k in ("verifier_calls", "programs", "program_timeouts")}
            found[where].append(counts)
        if where:
            assert "2 Ray nodes" in level.walls and level.level == here.level
        here = level
    assert len(every) >= 6 and sum(len(pairs) for _, pairs in every) > 60
    assert found[two.address] == found[None]
