"""The sandbox runs programs as themselves, within limits, and tells what they did."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from cascade_rl.protocols import Program
from cascade_rl.sandbox.zygote import OUTPUT_CAP, ZygoteSandbox


def run(text: str, stdin: str = "", timeout_s: float = 4.0, **files: str):
    program = Program(
        {"main.py": text, **{f"{name}.py": body for name, body in files.items()}}, "main.py", stdin, timeout_s
    )
    return asyncio.run(ZygoteSandbox(1).run(program))


RIGHT = [
    ("print(open(0).read()[::-1])", "abc", "cba\n"),
    ("import sys\nprint(sys.stdin.buffer.read().decode() + '!')", "x", "x!\n"),
    ("import os\nos.write(1, b'direct')\nos._exit(0)", "", "direct"),
    ("def f():\n    global g\n    g = 3\nf()\nprint(g)", "", "3\n"),
    ("if __name__ == '__main__':\n    print(__name__)", "", "__main__\n"),
    ("import sys\nprint(1)\nsys.exit()", "", "1\n"),
    ("import atexit\natexit.register(print, 'last')\nprint('first')", "", "first\nlast\n"),
    ("for line in __import__('sys').stdin: print(int(line) * 2)", "1\n2\n", "2\n4\n"),
    ("from other import x\nprint(x)", "", "7\n"),
    ("import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(64 << 20)\n"
     "def deep(n): return 0 if n == 0 else 1 + deep(n - 1)\n"
     "t = threading.Thread(target=lambda: print(deep(20000)))\nt.start()\nt.join()", "", "20000\n"),
    ("print(input(), input())", "a\nb\n", "a b\n"),
    ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\nprint(A(1))", "", "A(x=1)\n"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "stdin", "stdout"), RIGHT)
def test_programs_do_what_they_do_in_an_interpreter(text, stdin, stdout, tmp_path):
    done = run(text, stdin, other="x = 7")
    assert (done.stdout, done.exit_code, done.timed_out, done.error) == (stdout, 0, False, None), done
    (tmp_path / "main.py").write_text(text)
    (tmp_path / "other.py").write_text("x = 7")
    plain = subprocess.run([sys.executable, "main.py"], input=stdin, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == plain.stdout


@pytest.mark.parametrize(
    ("text", "code"), [("import sys\nsys.exit(3)", 3), ("1 / 0", 1), ("def", 1), ("raise SystemExit('no')", 1)]
)
def test_exit_codes(text, code):
    done = run(text)
    assert done.exit_code == code and not done.timed_out


def test_traceback_is_kept():
    assert "ZeroDivisionError" in run("1 / 0").stderr


@pytest.mark.parametrize(
    "text",
    [
        "while True: pass",
        "import time\ntime.sleep(100)",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "import signal, time\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\ntime.sleep(100)",
    ],
)
def test_endless_programs_end_at_the_deadline(text):
    begin = time.monotonic()
    done = run(text, timeout_s=0.5)
    assert done.timed_out and time.monotonic() - begin < 4


def test_memory_and_output_are_limited():
    assert "MemoryError" in run("x = bytearray(2 * 10**9)").stderr
    loud = run("while True: print('x' * 1000)")
    assert loud.exit_code != 0 and len(loud.stdout) <= OUTPUT_CAP


def test_nothing_is_left_behind():
    run("import os, time\nif os.fork() == 0:\n    time.sleep(31.4159)")
    left = subprocess.run(["pgrep", "-f", "31.4159"], capture_output=True, text=True).stdout.split()
    assert left == []


def test_one_program_does_not_see_another():
    async def two():
        sandbox = ZygoteSandbox(1)
        await sandbox.run(
            Program({"main.py": "import builtins, json\nbuiltins.print = None\njson.dumps = None"}, "main.py")
        )
        return await sandbox.run(Program({"main.py": "import json\nprint(json.dumps(1))"}, "main.py"))

    assert asyncio.run(two()).stdout == "1\n"


def test_files_stay_in_the_scratch_directory():
    done = asyncio.run(ZygoteSandbox(1).run(Program({"../out.py": "1", "main.py": ""}, "main.py")))
    assert done.exit_code == 1 and "leaves the scratch directory" in done.stderr


def test_equal_programs_share_a_result_and_the_same_sandbox_serves_many_loops():
    sandbox = ZygoteSandbox(2)
    program = Program({"main.py": "import os\nprint(os.getpid())"}, "main.py")
    assert len({asyncio.run(sandbox.run(program)).stdout for _ in range(3)}) == 1
