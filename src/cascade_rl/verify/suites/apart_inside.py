"""In the candidate's process: make the calls that are asked for, and say what came out, as typed JSON.

Sent to the sandbox as a text and run there as a program; standard library only. It holds no secret: neither
an expected value nor a word that would make a line believed. Who forges lines has to know the right values.

A value is itself where JSON has it, else [kind, content]: nothing but plain data can be said, by the
built-in types' own methods, so that a subclass with its own `__eq__` comes out as the plain value under it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

MOST_ITEMS = 10_000  # of an iterator, which may be endless
PLAIN = (bool, int, float, str)
# kinds whose content is a list of values, with the built-in way to walk them
KINDS: dict[type, Any] = {
    list: list.__iter__,
    tuple: tuple.__iter__,
    set: set.__iter__,
    frozenset: frozenset.__iter__,
}


def encode(value: Any) -> Any:
    """Plain data as typed JSON; raises TypeError for anything else."""
    if value is None or isinstance(value, PLAIN):
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
    if isinstance(value, range):
        return ["range", [value.start, value.stop, value.step]]
    # a single number of numpy's is equal to Python's own
    if type(value).__module__ == "numpy" and value.shape == ():
        return encode(value.item())
    if hasattr(type(value), "__next__"):
        items = [encode(item) for item, _ in zip(value, range(MOST_ITEMS + 1), strict=False)]
        if len(items) <= MOST_ITEMS:
            return ["iter", items]
    raise TypeError(f"a value of type {type(value).__name__}")


def resolve(module: str, path: str) -> Any:
    """What a dotted path names in a module, submodules that are not imported yet included."""
    __import__(module)
    found: Any = sys.modules[module]
    for name in path.split("."):
        if not hasattr(found, name):
            __import__(f"{found.__name__}.{name}")
        found = getattr(found, name)
    return found


def kinds_of(error: BaseException) -> list[str]:
    """The built-in types that an exception is one of, nearest first."""
    return [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]


def answer(module: str, path: str, arguments: list[Any], keywords: dict[str, Any]) -> dict[str, Any]:
    """The result of a call: a value, an exception, or neither."""
    raised = False
    try:
        function = resolve(module, path)
        raised = True
        value = function(*arguments, **keywords)
        raised = False
        return {"value": encode(value), "odd": type(value) not in (*PLAIN, *KINDS, dict, type(None))}
    except BaseException as error:
        words = f"{type(error).__name__}: {error}"[:200]
        row = {"raised": kinds_of(error) if raised else [], "words": words, "odd": not raised}
        try:
            row["said"] = encode(list(error.args))
        except BaseException:
            row["said"] = encode([str(error)])
        return row


def main() -> None:
    """Make the calls in order, one line of output each: its number and its result."""
    job = json.loads(sys.stdin.read())
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    dumps, leave, write = json.dumps, os._exit, os.write
    # a literal, so that no call sees what another did to its arguments
    for number, (target, given) in enumerate(
        zip(job["calls"], eval(job["arguments"], {"inf": float("inf"), "nan": float("nan")}), strict=True)
    ):
        try:
            row = answer(*target, *given)
            if job.get("after"):
                row["after"] = encode(given[0])
            text = dumps(row)
        except BaseException as error:
            text = dumps({"words": type(error).__name__})
        line = f"{number} {text}\n".encode("utf-8", "backslashreplace")
        while line:
            line = line[write(out, line) :]
    leave(0)


if __name__ == "__main__":
    main()
