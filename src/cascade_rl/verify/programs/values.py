"""Whether a value that a program gave is the one that was expected; values of checks with their types back.

Values come from a program that may have forged them: nothing here goes deep on Python's stack, and no
container is made whose members were chosen to share a hash, which would take quadratic time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

TOLERANCE = 1e-6
# members of one set or dictionary that may share a hash: honest ones hardly ever do, and each costs a look at
# all before it
MOST_ALIKE = 16
LONGEST_RANGE = 1_000_000  # members: a range is short to write, and a check may list or add them all


def same(given: Any, expected: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether two JSON values agree.

    An expected integer is met by that integer alone, written as a float (`3.0` for `3`) or a boolean as well,
    as Python's own `==` has it. Only where a float is expected may a number differ, by `tolerance` absolutely
    or relatively. Tuples are lists.
    """
    waiting = [(given, expected)]
    while waiting:
        a, b = waiting.pop()
        if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
            if len(a) != len(b):
                return False
            waiting += zip(a, b, strict=True)
        elif isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            waiting += ((a[key], b[key]) for key in b)
        elif not _same_leaf(a, b, tolerance):
            return False
    return True


def _same_leaf(a: Any, b: Any, tolerance: float) -> bool:
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    if numbers and isinstance(b, float) and not isinstance(a, bool):
        return _close(a, b, tolerance)
    # Python compares an int and a float exactly; 1 is not "1"
    return (numbers or type(a) is type(b)) and bool(a == b)


def _close(a: float, b: float, tolerance: float) -> bool:
    try:
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer beyond the range of floats
        return False


def typed(value: Any, kinds: Mapping[str, Callable[[Any], Any]] | None = None) -> Any:
    """A value of an expression with its types back: lists, tuples, sets and dictionaries of plain values.

    kinds: makers by the word in front of a content; None: `KINDS`

    Raises ValueError, TypeError, KeyError or OverflowError for what the harness can't have written.
    """
    kinds = KINDS if kinds is None else kinds
    done: list[Any] = []
    # each entry is a value to read, or a maker with the number of values on `done` that it takes
    waiting: list[tuple[Any, Callable[[list[Any]], Any] | None]] = [(value, None)]
    while waiting:
        item, make = waiting.pop()
        if make is not None:
            parts = [done.pop() for _ in range(item)]
            done.append(make(parts[::-1]))
        elif isinstance(item, list):
            kind, inner = item
            # the common case at once: members that are no containers
            if kind != "dict" and not any(isinstance(part, (list, dict)) for part in inner):
                done.append(kinds[kind](inner))
                continue
            if kind == "dict":
                inner = [part for pair in inner for part in _pair(pair)]
            waiting.append((len(inner), kinds[kind]))
            waiting += ((part, None) for part in reversed(inner))
        else:
            done.append(item)
    return done[0]


def _pair(pair: Any) -> list[Any]:
    key, value = pair
    return [key, value]


def hashable(items: Iterable[Hashable]) -> list[Any]:
    """The items, of which no more than a few that differ share a hash; raises ValueError where many do."""
    found = list(items)
    hashes = list(map(hash, found))
    last, alike = None, []
    # in order of their hashes, not counted: a table of them would be what is kept from being made
    for place in sorted(range(len(found)), key=hashes.__getitem__):
        if hashes[place] != last:
            last, alike = hashes[place], [found[place]]
        elif found[place] not in alike:
            alike.append(found[place])
            if len(alike) > MOST_ALIKE:
                raise ValueError("members that share a hash")
    return found


def _dictionary(items: list[Any]) -> dict[Any, Any]:
    keys = hashable(items[::2])
    return dict(zip(keys, items[1::2], strict=True))


def _range(items: Any) -> range:
    start, stop, step = items
    found = range(start, stop, step)
    # by its ends: `len` of a range may be no number that it can tell
    if abs(stop - start) > LONGEST_RANGE * abs(step):
        raise ValueError("a range that is too long")
    return found


KINDS: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": lambda items: set(hashable(items)),
    "frozenset": lambda items: frozenset(hashable(items)),
    "dict": _dictionary,
}
# further ones, of processes that say more kinds of values (`suites.apart_inside`); an iterator equals no list
ALL_KINDS = KINDS | {
    "bytes": lambda text: str.encode(text, "latin-1"),
    "complex": lambda parts: complex(*parts),
    "range": _range,
    "iter": lambda items: iter(list(items)),
}
