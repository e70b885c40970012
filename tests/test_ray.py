"""Two Ray nodes on this machine: the verdicts of one machine, one by one, whatever becomes of a node."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest
from hostile_replies import replies
from hypothesis import given
from hypothesis import strategies as st
from ray_nodes import LEVEL, OTHER

from cascade_rl.domains import domain_names, load_domain
from cascade_rl.errors import ClusterLost, InputError
from cascade_rl.grading.on_node import likeness
from cascade_rl.grading.services import open_services, standing
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.protocols import Execution, Judgement, Program, Turns
from cascade_rl.remote.ray_cluster import RayCluster, check_address
from cascade_rl.remote.ray_dealer import Told
from cascade_rl.remote.ray_deck import MOST_LOSSES, Deck, Job, Seat
from cascade_rl.remote.ray_services import RaySandbox, RayVerifiers
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


class Machines:
    """A Ray cluster whose head has no processor, as a trainer's machine, and nodes of one processor each."""

    def __init__(self, *nodes):
        # an actor imports what this process can
        env = os.environ | {"PYTHONPATH": os.pathsep.join([TESTS, *filter(None, sys.path)])}
        command = [sys.executable, f"{TESTS}/ray_machines.py"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, bufsize=1, env=env, start_new_session=True, **pipes)
        self.address = self.process.stdout.readline().strip()
        for node in nodes:
            self.add(**node)

    def add(self, **env):
        print(json.dumps(env), file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "added\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def told(cluster, needs=("verifiers",), patience_s=30.0, workers=None):
    node = "ray_nodes:PlacedNode"
    return Told(cluster.address, node, list(needs), workers, False, likeness(), LEVELS, patience_s)


def kill(node, *, raylet_only=False):
    """End a node at work as a machine that loses power: SIGKILL of its raylet and of what that started."""
    raylet = int(Path(f"/proc/{node.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(raylet, signal.SIGKILL)
    if not raylet_only:
        os.kill(node.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def two():
    with Machines({}, {}) as cluster:
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
    found, levels = {}, []
    for where in (None, two.address):
        with open_services(needs, workers=1, ray=where) as services:
            found[where] = [grade_all(d.benchmark_grade, pairs, services) for d, pairs in every]
            levels.append(standing(services))
            counts = {k: services.counts[k] for k in ("verifier_calls", "programs", "program_timeouts")}
            found[where].append(counts)
    assert len(every) >= 6 and sum(len(pairs) for _, pairs in every) > 60
    assert found[two.address] == found[None]
    assert levels[0].level == levels[1].level and "2 Ray nodes" in levels[1].line


def ask(cluster, folder, count, *, begun=None, at=10, seconds=0.05):
    """The values of so many calls in order, with `begun` called once `at` of them have ended."""
    verifiers = RayVerifiers(cluster)

    async def every():
        calls = (verifiers.call("ray_nodes:count", str(folder), n, seconds) for n in range(count))
        return await asyncio.gather(*calls)

    with ThreadPoolExecutor() as pool:
        values = pool.submit(asyncio.run, every())
        while begun and len(list(folder.iterdir())) < at:
            time.sleep(0.01)
        if begun:
            begun()
        return values.result()


def marks(folder):
    """(number, zygote) of each time that a call was made."""
    return Counter(tuple(map(int, path.name.split("-")[:2])) for path in folder.iterdir())


def test_a_killed_node_loses_nothing_and_one_that_joins_is_used(tmp_path):
    heard = []
    with Machines({}, {}) as cluster, RayCluster(told(cluster), heard.append) as work:
        (tmp_path / "first").mkdir()
        values = ask(work, tmp_path / "first", 120, begun=lambda: kill(work.nodes[0]))
        # nothing lost, in order, each verdict that of its own call
        assert values == [Judgement(n * n) for n in range(120)]
        made, counts = marks(tmp_path / "first"), dict(work.counts)
        assert {n for n, _ in made} == set(range(120)) and len({zygote for _, zygote in made}) == 2
        # no node makes a call twice; what two nodes made is what the lost one held
        assert set(made.values()) == {1} and 0 < counts["calls_again"] <= 2
        assert len(made) - 120 <= counts["calls_again"] and counts["lost_nodes"] == 1
        [note] = [text for text in heard if "lost" in text]
        assert f"{counts['calls_again']} calls" in note
        # and a machine that comes is used while calls are made
        (tmp_path / "second").mkdir()
        values = ask(work, tmp_path / "second", 200, begun=cluster.add, seconds=0.05)
        assert values == [Judgement(n * n) for n in range(200)]
        made = marks(tmp_path / "second")
        assert Counter(n for n, _ in made) == Counter(range(200)) and len(work.nodes) == 3
        assert len({zygote for _, zygote in made}) == 2
