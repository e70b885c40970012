"""Tests that must fail, mixed into tests that must pass: code that makes everything pass gives itself away.

A canary is a copy of a real test in which one expected literal is another one, or of which the last word is
false. Real tests and canaries get new names of one form, drawn anew for every run: no name, file or place in
the file tells them apart. What reads the test's source at run time and works out the right answer still can.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.verify.source_spans import Source

MOST = 6  # canaries in a file: guessing which of two alike tests is the canary succeeds once in 64


@dataclass(frozen=True, slots=True)
class MixedFile:
    """A test file with canaries: its text, new names of real tests by old name, the canaries' names."""

    text: str
    renamed: dict[str, str]
    canaries: tuple[str, ...]


def with_canaries(text: str, tests: Sequence[str], rng: random.Random) -> MixedFile:
    """Rename the module-level functions among `tests`, and put canaries beside them; one at least.

    Raises SyntaxError or ValueError when the file is no Python.
    """
    source = Source(text)
    functions = {node.name: node for node in source.tree.body if isinstance(node, ast.FunctionDef)}
    mine = [functions[name] for name in tests if name in functions]
    # all named tests get new names, canaries or not: an old name would tell a real test
    renamed = {node.name: _new_name(node.name, rng) for node in mine}
    changes = [_renaming(source, node, renamed[node.name]) for node in mine]
    plain = [node for node in mine if not node.decorator_list and not _has_arguments(node)]
    # a body on the line of its `def` has no place for another statement
    plain = [node for node in rng.sample(plain, len(plain)) if node.lineno != node.body[0].lineno]
    names = []
    for node in plain[:MOST]:
        names.append(_new_name(node.name, rng))
        start, stop = source.lines(node)
        copy = Source(source.part(start, stop).rstrip() + "\n")
        # before or after the original, so that the order in the file tells nothing
        where = rng.choice((start, stop))
        changes.append((where, where, f"\n\n{_spoilt(copy, names[-1], rng)}\n\n"))
    # nothing to copy: one test of our own, which is weaker, since it compares nothing of the candidate's
    if not names:
        names.append(_new_name("test_" + rng.choice(("result", "value", "case")), rng))
        end = len(text.encode())
        changes.append((end, end, f"\n\ndef {names[0]}():\n    assert [{rng.randint(1, 9)}] == []\n"))
    mixed = source.changed(changes)
    ast.parse(mixed)
    return MixedFile(mixed, renamed, tuple(names))


def _new_name(name: str, rng: random.Random) -> str:
    return f"{name}_{rng.getrandbits(32):08x}"


def _has_arguments(node: ast.FunctionDef) -> bool:
    return bool(node.args.args or node.args.posonlyargs or node.args.kwonlyargs)


def _renaming(source: Source, node: ast.FunctionDef, name: str) -> tuple[int, int, str]:
    start, _ = source.span(node)
    head = re.match(r"def\s+", source.part(start, source.span(node.body[0])[0]))
    assert head is not None  # a definition begins with it: decorators are not in the span
    start += len(head[0])
    return start, start + len(node.name.encode()), name


def _spoilt(copy: Source, name: str, rng: random.Random) -> str:
    """A test under another name that can't pass if the original does."""
    [node] = copy.tree.body
    assert isinstance(node, ast.FunctionDef)  # the copy is of one
    changes = [_renaming(copy, node, name)]
    expected = list(_expected(node))
    if expected:
        literal, value = rng.choice(expected)
        changes.append((*copy.span(literal), repr(another(value, rng))))
    else:
        end = copy.span(node)[1]
        indent = " " * node.body[-1].col_offset
        changes.append((end, end, f"\n{indent}assert [{rng.randint(1, 9)}] == []"))
    return copy.changed(changes).rstrip()


def _expected(function: ast.FunctionDef) -> Iterator[tuple[ast.expr, Any]]:
    """Literals, with their values, to which an assertion of the function compares what is no literal."""
    for node in function.body:
        test = node.test if isinstance(node, ast.Assert) else None
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            try:
                yield test.comparators[0], ast.literal_eval(test.comparators[0])
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                continue


def another(value: Any, rng: random.Random) -> Any:
    """A value of the same kind that is not equal to the given one."""
    match value:
        case bool():
            return not value
        case int():
            return value + rng.randint(1, 9)
        # twice the size and one more: x1.5 + 1 would leave -2.0 as it is
        case float() | complex():
            return value + abs(value) + 1 if abs(value) < 1e300 else 0.0
        case str():
            # one letter off, as long as before: a wrong text that looks like a right one
            return value[:-1] + ("e" if value[-1:] != "e" else "a")
        case bytes():
            return value[:-1] + (b"e" if value[-1:] != b"e" else b"a")
        case list() | tuple() if value:
            spoilt = list(value)
            at = rng.randrange(len(spoilt))
            spoilt[at] = another(spoilt[at], rng)
            return type(value)(spoilt)
        case dict() if value:
            key = rng.choice(list(value))
            return value | {key: another(value[key], rng)}
        case list():
            return [0]
        case tuple():
            return (0,)
        case dict():
            return {0: 0}
        case set():
            return value | {f"x{len(value)}"}
        case _:
            return 0
