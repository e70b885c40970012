"""The letters' probabilities behind a begun answer, against whole texts scored by the engine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from tiny import Policy, logits

from cascade_rl.errors import InputError
from cascade_rl.model.export import export
from cascade_rl.types import Message, Problem

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from evening_letters import BEGUN, LETTERS, letter_ids, right


def asked(number: int, gold: str) -> Problem:
    text = f"Question {number}?\nA) {number}\nB) {2 * number}\nC) {3 * number}\nD) {5 * number}"
    return Problem(f"q-{number}", "multiple_choice", (Message("user", text),), {"answer": gold})


def test_the_letter_whose_whole_text_is_likeliest_is_taken(tmp_path):
    policy = Policy(scale=0.6)
    export(tmp_path, policy.raw, policy.config, policy.model.flat, policy.tokenizer)
    problems = [asked(number, LETTERS[number % 4]) for number in range(16)]
    chosen = []
    for problem in problems:
        rows = [
            torch.tensor([policy.tokenizer.encode(policy.tokenizer.asked(problem) + BEGUN + each)])
            for each in LETTERS
        ]
        scores = [
            torch.log_softmax(logits(policy.config, policy.model.flat, row), -1)[0, :-1]
            .gather(1, row[0, 1:, None])
            .sum()
            .item()
            for row in rows
        ]
        chosen.append(LETTERS[scores.index(max(scores))])
    count, spread = right(tmp_path, problems)
    assert spread == {each: chosen.count(each) for each in LETTERS}
    assert count == sum(
        one == problem.answer["answer"] for one, problem in zip(chosen, problems, strict=True)
    )
    assert len(set(chosen)) > 1, "a model that says one letter to all would show nothing"


def test_a_tokenizer_that_joins_a_letter_with_the_brace_is_refused():
    class Joined:
        """Every character by its number, but a brace and a letter together."""

        def encode(self, text: str) -> list[int]:
            return [sum(map(ord, token)) for token in re.findall(r"\{[A-D]|.", text)]

    with pytest.raises(InputError, match="joins a letter"):
        letter_ids(Joined())
