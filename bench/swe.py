"""Times of code repair: similarity beside plain difflib, grading by tests, generation. `python bench/swe.py`

Prints one table; every figure is a median. Nothing here asserts a time.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import itertools
import random
import statistics
import textwrap
import time
from collections.abc import Callable

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.types import Rollout, Split
from cascade_rl.verify.patches.appraise import similarity

PROBLEMS, GRADED = 100, 30


def median_ms(call: Callable[[], object], times: int = 5) -> float:
    """Milliseconds of a call."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


def row(what: str, *figures: str) -> None:
    print(f"{what:58s}" + "".join(f"{figure:>16s}" for figure in figures), flush=True)


def texts() -> dict[str, tuple[str, str]]:
    """Pairs of texts to compare: ordinary code with one character in twenty changed, and texts made to hurt difflib."""
    source, rng = inspect.getsource(textwrap) + inspect.getsource(difflib), random.Random(0)

    def changed(text: str) -> str:
        return "".join(rng.choice("abc \n") if rng.random() < 0.05 else c for c in text)

    def hurtful(size: int) -> tuple[str, str]:
        a, b = ("".join("abcdefghijklmnop"[i % 16] + mark for i in range(size // 2)) for mark in "YZ")
        return a, b

    ordinary = {f"code, {n} characters": (source[:n], changed(source[:n])) for n in (400, 2_000, 20_000)}
    return ordinary | {f"made to hurt, {n} characters": hurtful(n) for n in (1_000, 2_000, 3_900)}


def compare() -> None:
    row("similarity of two changes", "here ms", "difflib ms")
    for name, (a, b) in texts().items():
        here = median_ms(lambda a=a, b=b: similarity({"f": ""}, {"f": a}, {"f": b}), 3)
        times = 1 if len(a) > 3_000 else 3
        plain = median_ms(lambda a=a, b=b: difflib.SequenceMatcher(None, a, b, autojunk=False).ratio(), times)
        row(name, f"{here:.1f}", f"{plain:.1f}")
    source = inspect.getsource(textwrap)[:20_000]
    one = {"f": source}, {"f": source.replace("width", "wide", 1)}, {"f": source.replace("width", "broad", 1)}
    row("one line in a file of 20 KB", f"{median_ms(lambda: similarity(*one)):.1f}")


def generate() -> list:
    began = time.perf_counter()
    problems = list(itertools.islice(load_domain("swe").problems("packages", Split.SFT, 0), PROBLEMS))
    row(f"{len(problems)} problems generated, s", f"{time.perf_counter() - began:.1f}")
    return problems


async def execute(problems: list) -> None:
    swe = load_domain("swe")
    with ZygoteSandbox() as sandbox:
        services = Services(sandbox=sandbox)

        async def score(problem) -> float:
            began = time.perf_counter()
            verdict = await swe.score(problem, Rollout.of_text(swe.gold(problem)), services)
            assert verdict.reward == 1, verdict
            return time.perf_counter() - began

        alone = [await score(problem) for problem in problems[:GRADED]]
        began = time.perf_counter()
        await asyncio.gather(*(score(problem) for problem in problems[:GRADED]))
        rate = GRADED / (time.perf_counter() - began)
    row("golden patch graded by its tests, one at a time, ms", f"{statistics.median(alone) * 1e3:.0f}")
    row("golden patches graded together, a second", f"{rate:.1f}")


if __name__ == "__main__":
    compare()
    asyncio.run(execute(generate()))
