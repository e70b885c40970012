"""Ten generators of reasoning-gym with 50 problems each: sums, counting, equations and stories in numbers.

A raw row, made by the package with fixed seeds:

    {"question": "State the final answer to the following arithmetic problem: 4 + 3 =", "answer": "7",
     "metadata": {"source_dataset": "chain_sum", "source_index": 0, ...}}

Not in the report: for small models, scores of which are told for each generator. Another version of the
package makes other problems. Only prompts of the split that is held out are kept, so that training on
`reasoning-gym:NAME` never meets them.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

from cascade_rl.benchmarks.shapes.contests import short_answer
from cascade_rl.domain import Benchmark, Row
from cascade_rl.errors import InputError
from cascade_rl.sources.columns import column, text
from cascade_rl.sources.maps import in_a_box
from cascade_rl.sources.parts import raw_rows
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Split

SETS = (
    "basic_arithmetic", "chain_sum", "count_bits", "decimal_chain_sum", "gcd", "gsm_symbolic", "leg_counting",
    "letter_counting", "products", "simple_equations",
)  # fmt: skip
EACH = 50


def problem(row: Row) -> dict[str, Any]:
    """Grouped by generator."""
    group = str(column(row, "metadata.source_dataset"))
    prompt = in_a_box(text(row, "question"))
    return {"prompt": prompt, "answer": text(row, "answer"), "meta": {"group": group, "plain": True}}


def load(source: str) -> Iterator[Row]:
    """Rows that the package makes, each prompt once; a table's as they are."""
    if not source.startswith("package:reasoning-gym"):
        yield from raw_rows(source)
        return
    try:
        import reasoning_gym
    except ModuleNotFoundError:
        raise InputError(f"{source}: no package reasoning-gym is installed") from None
    for name in SETS:
        found: dict[str, Row] = {}
        for seed in count():
            for row in reasoning_gym.create_dataset(name, size=EACH, seed=seed):
                prompt = problem(row)["prompt"]
                if len(found) < EACH and split_of(prompt) is Split.HELDOUT:
                    found.setdefault(prompt, row)
            if len(found) == EACH:
                break
        yield from found.values()


BENCHMARK = Benchmark(
    name="reasoning_gym",
    summary="sums, counting and equations, made by program",
    domain="maths",
    sources=("package:reasoning-gym",),
    problem=problem,
    load=load,
    answer=short_answer,
    size=len(SETS) * EACH,
    example={
        "question": "Compute 4 + 3.",
        "answer": "7",
        "metadata": {"source_dataset": "chain_sum", "source_index": 0},
    },
    citation="Stojanovski et al. 2025, arXiv 2505.24760",
    licence="Apache-2.0",
    missing="pip install reasoning-gym==0.1.25",
)
