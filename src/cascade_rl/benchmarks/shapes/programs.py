"""Programming contests: LiveCodeBench's rows with the prompt that Nemotron-Cascade was measured with."""

from __future__ import annotations

from datetime import date
from typing import Any

from cascade_rl.domain import TRAINED_AS, Row
from cascade_rl.sources.code_tests import livecodebench_answer
from cascade_rl.sources.columns import RowError, column, shown, text
from cascade_rl.sources.maps import livecodebench

# word for word `benchmarks/livecodebench/prompts/cascade.yaml` of nemo-gym 0.7.0 (Apache-2.0), whose
# `prepare_utils._add_prompt_fields_cascade` has the header
SYSTEM = "You are a helpful and harmless assistant.\n\nYou are not allowed to use any tools."
HEADER = "\n\nSolve the problem starting with the provided function header.\n\nFunction header:\n```\n{}\n```"
CODE = (
    "\n\nWrite Python code to solve the problem. Please place the solution code in the following format:\n"
    "```python\n# Your solution code here\n```"
)
TIMEOUT_S = 6.0  # seconds of one test, as LiveCodeBench's own runner allows


def dated_row(row: Row, first: str, end: str) -> dict[str, Any] | None:
    """A problem of a contest from the day `first` on and before the day `end`; None for any other."""
    if not first <= _day(row) < end:
        return None
    starter = row.get("starter_code") or ""
    header = HEADER.format(starter) if str(starter).strip() else ""
    question = f"{text(row, 'question_content')}{header}{CODE}"
    return {
        "id": text(row, "question_id"),
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
        "answer": {**livecodebench_answer(row), "language": "python", "timeout_s": TIMEOUT_S},
        # as the domain asks it in training
        "meta": {"group": text(row, "difficulty"), TRAINED_AS: livecodebench(row)["prompt"]},
    }


def _day(row: Row) -> str:
    """The day of the contest: `2024-08-03T00:00:00` in the files, a point of time in Parquet."""
    said = column(row, "contest_date")
    day = said.isoformat()[:10] if isinstance(said, date) else str(said)[:10]
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError:
        raise RowError(f"contest_date: want a day such as 2024-08-03, not {shown(said)}") from None
