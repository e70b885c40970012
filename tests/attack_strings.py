"""Replies made to slow our own graders, derived from the regular expressions of their modules.

For each repetition of a pattern: the shortest text that leads to it, then what it repeats, many times, then something
that lets the match fail, so that an engine which can turn back does. `attacks` gives (opening, pump, end).
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import random
import re
import re._constants as codes
import re._parser as parser
from collections.abc import Iterator
from types import ModuleType

import cascade_rl

ROOMS = ("verify", "domains", "grading", "chat")
ENDS = ("!", "\n", "")
REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
TAKES_PATTERN = {"compile", "search", "match", "fullmatch", "sub", "split", "findall", "finditer", "subn"}
DRAWS = 2  # samples of what a repetition repeats


def modules() -> list[ModuleType]:
    """All modules of the rooms that see a reply."""
    names = [m.name for m in pkgutil.walk_packages(cascade_rl.__path__, "cascade_rl.")]
    return [importlib.import_module(name) for name in names if name.split(".")[1] in ROOMS]


def patterns(module: ModuleType) -> set[str]:
    """The patterns that a module compiles, and those that it gives to functions of `re` as they are."""
    found = {value.pattern for value in vars(module).values() if isinstance(value, re.Pattern)}
    for value in vars(module).values():
        rows = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
        for row in rows:
            parts = row if isinstance(row, tuple | list) else (row,)
            found |= {part.pattern for part in parts if isinstance(part, re.Pattern)}
    path = module.__file__
    assert path is not None  # no namespace packages
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Attribute(ast.Name("re"), function), [ast.Constant(str(pattern)), *_]):
                found |= {pattern} if function in TAKES_PATTERN else set()
    return found


class Sampler:
    """Texts that parts of a parsed pattern match: roughly, since what looks around is passed over."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.groups: dict[int, object] = {}

    def text(self, items: object, more: bool = False) -> str:
        return "".join(self._one(op, argument, more) for op, argument in items)  # type: ignore[attr-defined]

    def _one(self, op: object, argument: object, more: bool) -> str:
        match op:
            case codes.LITERAL:
                return chr(argument)  # type: ignore[arg-type]
            case codes.NOT_LITERAL:
                return "a" if argument != ord("a") else "b"
            case codes.ANY:
                return "."
            case codes.IN:
                return self._class(argument)
            case codes.BRANCH:
                return self.text(self.rng.choice(argument[1]), more)  # type: ignore[index]
            case codes.SUBPATTERN:
                self.groups[argument[0]] = argument[-1]  # type: ignore[index]
                return self.text(argument[-1], more)  # type: ignore[index]
            case codes.ATOMIC_GROUP:
                return self.text(argument, more)
            case codes.GROUPREF if argument in self.groups:
                return self.text(self.groups[argument], more)  # type: ignore[index]
            case _ if op in REPEATS:
                low, _, body = argument  # type: ignore[misc]
                return "".join(self.text(body, more) for _ in range(max(low, int(more))))
        return ""

    def _class(self, items: object) -> str:
        some = [item for item in items if item[0] is not codes.NEGATE]  # type: ignore[attr-defined]
        if len(some) < len(items):  # type: ignore[arg-type]
            pattern = re.compile("[^" + "".join(map(self._escaped, some)) + "]")
            return next((char for char in "a 1-\n{.é" if pattern.match(char)), "中")
        kind, value = self.rng.choice(some)
        if kind is codes.RANGE:
            return chr(self.rng.choice(value))
        if kind is codes.LITERAL:
            return chr(value)
        name = str(value)
        return "a" if "NOT" in name or "WORD" in name else " " if "SPACE" in name else "1"

    def _escaped(self, item: tuple[object, object]) -> str:
        kind, value = item
        if kind is codes.RANGE:
            return "-".join(re.escape(chr(c)) for c in value)  # type: ignore[attr-defined]
        if kind is codes.LITERAL:
            return re.escape(chr(value))  # type: ignore[arg-type]
        letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[str(value).rpartition("_")[2]]
        return "\\" + (letter.upper() if "NOT" in str(value) else letter)


def _pumps(items: object, before: str, sampler: Sampler) -> Iterator[tuple[str, str]]:
    """(what leads to a repetition, what it repeats) for each that has no small end."""
    for op, argument in items:  # type: ignore[attr-defined]
        if op in REPEATS:
            _, high, body = argument
            if high > 100:
                yield from ((before, sampler.text(body, more=True)) for _ in range(DRAWS))
            yield from _pumps(body, before, sampler)
        elif op is codes.BRANCH:
            for branch in argument[1]:
                yield from _pumps(branch, before, sampler)
        elif op is codes.SUBPATTERN:
            yield from _pumps(argument[-1], before, sampler)
        elif op in (codes.ASSERT, codes.ASSERT_NOT):
            yield from _pumps(argument[1], before, sampler)
        elif op is codes.ATOMIC_GROUP:
            yield from _pumps(argument, before, sampler)
        before += sampler.text([(op, argument)])


def attacks(pattern: str, rng: random.Random) -> set[tuple[str, str]]:
    """(opening, pump) for each repetition of a pattern; also the opening and the whole as pumps of their own."""
    parsed = parser.parse(pattern)
    found = set(_pumps(parsed, "", Sampler(rng)))
    # a search begins anew at each opening: many of them, each followed by what may be repeated
    found |= {("", opening + pump) for opening, pump in found} | {("", opening) for opening, _ in found}
    return {(opening, pump) for opening, pump in found if pump}


def all_attacks(seed: int) -> dict[tuple[str, str], str]:
    """All of all modules, each with the module that it was found in."""
    rng, found = random.Random(seed), {}
    for module in modules():
        for pattern in sorted(patterns(module)):
            for attack in sorted(attacks(pattern, rng)):
                found.setdefault(attack, module.__name__)
    return found
