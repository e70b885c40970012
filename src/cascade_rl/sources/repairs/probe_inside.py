"""Run functions on many arguments and say what came out: a script for a process of its own.

Input: a JSON list of jobs {"text": file, "function": name, "yields": bool, "calls": [literal of the
arguments, ...]}. Output: for each job a list with [kind, text, lines] for each call: ("value", literal),
("raises", name of a builtin exception), ("hangs", "") after `MOST_LINES` executed lines, ("other", "");
`lines` are those that were executed.
"""

from __future__ import annotations

import ast
import builtins
import json
import resource
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

MOST_LINES = 4_000  # executed by one call, watched functions only
LONGEST = 240  # characters of a literal


# not an Exception, which the watched code might catch
class Hangs(BaseException):
    """Too many lines were executed."""


def watched(function: Callable[..., Any], arguments: Sequence[Any], yields: bool) -> tuple[Any, set[int]]:
    """What a call gave and the lines that it went through; a limit that counts lines is repeatable."""
    lines: set[int] = set()
    left = MOST_LINES

    def local(frame: types.FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if event == "line":
            lines.add(frame.f_lineno)
            left -= 1
            if left < 0:
                raise Hangs
        return local

    def trace(frame: types.FrameType, event: str, _: Any) -> Any:
        # the piece's own frames; library code is not slowed down, and not counted
        return local if frame.f_code.co_filename == "piece" else None

    sys.settrace(trace)
    try:
        value = function(*arguments)
        if yields:
            value = list(value)
    finally:
        sys.settrace(None)
    return value, lines


def literal(value: Any) -> str | None:
    """A literal that is equal to the value and of its kind, or None."""
    try:
        text = repr(value)
        if len(text) <= LONGEST:
            again = ast.literal_eval(text)
            # 1 == 1.0 == True: a test by equality would not tell them apart
            if again == value and kinds(again) == kinds(value):
                return text
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        pass
    return None


def kinds(value: Any) -> tuple[type, list[Any]]:
    """The types of a value and of what it holds."""
    inner = value.items() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return type(value), [kinds(item) for item in inner]


def outcome(function: Callable[..., Any], call: str, yields: bool) -> list[Any]:
    """One call's outcome as the output has it."""
    lines: set[int] = set()
    try:
        value, lines = watched(function, ast.literal_eval(call), yields)
    except Hangs:
        return ["hangs", "", []]
    except (SystemExit, KeyboardInterrupt, MemoryError):
        return ["other", "", []]
    except Exception as error:  # whatever a function raises is its answer
        name = type(error).__name__
        known = isinstance(getattr(builtins, name, None), type)
        return ["raises", name, []] if known else ["other", "", []]
    text = literal(value)
    return ["other", "", []] if text is None else ["value", text, sorted(lines)]


def results(job: dict[str, Any]) -> list[list[Any]]:
    """The outcomes of a job's calls; of a file that can't be loaded, none."""
    module = types.ModuleType("piece")
    # dataclasses look their module up there
    sys.modules["piece"] = module
    try:
        exec(compile(job["text"], "piece", "exec", dont_inherit=True), module.__dict__)
        function = module.__dict__[job["function"]]
    except Exception:  # a file that can't be loaded has no outcomes
        return []
    return [outcome(function, call, job["yields"]) for call in job["calls"]]


if __name__ == "__main__":
    # 1 GB of address space, 3 s of processor time for all jobs, no byte of a file
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (3, 3))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # an endless recursion ends soon, as an error that can be recorded
    sys.setrecursionlimit(300)
    # what a function prints must not come between the results
    answer, sys.stdout = sys.stdout, sys.stderr
    json.dump([results(job) for job in json.load(sys.stdin)], answer)
