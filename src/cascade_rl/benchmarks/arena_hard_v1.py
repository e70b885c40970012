"""Arena-Hard v0.1: 500 hard requests of people, judged against the answers of GPT-4-0314.

A raw row, and the baseline's of the same id, as first published (later `uid`, `prompt` and `messages`):

    {"question_id": "4f8bbc6867bb420aa1c457bffd1a27d1", "category": "arena-hard-v0.1",
     "cluster": "Keyboard Key Functions & Layout",
     "turns": [{"content": "how do you flash a Corne keyboard that has VIA installed"}]}
    {"question_id": "4f8bbc6867bb420aa1c457bffd1a27d1", "model_id": "gpt-4-0314",
     "choices": [{"index": 0, "turns": [{"content": "...", "token_len": 953}]}]}

The report's ArenaHard (arXiv 2512.13607): judge GPT-4-Turbo-2024-04-09, no style control, 32K.
docs/arena.md tells the method, its cost and where it differs from the public code.
"""

from cascade_rl.benchmarks.shapes.arena import arena_load, arena_row
from cascade_rl.domain import Benchmark
from cascade_rl.grading.arena import comparing
from cascade_rl.scores.arena import arena_also

BENCHMARK = Benchmark(
    name="arena_hard_v1",
    summary="hard requests of people, judged against GPT-4-0314",
    domain="alignment",
    # no package carries it, and its set on the hub is files that no loader joins
    sources=(),
    missing=(
        "hf download lmarena-ai/arena-hard-auto --repo-type dataset --local-dir arena --include "
        "'data/arena-hard-v0.1/question.jsonl' 'data/arena-hard-v0.1/model_answer/gpt-4-0314.jsonl', then "
        "--data arena_hard_v1=jsonl:arena/data/arena-hard-v0.1/question.jsonl"
    ),
    load=arena_load(lambda category: "gpt-4-0314"),
    problem=lambda row: arena_row(row, lambda category: True),
    grade=comparing(max_tokens=4096),
    also=arena_also,
    judged=True,
    size=500,
    max_response_tokens=32_768,
    metric="wins against the baseline, mean of both orders",
    example={
        "question_id": "4f8bbc6867bb420aa1c457bffd1a27d1",
        "category": "arena-hard-v0.1",
        "turns": [{"content": "how do you flash a Corne keyboard that has VIA installed"}],
        "baseline": "Plug it in while you hold the reset button.",
    },
    citation="Li et al. 2024, arXiv 2406.11939; github.com/lmarena/arena-hard-auto",
    licence="Apache-2.0",
)
