r"""MMLU-Pro: harder questions of 14 categories, up to ten options, asked without examples.

A raw row:

    {"question_id": 70, "question": "Typical advertising regulatory bodies suggest, for example that
     adverts must
     not: encourage _________, ...", "options": ["Safe practices, Fear, Jealousy, Trivial", ...],
     "answer": "I",
     "answer_index": 8, "cot_content": "", "category": "business", "src": "ori_mmlu-business_ethics"}

The authors' own harness shows five worked examples; the report's exact match needs none of them.
"""

from typing import Any

from cascade_rl.benchmarks.shapes.choices import choice_row, chosen
from cascade_rl.domain import Benchmark, Row
from cascade_rl.sources.columns import text


def problem(row: Row) -> dict[str, Any]:
    """With the row's own id: some questions stand there twice, with other options."""
    return {**choice_row(row, group="category"), "id": text(row, "question_id")}


BENCHMARK = Benchmark(
    name="mmlu_pro",
    summary="harder knowledge, up to ten options",
    domain="multiple_choice",
    sources=("hub:TIGER-Lab/MMLU-Pro@527feea0afed1de15a8c115abf7be4c912123315#test",),
    problem=problem,
    answer=chosen,
    size=12_032,
    metric="exact match, mean over questions",
    example={
        "question_id": 1,
        "question": "Which of these is a prime number?",
        "options": ["1", "4", "6", "8", "9", "10", "11", "12"],
        "answer": "G",
        "answer_index": 6,
        "category": "math",
    },
    citation="Wang et al. 2024, arXiv 2406.01574",
    licence="MIT",
    missing="no package carries it: fetch the hub's set once, as the message above says",
)
