"""Maps of own operations for rows that no named map knows, from the names of their columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

# names that people give, the likelier first
QUESTIONS = ("question", "prompt", "problem", "instruction", "query", "task", "input", "text")
ANSWERS = (
    "answer", "final_answer", "gold", "gold_answer", "ground_truth", "expected_answer", "target", "label",
    "solution", "response", "output", "completion", "result",
)  # fmt: skip
REPLIES = ("response", "reply", "output", "completion", "answer", "assistant", "target", "label")
THOUGHTS = ("thought", "reasoning", "reasoning_content", "thinking")
# columns of the better and the worse answer
PAIRS = (
    ("chosen", "rejected"),
    ("better", "worse"),
    ("preferred", "dispreferred"),
    ("good", "bad"),
    ("win", "lose"),
)
# where the final answer stands in a text that holds more
MARKS = ("####", "Final answer:", "Answer:", "answer is")
BOX = "\nPut the final answer in \\boxed{{}}."
TRIES = 12  # maps that are tried on the rows


def own_maps(rows: Sequence[Row], domain: str) -> list[dict[str, Any]]:
    """Maps worth trying, the likelier first; empty where no column is called like a question or an answer."""
    texts = _texts(rows)
    questions, answers = _called(texts, QUESTIONS), _called(texts, ANSWERS)
    return list(_maps(rows, domain, questions, answers))[:TRIES]


def own_chat_maps(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Maps of one exchange a row, as instruction sets have it: a question and a reply in columns."""
    worse = {bad for _, bad in _pairs(rows)}
    texts = [name for name in _texts(rows) if name not in worse]
    found = []
    for question in _called(texts, QUESTIONS):
        for reply in [name for name in _called(texts, REPLIES) if name != question]:
            asked: dict[str, Any] = {"column": question}
            # what is asked about stands in a column of its own, which may be empty
            if question.lower() == "instruction" and (more := _called(texts, ("input", "context"))):
                asked = {"template": f"{{{question}}}\n{{{more[0]}}}", "strip": True}
            made: dict[str, Any] = {"prompt": asked, "reply": {"column": reply}}
            for field, names in (("system", ("system", "system_prompt")), ("thought", THOUGHTS)):
                if there := _called(texts, names):
                    made[field] = {"column": there[0]}
            found.append(made)
    return found[:TRIES]


def own_pair_maps(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Maps of two answers in columns, the better one first."""
    questions = _called(_texts(rows), QUESTIONS)
    return [
        {"prompt": {"column": question}, "chosen": {"column": good}, "rejected": {"column": bad}}
        for good, bad in _pairs(rows)
        for question in questions
        if question not in (good, bad)
    ][:TRIES]


def _pairs(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The columns of better and worse answers: `good` and `bad`, or `good_reply` and `bad_reply`."""
    there = {str(name).lower(): str(name) for name in rows[0]}
    exact = [(there[good], there[bad]) for good, bad in PAIRS if good in there and bad in there]
    return exact or [
        (there[name], there[other])
        for good, bad in PAIRS
        for name in there
        if good in name and (other := name.replace(good, bad)) in there
    ]


def _texts(rows: Sequence[Row]) -> list[str]:
    """The columns that hold texts or numbers."""
    return [str(name) for name, value in rows[0].items() if isinstance(value, str | int | float)]


def _called(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns of such names, whatever their case, in the order of the names."""
    found = [column for name in names for column in columns if column.lower() == name]
    # `math_question` is one as well, if nothing is called so outright
    return found or [column for name in names for column in columns if name in column.lower()]


def _maps(
    rows: Sequence[Row], domain: str, questions: Sequence[str], answers: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for question in questions:
        for answer in answers:
            if question == answer:
                continue
            values = [str(row.get(answer, "")) for row in rows[:100]]
            prompt = _asked(rows, question, domain)
            for operation in _operations(values):
                yield {"prompt": prompt, "answer": {"column": answer, **operation}}


def _asked(rows: Sequence[Row], question: str, domain: str) -> dict[str, Any]:
    """The prompt: for maths it asks for the box that the grader reads, unless the question does."""
    boxed = any("\\boxed" in str(row.get(question, "")) for row in rows[:20])
    # a brace in the name of a column is none that a template knows
    if domain != "maths" or boxed or set(question) & set("{}!:."):
        return {"column": question}
    return {"template": f"{{{question}}}{BOX}"}


def _operations(values: Sequence[str]) -> Iterator[dict[str, Any]]:
    """How the final answer may be taken out of these texts: as they stand last, since it is the least."""
    half = len(values) / 2
    for mark in MARKS:
        if sum(mark in value for value in values) > half:
            yield {"after": mark}
    if sum("\\boxed" in value for value in values) > half:
        yield {"last_box": True}
    yield {"strip": True}
