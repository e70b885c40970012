"""Functions of installed packages to be written: what they do is known from calls that were recorded.

The source `packages` of `coding`: the same functions that `swe` breaks, in the same splits, as far as each
is short, needs nothing but imports, and says in a docstring or by its name what it does. The prompt shows its
head, the first paragraph of its docstring and two calls; other calls are the hidden tests. Many functions do
more than their first paragraph says, so that a good program may earn nothing: these are for training, not for
measuring.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
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
    shown = sorted(calls, key=lambda call: len(repr(call)))
    shown = [call for call in shown if len(repr(call)) <= LONGEST_SHOWN]
    # two different results, so that they tell something
    different = [call for call in shown if call[1] != shown[0][1]][:1] if shown else []
    examples = [*shown[:1], *different]
    tests = [{"args": args, "result": result} for args, result in calls if (args, result) not in examples]
    if len(examples) < SHOWN or len(tests) < FEWEST_TESTS or len({repr(t["result"]) for t in tests}) < 2:
        return None
    opening = f'    """{written.words}'.replace("\n", "\n    ")
    told = [opening, ""] if written.words else [opening]
    for args, result in examples:
        told += [f"    >>> {piece.name}({', '.join(map(repr, args))})", f"    {result!r}"]
    before = f"{written.before}\n\n\n" if written.before else ""
    prompt = completing("\n".join([before + written.head, *told, '    """']))
    answer = {"function": piece.name, "tests": tests}
    code = f"{before}{written.head}\n{written.body}"
    meta = {"family": piece.module, "code": code, "thought": ""}
    return Problem(problem_id("coding", prompt), "coding", (Message("user", prompt),), answer, meta=meta)


def _calls(piece: Piece) -> list[tuple[list[Any], Any]]:
    """Recorded calls that returned, whose arguments JSON keeps as they are; results in its shapes."""
    known = record(piece)
    found = []
    for call, (kind, text) in zip(known.calls, known.outcomes, strict=True) if known else ():
        given = list(ast.literal_eval(call))
        kept, result = _as_json(given), _as_json(ast.literal_eval(text)) if kind == "value" else None
        if kept is not None and repr(json.loads(kept)) == repr(given) and result is not None:
            found.append((given, json.loads(result)))
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
