"""A task asked in HumanEval's form or in a sentence, with examples and with tests that near misses fail."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cascade_rl.sources.basics.inputs import KINDS, arguments
from cascade_rl.sources.basics.tasks import Task, filled
from cascade_rl.sources.code_tests import completing

TESTS = 8  # hidden ones of a problem
TRIES = 400  # sets of tests that are drawn until all near misses fail
SENTENCES = (
    "Write a Python function {head}. {words}\n\nFor example:\n{asserts}",
    "Write a Python function {name} to {lowered}\n\nYour code should pass these tests:\n{asserts}",
    "Implement {head} in Python. {words}\n\n{told}",
    "I need a Python function called {name}, used as {head}. {words}\n\n{told}",
)
# the type hints of half of HumanEval's signatures
TYPING = (("list[", "List["), ("dict[", "Dict["), ("tuple[", "Tuple["))


@dataclass(frozen=True, slots=True)
class Question:
    """A problem of `coding`; `tests` are the hidden ones, (arguments, result), `wrong` the near misses."""

    prompt: str
    name: str
    tests: tuple[tuple[list[Any], Any], ...]
    code: str
    wrong: tuple[str, ...]
    thought: str


def question(task: Task, rng: random.Random, wanted: Callable[[str], bool]) -> Question | None:
    """The task with a name, a number, a form and examples drawn; its tests depend on the prompt alone.

    None for a prompt that is not `wanted`, which is asked before tests are made. ValueError for a task whose
    near misses no tests tell.
    """
    constant = rng.randint(2, 9)
    name, form = rng.choice(task.names), rng.random()
    words = filled(task.words, constant, name)
    hints = rng.choice(("none", "builtin", "typing")) if form < 0.6 else "none"
    before, head = _head(task, name, hints)
    body = filled(task.body, constant, name)
    shown = _examples(task, name, f"def {name}({_plain(task)}):\n{body}", rng)
    asked = completing(before + head + _docstring(words, shown, rng)) if form < 0.6 else ""
    prompt = asked or _sentence(task, name, words, shown, rng)
    if not wanted(prompt):
        return None
    codes = [f"{before}{head}{filled(text, constant, name)}" for text in (task.body, *task.wrong_bodies())]
    tests = _tests(task, name, tuple(codes), prompt)
    return Question(prompt, name, tests, codes[0], tuple(codes[1:]), filled(task.thought, constant, name))


def _plain(task: Task) -> str:
    return ", ".join(name for name, _ in task.parameters)


def _head(task: Task, name: str, hints: str) -> tuple[str, str]:
    """What stands before the function, and its first line."""
    if hints == "none":
        return "", f"def {name}({_plain(task)}):\n"
    head = f"def {name}({', '.join(f'{p}: {kind}' for p, kind in task.parameters)}) -> {task.returns}:\n"
    if hints == "builtin":
        return "", head
    found = []
    for own, typing in TYPING:
        if own in head:
            head = head.replace(own, typing)
            found.append(typing[:-1])
    return f"from typing import {', '.join(sorted(found))}\n\n\n" if found else "", head


def _docstring(words: str, shown: Sequence[tuple[str, str]], rng: random.Random) -> str:
    blank = rng.choice(("", " "))
    lines = [f'    """{blank}{words}', *rng.choice(([], [""]))]
    for call, result in shown:
        lines += [f"    >>> {call}", f"    {result}"]
    return "\n".join([*lines, '    """'])


def _sentence(task: Task, name: str, words: str, shown: Sequence[tuple[str, str]], rng: random.Random) -> str:
    return rng.choice(SENTENCES).format(
        name=name,
        head=f"{name}({_plain(task)})",
        words=words,
        lowered=words[0].lower() + words[1:],
        asserts="\n".join(f"assert {call} == {result}" for call, result in shown),
        told=" ".join(f"{call} gives {result}." for call, result in shown),
    )


def _examples(task: Task, name: str, code: str, rng: random.Random) -> list[tuple[str, str]]:
    """Two or three calls with their results, an edge case rarely among them."""
    found: dict[str, str] = {}
    # for its length a text may be as common as that it comes twice
    for _ in range(rng.choice((2, 2, 3))):
        given = arguments(task.kinds, rng, rng.choice((0, 9, 9, 9)))
        call = f"{name}({', '.join(map(repr, given))})"
        found[call] = repr(run(code, name, given))
    return list(found.items())


@lru_cache(maxsize=4096)
def _function(code: str, name: str) -> Callable[..., Any]:
    scope: dict[str, Any] = {}
    # our own text: nothing of a model is run here
    exec(code, scope)
    function: Callable[..., Any] = scope[name]
    return function


def run(code: str, name: str, given: Sequence[Any]) -> Any:
    """What a function of ours returns; it may not change what it is given."""
    return _function(code, name)(*copy.deepcopy(given))


def outcome(code: str, name: str, given: Sequence[Any]) -> Any:
    """The result in the shapes of JSON, as the grader compares it, or the kind of error that is raised."""
    try:
        return json.dumps(run(code, name, given))
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
        return type(error)


@lru_cache(maxsize=2048)
def _tests(task: Task, name: str, codes: tuple[str, ...], prompt: str) -> tuple[tuple[list[Any], Any], ...]:
    """Hidden tests, edge cases among them, drawn anew until each wrong version fails one."""
    rng = random.Random(prompt)
    edges = len(KINDS[task.kinds[0]][0])
    for _ in range(TRIES):
        given = [arguments(task.kinds, rng, turn) for turn in range(max(TESTS, edges + 4))]
        right = [outcome(codes[0], name, args) for args in given]
        told = all([outcome(code, name, args) for args in given] != right for code in codes[1:])
        # one answer to everything must not do; of true and false both are there
        if told and len(set(right)) > 1:
            return tuple((args, json.loads(result)) for args, result in zip(given, right, strict=True))
    raise ValueError(f"{task.names[0]}: no tests tell its near misses")
