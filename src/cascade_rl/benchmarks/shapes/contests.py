"""Contests of maths, as several packages and hub sets carry them: other names for the same columns."""

from __future__ import annotations

from typing import Any

from cascade_rl.domain import Row
from cascade_rl.sources.columns import some, text
from cascade_rl.sources.maps import in_a_box
from cascade_rl.types import Problem
from cascade_rl.verify.maths import answers


def contest_row(row: Row, *sets: str) -> dict[str, Any] | None:
    """A problem with its answer; None for a row that says it is of no set named here (cases don't count).

    A row that names no set is of the contest: files of one contest alone have no such column. The row's
    own id is left out, since packages and the hub count the same problems otherwise.
    """
    named = some(row, "data_source", "subset_for_metrics")
    if named and text(row, named).casefold() not in sets:
        return None
    question = some(row, "question", "problem", "Problem") or "problem"
    gold = some(row, "answer", "expected_answer", "Answer") or "answer"
    return {"prompt": in_a_box(text(row, question)), "answer": text(row, gold).strip()}


def short_answer(problem: Problem, answer: str) -> str | None:
    r"""The final answer of a reply, which a majority is taken of: a number as one, else without the blanks.

    `0.5`, `1/2` and `\dfrac12` are one vote, as `070` and `70` are; other answers count by how they are
    written.
    """
    found = answers.final_answer(answer, bare=True)
    if found is None:
        return None
    # longer ones than the verifier reads are left as they are
    short = len(found.last) <= answers.LONGEST_ANSWER
    number = answers.rational(answers.tidy(found.last)) if short else None
    return "".join(found.last.split()) if number is None else str(number)
