"""Judge the whole corpus in one process, look for what it left behind, and print both as JSON.

Run as `python hostile_run.py LEVEL`; a process of its own, so that it may be another user's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

from hostile_programs import HONEST, HOSTILE

import cascade_rl
from cascade_rl.protocols import Execution, Program
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.verify.programs.outputs import same_output

SECRET = "secret-" + hashlib.sha256(os.urandom(8)).hexdigest()
TIMEOUT_S = 0.3
STDIN, STDOUT = "1 2\n", "3\n"


def verdict(execution: Execution) -> str:
    """What a judge says of an execution."""
    if execution.error:
        return "INFRA: " + execution.error
    if execution.limit:
        return {"cpu": "TLE", "wall": "TLE", "output": "OLE", "memory": "MLE"}[execution.limit]
    if execution.exit_code:
        return "RE"
    return "AC" if same_output(execution.stdout, STDOUT) else "WA"


def descendants() -> list[int]:
    """All processes below this one, zombies included."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, todo = [], [os.getpid()]
    while todo:
        parent = todo.pop()
        children = [pid for pid, above in parents.items() if above == parent]
        found += children
        todo += children
    return found


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def facts(path: Path) -> tuple:
    found = path.stat()
    return path.read_text(), found.st_mode, found.st_size, found.st_mtime_ns, found.st_nlink, found.st_uid


async def judge(sandbox: ZygoteSandbox, words: dict[str, str]) -> tuple[dict, dict]:
    verdicts, seconds, gate = {}, {}, asyncio.Semaphore(2)

    async def one(name: str, source: str, timeout_s: float) -> None:
        for word, text in words.items():
            source = source.replace(word, text)
        async with gate:
            begin = time.monotonic()
            execution = await sandbox.run(Program({"main.py": source}, "main.py", STDIN, timeout_s, 512))
            after = await sandbox.run(Program({"main.py": f"print(7) # {name}"}, "main.py"))
            seconds[name] = time.monotonic() - begin
        verdicts[name] = verdict(execution)
        assert after.stdout == "7\n", (name, after)
        assert SECRET not in execution.stdout + execution.stderr, name

    jobs = [one(name, source, TIMEOUT_S) for name, (_, source) in HOSTILE.items()]
    jobs += [one(name, source, 4.0) for name, source in HONEST.items()]
    await asyncio.gather(*jobs)
    return verdicts, seconds


def main(level: str) -> None:
    os.environ["TRAINER_SECRET"] = SECRET
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as tcp:
        decoy = Path(folder, "decoy.txt")
        decoy.write_text(SECRET)
        decoy.chmod(0o644)
        before = facts(decoy)
        name = f"cascade-{os.getpid()}"
        unix, datagram = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        unix.bind("\0" + name)
        unix.listen()
        datagram.bind("\0" + name + "d")
        for listener in (tcp, unix, datagram):
            listener.setblocking(False)
        words = {"@PORT@": str(tcp.getsockname()[1]), "@SOCKET@": name, "@DECOY@": str(decoy),
                 "@SECRET_NAME@": "TRAINER_SECRET", "@SOURCE@": str(Path(cascade_rl.__file__).parents[1])}  # fmt: skip
        open_before = descriptors()
        sandbox = ZygoteSandbox(2, level=level)
        standing = sandbox.start()
        verdicts, seconds = asyncio.run(judge(sandbox, words))
        left = {"more than zygotes": max(0, len(descendants()) - 2), "respawns": sandbox.counters["respawns"]}
        sandbox.close()
        left["after close"] = len(descendants())
        left["descriptors"] = descriptors() - open_before
        left["files"] = facts(decoy) != before
        left["folder"] = len(list(Path(folder).iterdir())) - 1
        for kind, listener in (("tcp", tcp), ("unix", unix)):
            try:
                listener.accept()
                left[kind] = 1
            except BlockingIOError:
                left[kind] = 0
        print(json.dumps({"level": standing.level, "uid": os.getuid(), "verdicts": verdicts, "seconds": seconds,
                          "left": left}))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
