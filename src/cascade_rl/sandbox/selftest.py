"""Twelve programs that prove the walls are there: what `cascade doctor` runs, in well under a second.

Ten reach for something and print what they got: with the walls up each of them is refused, whatever the level
promises. Two are honest and must come through.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from cascade_rl.protocols import Program
from cascade_rl.sandbox.pool import ZygoteSandbox

# what reached nothing prints nothing either when it is killed: only "reached" is a failure
REACH = "try:\n    {}\n    print('reached')\nexcept OSError as error:\n    print('refused')"
# name: (source, levels that promise it, standard output when all is well, or None for all but "reached")
PROGRAMS = {
    "an honest program runs": ("print(sum(map(int, input().split())))", "full lockdown limits none", "3\n"),
    "threads work": (
        "import threading\nt = threading.Thread(target=print, args=(3,))\nt.start()\nt.join()",
        "full lockdown limits none",
        "3\n",
    ),
    "no files of this user": (REACH.format("open('/etc/passwd').read()"), "full lockdown", None),
    "no writing to the interpreter": (
        REACH.format("import os; open(os.__file__, 'a')"),
        "full lockdown",
        None,
    ),
    "no look at other processes": (REACH.format("open('/proc/1/cmdline').read()"), "full lockdown", None),
    "no network": (REACH.format("import socket; socket.socket()"), "full lockdown limits", None),
    "no new processes": (REACH.format("import os; os.fork() or os._exit(0)"), "full lockdown limits", None),
    "no other programs": (
        REACH.format("import os; os.execv('/bin/true', ['true'])"),
        "full lockdown limits",
        None,
    ),
    "no signals to the parent": (
        # in a pid namespace the parent's number is 0, which `kill` takes for one's own group
        REACH.format("import os; os.kill(os.getppid() or 2, 0)"),
        "full lockdown limits",
        None,
    ),
    "no memory beyond the limit": (
        "try:\n    bytearray(1 << 40)\n    print('reached')\nexcept MemoryError: print('refused')",
        "full lockdown limits none",
        "refused\n",
    ),
    "no higher limits": (
        "import resource\ntry:\n    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n    print('reached')\n"
        "except ValueError: print('refused')",
        "full lockdown limits none",
        "refused\n",
    ),
    "endless loops end": ("while True: pass", "full lockdown limits none", ""),
}


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Which of the promises of a level hold, and how long the test took."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    seconds: float

    @property
    def line(self) -> str:
        """Such as `self-test 12/12 in 80 ms`."""
        total = len(self.passed) + len(self.failed)
        text = f"self-test {len(self.passed)}/{total} in {self.seconds * 1000:.0f} ms"
        return text + (f"; failed: {', '.join(self.failed)}" if self.failed else "")


def self_test(sandbox: ZygoteSandbox) -> SelfTest:
    """Run what the sandbox's level promises."""
    level = sandbox.start().level
    begin = time.monotonic()
    wanted = {name: row for name, row in PROGRAMS.items() if level in row[1].split()}

    async def run_all() -> list[bool]:
        return await asyncio.gather(*(holds(sandbox, text, stdout) for text, _, stdout in wanted.values()))

    held = asyncio.run(run_all())
    names = list(zip(wanted, held, strict=True))
    return SelfTest(
        tuple(n for n, ok in names if ok), tuple(n for n, ok in names if not ok), time.monotonic() - begin
    )


async def holds(sandbox: ZygoteSandbox, text: str, stdout: str | None) -> bool:
    """Whether one program ended as it must."""
    # input, then seconds of processor time, which the endless loop uses up, and megabytes
    done = await sandbox.run(Program({"main.py": text}, "main.py", "1 2\n", 0.1, 256))
    if done.error:
        return False
    return "reached" not in done.stdout if stdout is None else done.stdout == stdout
