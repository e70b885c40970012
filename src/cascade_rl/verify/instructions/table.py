"""What a row of the table of instructions is, and how the arguments of a benchmark's row are fitted to it.

Arguments come from outside (a benchmark's file, a training set), so they are checked once, here: an unknown
name, a missing one, a wrong type or a negative number raises InstructionError, where the public
implementations draw a random value in its place and so give a reward that depends on the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class InstructionError(ValueError):
    """The instruction itself can't be judged: an unknown id, or arguments that don't fit it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument must be: a JSON type, and what more is asked of it."""

    name: str
    base: type
    fits: Callable[[Any], bool]


# IFEval has the first two; `exactly` is ours
RELATIONS = ("less than", "at least", "exactly")
COUNT = Kind("a whole number", int, lambda value: value >= 0)
PLACE = Kind("a whole number from 1", int, lambda value: value >= 1)
TEXT = Kind("a text", str, lambda value: bool(value.strip()))
LETTER = Kind("one character", str, lambda value: len(value.strip()) == 1)
RELATION = Kind(" | ".join(RELATIONS), str, lambda value: value in RELATIONS)
WORDS = Kind(
    "a list of words",
    list,
    lambda value: bool(value) and all(isinstance(v, str) and v.strip() for v in value),
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One verifiable instruction.

    check     `check(reply, **arguments)`: what the public reference implementation gives, quirks included;
              the first line of its docstring describes the instruction
    prompt    the sentence that asks for it: a format string over the arguments
    types     every argument with its kind; all are required
    also      strict only: must hold besides `check`, so that a strict pass is a pass of the reference
    instead   strict only: replaces `check`, where that refuses replies which follow the instruction
    strictly  what strict changes, in a few words; empty when nothing
    """

    check: Callable[..., bool]
    prompt: str
    types: Mapping[str, Kind]
    also: Callable[..., bool] | None = None
    instead: Callable[..., bool] | None = None
    strictly: str = ""

    def holds(self, reply: str, given: Mapping[str, Any], strict: bool) -> bool:
        """Whether the reply follows it; an empty reply follows nothing, as in IFEval's strict accuracy."""
        if not reply.strip():
            return False
        if strict and self.instead is not None:
            return bool(self.instead(reply, **given))
        return bool(self.check(reply, **given)) and (
            not strict or self.also is None or bool(self.also(reply, **given))
        )

    def bound(self, ident: str, kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
        """The checked arguments; the nulls that the benchmarks' rows are padded with are dropped."""
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise InstructionError(f"{ident}: the arguments are no mapping")
        given = {k: v for k, v in (kwargs or {}).items() if v is not None}
        if set(given) != set(self.types):
            raise InstructionError(f"{ident} takes {sorted(self.types)}, not {sorted(map(str, given))}")
        return {k: _fitted(ident, k, v, self.types[k]) for k, v in given.items()}


def _fitted(ident: str, name: str, value: Any, kind: Kind) -> Any:
    # the benchmarks' rows hold some counts as 3.0
    if kind.base is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    # a bool is an int to Python
    if not isinstance(value, kind.base) or isinstance(value, bool) or not kind.fits(value):
        raise InstructionError(f"{ident}: {name}={value!r} is not {kind.name}")
    return value


def related(count: int, relation: str, bound: int) -> bool:
    """IFEval's two relations, and `exactly` beside them."""
    return (
        count < bound
        if relation == "less than"
        else count >= bound
        if relation == "at least"
        else count == bound
    )


def enough(count: int, relation: str, bound: int) -> bool:
    """Strict's second count, of what is beyond doubt: it binds where a least number is asked for."""
    return relation == "less than" or count >= bound
