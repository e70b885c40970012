"""In the candidate's process: make the calls that are asked for, and say what came out, as typed JSON.

Sent to the sandbox as a text and run there as a program; standard library only. It holds no secret: neither
an expected value nor a word that would make a line believed. Who forges lines has to know the right values.

A value is itself where JSON has it, else [kind, content]: nothing but plain data can be said, by the
built-in types' own methods, so that a subclass with its own `__eq__` comes out as the plain value under it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST_ITEMS = 10_000  # of an iterator, which may be endless
# kinds whose content is a list of values, with the built-in way to walk them
KINDS: Mapping[type, Callable[[Any], Any]] = {
    list: list.__iter__,
    tuple: tuple.__iter__,
    set: set.__iter__,
    frozenset: frozenset.__iter__,
}


def encode(value: Any) -> Any:
    """Plain data as typed JSON; raises TypeError for anything else."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    for kind, walk in KINDS.items():
        if isinstance(value, kind):
            return [kind.__name__, [encode(item) for item in walk(value)]]
    if isinstance(value, dict):
        return ["dict", [[encode(key), encode(item)] for key, item in dict.items(value)]]
    if isinstance(value, bytes):
        return ["bytes", bytes.decode(value, "latin-1")]
    if isinstance(value, complex):
        return ["complex", [value.real, value.imag]]
    if isinstance(value, Iterator):
        items = [encode(item) for item, _ in zip(value, range(MOST_ITEMS + 1), strict=False)]
        if len(items) <= MOST_ITEMS:
            return ["iter", items]
    raise TypeError(f"a value of type {type(value).__name__}")


def resolve(module: str, path: str) -> Any:
    """What a dotted path names in a module, submodules that are not imported yet included."""
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            found = importlib.import_module(f"{found.__name__}.{name}")
    return found


def kinds_of(error: BaseException) -> list[str]:
    """The built-in types that an exception is one of, nearest first."""
    return [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]


def answer(call: list[Any], decode: Callable[[Any], Any]) -> dict[str, Any]:
    """The result of one call [module, path, arguments, keywords]: a value, an exception, or neither."""
    module, path, arguments, keywords = call
    try:
        function = resolve(module, path)
        positional, named = decode(arguments), decode(keywords)
    except BaseException as error:
        return {"fault": f"{type(error).__name__}: {error}"[:200]}
    try:
        value = function(*positional, **named)
    except BaseException as error:
        return {"raised": kinds_of(error), "words": f"{type(error).__name__}: {error}"[:200]}
    try:
        return {"value": encode(value)}
    except BaseException as error:
        return {"fault": f"{type(error).__name__}: {error}"[:200]}


def decode(value: Any) -> Any:
    """A value out of typed JSON that the grader wrote; what a candidate wrote is for `apart.plain`."""
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "bytes":
        return content.encode("latin-1")
    if kind == "complex":
        return complex(*content)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in content}
    made = {kind.__name__: kind for kind in KINDS} | {"iter": iter}
    return made[kind]([decode(item) for item in content])


def main() -> None:
    """Make the calls in order, one line of output each: its number and its result."""
    job = json.loads(sys.stdin.read())
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    dumps, leave, write = json.dumps, os._exit, os.write
    for number, call in enumerate(job["calls"]):
        try:
            text = dumps(answer(call, decode))
        except BaseException as error:
            text = dumps({"fault": type(error).__name__})
        line = f"{number} {text}\n".encode("utf-8", "backslashreplace")
        while line:
            line = line[write(out, line) :]
    leave(0)


if __name__ == "__main__":
    main()
