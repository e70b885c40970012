"""Two Ray nodes on this machine: the verdicts of one machine, one by one, whatever becomes of a node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
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

from cascade_rl.domain import Services
from cascade_rl.domains import domain_names, load_domain
from cascade_rl.errors import ClusterLost
from cascade_rl.grading.on_node import likeness
from cascade_rl.grading.services import open_services, standing
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.protocols import Execution, Judgement, Program, Turns
from cascade_rl.remote.ray_cluster import RayCluster
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
from cascade_rl.types import Outcome, Rollout, Split, Verdict

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
    deck, count = Deck(lambda: 0.0), data.draw(st.integers(1, 40))
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
                assert one.busy == Counter(job.kind for job in one.held.values())
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


@pytest.mark.parametrize(("each_s", "ready"), [(0.001, 50), (0.004, 13), (0.1, 2), (3.0, 2)])
def test_what_lies_ready_on_a_node_is_what_it_does_in_a_moment(each_s, ready):
    """The answers of 0.05 s, and no less than one a worker."""
    now = [0.0]
    deck, seat = Deck(lambda: now[0]), Seat("node", 2)
    deck.sit(seat)
    deck.add(Job(n, CALL, b"") for n in range(10_000))
    for _ in range(60):
        deck.take(seat)
        now[0] += 2 * each_s
        deck.done(seat, list(seat.held)[:2])
    assert seat.room(CALL) + len(seat.held) == seat.workers + ready


def test_calls_are_dealt_by_free_capacity_and_dealt_again_first():
    deck, small, large = Deck(lambda: 0.0), Seat("small", 1), Seat("large", 3)
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
        self.process = subprocess.Popen(
            command, text=True, bufsize=1, env=env, start_new_session=True, **pipes
        )
        self.address = self.process.stdout.readline().strip()
        for node in nodes:
            self.add(**node)

    def add(self, **env):
        print(json.dumps(env), file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "added\n"

    def end(self):
        """The whole of it as at a loss of power: SIGKILL of the head and of all that was started by it."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended
                parents[int(stat.parent.name)] = parent_of(stat.parent.name)
        family = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        for pid in family:
            with contextlib.suppress(ProcessLookupError):  # it ended with those that were killed before it
                os.kill(pid, signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def told(cluster, needs=("verifiers",), patience_s=30.0, workers=None):
    node = "ray_nodes:PlacedNode"
    return Told(cluster.address, node, list(needs), workers, False, likeness(), LEVELS, patience_s)


def kill(node):
    """End a node at work as a machine that loses power: SIGKILL of its raylet and of what that started."""
    os.kill(parent_of(node.pid), signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # it may end with its raylet
        os.kill(node.pid, signal.SIGKILL)


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


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


def until(true, work=lambda: None):
    """Work until something is so; the suite's own limit ends what never is."""
    while not true():
        work()
        time.sleep(0.05)


def fresh(folder):
    folder.mkdir()
    return folder


def test_a_killed_node_loses_nothing_one_that_joins_is_used_and_without_any_there_is_an_error(tmp_path):
    heard = []
    with Machines({}, {}) as cluster, RayCluster(told(cluster, patience_s=2), heard.append) as work:
        first, second = work.nodes
        folder = fresh(tmp_path / "one is killed")
        values = ask(work, folder, 80, begun=lambda: kill(first))
        # nothing lost, in order, each verdict that of its own call
        assert values == [Judgement(n * n) for n in range(80)]
        made, counts = marks(folder), dict(work.counts)
        assert {n for n, _ in made} == set(range(80)) and len({zygote for _, zygote in made}) == 2
        # no node makes a call twice; what two nodes made is what the lost one held
        assert set(made.values()) == {1} and 0 < counts["calls_again"] <= 2
        assert len(made) - 80 <= counts["calls_again"] and counts["lost_nodes"] == 1
        [note] = [text for text in heard if "lost" in text]
        assert f"{counts['calls_again']} calls" in note and first.name in note
        # as timings.jsonl tells it
        assert work.losses == {"ray_nodes_lost": 1, "ray_calls_again": counts["calls_again"]}
        # a machine that comes is used
        cluster.add()
        until(lambda: len(work.nodes) == 3, lambda: ask(work, tmp_path / "one is killed", 4))
        folder = fresh(tmp_path / "one has joined")
        assert ask(work, folder, 40) == [Judgement(n * n) for n in range(40)]
        made = marks(folder)
        assert Counter(n for n, _ in made) == Counter(range(40)) and len({zygote for _, zygote in made}) == 2
        # and where none is left, every call that waits ends, and no verdict is given
        problem = next(load_domain("maths").problems("builtin", Split.RL, 0))
        pairs = [(problem, Rollout.of_text(f"{n}")) for n in range(3)]
        services = Services(verifiers=RayVerifiers(work))
        kill(second), kill(work.nodes[2])
        with pytest.raises(ClusterLost, match=f"{cluster.address} has had no node.*same command again"):
            grade_all(slow_grade, pairs, services)
        with pytest.raises(ClusterLost, match=cluster.address):
            grade_all(slow_grade, pairs, services)


async def slow_grade(problem, rollout, services):
    found = await services.verifiers.call("verifier_functions:wait", 1, deadline_s=5)
    return Verdict(float(found.value), Outcome.RIGHT)


def test_the_weakest_level_is_stated_what_is_below_or_unlike_is_left_out_and_a_lost_head_ends_it():
    heard = []
    small = Program({"a.py": "print(6 * 7)"}, "a.py")
    suite = Program({"a.py": "print(6 * 7)"}, "a.py", profile="tests")
    needs = ("sandbox", "verifiers")
    with Machines({}) as cluster:
        with RayCluster(told(cluster, needs), heard.append) as work:
            level = work.weakest().level
            cluster.add(**{LEVEL: "lockdown"})
            cluster.add(**{OTHER: "sympy"})
            until(lambda: len(heard) == 2)
            weak, unlike = sorted(heard, key=lambda text: "sympy" in text)
            assert level == "full" and "left out" in weak and "level lockdown, and this began at full" in weak
            assert "left out" in unlike and f"sympy 0.0.1, here {likeness()['sympy']}" in unlike
            assert len(work.nodes) == 1 and asyncio.run(RaySandbox(work).run(suite)).stdout == "42\n"
        # the next run begins with both
        with RayCluster(told(cluster, needs, patience_s=2), heard.append) as work:
            sandbox = RaySandbox(work)
            assert len(work.nodes) == 2 and sandbox.standing().level == "lockdown"
            assert re.search(r"weakest of 2 Ray nodes is \S+ \(\w+\), 1 at full", sandbox.standing().line)
            assert asyncio.run(sandbox.run(small)).stdout == "42\n"
            # whichever node would have run it
            assert "full on all nodes" in asyncio.run(sandbox.run(suite)).error
            cluster.end()
            with pytest.raises(ClusterLost, match=rf"{cluster.address} .*same command again"):
                asyncio.run(RayVerifiers(work).call("verifier_functions:wait", 1, deadline_s=5))


def test_a_file_is_graded_as_here_and_ray_never_enters_the_process_that_grades(two, cascade, tmp_path):
    """Hostile replies and programs that print pickles come back as text, in lines of the same bytes."""
    evil = "import pickle, sys\nsys.stdout.buffer.write(pickle.dumps(print))\nprint(input())"
    responses = [f"```python\n{evil}\n```", "```python\nprint(input())\n```", "\x80\x04\x95"]
    answer = {"tests": [{"stdin": "1\n", "stdout": "1\n"}]}
    rows = [{"id": n, "answer": answer, "response": text} for n, text in enumerate(responses)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = []
    for more in ((), ("--ray", two.address)):
        status, out, err = cascade("grade", "coding", "--input", "in.jsonl", *more)
        assert status == 0, err
        found.append(out)
    assert found[0] == found[1]
    assert [json.loads(line)["reward"] for line in found[0].splitlines()] == [0, 1, 0]
    assert "ray" not in sys.modules


def test_without_ray_and_with_a_wrong_address_there_is_one_message(cascade, monkeypatch, tmp_path):
    (tmp_path / "in.jsonl").write_text("")
    grade = ("grade", "maths", "--input", "in.jsonl", "--ray")
    for address in ("ray://head:10001", "head", "head:port", ""):
        status, _, err = cascade(*grade, address)
        assert status == 1 and "HOST:PORT" in err and "Traceback" not in err
    status, _, err = cascade(*grade, "127.0.0.1:1")
    assert status == 1 and "no Ray cluster at 127.0.0.1:1" in err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, out, err = cascade(*grade, "local")
    assert (status, out) == (1, "") and "pip install 'cascade-rl[ray]'" in err
