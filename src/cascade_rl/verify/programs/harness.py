"""Judge programs: run their functions on calls in a sandbox, read the results here.

The child process (`calls_inside`) reads the calls as JSON, and answers on a private duplicate of its standard
output that is taken before the candidate runs; each line carries a nonce and its turn, and whatever the
candidate prints goes nowhere. All calls of a program share one fork, and the sandbox gives each of them its
time by the lines that have come. The expected results stay in this process, so a candidate that forges
lines still has to know the right values, and overriding `__eq__`, `json` or the harness gains nothing.

`check_program` is for tests that are programs themselves and can't be split (see `assertions`). There the
expected values necessarily enter the child; a pass is the nonce, printed only after every test has run.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cascade_rl.protocols import Execution, Program, Turns
from cascade_rl.verify.programs.values import same, typed

HARNESS_FILE, CALLS_FILE, CANDIDATE_FILE = "_harness.py", "_calls.pyc", "candidate.py"
LONGEST_ERROR = 1_000  # characters that are kept of what a program says of its error
# what runs in the candidate's process: compiled once here, by the interpreter that runs it there, for to
# compile it takes a third of the time of a short program
CALLS = marshal.dumps(
    compile(Path(__file__).with_name("calls_inside.py").read_text(encoding="utf-8"), CALLS_FILE, "exec")
).decode("utf-8", "surrogateescape")
NODES = Path(__file__).with_name("nodes_inside.py").read_text(encoding="utf-8")

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


def call_program(
    source: str,
    function: str,
    calls: Sequence[Sequence[Any] | str],
    timeout_s: float = 4.0,
    before: str = "",
    prelude: bool = True,
) -> Program:
    """A program that makes each call of `function` in `source`; read it with `read_results`.

    function  a name, or `Class.name`, of which each call gets a new instance
    calls     lists of arguments, or expressions over `candidate`, whose values come back with their types
    timeout_s of processor time for a call, and for loading the source; kept from outside, so all together may
              take that for each
    before    code to run first
    prelude   whether names that contest judges import are there (see `calls_inside.PRELUDE`)
    """
    job = {
        "candidate": CANDIDATE_FILE,
        "source": source,
        "function": function,
        "before": before,
        "prelude": prelude,
        "nodes": NODES if "ListNode" in source or "TreeNode" in source else "",
        "each_s": timeout_s,
        "calls": [c if isinstance(c, str) else list(c) for c in calls],
    }
    mark = nonce_of(job)
    # a single call needs no watch of its own: its limit is the program's
    turns = len(calls) if len(calls) > 1 else 0
    return Program(
        {CALLS_FILE: CALLS},
        CALLS_FILE,
        json.dumps({"mark": mark} | job),
        timeout_s * max(1, len(calls)),
        turns=Turns(mark, turns, timeout_s) if turns else None,
    )


def read_results(
    program: Program, execution: Execution, longest: Sequence[int] | None = None
) -> list[Result]:
    """One result for each call, in order; a call without a line has an error instead.

    longest: the most characters of each result's line, longer ones being errors unread; None: any number

    A line counts in its turn only, and once: what is printed before or after can neither take its place nor
    mend it. This is how the sandbox counts turns, too.
    """
    job = json.loads(program.stdin)
    text, found, place = "\n" + execution.stdout, [], 0
    for turn in range(-1, len(job["calls"])):
        start = f"\n{job['mark']} {turn} "
        begin = text.find(start, place)
        place = text.find("\n", begin + 1) if begin >= 0 else -1
        if place < 0:
            break
        begin += len(start)
        if longest and turn >= 0 and place - begin > longest[turn] + LONGEST_ERROR:
            found.append(Result(error=f"a result of {place - begin:,} characters"))
        else:
            found.append(_decoded(text[begin:place]))
    loaded, results = found[:1], found[1:]
    if loaded and loaded[0].error is not None:  # the source itself failed, which holds for all calls
        return [loaded[0]] * len(job["calls"])
    # the limit met the first call without a result; those after it were not begun
    missing = [Result(error="no result", late=execution.timed_out)]
    missing += [Result(error="no result")] * len(job["calls"])
    return results + missing[: len(job["calls"]) - len(results)]


def _decoded(text: str) -> Result:
    """A line of results, which a candidate may have forged: too deep or no such, and it is an error."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return Result(error="no result")
    if not isinstance(row, dict):
        return Result(error="no result")
    error = row.get("error")
    if error is not None:
        return Result(error=error[:LONGEST_ERROR] if isinstance(error, str) else "no result")
    return Result(row.get("value"))


def joined(results: Sequence[Result]) -> Result:
    """The results of one check's expressions as one: the list of their values with types, or what failed."""
    bad = next((r for r in results if r.error is not None or r.late), None)
    if bad:
        return bad
    try:
        return Result([typed(r.value) for r in results])
    except (ValueError, TypeError, KeyError, RecursionError):
        return Result(error="not a value")


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
