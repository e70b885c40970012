"""A few graded answers of each benchmark, kept for reading: the same prompts after every stage.

`eval/NAME.answers.jsonl` has for each of the first problems and each mode one reply of the k, a line each:
that of a sample (`scores/samples`) with the `prompt`. They are no score: they show how the policy answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cascade_rl.run.files import dumps, write_text

SHOWN = 3  # problems of a benchmark: eight stages of a dozen benchmarks in two modes are to be read


def write_answers(scored: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write them beside the file of a benchmark's score."""
    write_text(answers_path(scored), "".join(dumps(line) + "\n" for line in lines))


def answers_path(scored: Path) -> Path:
    """Where they lie: `eval/maths.answers.jsonl` for `eval/maths.json`."""
    return scored.with_suffix(".answers.jsonl")
