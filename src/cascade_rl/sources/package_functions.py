"""Functions of installed packages to be written: what they do is known from calls that were recorded.

The source `packages` of `coding`: the same functions that `swe` breaks, in the same splits, as far as each
is short, needs nothing but imports, and says in a docstring or by its name what it does. The prompt shows its
head, the first paragraph of its docstring and two calls; other calls are the hidden tests. A function is left
out where these ask too little: where giving back an argument passes, or a `return` is never reached. Many
functions do more than their first paragraph says, so that a good program may earn nothing: these are for
training, not for measuring.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.domain import Query
from cascade_rl.sources.code_tests import completing
from cascade_rl.sources.published import is_of_humaneval
from cascade_rl.sources.repairs.harvest import STANDARD, Piece, catalogue
from cascade_rl.sources.repairs.probe import record
from cascade_rl.types import Message, Problem, problem_id

MOST_LINES = 25  # of a function, its docstring left out
MOST_WORDS = 400  # characters of a docstring's first paragraph
SHOWN = 2  # calls in the prompt
FEWEST_TESTS = 4
LONGEST_SHOWN = 100  # characters of a call and its result together


@dataclass(frozen=True, slots=True)
class Written:
    """A function taken apart.

    before  the imports that it needs, as text
    head    its first lines, up to the colon
    words   the first paragraph of its docstring, "" without one
    body    what follows the docstring
    """

    before: str
    head: str
    words: str
    body: str


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments, what came back, and the lines of the piece that it went through."""

    args: list[Any]
    result: Any
    lines: frozenset[int]

    @property
    def length(self) -> int:
        """Characters that it takes in a prompt, about."""
        return len(repr((self.args, self.result)))


def from_packages(query: Query) -> Iterator[Problem]:
    """A problem for each fitting function of `packages` (the standard library) or `packages:NAME,...`."""
    names = tuple(query.rest.split(",")) if query.rest else STANDARD
    pieces = [piece for piece, own in catalogue(names) if own is query.split]
    query.rng().shuffle(pieces)
    seen: set[str] = set()
    for piece in pieces:
        problem = _problem(piece)
        if problem is not None and problem.id not in seen:
            seen.add(problem.id)
            yield problem


def taken_apart(piece: Piece) -> Written | None:
    """A function's parts; None for one that is long, needs a helper, or doesn't say what it does.

    The docstring leaves nothing behind, and comments above a statement stay with it.
    """
    *first, function = ast.parse(piece.text).body
    if not isinstance(function, ast.FunctionDef) or piece.yields:
        return None
    if not all(isinstance(node, ast.Import | ast.ImportFrom) for node in first):
        return None
    words = inspect.cleandoc(ast.get_docstring(function) or "").split("\n\n")[0]
    told = words or "_" in piece.name.strip("_")
    if not told or len(words) > MOST_WORDS or '"""' in words or "\\" in words:
        return None
    lines = piece.text.split("\n")
    start = function.body[0].lineno - 1
    after = function.body[1].lineno - 1 if ast.get_docstring(function) else start
    # a comment above the first statement stays with it
    while after > start + 1 and lines[after - 1].lstrip().startswith("#"):
        after -= 1
    head = [line for line in lines[function.lineno - 1 : start] if not line.lstrip().startswith("#")]
    body = "\n".join(lines[after:]).strip("\n")
    if not head or sum(bool(line.strip()) for line in body.split("\n")) > MOST_LINES:
        return None
    return Written("\n".join(lines[: function.lineno - 1]).strip(), "\n".join(head).rstrip(), words, body)


def _problem(piece: Piece) -> Problem | None:
    written = taken_apart(piece)
    # before it is run, which takes longest
    if written is None or is_of_humaneval(piece.name, written.words):
        return None
    calls = _calls(piece)
    shown = sorted(calls, key=lambda call: call.length)
    shown = [call for call in shown if call.length <= LONGEST_SHOWN]
    # two different results, so that they tell something
    different = [call for call in shown if call.result != shown[0].result][:1] if shown else []
    examples = [*shown[:1], *different]
    hidden = [call for call in calls if call not in examples]
    if len(examples) < SHOWN or len(hidden) < FEWEST_TESTS or ask_too_little(piece, hidden):
        return None
    tests = [{"args": call.args, "result": call.result} for call in hidden]
    opening = f'    """{written.words}'.replace("\n", "\n    ")
    told = [opening, ""] if written.words else [opening]
    for call in examples:
        told += [f"    >>> {piece.name}({', '.join(map(repr, call.args))})", f"    {call.result!r}"]
    before = f"{written.before}\n\n\n" if written.before else ""
    prompt = completing("\n".join([before + written.head, *told, '    """']))
    answer = {"function": piece.name, "tests": tests}
    code = f"{before}{written.head}\n{written.body}"
    meta = {"family": piece.module, "code": code, "thought": ""}
    return Problem(problem_id("coding", prompt), "coding", (Message("user", prompt),), answer, meta=meta)


def ask_too_little(piece: Piece, tests: Sequence[Call]) -> bool:
    """Whether a program that has not understood the function passes these tests.

    It gives back a constant, or one of its arguments, or leaves out a `return` that no test reaches.
    """
    if len({repr(test.result) for test in tests}) < 2:
        return True
    if any(all(test.args[i : i + 1] == [test.result] for test in tests) for i in range(len(tests[0].args))):
        return True
    parts = [node for node in ast.walk(ast.parse(piece.text).body[-1]) if isinstance(node, ast.stmt)]
    # `if x: return y`: that its line was reached says nothing of what stands behind the colon
    shared = {part.lineno for part in parts if not isinstance(part, ast.Return)}
    reached = frozenset().union(*(test.lines for test in tests)) - shared
    returns = (part for part in parts if isinstance(part, ast.Return))
    return any(reached.isdisjoint(range(r.lineno, (r.end_lineno or r.lineno) + 1)) for r in returns)


def _calls(piece: Piece) -> list[Call]:
    """Recorded calls that returned, whose arguments JSON keeps as they are; results in its shapes."""
    known = record(piece)
    found = []
    for call, (kind, text), lines in known.each() if known else ():
        given = list(ast.literal_eval(call))
        kept, result = _as_json(given), _as_json(ast.literal_eval(text)) if kind == "value" else None
        if kept is not None and repr(json.loads(kept)) == repr(given) and result is not None:
            found.append(Call(given, json.loads(result), lines))
    return found


def _as_json(value: Any) -> str | None:
    """A value as the grader compares it; None for bytes and other things that JSON has no form for."""
    try:
        return json.dumps(value, allow_nan=False, default=_listed)
    except (TypeError, ValueError):
        return None


def _listed(value: Any) -> list[Any]:
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"a value of type {type(value).__name__}")
