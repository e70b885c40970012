"""Programs for a test that can't be split by its text: it runs in one process, the candidate in another.

The test's process is told results that the candidate's process gave; where it makes a call that has none it
asks for it. In rounds both come to agree on the calls: the first guesses them from the test alone, so that
one more is mostly all that is needed.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

from cascade_rl.protocols import Execution, Program
from cascade_rl.verify.programs import check_inside
from cascade_rl.verify.suites.apart import ENTRY, INSIDE, ready

TEST_ENTRY, CANDIDATE = "_check.py", "candidate.py"
TEST_INSIDE = ready(check_inside.__file__)
# what a test may import: nothing that could run a result, tell the time of a call, or makes objects that a
# candidate would be expected to return
MODULES = {
    "__future__", "bisect", "collections", "copy", "functools", "hashlib", "heapq", "itertools", "json",
    "math", "operator", "random", "re", "statistics", "string", "textwrap", "typing",
}  # fmt: skip
NAMES = {
    "eval", "exec", "compile", "open", "input", "globals", "locals", "vars", "getattr", "setattr", "delattr",
    "breakpoint", "exit", "quit", "help",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """A test with `def check(candidate)`, what stands before it, and what it is called with."""

    before: str
    test: str
    called: str


@dataclass(frozen=True, slots=True)
class Run:
    """How a test went over given results.

    calls      the texts of the calls that it made or, from the first unknown result on, would make
    more       whether some result was not known: then nothing else counts
    """

    passed: bool
    words: str
    more: bool
    lost: bool
    entangled: bool
    calls: tuple[str, ...]


@lru_cache(maxsize=256)
def check_of(before: str, text: str) -> Check | None:
    """The parts of a text that ends with `check(EXPRESSION)`; None where it could do more than compare."""
    test, found, called = text.rstrip().removesuffix(")").rpartition("check(")
    called = called.strip()
    try:
        ast.parse(called, mode="eval")
        parts = list(ast.walk(ast.Module([*ast.parse(before).body, *ast.parse(test).body], [])))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not found or not all(map(_harmless, parts)):
        return None
    # a name that neither makes is the candidate's own, which is elsewhere
    read = {part.id for part in parts if isinstance(part, ast.Name)}
    known = {called, *dir(builtins)}.union(*map(_made, parts))
    return Check(before, test, called) if read <= known else None


def _made(node: ast.AST) -> Iterable[str]:
    """The names that a piece of syntax gives something to."""
    match node:
        case ast.Name(name, ast.Store()) | ast.arg(name) | ast.ExceptHandler(_, str(name)):
            return [name]
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            return [name]
        case ast.Import(names) | ast.ImportFrom(_, names) if not any(alias.name == "*" for alias in names):
            return [alias.asname or alias.name.partition(".")[0] for alias in names]
        case ast.ImportFrom(str(module)):
            return dir(importlib.import_module(module))  # of the harmless ones
    return []


def _harmless(node: ast.AST) -> bool:
    match node:
        case ast.Import(names):
            return all(alias.name.partition(".")[0] in MODULES for alias in names)
        case ast.ImportFrom(module):
            return module is not None and module.partition(".")[0] in MODULES and not node.level
        case ast.Name(name):
            return name not in NAMES and (name == "_" or not name.startswith("_"))
        case ast.Attribute(_, name):
            return not name.startswith("_")
        # objects are equal or not in one process only
        case ast.Compare(_, ops, rights):
            same = [isinstance(op, ast.Is | ast.IsNot) for op in ops]
            return all(
                isinstance(right, ast.Constant) and right.value in (None, True, False)
                for right, asked in zip(rights, same, strict=True)
                if asked
            )
    return True


def test_program(check: Check, calls: Sequence[str], results: Sequence[str], timeout_s: float) -> Program:
    """The test over the results of its first calls."""
    name = check.called if check.called.isidentifier() else ""
    job = {"before": check.before, "test": check.test, "name": name, "calls": calls, "results": results}
    return Program({TEST_ENTRY: TEST_INSIDE}, TEST_ENTRY, json.dumps(job), timeout_s)


def read_test(execution: Execution) -> Run | None:
    """How the test went; None when it told nothing, which is its own fault."""
    try:
        row = json.loads(execution.stdout)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or row.keys() != {field.name for field in fields(Run)}:
        return None
    return Run(**{**row, "calls": tuple(row["calls"])})


def candidate_program(check: Check, source: str, calls: Sequence[str], timeout_s: float) -> Program:
    """The candidate making calls; nothing of the test is in its process."""
    text = f"{check.before}\n{source}\n\n_checked_ = {check.called}\n"
    targets = [[CANDIDATE.removesuffix(".py"), "_checked_"]] * len(calls)
    job = json.dumps({"calls": targets, "arguments": f"[{', '.join(calls)}]", "after": True})
    return Program({CANDIDATE: text, ENTRY: INSIDE}, ENTRY, job, timeout_s)


def result_lines(execution: Execution, count: int) -> list[str]:
    """The texts of the first results, up to one that is missing; they are not looked into here."""
    rows: dict[int, str] = {}
    for line in execution.stdout.split("\n"):
        number, _, text = line.partition(" ")
        if number.isdecimal() and len(number) < 8:
            rows.setdefault(int(number), text)
    known = next((n for n in range(count) if n not in rows), count)
    return [rows[n] for n in range(known)]
