"""What the candidate's process runs to call a function: read as text and run there, never imported here.

It says one line a turn: the mark, the number of the turn (-1: the source was loaded), a JSON object. Names
that matter afterwards are taken before foreign code runs, and standard streams lead nowhere.
"""

import builtins
import json
import os
import sys
import types
from typing import Any

# what problems of contest judges take for granted (LiveCodeBench's list); where two have a name, the later
# one counts, but for built-in names, which stay: `pow` of math takes no modulus
PRELUDE = (
    "string re datetime time copy io sys json random statistics decimal fractions operator math itertools "
    "functools heapq bisect collections typing"
)
RECURSION = 50_000  # as LiveCodeBench sets it; the stack of a candidate's main thread has room for it


def furnish() -> None:
    # dictionaries as wholes, since this is done for each program
    found: dict[str, Any] = {}
    modules = {name: __import__(name) for name in PRELUDE.split()}
    for module in modules.values():
        names = vars(module)
        found.update({n: names[n] for n in names.get("__all__", names) if n[0] != "_" and n in names})
    # modules last: `datetime` and `copy` are the modules, as after `import datetime`. All of it where a
    # program's own names end, so that a function of a task is never found here
    known = vars(builtins)
    known.update({**found, **modules, **known})


def typed(value: Any) -> Any:
    kind: Any
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            # by the built-in iterators, which a subclass can't override
            return [kind.__name__, [typed(item) for item in kind.__iter__(value)]]
    if isinstance(value, dict):
        return ["dict", [[typed(key), typed(item)] for key, item in dict.items(value)]]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    # a single number of numpy's is equal to Python's own
    if type(value).__module__ == "numpy" and value.shape == ():
        return typed(value.item())
    raise TypeError(f"a value of type {type(value).__name__}")


def shaped(value: Any) -> Any:
    # what JSON has no form for; tuples and dictionaries of any kind it writes by itself
    kind = type(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, range) or kind.__name__ in ("deque", "SortedList"):
        return list(value)
    # exact numbers, which Python takes as equal to its integers and floats
    if kind.__name__ in ("Decimal", "Fraction"):
        return int(value) if value == int(value) else float(value)
    if kind.__module__.partition(".")[0] == "numpy":
        return value.tolist()
    raise TypeError(f"a value of type {kind.__name__}")


def main() -> None:
    job = json.loads(sys.stdin.read())
    out, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    dumps, write, leave, mark = json.dumps, os.write, os._exit, job["mark"]
    nodes: dict[str, Any] = {}

    def say(turn: int, **what: Any) -> None:
        text = f"{mark} {turn} {dumps(what, default=nodes.get('shaped', shaped))}\n".encode()
        while text:
            text = text[write(out, text) :]

    def reason(error: BaseException) -> str:
        return f"{type(error).__name__}: {error}"[:200]

    sys.setrecursionlimit(RECURSION)
    # a module of its own, in which pickle and dataclasses find what they look for
    module = sys.modules["candidate"] = types.ModuleType("candidate")
    scope = module.__dict__
    scope["__file__"] = job["candidate"]
    try:
        if job["prelude"]:
            furnish()
        if job["nodes"]:
            nodes["scope"], nodes["plain"] = scope, shaped
            exec(job["nodes"], nodes)
        exec(job["before"], scope)
        exec(compile(job["source"], job["candidate"], "exec"), scope)
        owner, _, name = job["function"].rpartition(".")
        # a function within the class that contest judges name it by
        if not owner and name not in scope and hasattr(scope.get("Solution"), name):
            owner = "Solution"
        function = scope[owner or name]
    except BaseException as error:
        return say(-1, error=reason(error))
    say(-1)
    for turn, call in enumerate(job["calls"]):
        try:
            target = getattr(function(), name) if owner else function
            if isinstance(call, str):
                value = typed(eval(call, {**scope, "candidate": target}))
            elif nodes:
                value = nodes["called"](target, call)
            else:
                value = target(*call)
            say(turn, value=value)
        except BaseException as error:
            say(turn, error=reason(error))
    # without waiting for threads that the program left
    leave(0)


if __name__ == "__main__":
    main()
