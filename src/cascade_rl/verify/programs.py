"""Judge programs: take the code out of a reply, run it on calls in a sandbox, compare the results here.

The child process reads the calls as JSON, and answers on a private duplicate of its standard output that is
taken before the candidate runs; each line carries a nonce, and whatever the candidate prints goes nowhere. The
expected results stay in this process, so a candidate that forges lines still has to know the right values.

`check_program` is for tests that are programs themselves (assertions). There the expected values necessarily
enter the child; a pass is the nonce, printed only after every test has run.
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

CALLS_HARNESS = """\
import json, os, sys

def main():
    job = json.loads(sys.stdin.read())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    dumps, nonce = json.dumps, job["nonce"]

    def say(index, **what):
        out.write(nonce + " " + dumps({"index": index, **what}) + "\\n")
        out.flush()

    def reason(error):
        return f"{type(error).__name__}: {error}"[:200]

    scope = {"__name__": "candidate"}
    try:
        with open(job["candidate"], encoding="utf-8", errors="surrogatepass") as file:
            exec(compile(file.read(), job["candidate"], "exec"), scope)
        function = scope[job["function"]]
    except BaseException as error:
        return say(-1, error=reason(error))
    for index, arguments in enumerate(job["calls"]):
        try:
            say(index, value=function(*arguments))
        except BaseException as error:
            say(index, error=reason(error))

main()
"""

CHECKS_HARNESS = """\
import json, os, sys

def main():
    job = json.loads(sys.stdin.read())
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    for name in job["checks"]:
        scope = {"__name__": "check"}
        with open(name, encoding="utf-8", errors="surrogatepass") as file:
            exec(compile(file.read(), name, "exec"), scope)
        for key, test in list(scope.items()):
            if key.startswith("test_") and callable(test):
                test()
    os.write(out, (job["nonce"] + "\\n").encode())

main()
"""


def last_code_block(text: str) -> str | None:
    """The content of the last fenced block that is closed; None when there is none."""
    found, fence, body = None, "", []
    for line in text.split("\n"):
        mark = re.match(r"\s{0,3}(`{3,})\s*([\w+.-]*)\s*$", line)
        if not fence and mark:
            fence, body = mark[1], []
        elif fence and mark and len(mark[1]) >= len(fence) and not mark[2]:
            found, fence = "\n".join(body), ""
        elif fence:
            body.append(line)
    return found


@dataclass(frozen=True, slots=True)
class Result:
    """What one call gave: a JSON value, or the error that stood in its way."""

    value: Any = None
    error: str | None = None


@lru_cache(maxsize=1)
def _secret() -> bytes:
    return secrets.token_bytes(16)


def nonce_of(*content: Any) -> str:
    """A nonce that equal programs share (so a sandbox may cache them) and that no program can work out."""
    text = json.dumps(content, sort_keys=True)  # ASCII, so lone surrogates pass
    return hashlib.blake2b(text.encode(), digest_size=12, key=_secret()).hexdigest()


def call_program(source: str, function: str, calls: Sequence[Sequence[Any]], timeout_s: float = 4.0) -> Program:
    """A program that calls `function` of `source` with each list of arguments; read it with `read_results`."""
    job = {"nonce": nonce_of(source, function, calls), "candidate": CANDIDATE_FILE}
    stdin = json.dumps(job | {"function": function, "calls": [list(c) for c in calls]})
    files = {HARNESS_FILE: CALLS_HARNESS, CANDIDATE_FILE: source}
    return Program(files, HARNESS_FILE, stdin, timeout_s)


def read_results(program: Program, execution: Execution) -> list[Result]:
    """One result for each call, in order; a call without a line has an error instead."""
    job = json.loads(program.stdin)
    rows: dict[int, Result] = {}
    for line in execution.stdout.split("\n"):
        nonce, _, text = line.partition(" ")
        if nonce != job["nonce"]:
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            continue  # a value too deep or too long to read back is no result
        rows.setdefault(row["index"], Result(row.get("value"), row.get("error")))
    silent = rows.get(-1) or Result(error="no result")
    return [rows.get(i, silent) for i in range(len(job["calls"]))]


def same(given: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Whether two JSON values agree: booleans are no numbers, floats agree within `tolerance`, tuples are lists."""
    if isinstance(given, bool) or isinstance(expected, bool):
        return given is expected
    if isinstance(given, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(given) == len(expected) and all(same(a, b, tolerance) for a, b in zip(given, expected, strict=True))
    if isinstance(given, dict) and isinstance(expected, dict):
        return given.keys() == expected.keys() and all(same(given[k], expected[k], tolerance) for k in expected)
    if isinstance(given, float) and isinstance(expected, (int, float)):
        return _close(given, expected, tolerance)
    if isinstance(given, int) and isinstance(expected, float):
        return _close(given, expected, tolerance)
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
    """A program that runs the files named in `checks`, and the `test_` functions in them; see `checks_passed`."""
    files = dict(files)
    stdin = json.dumps({"nonce": nonce_of(files, list(checks)), "checks": list(checks)})
    return Program(files | {HARNESS_FILE: CHECKS_HARNESS}, HARNESS_FILE, stdin, timeout_s)


def checks_passed(program: Program, execution: Execution) -> bool:
    """Whether every check ran to its end: the process left well and its last word was the nonce."""
    nonce = json.loads(program.stdin)["nonce"]
    return execution.exit_code == 0 and not execution.timed_out and execution.stdout == nonce + "\n"
