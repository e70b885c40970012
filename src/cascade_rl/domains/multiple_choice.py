"""Multiple choice: questions with lettered options and one right letter.

The answer is the letter, bare, in brackets or with a full stop, or `{"answer": letter, "choices": n}` where
letters past the n-th are no options.
Built-in questions ask which number is largest, what a sum is, or which word comes first; where the right
option stands is drawn with the question, so that no position pays.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

from cascade_rl.chat import compose_reply, split_reply, thinking_reply
from cascade_rl.domain import Domain, Example, Services
from cascade_rl.errors import AnswerError
from cascade_rl.sources.shared import SHARED
from cascade_rl.sources.splits import drawn
from cascade_rl.types import Message, Outcome, Problem, Rollout, Verdict, problem_id
from cascade_rl.verify.choice import letters as verify

CHOICES = 4  # options of a built-in question
# no two begin alike, so the first letter tells which comes first
WORDS = (
    "apple", "bread", "chair", "dance", "eagle", "fruit", "glass", "house", "island", "juice", "knife",
    "lemon", "music", "night", "ocean", "paper", "queen", "river", "stone", "table", "uncle", "voice",
    "water", "youth", "zebra",
)  # fmt: skip


def _largest(rng: random.Random) -> tuple[str, str, list[str]]:
    numbers = rng.sample(range(10, 100), CHOICES)
    right = str(max(numbers))
    return "Which number is the largest?", right, [str(n) for n in numbers if str(n) != right]


def _sum(rng: random.Random) -> tuple[str, str, list[str]]:
    a, b = rng.randint(2, 30), rng.randint(2, 30)
    # near the right sum, so that its size alone does not give it away
    wrong = rng.sample([d for d in range(-10, 11) if d and a + b + d > 0], CHOICES - 1)
    return f"What is {a} + {b}?", str(a + b), [str(a + b + d) for d in wrong]


def _first_word(rng: random.Random) -> tuple[str, str, list[str]]:
    right, *others = sorted(rng.sample(WORDS, CHOICES))
    return "Which word comes first in the alphabet?", right, others


FAMILIES = (_largest, _sum, _first_word)


def make(rng: random.Random) -> Problem:
    """A question of a random family with its options shuffled."""
    question, right, wrong = rng.choice(FAMILIES)(rng)
    # texts differ by construction, so the right one is found again by its text
    texts = [right, *wrong]
    rng.shuffle(texts)
    listed = "\n".join(f"{letter}) {text}" for letter, text in zip(ascii_uppercase, texts, strict=False))
    letter = ascii_uppercase[texts.index(right)]
    return _problem(f"{question}\n{listed}", letter, {"right": right})


def _problem(prompt: str, letter: str, meta: dict[str, Any]) -> Problem:
    answer = {"answer": letter, "choices": CHOICES}
    identity = problem_id("multiple_choice", prompt)
    return Problem(identity, "multiple_choice", (Message("user", prompt),), answer, meta=meta)


# `B`, `(B)`, `B.`, `**B**`, `\boxed{B}`, `Ｂ`: as data sets write the right letter
_GOLD = re.compile(r"[\s(\[{*$\"']*+(?:\\boxed\{)?+\(?+(?P<letter>[A-Z])[\s)\]}*$\"'.:]*+")


def _parts(answer: Any) -> tuple[str, str]:
    """The right letter and all letters; raises ValueError for an answer that names none of its choices."""
    given = answer.get("answer") if isinstance(answer, dict) else answer
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(given, str):
        raise ValueError(f"{given!r} is no letter")
    if choices is not None and (type(choices) is not int or not 2 <= choices <= verify.MOST):
        raise ValueError(f"choices is a whole number from 2 to {verify.MOST}, not {choices!r}")
    found = _GOLD.fullmatch(unicodedata.normalize("NFKC", given).upper().replace("\\BOXED", "\\boxed"))
    letter = found["letter"] if found else given
    letters = verify.options(choices, letter if found else "")
    if not found or letter not in letters:
        raise ValueError(f"the answer {given!r} is none of the choices {', '.join(letters)}")
    return letter, letters


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """Full reward for the right letter; an answer that states no option, or two, is unparseable."""
    answer = split_reply(rollout.text, problem.mode).answer
    try:
        gold, letters = _parts(problem.answer)
    except ValueError as error:
        return Verdict.failed(str(error))
    # after the gold: a problem that can't be graded is a null, whatever the reply
    given = verify.stated(answer, letters) if answer is not None else None
    if given is None:
        note = "no answer after the think block" if answer is None else f"the reply states none of {letters}"
        return Verdict(0.0, Outcome.UNPARSEABLE, note=f"{note}, wanted {gold}")
    return Verdict.binary(given == gold, note=f"answered {given}, wanted {gold}")


def _reply(problem: Problem, letter: str) -> str:
    thought = f"It is {problem.meta['right']}." if "right" in problem.meta else ""
    return compose_reply(problem.mode, thought, f"\\boxed{{{letter}}}")


def gold(problem: Problem) -> str:
    """The right letter in a box."""
    return _reply(problem, _parts(problem.answer)[0])


def demonstrate(problem: Problem, rng: random.Random, fault_rate: float) -> str:
    """The gold reply, or with probability `fault_rate` one with a wrong letter."""
    # any other letter, all equally often
    letter, letters = _parts(problem.answer)
    if rng.random() < fault_rate:
        letter = rng.choice(letters.replace(letter, ""))
    return _reply(problem, letter)


def examples() -> Iterator[Example]:
    """Vectors of the grader."""
    problem = _problem("Which number is the largest?\nA) 12\nB) 7\nC) 31\nD) 25", "C", {"right": "31"})
    yield Example(problem, gold(problem), 1.0)
    yield Example(problem, thinking_reply("", "The answer is C because I compared them."), 1.0)
    yield Example(problem, thinking_reply("", r"Not \boxed{A}. Answer: (C)"), 1.0)
    yield Example(problem, thinking_reply("", r"\boxed{D}"), 0.0)
    yield Example(problem, thinking_reply("", "Answer: C or D"), 0.0)
    yield Example(problem, thinking_reply("", "31"), 0.0)


def check_answer(answer: Any) -> None:
    """A letter, or an object with the letter and the choices."""
    try:
        _parts(answer)
    except ValueError as error:
        raise AnswerError(f'want a letter, or {{"answer": letter, "choices": number}}: {error}') from None


DOMAIN = Domain(
    name="multiple_choice",
    summary="questions with lettered options, one of them right",
    sources={"builtin": drawn(make), **SHARED},
    grade=grade,
    examples=examples,
    gold=gold,
    demonstrate=demonstrate,
    check_answer=check_answer,
    alternatives=True,
)
