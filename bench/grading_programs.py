"""How fast programs are run and graded, beside a grader that starts an interpreter for each test; all in one run.

    python bench/grading_programs.py [--soak 10000]

Writes bench/out/grading_programs.json. The programs differ, so that no result is shared. Processor time for each
execution is told beside the rate, because on a machine that others use only that is comparable.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

from cascade_rl.protocols import Program
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.verify.programs.harness import call_program, read_results

OUT = Path(__file__).parent / "out" / "grading_programs.json"
TRIVIAL = "a, b = map(int, input().split())\nprint(a + b + {})"


def cpu_s() -> float:
    """Processor time of this process and of its children that have ended."""
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime


def trivial(i: int) -> Program:
    return Program({"main.py": TRIVIAL.format(i)}, "main.py", "1 2\n")


async def drive(sandbox: ZygoteSandbox, count: int, width: int, first: int = 0) -> list[float]:
    """Latencies of `count` trivial executions, `width` at a time."""
    numbers, seconds = iter(range(first, first + count)), []

    async def lane() -> None:
        for i in numbers:
            begin = time.perf_counter()
            done = await sandbox.run(trivial(i))
            seconds.append(time.perf_counter() - begin)
            assert done.stdout == f"{3 + i}\n", done

    await asyncio.gather(*(lane() for _ in range(width)))
    return sorted(seconds)


def executions(zygotes: int, level: str, count: int, rounds: int = 3) -> dict[str, float]:
    """The median round of trivial executions."""
    before, found = cpu_s(), []
    with ZygoteSandbox(zygotes, level=level) as sandbox:
        asyncio.run(drive(sandbox, 50, zygotes, -50))
        for r in range(rounds):
            begin = time.perf_counter()
            seconds = asyncio.run(drive(sandbox, count, zygotes, r * count))
            found.append((count / (time.perf_counter() - begin), seconds))
    rate, seconds = sorted(found, key=lambda f: f[0])[rounds // 2]
    return {"per_s": rate, "best_per_s": max(f[0] for f in found), "p50_ms": seconds[count // 2] * 1000,
            "p99_ms": seconds[count * 99 // 100] * 1000, "cpu_ms": (cpu_s() - before) / (count * rounds + 50) * 1000}  # fmt: skip


def calls(zygotes: int, inputs: int, count: int) -> dict[str, float]:
    """Tests a second when all inputs of a function share one fork, decoding and comparing included."""
    with ZygoteSandbox(zygotes) as sandbox:

        async def one(i: int) -> None:
            program = call_program(f"def f(x):\n    return x + {i}", "f", [[n] for n in range(inputs)])
            results = read_results(program, await sandbox.run(program))
            assert [r.value for r in results] == [n + i for n in range(inputs)]

        async def many(first: int) -> None:
            numbers = iter(range(first, first + count))

            async def lane() -> None:
                for i in numbers:
                    await one(i)

            await asyncio.gather(*(lane() for _ in range(zygotes)))

        asyncio.run(many(-count))
        begin = time.perf_counter()
        asyncio.run(many(0))
        seconds = time.perf_counter() - begin
    return {"tests_per_s": inputs * count / seconds, "ms_per_run": seconds / count * 1000 * zygotes}


def subprocess_per_test(options: list[str], count: int, width: int) -> dict[str, float]:
    """The common way: an interpreter for each test, no isolation."""
    before, seconds = cpu_s(), []

    async def one(i: int) -> None:
        begin = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable, *options, "-c", TRIVIAL.format(i), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        out, _ = await process.communicate(b"1 2\n")
        seconds.append(time.perf_counter() - begin)
        assert out == b"%d\n" % (3 + i)

    async def many() -> None:
        numbers = iter(range(count))

        async def lane() -> None:
            for i in numbers:
                await one(i)

        await asyncio.gather(*(lane() for _ in range(width)))

    begin = time.perf_counter()
    asyncio.run(many())
    wall = time.perf_counter() - begin
    seconds.sort()
    return {"per_s": count / wall, "p50_ms": seconds[count // 2] * 1000, "p99_ms": seconds[count * 99 // 100] * 1000,
            "cpu_ms": (cpu_s() - before) / count * 1000}  # fmt: skip


def memory_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def state(pids: list[int]) -> dict[str, list[int]]:
    """Memory and descriptors of the supervisor and the zygotes (whose descriptors only root may count)."""
    owned = [pid for pid in pids if os.access(f"/proc/{pid}/fd", os.R_OK)]
    return {
        "rss_kb": [memory_kb(p) for p in pids],
        "descriptors": [len(list(Path(f"/proc/{p}/fd").iterdir())) for p in owned],
    }


def soak(count: int) -> dict[str, object]:
    """Many executions in a row: memory and descriptors at the beginning, in the middle and at the end."""
    with ZygoteSandbox(2) as sandbox:
        asyncio.run(drive(sandbox, 500, 2, -500))
        tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
        pids = [os.getpid(), *(int(p) for t in tasks for p in (t / "children").read_text().split())]
        states, begin = [state(pids)], time.perf_counter()
        for half in range(2):
            sandbox._results.clear()  # results are kept by design; what is looked for is growth beyond them
            asyncio.run(drive(sandbox, count // 2, 2, half * count))
            sandbox._results.clear()
            states.append(state(pids))
        seconds = time.perf_counter() - begin
        return {"executions": count, "per_s": count / seconds, "states": states, "counters": sandbox.counters}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--soak", type=int, default=10_000)
    parser.add_argument("--count", type=int, default=600)
    arguments = parser.parse_args()
    with ZygoteSandbox(1) as sandbox:
        line = sandbox.start().line
    n = arguments.count
    found = {
        "machine": {"cores": len(os.sched_getaffinity(0)), "kernel": platform.release(), "python": platform.python_version(),
                    "load_before": os.getloadavg(), "sandbox": line},
        "executions": {f"{level}, {z} zygotes": executions(z, level, n) for level in ("full", "lockdown") for z in (1, 2)},
        "calls": {f"{inputs} inputs, 2 zygotes": calls(2, inputs, n // 3) for inputs in (1, 10, 100)},
        "subprocess": {"python -c": subprocess_per_test([], n // 6, 2),
                       "python -I -S -c": subprocess_per_test(["-I", "-S"], n // 3, 2)},
        "soak": soak(arguments.soak),
    }  # fmt: skip
    found["machine"]["load_after"] = os.getloadavg()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
