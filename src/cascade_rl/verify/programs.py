"""Judge programs: take the code out of a reply, run it on calls in a sandbox, compare the results here.

The child process reads the calls as JSON, and answers on a private duplicate of its standard output that is
taken before the candidate runs; each line carries a nonce, and whatever the candidate prints goes nowhere.
All calls of a program share one fork. The expected results stay in this process, so a candidate that forges
lines still has to know the right values, and overriding `__eq__`, `json` or the harness gains nothing.

`check_program` is for tests that are programs themselves and can't be split (see `assertions`). There the
expected values necessarily enter the child; a pass is the nonce, printed only after every test has run.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cascade_rl.protocols import Execution, Program

HARNESS_FILE, CANDIDATE_FILE = "_harness.py", "candidate.py"
TOTAL_FACTOR = 3  # of the time for one call, for all calls of a program
LONGEST_LINE = 2_000_000  # characters of a result; longer ones are not decoded

# In the candidate's process. Names that matter afterwards (dumps, leave) are taken before its code runs, its
# standard streams lead nowhere, plain() goes by the built-in iterators, which a subclass can't override, and
# ITIMER_PROF counts processor time, ITIMER_REAL what sleeps.
CALLS_HARNESS = """\
import json, os, signal, sys

def plain(value):
    for kind, make in (
        (list, list.__iter__), (tuple, tuple.__iter__), (set, set.__iter__), (frozenset, frozenset.__iter__)
    ):
        if isinstance(value, kind):
            return [kind.__name__, [plain(item) for item in make(value)]]
    if isinstance(value, dict):
        return ["dict", [[plain(key), plain(item)] for key, item in dict.items(value)]]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a value of type {type(value).__name__}")

def main():
    job = json.loads(sys.stdin.read())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    dumps, nonce, leave, now = json.dumps, job["nonce"], os._exit, [-1]

    def say(index, **what):
        out.write(nonce + " " + dumps({"index": index, **what}) + "\\n")
        out.flush()

    def reason(error):
        return f"{type(error).__name__}: {error}"[:200]

    def late(*_):
        try:
            say(now[0], late=True)
        finally:
            leave(0)

    def limit(on):
        signal.setitimer(signal.ITIMER_PROF, job["each_s"] * on)
        signal.setitimer(signal.ITIMER_REAL, (job["each_s"] * 2 + 1) * on)

    signal.signal(signal.SIGPROF, late)
    signal.signal(signal.SIGALRM, late)
    scope = {"__name__": "candidate"}
    limit(1)
    try:
        exec(job["before"], scope)
        exec(compile(job["source"], job["candidate"], "exec"), scope)
        owner, _, name = job["function"].rpartition(".")
        function = scope[owner or name]
    except BaseException as error:
        return say(-1, error=reason(error))
    for now[0], call in enumerate(job["calls"]):
        limit(1)
        try:
            if isinstance(call, str):
                value = plain(eval(call, {**scope, "candidate": function}))
            else:
                value = (getattr(function(), name) if owner else function)(*call)
            limit(0)
            say(now[0], value=value)
        except BaseException as error:
            say(now[0], error=reason(error))

main()
"""

# The nonce is a local of main(), written last: a test that fails or leaves early never gets there. A program
# that walks frames can read it; that is what docs/sandbox.md can't rule out.
CHECKS_HARNESS = """\
import json, os, sys

def main():
    job = json.loads(sys.stdin.read())
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    for name, text in job["checks"].items():
        scope = {"__name__": "check"}
        exec(compile(text, name, "exec"), scope)
        for key, test in list(scope.items()):
            if key.startswith("test_") and callable(test):
                test()
    os.write(out, (job["nonce"] + "\\n").encode())

main()
"""


def code_blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks that are closed: (mark after the fence, content)."""
    found: list[tuple[str, str]] = []
    body: list[str] = []
    fence = mark = ""
    for line in text.split("\n"):
        # three blanks at most, as in Markdown; a fence is closed by one as long or longer, without a mark
        edge = re.match(r"\s{0,3}(`{3,})\s*([\w+.-]*)\s*$", line)
        if not fence and edge:
            fence, mark, body = edge[1], edge[2], []
        elif fence and edge and len(edge[1]) >= len(fence) and not edge[2]:
            found.append((mark, "\n".join(body)))
            fence = ""
        elif fence:
            body.append(line)
    return found


def last_code_block(text: str) -> str | None:
    """The content of the last fenced block that is closed; None when there is none."""
    blocks = code_blocks(text)
    return blocks[-1][1] if blocks else None


@dataclass(frozen=True, slots=True)
class Result:
    """What one call gave: a JSON value, or the error that stood in its way, or that its time was over."""

    value: Any = None
    error: str | None = None
    late: bool = False


@lru_cache(maxsize=1)
# One a process: nonces repeat within a run, so equal programs are equal to the sandbox.
def _secret() -> bytes:
    return secrets.token_bytes(16)


def nonce_of(*content: Any) -> str:
    """A nonce that equal programs share (so a sandbox may cache them) and that no program can work out."""
    text = json.dumps(content, sort_keys=True)  # ASCII, so lone surrogates pass
    return hashlib.blake2b(text.encode(), digest_size=12, key=_secret()).hexdigest()


LEETCODE = """\
import bisect, collections, functools, heapq, itertools, math, operator, random, re, string
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from typing import *
"""


def call_program(
    source: str, function: str, calls: Sequence[Sequence[Any] | str], timeout_s: float = 4.0, before: str = ""
) -> Program:
    """A program that makes each call of `function` in `source`; read it with `read_results`.

    function  a name, or `Class.name`, of which each call gets a new instance
    calls     lists of arguments, or expressions over `candidate`, whose values come back with their types
    timeout_s of processor time for a call; all together may take three times as much
    before    code to run first; for `Class.name` the imports that such problems take for granted
    """
    before = before or (LEETCODE if "." in function else "")
    job = {
        "candidate": CANDIDATE_FILE,
        "source": source,
        "function": function,
        "before": before,
        "each_s": timeout_s,
        "calls": [c if isinstance(c, str) else list(c) for c in calls],
    }
    stdin = json.dumps({"nonce": nonce_of(job)} | job)
    total_s = timeout_s * (1 if len(calls) == 1 else TOTAL_FACTOR)
    return Program({HARNESS_FILE: CALLS_HARNESS}, HARNESS_FILE, stdin, total_s)


def read_results(program: Program, execution: Execution) -> list[Result]:
    """One result for each call, in order; a call without a line has an error instead."""
    job = json.loads(program.stdin)
    rows: dict[int, Result] = {}
    for line in execution.stdout.split("\n"):
        nonce, _, text = line.partition(" ")
        if nonce != job["nonce"] or len(text) > LONGEST_LINE:
            continue
        row = _decode(text)
        if row is not None:
            # the first line for a call counts: what is printed after it can't mend it
            rows.setdefault(row["index"], Result(row.get("value"), row.get("error"), row.get("late") is True))
    # the time limit met the first call without a result; those after it were not begun
    first = min(set(range(len(job["calls"]))) - set(rows), default=0)
    # index -1: the source itself failed, which holds for all calls
    silent = rows.get(-1) or Result(error="no result", late=execution.timed_out)
    return [
        rows.get(i) or (silent if i == first or -1 in rows else Result(error="no result"))
        for i in range(len(job["calls"]))
    ]


def _decode(text: str) -> dict[str, Any] | None:
    """A line of results, which a candidate may have forged; None when it is too deep, too long or no such."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    # a bool is an int to isinstance
    if not isinstance(row, dict) or type(row.get("index")) is not int:
        return None
    error = row.get("error")
    return row if error is None or isinstance(error, str) else None


def typed(value: Any) -> Any:
    """A value of an expression with its types back: lists, tuples, sets and dictionaries of plain values.

    Raises ValueError or TypeError for what the harness can't have written.
    """
    if not isinstance(value, list):
        return value
    kind, items = value
    if kind == "dict":
        return {typed(key): typed(item) for key, item in items}
    return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(typed, items))


def joined(results: Sequence[Result]) -> Result:
    """The results of one check's expressions as one: the list of their values with types, or what failed."""
    bad = next((r for r in results if r.error is not None or r.late), None)
    if bad:
        return bad
    try:
        return Result([typed(r.value) for r in results])
    except (ValueError, TypeError, KeyError, RecursionError):
        return Result(error="not a value")


def same(given: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Whether two JSON values agree: booleans are no numbers, floats may be `tolerance` off, tuples lists."""
    if isinstance(given, bool) or isinstance(expected, bool):  # True == 1 in Python
        return given is expected
    if isinstance(given, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(given) == len(expected) and all(
            same(a, b, tolerance) for a, b in zip(given, expected, strict=True)
        )
    if isinstance(given, dict) and isinstance(expected, dict):
        return given.keys() == expected.keys() and all(
            same(given[k], expected[k], tolerance) for k in expected
        )
    if isinstance(given, float) and isinstance(expected, (int, float)):
        return _close(given, expected, tolerance)
    if isinstance(given, int) and isinstance(expected, float):
        return _close(given, expected, tolerance)
    # 1 is not "1"; an int and a float were compared above
    return type(given) is type(expected) and given == expected


def _close(a: float, b: float, tolerance: float) -> bool:
    try:
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer beyond the range of floats
        return False


def share_passed(results: Sequence[Result], expected: Sequence[Any]) -> float:
    """The share of results that are right."""
    right = sum(r.error is None and same(r.value, e) for r, e in zip(results, expected, strict=True))
    return right / len(expected) if expected else 0.0


def check_program(files: Mapping[str, str], checks: Sequence[str], timeout_s: float = 4.0) -> Program:
    """A program that runs the files named in `checks` and their `test_` functions; see `checks_passed`."""
    files = dict(files)
    texts = {name: files[name] for name in checks}
    stdin = json.dumps({"nonce": nonce_of(files, list(checks)), "checks": texts})
    return Program(files | {HARNESS_FILE: CHECKS_HARNESS}, HARNESS_FILE, stdin, timeout_s)


def checks_passed(program: Program, execution: Execution) -> bool:
    """Whether every check ran to its end: the process left well and its last word was the nonce."""
    nonce = json.loads(program.stdin)["nonce"]
    return execution.exit_code == 0 and not execution.timed_out and execution.stdout == nonce + "\n"
