"""Tests judged where the candidate is not: its process makes the calls, the assertions are evaluated here.

The candidate's process holds arguments alone. There is nothing in it to find: no expected value, no nonce, no
test. What it prints is decoded as plain data and compared here, so equal-to-everything objects, patched
runners, forged reports and early exits are only wrong results.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.protocols import Execution, Program
from cascade_rl.verify.programs.assertions import CHECKERS
from cascade_rl.verify.programs.outputs import shorten
from cascade_rl.verify.programs.values import ALL_KINDS, typed
from cascade_rl.verify.suites import apart_inside
from cascade_rl.verify.suites.apart_plan import Plan, Step

ENTRY = "_calls.py"
LONGEST_LINE = 2_000_000  # characters of a result; longer ones are not decoded


def ready(module: str) -> str:
    """A file as a program, compiled by this interpreter, which the sandbox runs, too: 0.4 ms less each."""
    code = compile(Path(module).read_text(encoding="utf-8"), ENTRY, "exec", optimize=2)
    return f"import marshal\nexec(marshal.loads({marshal.dumps(code)!r}))\n"


INSIDE = ready(apart_inside.__file__)


@dataclass(frozen=True, slots=True)
class Result:
    """What one call gave: a value, or the built-in types of what it raised; neither when it gave nothing.

    odd    whether it may have been an object that is more than plain data
    """

    value: Any = None
    raised: tuple[str, ...] = ()
    words: str = "no result"
    ok: bool = False
    odd: bool = False


def program_of(
    plan: Plan,
    files: Mapping[str, str],
    timeout_s: float,
    profile: str = "code",
    packages: Sequence[str] = (),
) -> Program:
    """A program that makes the calls of a plan in the candidate's files; read it with `results_of`."""
    given = ", ".join(f"({arguments}, {keywords})" for _, _, arguments, keywords in plan.calls)
    job = json.dumps({"calls": [call[:2] for call in plan.calls], "arguments": f"[{given}]"})
    return Program({**files, ENTRY: INSIDE}, ENTRY, job, timeout_s, profile=profile, packages=tuple(packages))


def results_of(plan: Plan, execution: Execution) -> list[Result]:
    """One result for each call; the first line that tells of a call counts."""
    rows: dict[int, Result] = {}
    for line in execution.stdout.split("\n"):
        number, _, text = line.partition(" ")
        if number.isdecimal() and len(number) < 8 and int(number) not in rows and len(text) <= LONGEST_LINE:
            rows[int(number)] = _result(text)
    return [rows.get(number, Result()) for number in range(len(plan.calls))]


def _result(text: str) -> Result:
    """A line of the candidate's process, which may have written it itself."""
    try:
        row = json.loads(text)
        if not isinstance(row, dict):
            return Result()
        if "value" in row:
            return Result(typed(row["value"], ALL_KINDS), words="", ok=True, odd=row.get("odd") is True)
        raised, words = row.get("raised", ()), row.get("words", "no result")
        return Result(raised=tuple(map(str, raised)), words=str(words)[:200], odd=row.get("odd") is True)
    # whatever stands there is the candidate's, and no value
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, MemoryError):
        return Result()


# what a wrong value does to a check is an answer, and a wrong one
WRONG = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, MemoryError)


def faults(plan: Plan, results: Sequence[Result]) -> dict[str, str | None]:
    """For each test, by node id, what is wrong with its first statement that fails; None if all hold."""
    return {name: _first(steps, results) for name, steps in plan.tests.items()}


def _first(steps: Sequence[Step], results: Sequence[Result]) -> str | None:
    named: dict[str, Any] = {}
    got: Any = None  # the last value that came out
    for step in steps:
        last = results[step.calls[-1]] if step.calls else Result(words="no call")
        if step.raises:
            if set(step.raises).isdisjoint(last.raised):
                return f"got {_shown(last.value)}" if last.ok else last.words
            continue
        for number in step.calls:
            if not results[number].ok:
                return results[number].words
            named[f"_{number}"] = got = results[number].value
        try:
            # the text is the test's and has passed `apart_plan`; of the candidate's come plain values only
            value = eval(step.check, {"__builtins__": CHECKERS}, named)
            right = bool(step.name or value)
        except WRONG as error:
            return f"{type(error).__name__}: {error}"[:200]
        if step.name:
            named[step.name] = value
        if not right:
            return f"{step.check:.80}: got {_shown(got)}"
    return None


def _shown(value: Any) -> str:
    try:
        return shorten(value)
    except RecursionError:
        return "a value nested too deep"
