"""Write a function to a one-line specification; hidden tests decide.

The built-in problems are composed of small pieces, see `small_world.functions`. Their tests hold edge cases,
chosen so that every faulty program of the teacher fails at least one.

Reward: 1 when all tests pass, else 0 (arXiv 2512.13607, Code RL). All calls of a function are one sandbox
run, a program that reads standard input has one for each test, and the expected results stay out of them. The
tests of the source `humaneval` are assertions: 157 of the 164 split into calls and checks, so that only the
calls enter the sandbox (`programs.assertions`); the others run in a process of their own, over results that
the candidate gave in another (`programs.replay`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from cascade_rl.chat import compose_reply, split_reply, thinking_reply
from cascade_rl.domain import Domain, Example, Query, Services
from cascade_rl.errors import AnswerError, InputError
from cascade_rl.grading.checks import judge_check
from cascade_rl.protocols import Execution, Sandbox
from cascade_rl.sources.functions import FUNCTIONS, TIMEOUT_S, coding_problem
from cascade_rl.sources.small_world.functions import Spec, draw_spec, fault_kinds, hidden_tests
from cascade_rl.sources.splits import split_of, stream
from cascade_rl.types import Outcome, Problem, Rollout, Split, Verdict
from cascade_rl.verify.programs import fences, values
from cascade_rl.verify.programs import harness as verify
from cascade_rl.verify.programs.assertions import split_check
from cascade_rl.verify.programs.languages import (
    LANGUAGES,
    Language,
    Unknown,
    compiled,
    compiler,
    language_of,
    missing,
    runner,
)
from cascade_rl.verify.programs.outputs import difference, same_output, shorten

# how much longer than an expected result, in its JSON, one that is equal to it can be: 1e300 as an integer
LONGER = 64
LONGEST_VALUE = 200_000  # characters of a value that a test of assertions looks at
# the two ways in which a test of assertions names what it tests: a function, or a class's method
CALLED = re.compile(r"(\w+)(?:\(\)\.(\w+))?")


def make(rng: random.Random, split: Split) -> Problem:
    """A built-in problem; its tests depend on the prompt alone, so equal prompts are equal problems."""
    while True:
        spec, misses, phrase = draw_spec(rng)
        prompt = f"Write a Python function {spec.name}({spec.argument}) that returns {phrase}."
        if split_of(prompt) is split:  # asked here because tests are dear
            break
    tests = [{"args": [x], "result": y} for x, y in hidden_tests(spec, tuple(misses.items()), prompt)]
    meta = {"family": spec.argument, "spec": asdict(spec), "misses": misses}
    return coding_problem(prompt, {"function": spec.name, "tests": tests, "timeout_s": TIMEOUT_S}, meta)


def builtin(query: Query) -> Iterator[Problem]:
    """Problems made here."""
    return stream(partial(make, split=query.split), query.split, query.seed)


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """Full reward when every hidden test passes; the share that passed is a part of the verdict.

    The answer holds `tests` of standard input and output, or of arguments and result with the `function` (a
    name, or `Class.name`) that they call; `timeout_s` is the processor time of one test.
    """
    if services.sandbox is None:
        raise ValueError("coding needs a sandbox")
    gold = problem.answer
    # a task of standard input and output is open to other languages, a call of a function is Python
    wanted = gold.get("language", None if "tests" in gold and "function" not in gold else "python")
    # before the reply is looked at: a machine that can't grade the problem gives no verdict on any
    if wanted is not None and (lacking := await _missing(language_of("", wanted), services.sandbox)):
        return lacking if isinstance(lacking, Verdict) else Verdict.failed(lacking)
    answer = split_reply(rollout.text, problem.mode).answer
    given = "function" not in gold and any(test["stdin"].strip() for test in gold.get("tests", ()))
    block = fences.program_block(fences.code_blocks(answer or ""), wanted, _asked(gold), given)
    if block is None:
        return Verdict(0.0, Outcome.UNPARSEABLE, note="no fenced code in an answer")
    language, source = language_of(block.language, wanted), block.text
    timeout_s = min(gold.get("timeout_s", TIMEOUT_S), services.limit_s)
    if "check" in gold:
        return await _grade_check(source, gold, timeout_s, services.sandbox)
    if "function" in gold:
        if language.name != "python":
            raise ValueError(f"{problem.id}: calls of a function are for Python, not for {language.name}")
        program = verify.call_program(source, gold["function"], [t["args"] for t in gold["tests"]], timeout_s)
        execution = await services.sandbox.run(program)
        if execution.error:
            return Verdict.failed(execution.error)
        # compared here, where the results are known, by values that came back as plain JSON; what is far
        # longer than the right value is not even read
        longest = [LONGER + LONGER * len(json.dumps(t["result"])) for t in gold["tests"]]
        checks = [partial(values.same, expected=t["result"]) for t in gold["tests"]]
        wanted = [f"{shorten(t['result'])} for {shorten(t['args'])}" for t in gold["tests"]]
        results = verify.read_results(program, execution, longest)
        return _verdict(results, checks, wanted, execution, timeout_s)
    # the reply chose a language that this machine lacks, where Python was open to it: its own fault
    if lacking := await _missing(language, services.sandbox):
        return (
            lacking if isinstance(lacking, Verdict) else Verdict(0.0, Outcome.WRONG, {"passed": 0.0}, lacking)
        )
    return await _grade_streams(source, language, gold["tests"], timeout_s, services.sandbox)


def _asked(gold: Mapping[str, Any]) -> str:
    """The function or class that a reply has to define; empty for a program that reads and prints."""
    if "check" in gold:
        called = CALLED.fullmatch(_named(gold["check"])[1])
        return called[1] if called else ""
    return str(gold.get("function", "")).partition(".")[0]


def _named(check: str) -> tuple[str, str]:
    """The text of a test, and what it calls `check` with at its end."""
    test, _, named = check.rstrip().removesuffix(")").rpartition("check(")
    return test, named.strip()


async def _missing(language: Language, sandbox: Sandbox) -> str | Verdict:
    """What keeps programs in a language from running here, if anything; a null verdict if unknown."""
    try:
        return await missing(language, sandbox)
    except Unknown as error:
        return Verdict.failed(str(error))


def _verdict(
    results: Sequence[verify.Result],
    checks: Sequence[Callable[[Any], bool]],
    wanted: Sequence[str],
    execution: Execution,
    timeout_s: float,
) -> Verdict:
    """From the results of calls; the note tells the first that is not right."""
    right = [
        r.error is None and not r.late and check(r.value) for r, check in zip(results, checks, strict=True)
    ]
    passed = {"passed": sum(right) / len(right) if right else 0.0}
    if all(right) and right:
        return Verdict(1.0, Outcome.RIGHT, passed)
    first = right.index(False) if right else 0
    result = results[first] if right else verify.Result(error="there are no tests")
    # a program over its time may have ended before the first missing result: that one is late, too
    if result.late or (execution.timed_out and result.error == "no result"):
        return Verdict(
            0.0, Outcome.TIMEOUT, passed, f"test {first + 1} of {len(right)}: over {timeout_s:g} s"
        )
    # a program over a limit may still have printed results: say why there are no more
    limit = f" (over the {execution.limit} limit)" if execution.limit else ""
    got = result.error + limit if result.error else f"got {shorten(result.value)}"
    why = f"test {first + 1} of {len(right)}: expected {wanted[first] if wanted else 'something'}, {got}"
    return Verdict(0.0, Outcome.WRONG, passed, why)


async def _grade_check(source: str, gold: Mapping[str, Any], timeout_s: float, sandbox: Sandbox) -> Verdict:
    """A test of assertions: split into calls and checks, else in two processes, else run as it is."""
    test, named = _named(gold["check"])
    called = CALLED.fullmatch(named)
    checks = split_check(test) if called else None
    # the test enters the sandbox with its expected values: a candidate that walks frames can read them
    if called is None or checks is None:
        apart = await judge_check(source, gold["before"], gold["check"], timeout_s, sandbox)
        if apart is not None:
            return apart
        files = {"check.py": f"{gold['before']}\n{source}\n\n{gold['check']}"}
        program = verify.check_program(files, ["check.py"], timeout_s)
        execution = await sandbox.run(program)
        if execution.error:
            return Verdict.failed(execution.error)
        if execution.timed_out:
            return Verdict(0.0, Outcome.TIMEOUT, {"passed": 0.0}, f"over {timeout_s:g} s")
        right = verify.checks_passed(program, execution)
        return Verdict.binary(right, execution.stderr[-200:], passed=float(right), apart=0.0)
    calls = [c for check in checks for c in check.calls]
    # no prelude: such tests bring the imports that their problem names
    program = verify.call_program(
        source,
        ".".join(filter(None, called.groups())),
        calls,
        timeout_s,
        gold["before"],
        prelude=False,
    )
    execution = await sandbox.run(program)
    if execution.error:
        return Verdict.failed(execution.error)
    # in the order in which the calls were sent: each check takes as many as it made
    results = iter(verify.read_results(program, execution, [LONGEST_VALUE] * len(calls)))
    joined = [verify.joined([next(results) for _ in check.calls]) for check in checks]
    return _verdict(
        joined, [check.holds for check in checks], [check.text for check in checks], execution, timeout_s
    )


async def _grade_streams(
    source: str, language: Language, tests: Sequence[Mapping[str, str]], timeout_s: float, sandbox: Sandbox
) -> Verdict:
    """Programs that read and print: a fork for each input, the short ones first, until one is wrong."""
    # once for all inputs; only the compiler may fork, what it made runs as closed in as Python does
    if language.compile:
        execution = await sandbox.run(compiler(language, source))
        if execution.error:
            return Verdict.failed(execution.error)
        binary, words = compiled(execution)
        if binary is None:
            return Verdict(0.0, Outcome.WRONG, {"passed": 0.0}, f"does not compile: {words}")
        source = binary
    # most wrong programs fail on any input: the short ones tell at the least cost
    order = sorted(range(len(tests)), key=lambda i: len(tests[i]["stdin"]))
    for passed, index in enumerate(order):
        test, place = tests[index], f"test {index + 1} of {len(tests)}"
        execution = await sandbox.run(runner(language, source, test["stdin"], timeout_s))
        share = {"passed": passed / len(tests)}
        if execution.error:
            return Verdict.failed(execution.error)
        # each test within its time, and so all within that for each: the first that fails is the last
        if execution.timed_out:
            return Verdict(0.0, Outcome.TIMEOUT, share, f"{place}: over {timeout_s:g} s")
        # the right output is not enough: the program must end well, too
        if execution.limit or execution.exit_code or not same_output(execution.stdout, test["stdout"]):
            return Verdict(0.0, Outcome.WRONG, share, f"{place}: {_fault(execution, test['stdout'])}")
    return Verdict.binary(bool(tests), "" if tests else "there are no tests", passed=float(bool(tests)))


def _fault(execution: Execution, expected: str) -> str:
    if execution.limit:
        return f"over the {execution.limit} limit"
    if execution.exit_code:
        last = execution.stderr.strip().rpartition("\n")[2][:120]
        return f"exit code {execution.exit_code}{': ' + last if last else ''}"
    return difference(execution.stdout, expected)


def _reply(problem: Problem, thought: str, code: str) -> str:
    return compose_reply(problem.mode, thought, f"```python\n{code.strip()}\n```")


def gold(problem: Problem) -> str | None:
    """The plan and the right program; None for problems from a file."""
    if "spec" in problem.meta:
        spec = Spec(**problem.meta["spec"])
        return _reply(problem, spec.plan(), spec.code())
    if "code" not in problem.meta:
        return None
    return _reply(problem, problem.meta.get("thought", ""), problem.meta["code"])


def demonstrate(problem: Problem, rng: random.Random, fault_rate: float) -> str:
    """The gold reply, or with probability `fault_rate` a faulty one, planned and written alike.

    Functions of packages come without faulty versions, so that theirs are right whatever the rate.
    """
    if "thought" in problem.meta:
        faulty = problem.meta.get("wrong", ()) if rng.random() < fault_rate else ()
        return _reply(problem, problem.meta["thought"], rng.choice(faulty or [problem.meta["code"]]))
    if "spec" not in problem.meta:
        raise InputError(f"{problem.id}: only problems that are made here can be demonstrated")
    spec = Spec(**problem.meta["spec"])
    if rng.random() < fault_rate:
        kinds = fault_kinds(spec, problem.meta["misses"])
        spec = rng.choice(kinds[rng.choice(sorted(kinds))])
    return _reply(problem, spec.plan(), spec.code())


def examples() -> Iterator[Example]:
    """Vectors of the grader."""
    tests = [{"args": [[1, 4]], "result": 7}, {"args": [[-2]], "result": 1}]
    prompt = "Write a Python function f(xs) that returns the largest item, plus 3."
    problem = coding_problem(prompt, {"function": "f", "tests": tests}, {})
    block = "```python\ndef f(xs):\n    {}\n```"
    yield Example(problem, thinking_reply("max(xs), + 3", block.format("return max(xs) + 3")), 1.0)
    yield Example(problem, thinking_reply("", block.format("print(7); return 3 + sorted(xs)[-1]")), 1.0)
    yield Example(problem, thinking_reply("", block.format("return max(xs)")), 0.0)
    yield Example(problem, thinking_reply("", block.format("raise SystemExit(0)")), 0.0)
    yield Example(problem, thinking_reply("", "def f(xs): return max(xs) + 3"), 0.0)


FORM = (
    'want {"tests": [{"stdin": text, "stdout": text}, ...]} or {"function": name, "tests": '
    '[{"args": [...], "result": ...}, ...]}'
)


def check_answer(answer: Any) -> None:
    """Tests of standard input or of a function's calls; or, as humaneval has it, a check."""
    if not isinstance(answer, dict):
        raise AnswerError(f"{FORM}, not {type(answer).__name__} {answer!r:.60}")
    _check_limits(answer)
    if isinstance(answer.get("check"), str) and isinstance(answer.get("before"), str):
        return
    if "tests" not in answer:
        there = ", ".join(map(str, answer)) or "nothing"
        # the columns of APPS and TACO, copied as they are
        mend = "; map: apps makes tests of inputs and outputs" if "inputs" in answer else ""
        raise AnswerError(f"tests is missing, there is {there:.100}: {FORM}{mend}")
    tests, called = answer["tests"], "function" in answer
    if not isinstance(tests, list) or not tests:
        raise AnswerError(f"tests: {FORM}, not {type(tests).__name__} {tests!r:.60}")
    if called and (not isinstance(answer["function"], str) or not answer["function"]):
        raise AnswerError(f"function: want the name of what is called, not {answer['function']!r:.60}")
    for place, test in enumerate(tests, 1):
        if fault := _test_fault(test, called):
            raise AnswerError(f"test {place} of {len(tests)}: {fault}")


def _check_limits(answer: Mapping[str, Any]) -> None:
    timeout_s = answer.get("timeout_s", TIMEOUT_S)
    # a bool is an int to Python; NaN is above nothing
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not timeout_s > 0:
        raise AnswerError(f"want timeout_s as a number of seconds, not {timeout_s!r}")
    language = answer.get("language", "python")
    if not isinstance(language, str) or language not in LANGUAGES:
        raise AnswerError(f"no language {language!r}; there are {', '.join(LANGUAGES)}")
    if "function" in answer and language != "python":
        raise AnswerError(f"calls of a function are for Python, not for {language}")


def _test_fault(test: Any, called: bool) -> str:
    """What is wrong with one test; empty when it can be run."""
    wanted = ("args", "result") if called else ("stdin", "stdout")
    if not isinstance(test, dict):
        return f"want an object with {' and '.join(wanted)}, not {type(test).__name__} {test!r:.60}"
    if missing := [key for key in wanted if key not in test]:
        return f"no {' and no '.join(missing)}; {FORM}"
    if called:
        return "" if isinstance(test["args"], list) else f"args: want a list, not {test['args']!r:.60}"
    wrong = [key for key in wanted if not isinstance(test[key], str)]
    return f"{wrong[0]}: want a text, not {test[wrong[0]]!r:.60}" if wrong else ""


DOMAIN = Domain(
    name="coding",
    summary="short Python functions, judged by hidden tests",
    sources={"builtin": builtin, **FUNCTIONS},
    grade=grade,
    examples=examples,
    gold=gold,
    demonstrate=demonstrate,
    needs=frozenset({"sandbox"}),
    check_answer=check_answer,
)
