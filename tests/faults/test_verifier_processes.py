"""Verifiers whose workers die, hang or leak: every call gets its judgement, and no process is left."""

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cascade_rl.grading.verifiers import ProcessVerifiers

TESTS = Path(__file__).parents[1]


@pytest.fixture
def verifiers():
    with ProcessVerifiers(2, preload=()) as processes:
        yield processes


def call(verifiers, function, *arguments, **options):
    return asyncio.run(verifiers.call(f"verifier_functions:{function}", *arguments, **options))


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie counts as alive, since nobody waited for it."""
    try:
        return bool(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return False


def gone(pids, within_s=10.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not any(
            alive(pid) and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2] for pid in pids
        ):
            return True
        time.sleep(0.02)
    return False


def test_nothing_starts_before_the_first_call():
    before = threading.active_count()  # of other tests in this process, some still end
    with ProcessVerifiers(preload=()) as verifiers:
        assert verifiers.pids() == [] and threading.active_count() <= before
    assert verifiers.counts["replaced"] == 0


def test_big_number_code_is_killed_and_reaped(verifiers):
    call(verifiers, "echo")
    [pid] = verifiers.pids()
    assert call(verifiers, "spin", deadline_s=0.3).fault == "timeout"
    assert not alive(pid), "killed, but nobody waited for it"
    assert call(verifiers, "echo", 1).value == [1]
    assert verifiers.counts == {"calls": 3, "timeouts": 1, "crashes": 0, "retried": 0, "replaced": 1}


def test_a_killed_call_is_made_again_on_a_fresh_worker(verifiers, tmp_path):
    assert call(verifiers, "die_once", str(tmp_path / "marker")).value == "alive"
    assert verifiers.counts["retried"] == 1 and verifiers.counts["crashes"] == 0


@pytest.mark.parametrize(("function", "known"), [("crash", "SIGABRT"), ("leave", "code 0")])
def test_a_call_that_kills_each_worker_is_a_crash_that_says_how(verifiers, function, known):
    judgement = call(verifiers, function)
    assert judgement.fault == "crash" and known in judgement.note
    assert call(verifiers, "echo", 2).value == [2]
    assert (
        verifiers.counts["retried"] == 1
        and verifiers.counts["crashes"] == 1
        and verifiers.counts["replaced"] == 2
    )


def test_memory_is_limited(verifiers):
    assert "MemoryError" in call(verifiers, "swallow_memory", 6).note
    assert call(verifiers, "swallow_memory", 0.1).value == int(0.1 * 2**30)


def test_an_idle_worker_may_be_killed(verifiers):
    call(verifiers, "echo")
    for pid in verifiers.pids():
        os.kill(pid, signal.SIGKILL)
    assert call(verifiers, "echo", 3).value == [3]


def test_the_zygote_may_be_killed(verifiers):
    call(verifiers, "echo")
    zygote = verifiers._pool.zygote.process.pid
    workers = verifiers.pids()
    os.kill(zygote, signal.SIGKILL)
    assert [call(verifiers, "echo", i).value for i in range(4)] == [[i] for i in range(4)]
    assert gone([zygote, *workers])


def test_workers_are_killed_at_any_moment_and_every_call_is_answered(verifiers):
    """Unlucky calls may lose their worker twice; all others have their value."""
    stop, rng = threading.Event(), random.Random(0)

    def murder():
        while not stop.wait(rng.uniform(0.001, 0.03)):
            for pid in verifiers.pids()[:1]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    thread = threading.Thread(target=murder)
    thread.start()

    async def run():
        return await asyncio.gather(*(verifiers.call("verifier_functions:wait", 0.003) for _ in range(300)))

    found = asyncio.run(run())
    stop.set()
    thread.join()
    assert all(j.value == 0.003 or j.fault == "crash" for j in found)
    assert sum(j.value == 0.003 for j in found) > 150
    assert verifiers.counts["replaced"] >= 5
    assert call(verifiers, "echo", 4).value == [4]


def test_a_worker_is_replaced_after_its_share_of_calls():
    with ProcessVerifiers(1, calls_per_worker=10, preload=()) as verifiers:
        pids = [call(verifiers, "pid").value for _ in range(35)]
        assert [len(set(pids[i : i + 10])) for i in (0, 10, 20)] == [1, 1, 1] and len(set(pids)) == 4
        assert verifiers.counts["replaced"] == 3


def test_a_thousand_calls_leave_memory_and_descriptors_as_they_were():
    def usage():
        gc.collect()  # what other tests left behind, such as pipes of workers, is not to be counted once and then gone
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE"), len([*Path("/proc/self/fd").iterdir()])

    async def run(verifiers, count):
        await asyncio.gather(*(verifiers.call("math:sqrt", 4.0) for _ in range(count)))
        for _ in range(5):
            await verifiers.call("verifier_functions:wait", 9.0, deadline_s=0.02)

    with ProcessVerifiers(2, calls_per_worker=50, preload=()) as verifiers:
        asyncio.run(run(verifiers, 200))
        memory, descriptors = usage()
        for _ in range(5):
            asyncio.run(run(verifiers, 200))
        more, still = usage()
    assert still == descriptors
    assert more - memory < 8 << 20


def test_no_process_is_left_after_close():
    verifiers = ProcessVerifiers(2, preload=())

    async def run():
        busy = [
            asyncio.ensure_future(verifiers.call("verifier_functions:wait", 60.0, deadline_s=90))
            for _ in range(2)
        ]
        while len(verifiers.pids()) < 2:
            await asyncio.sleep(0.01)
        pids = [*verifiers.pids(), verifiers._pool.zygote.process.pid]
        await asyncio.to_thread(verifiers.close)
        return pids, await asyncio.gather(*busy)

    pids, found = asyncio.run(run())
    assert [j.fault for j in found] == ["crash", "crash"]
    assert not any(map(alive, pids))
    verifiers.close()
    with pytest.raises(RuntimeError):
        call(verifiers, "echo")


def test_no_process_is_left_when_the_parent_is_killed():
    code = (
        "import asyncio, sys\n"
        "from cascade_rl.grading.verifiers import ProcessVerifiers\n"
        "verifiers = ProcessVerifiers(2, preload=())\n"
        "async def run():\n"
        "    calls = [asyncio.ensure_future(verifiers.call('verifier_functions:spin', deadline_s=99)) for _ in range(2)]\n"
        "    while len(verifiers.pids()) < 2: await asyncio.sleep(0.01)\n"
        "    print(*verifiers.pids(), verifiers._pool.zygote.process.pid, flush=True)\n"
        "    await asyncio.gather(*calls)\n"
        "asyncio.run(run())\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 3 and all(map(alive, pids))
        parent.kill()
    assert gone(pids)


def test_verifiers_that_are_dropped_end_by_themselves():
    verifiers = ProcessVerifiers(1, preload=())
    call(verifiers, "echo")
    pids = [*verifiers.pids(), verifiers._pool.zygote.process.pid]
    del verifiers
    assert gone(pids)


def test_verifiers_that_can_not_start_say_why():
    with ProcessVerifiers(1, preload=("no_such_module",)) as verifiers:
        judgement = call(verifiers, "echo")
    assert judgement.fault == "crash" and "no_such_module" in judgement.note


def test_gmpy2_is_kept_out_even_where_it_is_installed(tmp_path, monkeypatch):
    (tmp_path / "gmpy2.py").write_text("raise SystemError('gmpy2 was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with ProcessVerifiers(1) as verifiers:
        assert call(verifiers, "big_number_backends").value == ["python", "python", True]


def test_a_cancelled_call_does_not_stop_the_others(verifiers):
    async def run():
        slow = [asyncio.ensure_future(verifiers.call("verifier_functions:wait", 0.5)) for _ in range(6)]
        await asyncio.sleep(0.1)
        for task in slow[1:]:
            task.cancel()
        assert (await slow[0]).value == 0.5
        return await verifiers.call("verifier_functions:echo", 5)

    assert asyncio.run(run()).value == [5]
