"""Verdicts a second on this machine's pools and on one and two Ray nodes of one core each, all in one run.

    python bench/on_ray.py [--rounds 5]

Writes bench/out/on_ray.json. The nodes share this machine's cores with one another and with the process that grades: what
two machines give is not seen here, what the way over Ray costs is. No two rounds hold the same reply.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from cascade_rl.domain import Domain, Services
from cascade_rl.domains import load_domain
from cascade_rl.grading.services import open_services
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.types import Message, Mode, Problem, Rollout

OUT = Path(__file__).parent / "out" / "on_ray.json"
SIZES = {"maths": 400, "coding": 80}
SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}
NUMBERS = count(1)
Pair = tuple[Problem, Rollout]


def pair(domain: str, answer: object, reply: str) -> Pair:
    number = next(NUMBERS)
    return Problem(f"p{number}", domain, (Message("user", "x"),), answer, Mode.INSTRUCT), Rollout.of_text(
        reply
    )


def maths() -> Pair:
    """An answer that only algebra can compare."""
    n = next(NUMBERS)
    return pair("maths", rf"\sqrt{{12}}+{n}\sqrt{{5}}", rf"It is \boxed{{2\sqrt{{3}}+\sqrt{{{5 * n * n}}}}}.")


def coding() -> Pair:
    """A program with three tests."""
    n = next(NUMBERS)
    tests = [{"stdin": f"{i}\n", "stdout": f"{i + n}\n"} for i in range(3)]
    return pair("coding", {"tests": tests}, f"```python\nprint(int(input()) + {n})\n```")


MAKERS = {"maths": maths, "coding": coding}


def rate(name: str, domain: Domain, services: Services) -> float:
    pairs = [MAKERS[name]() for _ in range(SIZES[name])]
    begin = time.perf_counter()
    verdicts = grade_all(domain.benchmark_grade, pairs, services)
    seconds = time.perf_counter() - begin
    assert all(verdict.reward == 1 for verdict in verdicts), verdicts[0]
    return len(pairs) / seconds


def measured(rounds: int, workers: int | None = None, ray: str | None = None) -> dict[str, dict[str, float]]:
    """For each domain the median, the least and the most verdicts a second; and the seconds until it is open."""
    begin, found = time.perf_counter(), {}
    with open_services(frozenset({"sandbox", "verifiers"}), workers, ray=ray) as services:
        opened = time.perf_counter() - begin
        for name in MAKERS:
            domain = load_domain(name)
            rate(name, domain, services)  # workers start
            rates = [rate(name, domain, services) for _ in range(rounds)]
            found[name] = {"median": statistics.median(rates), "least": min(rates), "most": max(rates)}
    return found | {"opened": {"seconds": opened}}


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """Nodes of one core each, and a head without any."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
    try:
        for _ in range(nodes):
            started.add_node(num_cpus=1, **SMALL)
        yield started.address
    finally:
        started.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    found = {f"here, {n} worker{'s' * (n > 1)}": measured(rounds, n) for n in (1, 2)}
    for nodes in (1, 2):
        with cluster(nodes) as address:
            found[f"Ray, {nodes} node{'s' * (nodes > 1)}"] = measured(rounds, ray=address)
    for where, numbers in found.items():
        rates = ", ".join(
            f"{name} {numbers[name]['median']:.0f} ({numbers[name]['least']:.0f} to {numbers[name]['most']:.0f})"
            for name in MAKERS
        )
        print(f"{where}: {rates} verdicts a second; open after {numbers['opened']['seconds']:.1f} s")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
