"""Arena-Hard's files: requests in one, each baseline's answers in another beside it, joined by their ids.

    FOLDER/question.jsonl             {"uid", "category", "prompt"}
    FOLDER/model_answer/NAME.jsonl    {"uid", "model", "messages": [..., {"content": {"answer"}}]}

v0.1 was first published with other names (`question_id`, `turns`, `choices`), which are read as well. A table
of one's own may hold the answer to beat in a column `baseline`: then nothing is joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cascade_rl.domain import Row
from cascade_rl.errors import InputError
from cascade_rl.sources.columns import column, some, text
from cascade_rl.sources.parts import parts

Baseline = Callable[[str], str]  # a category to the model whose answers are to be beaten


def arena_load(baseline: Baseline) -> Callable[[str], Iterator[Row]]:
    """The loader of a benchmark: its rows, each with `baseline` and the model that wrote it.

    Raises InputError where an answer file is missing, or lacks the answer to a request.
    """

    def load(source: str) -> Iterator[Row]:
        answers: dict[str, dict[str, str]] = {}
        for row in _rows(source):
            if some(row, "baseline"):
                yield row
                continue
            model = baseline(str(row.get("category", "")))
            if model not in answers:
                answers[model] = {_name(each): _answer(each) for each in _rows(_beside(source, model))}
            if _name(row) not in answers[model]:
                raise InputError(f"{_beside(source, model)} has no answer to {_name(row)} of {source}")
            yield {**row, "baseline": answers[model][_name(row)], "baseline_model": model}

    return load


def arena_row(row: Row, solve_first: Callable[[str], bool]) -> Row:
    """A joined row as a problem, grouped by its category."""
    category = str(row.get("category") or "")
    prompt = text(row, "prompt") if some(row, "prompt") else text(column(row, "turns")[0], "content")
    answer: dict[str, Any] = {"baseline": text(row, "baseline"), "solve_first": solve_first(category)}
    if some(row, "baseline_model"):
        answer["model"] = text(row, "baseline_model")
    made: dict[str, Any] = {
        "prompt": prompt,
        "answer": answer,
        "meta": {"group": category} if category else {},
    }
    return made | ({"id": _name(row)} if some(row, "uid", "question_id") else {})


def _rows(source: str) -> Iterator[Row]:
    for part in parts(source):
        for row in part.rows():
            if row.value is None:
                raise InputError(f"{row.place}: {row.fault}")
            yield row.value


def _beside(source: str, model: str) -> str:
    """The source of a model's answers, in the folder beside the requests."""
    folder, slash, _ = source.rpartition("/")
    scheme = source.partition(":")[0]
    if scheme == "hub":
        raise InputError(
            f"{source}: rows of a set on a hub need a column `baseline` with the answers to beat"
        )
    return (
        f"{folder}{slash or ''}model_answer/{model}.jsonl"
        if slash
        else f"{scheme}:model_answer/{model}.jsonl"
    )


def _name(row: Row) -> str:
    return text(row, some(row, "uid", "question_id") or "uid")


def _answer(row: Row) -> str:
    if some(row, "choices"):
        return text(column(row, "choices")[0]["turns"][0], "content")
    content = column(row, "messages")[-1]["content"]
    return text(content, "answer") if isinstance(content, Mapping) else text({"content": content}, "content")
