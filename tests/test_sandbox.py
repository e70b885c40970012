"""The sandbox from outside: what an execution tells, what survives a fault, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hostile_programs import HONEST, SYSCALL
from hostile_run import descendants, descriptors
from test_hostile_programs import AS_USER, ENVIRONMENT

from cascade_rl.errors import SandboxUnavailable
from cascade_rl.protocols import Program
from cascade_rl.sandbox import link, pool
from cascade_rl.sandbox.inside import filters
from cascade_rl.sandbox.inside.calls import MACHINES, numbers
from cascade_rl.sandbox.pool import OUTPUT_CAP, ZygoteSandbox
from cascade_rl.sandbox.selftest import PROGRAMS, self_test

AS_WHOM = [pytest.param([], id="as is")] + ([pytest.param(AS_USER, id="user")] if os.getuid() == 0 else [])


@pytest.fixture(scope="module")
def sandbox():
    with ZygoteSandbox(2) as made:
        yield made


@pytest.fixture
def run(sandbox):
    def call(text: str, stdin: str = "", timeout_s: float = 4.0, **more):
        files = {"main.py": text} | more.pop("files", {})
        return asyncio.run(sandbox.run(Program(files, "main.py", stdin, timeout_s, **more)))

    return call


def test_programs_do_what_they_do_in_an_interpreter(run, tmp_path):
    stdin = tmp_path / "stdin"
    stdin.write_text("1 2\n")
    for name, text in HONEST.items():
        with stdin.open() as file:
            command = [sys.executable, "-c", text]
            plain = subprocess.run(command, stdin=file, capture_output=True, text=True, cwd=tmp_path)
        done = run(text, "1 2\n")
        assert (done.stdout, done.exit_code, done.error) == (plain.stdout, 0, None), name


def test_other_files_can_be_imported_and_read(run):
    files = {"other.py": "x = 7", "package/__init__.py": "", "package/inner.py": "y = 8", "data.txt": "9"}
    text = "from other import x\nfrom package.inner import y\nprint(x, y, open('data.txt').read())"
    assert run(text, files=files).stdout == "7 8 9\n"


def test_other_files_can_be_imported_without_a_scratch_directory():
    files = {"main.py": "from other import x\nprint(x)", "other.py": "x = 7"}
    with ZygoteSandbox(1, level="lockdown") as sandbox:
        assert asyncio.run(sandbox.run(Program(files, "main.py"))).stdout == "7\n"


@pytest.mark.parametrize(
    ("text", "code"), [("import sys\nsys.exit(3)", 3), ("1 / 0", 1), ("def", 1), ("raise SystemExit('no')", 1),
                       ("import os; os.kill(os.getpid(), 11); os.abort()", -11)],
)  # fmt: skip
def test_exit_codes(run, text, code):
    done = run(text)
    assert (done.exit_code, done.limit) == (code, None)


def test_the_traceback_is_the_programs_own(run):
    lines = run("def f():\n    1 / 0\nf()").stderr.splitlines()
    assert [line for line in lines if "File" in line] == [
        '  File "main.py", line 3, in <module>', '  File "main.py", line 2, in f',
    ]  # fmt: skip
    assert lines[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("while True: pass", "cpu"),
        ("import time\ntime.sleep(1000)", "wall"),
        ("x = bytearray(4 * 10**9)", "memory"),
        ("while True: print('x' * 1000)", "output"),
        ("import os\nwhile True: os.write(2, b'x' * 10000)", "output"),
    ],
)
def test_an_execution_names_the_limit(run, text, limit):
    done = run(text, timeout_s=0.3)
    assert (done.limit, done.timed_out, done.error) == (limit, limit in ("cpu", "wall"), None)
    assert len(done.stdout) <= OUTPUT_CAP


def test_the_processor_time_is_told_and_is_what_counts(run):
    text = "import time\nwhile time.process_time() < {}: pass\nprint('done')"
    assert run(text.format(0.2), timeout_s=0.6).cpu_s == pytest.approx(0.2, abs=0.1)
    assert run(text.format(1.0), timeout_s=0.6).limit == "cpu"


@pytest.mark.parametrize(
    "name", ["../out.py", "/out.py", "a/../../b", "", "a\0b", "./x", "a//b", "x" * 300, "\ud800"]
)
def test_files_stay_in_the_scratch_directory(run, name):
    done = run("print(1)", files={name: ""})
    assert (done.stdout, done.exit_code, done.error) == ("", 1, None) and "ValueError" in done.stderr


def test_what_can_not_be_laid_out_is_the_programs_fault(run):
    assert "is a file and a folder" in run("", files={"a": "", "a/b": ""}).stderr
    assert "too much" in run("", files={"big": "x" * (20 << 20)}).stderr
    assert "too much" in run("", files={f"f{i}": "" for i in range(2000)}).stderr


def test_equal_programs_share_a_result_and_timeouts_are_not_kept():
    with ZygoteSandbox(2) as sandbox:
        program = Program({"main.py": "import os, time\nprint(os.urandom(8), time.time_ns())"}, "main.py")

        async def several():
            return await asyncio.gather(*(sandbox.run(program) for _ in range(5)))

        assert len({e.stdout for _ in range(2) for e in asyncio.run(several())}) == 1
        assert sandbox.counters["runs"] == 1 and sandbox.counters["shared"] == 9
        slow = Program({"main.py": "while True: pass"}, "main.py", timeout_s=0.1)
        for _ in range(2):
            assert asyncio.run(sandbox.run(slow)).timed_out
        assert sandbox.counters["runs"] == 3 and sandbox.counters["timeouts"] == 2


def test_a_waiter_that_gives_up_does_not_take_the_result_from_others(sandbox):
    program = Program({"main.py": "import time\ntime.sleep(0.3)\nprint(5)"}, "main.py")

    async def one_leaves():
        first, second = (asyncio.create_task(sandbox.run(program)) for _ in range(2))
        await asyncio.sleep(0.1)
        first.cancel()
        return (await second).stdout

    assert asyncio.run(one_leaves()) == "5\n"


def test_hashes_and_random_numbers_are_the_same_in_every_zygote():
    text = "import random\nprint(hash('a'), random.random(), list({'x', 'y', 'z'}))"
    found = set()
    for _ in range(3):
        with ZygoteSandbox(1) as sandbox:
            found.add(asyncio.run(sandbox.run(Program({"main.py": text}, "main.py"))).stdout)
    assert len(found) == 1


def zygotes() -> set[int]:
    """The processes that a sandbox of this process started itself."""
    own = (
        Path(f"/proc/self/task/{t.name}/children").read_text().split()
        for t in Path("/proc/self/task").iterdir()
    )
    found = {int(pid) for pids in own for pid in pids}
    return {p for p in found if b"cascade_rl.sandbox.inside" in Path(f"/proc/{p}/cmdline").read_bytes()}


@pytest.fixture
def fresh():
    """A sandbox of one zygote, and how to find that."""
    others = zygotes()
    with ZygoteSandbox(1) as made:
        yield made, lambda: zygotes() - others


def test_a_zygote_has_one_thread_and_its_candidates_are_told_to_have_one(run, sandbox):
    run("print(1)")
    assert zygotes()
    assert all(len(list(Path(f"/proc/{p}/task").iterdir())) == 1 for p in zygotes())
    assert (
        run("import os\nprint(os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_NUM_THREADS'])").stdout
        == "1 1\n"
    )


def test_the_zygotes_go_first_when_memory_runs_out(run):
    run("print(1)")
    assert {Path(f"/proc/{p}/oom_score_adj").read_text() for p in zygotes()} == {"1000\n"}


def test_clone3_is_not_there_and_clone_is_for_threads_only(run):
    text = SYSCALL + "print(-sys_(435, 0, 88), -sys_(56, 17, 0, 0, 0, 0))"
    assert run(text).stdout == f"{errno.ENOSYS} {errno.EPERM}\n"


def test_no_memory_outside_the_limit(run):
    text = (
        SYSCALL
        + "print([-sys_(n, *a) for n, a in ((319, (b'x', 0)), (29, (0, 1 << 20, 0o1600)), (240, (b'/q', 66, 384, 0)))])"
    )
    assert run(text).stdout == f"{[errno.EPERM] * 3}\n"


def test_a_killed_zygote_is_replaced_and_the_program_runs_again(fresh):
    sandbox, own = fresh
    timer = threading.Timer(0.2, lambda: [os.kill(p, signal.SIGKILL) for p in own()])
    timer.start()
    done = asyncio.run(sandbox.run(Program({"main.py": "import time\ntime.sleep(0.5)\nprint(2)"}, "main.py")))
    assert (done.stdout, done.error) == ("2\n", None)
    counts = sandbox.counters
    assert counts["respawns"] == counts["retries"] == 1 and counts["infra_faults"] == 0


def test_a_sandbox_that_fails_twice_is_an_error_and_works_again_after(fresh):
    sandbox, own = fresh
    program = Program({"main.py": "import time\ntime.sleep(1)\nprint(2)"}, "main.py")
    stop = threading.Event()

    def kill_all():
        while not stop.wait(0.1):
            for pid in own():
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    done = asyncio.run(sandbox.run(program))
    stop.set()
    killer.join()
    assert done.error and sandbox.counters["infra_faults"] == 1
    assert asyncio.run(sandbox.run(program)).stdout == "2\n", "a failure of the sandbox is not kept"


def test_a_silent_zygote_is_replaced(fresh, monkeypatch):
    sandbox, own = fresh
    monkeypatch.setattr(link, "GRACE_S", 0.2)
    for pid in own():
        os.kill(pid, signal.SIGSTOP)
    done = asyncio.run(sandbox.run(Program({"main.py": "print(2)"}, "main.py", timeout_s=0.1)))
    assert done.stdout == "2\n" and sandbox.counters["respawns"] == 1


def test_a_late_reply_is_not_taken_for_the_next_jobs(fresh):
    zygote = link.Zygote("none", "code")
    try:
        zygote._jobs = 5
        zygote._receive = lambda timeout_s, inner=zygote._receive: inner(timeout_s)
        limits = pool.limits_of(Program({}, ""))
        ending = zygote.run(link.pack(Program({"a": "print(1)"}, "a")), b"", limits, 5.0, 100)
        assert ending.stdout == b"1\n" and zygote._jobs == 6
        zygote._socket.send(json.dumps({"kill": 6}).encode())  # too late: job 6 is over
        ending = zygote.run(link.pack(Program({"a": "print(2)"}, "a")), b"", limits, 5.0, 100)
        assert ending.stdout == b"2\n" and not ending.killed
    finally:
        zygote.close()


def test_a_candidate_can_not_forge_a_failure_of_the_sandbox(run):
    text = "import os\nfor n in range(3, 64):\n    try: os.write(n, b'setup failed')\n    except OSError: pass\nos._exit(1)"
    done = run(text)
    assert (done.exit_code, done.error, done.limit) == (1, None, None)


def test_one_program_does_not_see_another(run):
    run("import builtins, json, os\nbuiltins.print = None\njson.dumps = None\nopen('left', 'w').close()")
    assert run("import json, os\nprint(json.dumps(os.listdir('.')))").stdout == '["main.py"]\n'


def test_it_works_from_threads_that_come_and_go():
    found = []
    with ZygoteSandbox(1) as sandbox:
        for i in range(3):
            program = Program({"main.py": f"print({i})"}, "main.py")
            thread = threading.Thread(
                target=lambda p=program: found.append(asyncio.run(sandbox.run(p)).stdout)
            )
            thread.start()
            thread.join()
        assert sandbox.counters["respawns"] == 0
    assert found == ["0\n", "1\n", "2\n"]


def test_closing_between_two_programs_ends():
    """A worker that takes the next program while the sandbox closes waits for nothing that closing holds."""
    for delay in range(12):
        sandbox = ZygoteSandbox(2)

        async def close_while_many_wait(sandbox=sandbox, delay=delay):
            programs = [
                Program({"main.py": f"print({i})"}, "main.py", profile=("code", "tests")[i % 2])
                for i in range(40)
            ]
            waiting = [asyncio.create_task(sandbox.run(p)) for p in programs]
            await asyncio.sleep(delay / 100)
            closing = threading.Thread(target=sandbox.close, daemon=True)
            closing.start()
            await asyncio.to_thread(closing.join, 60)
            assert not closing.is_alive()
            return await asyncio.gather(*waiting)

        done = asyncio.run(close_while_many_wait())
        assert {e.error for e in done} <= {None, "the sandbox was closed"}


def test_closing_leaves_nothing_and_waiters_get_an_error():
    mounts, files, before = Path("/proc/self/mountinfo").read_text(), descriptors(), set(descendants())
    sandbox = ZygoteSandbox(1)

    async def close_while_running():
        slow = [Program({"main.py": f"import time\ntime.sleep(30)\nprint({i})"}, "main.py") for i in range(3)]
        waiting = [asyncio.create_task(sandbox.run(p)) for p in slow]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(sandbox.close)
        return await asyncio.gather(*waiting)

    done = asyncio.run(close_while_running())
    assert {e.error for e in done} == {"the sandbox was closed"}
    assert set(descendants()) <= before and descriptors() == files
    assert Path("/proc/self/mountinfo").read_text() == mounts


PARENT = """
import asyncio, sys
from cascade_rl.protocols import Program
from cascade_rl.sandbox.pool import ZygoteSandbox
sandbox = ZygoteSandbox(1, level=sys.argv[1])
sandbox.start()
print("ready", flush=True)
asyncio.run(sandbox.run(Program({"main.py": "while True: pass"}, "main.py", timeout_s=60.0)))
"""


def state(pid: int) -> str:
    """The process state; X when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def below(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *below(child)]
    return found


@pytest.mark.parametrize("level", ["full", "lockdown"])
@pytest.mark.parametrize("prefix", AS_WHOM)
def test_nothing_survives_the_death_of_the_parent(prefix, level):
    command = [*prefix, sys.executable, "-c", PARENT, level]
    parent = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"ready\n"
    deadline = time.monotonic() + 10
    while len(below(parent.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    family = below(parent.pid)
    assert len(family) == 2, "a zygote and a candidate"
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while any(state(p) not in "XZ" for p in family) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [state(p) for p in family if state(p) not in "XZ"] == []


REFUSE = "import cascade_rl.sandbox.inside.calls as k, os; c = k.call\ndef refuse(name, *a, step=''):\n" \
         "    if name in {names}: raise k.StepFailed(1, (step or name) + ': Operation not permitted')\n" \
         "    return c(name, *a, step=step)\nk.call = refuse\n"  # fmt: skip


BOOT = link.BOOT


def without(monkeypatch, *names: str) -> None:
    """A kernel that refuses some system calls."""
    code = REFUSE.replace("{names}", repr(names))
    boot = BOOT.replace("; from", f"; exec({code!r}); from", 1)
    monkeypatch.setattr(link, "BOOT", boot)


def test_without_user_namespaces_the_level_is_lockdown_and_the_mend_is_named(monkeypatch):
    without(monkeypatch, "unshare")
    with ZygoteSandbox(1) as sandbox:
        standing = sandbox.start()
        assert standing.level == "lockdown"
        [advice] = standing.advice
        assert "unshare" in advice and "user.max_user_namespaces" in advice
        done = asyncio.run(sandbox.run(Program({"main.py": ""}, "main.py", profile="tests")))
        assert "level full" in done.error
        assert self_test(sandbox).failed == ()


def test_without_any_isolation_it_refuses_unless_told_otherwise(monkeypatch):
    without(monkeypatch, "unshare", "landlock_create_ruleset")
    with pytest.raises(SandboxUnavailable) as refused:
        ZygoteSandbox(1).start()
    for word in ("full: unshare", "lockdown: landlock", "Linux 5.13", "--unsafe-exec"):
        assert word in str(refused.value)
    with ZygoteSandbox(1, unsafe=True) as sandbox:
        assert sandbox.start().level == "limits"
        assert asyncio.run(sandbox.run(Program({"main.py": "print(1)"}, "main.py"))).stdout == "1\n"
    without(monkeypatch, "unshare", "landlock_create_ruleset", "seccomp")
    with ZygoteSandbox(1, unsafe=True) as sandbox:
        assert sandbox.start().level == "none"


def test_an_unknown_level_is_named():
    with pytest.raises(ValueError, match="no sandbox level 'strong'"):
        ZygoteSandbox(1, level="strong")
    with pytest.raises(ValueError, match="isolates nothing"):
        ZygoteSandbox(1, level="limits")


@pytest.mark.parametrize("level", ["full", "lockdown", "limits"])
def test_the_self_test_passes_here_and_sees_a_missing_wall(level):
    with ZygoteSandbox(2, level=level, unsafe=True) as sandbox:
        found = self_test(sandbox)
        assert found.failed == () and len(found.passed) == sum(level in row[1] for row in PROGRAMS.values())
    with ZygoteSandbox(2, level="none", unsafe=True) as bare:
        bare._standing = replace(bare.start(), level=level)
        assert self_test(bare).failed


def test_random_bytes_and_mutated_programs_never_hurt_the_parent(sandbox):
    rng = random.Random(0)
    faults = sandbox.counters["infra_faults"]

    def mutant() -> str:
        text = bytearray(rng.choice(list(HONEST.values())).encode())
        for _ in range(rng.randint(1, 8)):
            where = rng.randrange(len(text))
            text[where : where + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        return text.decode("utf-8", "surrogateescape")

    texts = [rng.randbytes(rng.randint(0, 300)).decode("utf-8", "surrogateescape") for _ in range(150)]
    texts += ["\x7fELF" + rng.randbytes(200).decode("latin-1") for _ in range(10)]
    texts += [mutant() for _ in range(250)]

    async def run_all():
        programs = (Program({"main.py": text}, "main.py", "1 2\n", 0.2) for text in texts)
        return await asyncio.gather(*map(sandbox.run, programs))

    done = asyncio.run(run_all())
    assert [e.error for e in done if e.error] == [] and sandbox.counters["infra_faults"] == faults
    assert {e.exit_code == 0 for e in done} == {True, False}
    assert asyncio.run(sandbox.run(Program({"main.py": "print(7)"}, "main.py"))).stdout == "7\n"


# --- the filter, run by an interpreter of its own ------------------------------------------------------------------


def decide(code, machine: str, number: int, arguments=(0,) * 6) -> int:
    """What the kernel would answer: the part of classic BPF that the filter uses."""
    words = {0: number, 4: filters.AUDIT_ARCH[machine]}
    words |= {16 + 8 * i: a & 0xFFFFFFFF for i, a in enumerate(arguments)}
    at, register = 0, 0
    while True:
        operation, true, false, value = code[at]
        at += 1
        if operation == filters.LOAD:
            register = words[value]
        elif operation == filters.RETURN:
            return value
        elif operation == 0x05:
            at += value
        else:
            holds = {filters.JUMP_EQUAL: register == value, filters.JUMP_ABOVE: register >= value,
                     filters.JUMP_SET: bool(register & value)}[operation]  # fmt: skip
            at += true if holds else false


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("profile", ["code", "native", "tests"])
@pytest.mark.parametrize("scratch", [True, False])
def test_the_filter_allows_what_the_policy_names_and_nothing_else(machine, profile, scratch):
    rules = filters.policy(profile, scratch)
    code = filters.assemble(rules, machine)
    names = {number: name for name, number in numbers(machine).items()}
    allow = [(filters.RETURN, 0, 0, filters.ALLOW)]
    for number in range(600):
        answer = decide(code, machine, number)
        rule = rules.get(names.get(number))
        if rule == allow:
            assert answer == filters.ALLOW, names[number]
        elif rule is None:
            wanted = errno.ENOSYS if number >= filters.NEWEST else errno.EPERM
            assert answer == filters.ERRNO | wanted, number
    dangerous = ("mount", "umount2", "pivot_root", "unshare", "seccomp", "capset", "setresuid", "setgroups")
    assert all(decide(code, machine, numbers(machine)[n]) != filters.ALLOW for n in dangerous)
    assert decide(code, machine, 0x40000000 + 39) == filters.KILL_PROCESS
    other = next(m for m in MACHINES if m != machine)
    foreign = [(o, t, f, filters.AUDIT_ARCH[other] if i == 1 else k) for i, (o, t, f, k) in enumerate(code)]
    assert decide(foreign, machine, 0) == filters.KILL_PROCESS
    clone, thread = numbers(machine)["clone"], 0x3D0F00
    assert decide(code, machine, clone, (thread,)) == filters.ALLOW
    assert (decide(code, machine, clone, (17,)) == filters.ALLOW) == (profile == "tests")
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80):
        assert decide(code, machine, clone, (thread | flag,)) == filters.ERRNO | errno.EPERM
    assert decide(code, machine, numbers(machine)["ioctl"], (0, 0x5412)) == filters.ERRNO | errno.ENOTTY
    assert (decide(code, machine, numbers(machine)["socket"], (1,)) == filters.ALLOW) == (profile == "tests")


def test_the_example_of_the_guide_works(capsys):
    guide = (Path(__file__).parent.parent / "docs" / "sandbox.md").read_text()
    exec(guide.partition("```python\n")[2].partition("```")[0], {})
    assert capsys.readouterr().out.startswith("3\n")
