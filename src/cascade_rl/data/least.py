"""How many tokens a text has at least, for a model whose tokenizer is not learnt yet.

The tokenizer of a model from scratch cuts a text into digits, words and runs of signs before it looks for
pieces (`model/tokenizer.train_tokenizer`), and no piece reaches over a cut. So there are at least as many
tokens as cuts, whatever it learns; blanks, which mostly go with the word behind them, are not counted.
"""

from __future__ import annotations

from itertools import groupby

from cascade_rl import chat
from cascade_rl.types import Problem

MARKS = (chat.TURN_START, chat.TURN_END, chat.THINK_START, chat.THINK_END)


def least_tokens(text: str) -> int:
    """A number that the tokens of a rendered text can't be below."""
    marks = 0
    for mark in MARKS:
        marks += text.count(mark)
        text = text.replace(mark, "\n")
    runs = [(kind, sum(1 for _ in run)) for kind, run in groupby(text, _kind)]
    # each digit is a token of its own
    return marks + sum(count if kind == "digit" else kind != "blank" for kind, count in runs)


def least_prompt(problem: Problem) -> int:
    """The same of a problem's prompt in its mode."""
    return least_tokens(chat.render_problem(problem))


def _kind(character: str) -> str:
    if character.isspace():
        return "blank"
    if character.isdecimal():
        return "digit"
    return "letter" if character.isalpha() else "sign"
