"""The whole corpus, as root and as an ordinary user, with and without namespaces: every program gets its verdict.

Each of the four runs is a process of its own (`hostile_run.py`), which also looks for what was left behind. Then the
walls are taken down one at a time: a wall that no program misses would be untested.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_programs import HONEST, HOSTILE, NEEDS_SCRATCH, SYSCALL

import cascade_rl
from cascade_rl.protocols import Program
from cascade_rl.sandbox import link
from cascade_rl.sandbox.pool import ZygoteSandbox

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(Path(cascade_rl.__file__).parents[1]), str(HERE)])
ENVIRONMENT = os.environ | {"PYTHONPATH": PATHS, "PYTHONDONTWRITEBYTECODE": "1"}
AS_USER = [sys.executable, str(HERE / "as_user.py")]
RUNS = [
    (who, level)
    for who in ("root", "user")
    for level in ("full", "lockdown")
    if who == "user" or os.getuid() == 0
]


@pytest.fixture(scope="module")
def results():
    """What the four runs found, two at the same time, since much of the corpus sleeps."""
    found = {}
    for level in ("full", "lockdown"):
        started = {}
        for who in {who for who, _ in RUNS}:
            command = [sys.executable, str(HERE / "hostile_run.py"), level]
            command = command if who == "root" else AS_USER + command
            started[who] = subprocess.Popen(
                command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        for who, process in started.items():
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0, err.decode()
            found[who, level] = json.loads(out)
    return found


@pytest.mark.parametrize(("who", "level"), RUNS)
def test_hostile_programs_get_their_verdicts(results, who, level):
    verdicts = results[who, level]["verdicts"]
    wrong = {
        name: verdicts[name] for name, (wanted, _) in HOSTILE.items() if verdicts[name] not in wanted.split()
    }
    assert wrong == {}
    assert "AC" not in {verdicts[name] for name in HOSTILE}


@pytest.mark.parametrize(("who", "level"), RUNS)
def test_honest_programs_are_accepted(results, who, level):
    verdicts = results[who, level]["verdicts"]
    refused = {name for name in HONEST if verdicts[name] != "AC"}
    assert refused == (set() if level == "full" else NEEDS_SCRATCH)


@pytest.mark.parametrize(("who", "level"), RUNS)
def test_nothing_is_left_behind(results, who, level):
    found = results[who, level]
    assert (found["uid"] == 0) == (who == "root") and found["level"] == level
    assert {name: value for name, value in found["left"].items() if value} == {}


# The package's code as it would be with a wall missing; the zygote runs this before anything else.
WITHOUT = {
    "seccomp": "import cascade_rl.sandbox.inside.filters as m; m.Filter.install = lambda self: None",
    "landlock": "import cascade_rl.sandbox.inside.landlock as m; m.enforce = lambda rules: None",
    "capabilities": "import cascade_rl.sandbox.inside.jail as m; c = m.call; "
                    "m.call = lambda name, *a, **k: 0 if name in ('capset', 'seccomp') else c(name, *a, **k); "
                    "import cascade_rl.sandbox.inside.filters as f; f.Filter.install = lambda self: None",
    "pid-namespace": "import cascade_rl.sandbox.inside.calls as m; c = m.clone; "
                     "m.clone = lambda flags: c(flags & ~m.CLONE_NEWPID)",
    "scratch": "import cascade_rl.sandbox.inside.jail as m; f = m.Jail.mount_scratch; "
               "m.Jail.mount_scratch = lambda self, mb, n: f(self, 64, n)",
    "network-namespace": "import cascade_rl.sandbox.inside.jail as m; m.NAMESPACES &= ~m.calls.CLONE_NEWNET; "
                         "import cascade_rl.sandbox.inside.filters as f; f.Filter.install = lambda self: None; "
                         "import cascade_rl.sandbox.inside.landlock as n; n.enforce = lambda rules: None",
    **{
        name: "import cascade_rl.sandbox.inside.jail as m, resource as r; s = r.setrlimit; "
              f"r.setrlimit = lambda which, value: None if which == r.{name} else s(which, value)"
        for name in ("RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC")
    },
    "hidden-packages": "import cascade_rl.sandbox.inside.jail as m; b = m._build_tree; "
                       "m._build_tree = lambda config: b(dict(config, hidden=()))",
}  # fmt: skip

# wall: (level, a program that prints "out" when it is missing and anything else when it stands)
MISSED = {
    "seccomp": ("full", SYSCALL + "print('out' if sys_(272, 0x10000000) == 0 else 'in')"),
    "landlock": ("lockdown", "try: open('/etc/passwd'); print('out')\nexcept OSError: print('in')"),
    "capabilities": ("full", SYSCALL + "import struct\nd = ctypes.create_string_buffer(24)\n"
                             "sys_(125, struct.pack('Ii', 0x20080522, 0), d)\nprint('out' if any(d.raw) else 'in')"),
    "pid-namespace": ("full", "import os; print('out' if os.getpid() > 1 else 'in')"),
    "scratch": ("full", "try:\n    for i in range(8): open(f'{i}', 'wb').write(bytes(3 << 20))\n    print('out')\n"
                        "except OSError: print('in')"),
    "network-namespace": ("full", "import socket\ns = socket.socket()\ntry: s.connect(('127.0.0.1', @PORT@)); print('out')\n"
                                  "except OSError: print('in')"),
    "RLIMIT_AS": ("full", "import mmap\ntry: mmap.mmap(-1, 3 << 30); print('out')\nexcept OSError: print('in')"),
    "RLIMIT_FSIZE": ("full", "try: open('f', 'wb').write(bytes(13 << 20)); print('out')\nexcept OSError: print('in')"),
    "RLIMIT_NOFILE": ("full", "import os\ntry:\n    for _ in range(300): os.dup(0)\n    print('out')\n"
                              "except OSError: print('in')"),
    "RLIMIT_NPROC": ("full", "import threading, time\nthreading.stack_size(1 << 16)\ntry:\n    for _ in range(200):\n"
                             "        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
                             "    print('out')\nexcept RuntimeError: print('in')"),
    "hidden-packages": ("full", "import os\nfolder = os.path.dirname(os.__file__) + '/site-packages'\n"
                                "print('out' if os.listdir(folder) else 'in')"),
}  # fmt: skip


@pytest.mark.parametrize("wall", MISSED)
def test_a_program_misses_each_wall(monkeypatch, wall):
    level, source = MISSED[wall]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = Program({"main.py": source.replace("@PORT@", str(listener.getsockname()[1]))}, "main.py")
        with ZygoteSandbox(1, level=level) as sandbox:
            assert asyncio.run(sandbox.run(program)).stdout != "out\n"
        monkeypatch.setattr(link, "BOOT", link.BOOT.replace("; from", f"; {WITHOUT[wall]}; from", 1))
        with ZygoteSandbox(1, level=level) as sandbox:
            assert asyncio.run(sandbox.run(program)).stdout == "out\n"
