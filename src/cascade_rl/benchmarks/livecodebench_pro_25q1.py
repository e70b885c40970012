r"""LiveCodeBench Pro, January to March 2025: a quarter's easy and medium contest problems, in C++.

A raw row (invented: the set asks for a log-in); `tests` comes from the problem's archive in a second set:

    {"problem_id": "2000A", "problem_title": "Twice", "difficulty": "easy", "platform": "codeforces",
     "problem_statement": "Print twice the number that is read ...", "tests": [{"input": "2\n", "output":
     "4\n"}]}

THE SCORE IS A LOWER BOUND: outputs are compared as texts and numbers, where the authors' judge runs a
checker of each problem, which may take other right outputs. A program needs g++ on the machine that grades.
"""

from cascade_rl.benchmarks.shapes.archives import PROBLEMS, PROBLEMS_AT, contest_row, joined
from cascade_rl.domain import Benchmark

BENCHMARK = Benchmark(
    name="livecodebench_pro_25q1",
    summary="contests in C++, January to March 2025",
    domain="coding",
    sources=(f"hub:{PROBLEMS}@{PROBLEMS_AT}#quater_2025_1_3",),
    problem=contest_row,
    load=joined,
    size=166,
    k=8,
    metric="all tests pass, without the problems' own checkers",
    example={
        "problem_id": "2000A",
        "difficulty": "easy",
        "problem_statement": "Print twice the number that is read.",
        "tests": [{"input": "2\n", "output": "4\n"}, {"input": "5\n", "output": "10\n"}],
    },
    citation="Zheng et al. 2025, arXiv 2506.11928; levels and k of arXiv 2512.13607",
    licence="Apache-2.0 by its card; statements and tests (c) of the contests; gated",
    missing="accept the terms at huggingface.co/datasets/QAQAQAQAQ/LiveCodeBench-Pro, then hf auth login",
)
