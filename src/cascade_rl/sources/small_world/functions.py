"""Small Python functions as data: what the built-in problems of `coding` are composed of.

A base operation on a list, a text or a number, with an optional filter, an optional second step and an
optional value for empty input: some 22,000 specifications. Words, program, plan and the teacher's faults are
read off a `Spec`; nothing here runs a program that a model wrote.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

FUNCTIONS = ("f", "g", "run", "solve", "total", "answer", "work", "change")

# what it is called: (phrase, expression, near miss[, kind of result]); K is a number from 1 to 9, C a letter
BASES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "xs": (
        ("the largest item", "max(xs)", "min(xs)", "int"),
        ("the smallest item", "min(xs)", "max(xs)", "int"),
        ("the first item", "xs[0]", "xs[-1]", "int"),
        ("the last item", "xs[-1]", "xs[0]", "int"),
        ("the sum of the items", "sum(xs)", "len(xs)", "int"),
        ("the number of items", "len(xs)", "sum(xs)", "int"),
        ("the items in reverse", "xs[::-1]", "sorted(xs)", "list"),
        ("the items sorted", "sorted(xs)", "xs[::-1]", "list"),
        ("each item plus K", "[x + K for x in xs]", "[x - K for x in xs]", "list"),
        ("each item times K", "[x * K for x in xs]", "[x + K for x in xs]", "list"),
    ),
    "s": (
        ("s in upper case", "s.upper()", "s.lower()", "str"),
        ("s in lower case", "s.lower()", "s.upper()", "str"),
        ("s in reverse", "s[::-1]", "s[1:]", "str"),
        ("the first letter of s", "s[0]", "s[-1]", "str"),
        ("the last letter of s", "s[-1]", "s[0]", "str"),
        ("the length of s", "len(s)", "s.find('a')", "int"),
        ("the number of 'C' in s", "s.count('C')", "s.find('C')", "int"),
        ("s repeated K times", "s * K", "s[:K]", "str"),
    ),
    "n": (
        ("n plus K", "n + K", "n - K", "int"),
        ("n minus K", "n - K", "n + K", "int"),
        ("n times K", "n * K", "n + K", "int"),
        ("the larger of n and K", "max(n, K)", "min(n, K)", "int"),
        ("the smaller of n and K", "min(n, K)", "max(n, K)", "int"),
    ),
}
# bases that raise for empty input, so that a value for it makes sense
FAIL_ON_EMPTY = ("max(xs)", "min(xs)", "xs[0]", "xs[-1]", "s[0]", "s[-1]")
# bases that a filter goes before
FILTERED = ("sum(xs)", "len(xs)", "xs[::-1]", "sorted(xs)")
FILTERS = (
    ("greater than K", "x > K", "x >= K"),
    ("less than K", "x < K", "x <= K"),
    ("that are at least K", "x >= K", "x > K"),
)
AFTERS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "int": (("plus K", "+ K", "- K"), ("minus K", "- K", "+ K"), ("times K", "* K", "+ K")),
    "list": (("without the first", "[1:]", "[:-1]"), ("without the last", "[:-1]", "[1:]")),
    "str": (("plus '!'", "+ '!'", "+ '?'"), ("plus '?'", "+ '?'", "+ '!'")),
}


@dataclass(frozen=True, slots=True)
class Spec:
    """What the function is to do, as expressions with constants filled in; "" where a part is absent."""

    name: str
    argument: str
    base: str
    filter: str = ""
    after: str = ""
    empty: str = ""  # the value for empty input

    def code(self) -> str:
        """The function, in two to four lines."""
        lines = [f"def {self.name}({self.argument}):"]
        if self.empty:
            lines += [f"    if not {self.argument}:", f"        return {self.empty}"]
        if self.filter:
            lines.append(f"    xs = [x for x in xs if {self.filter}]")
        return "\n".join([*lines, f"    return {self._result()}"])

    def _result(self) -> str:
        base = f"({self.base})" if self.argument == "n" and self.after and self.base[0] == "n" else self.base
        return base + self.after if self.after[:1] == "[" else f"{base} {self.after}".rstrip()

    def plan(self) -> str:
        """The pieces in the order of their use: what the thought says."""
        first = [f"{self.empty} if empty"] if self.empty else []
        return ", ".join(first + [part for part in (self.filter, self.base, self.after) if part])


@lru_cache(maxsize=8192)
def _function(spec: Spec) -> Callable[[Any], Any]:
    scope: dict[str, Any] = {}
    exec(spec.code(), scope)
    function: Callable[[Any], Any] = scope[spec.name]
    return function


def _outcome(spec: Spec, argument: Any) -> Any:
    """What the function returns, or the kind of error that it raises."""
    try:
        return _function(spec)(argument)
    except (TypeError, ValueError, IndexError) as error:
        return type(error)


def draw_spec(rng: random.Random) -> tuple[Spec, dict[str, str], str]:
    """A specification, the near miss of each of its parts, and the prompt's words for it."""
    argument = rng.choice(("xs", "xs", "s", "n"))
    phrase, base, near, kind = _filled(rng.choice(BASES[argument]), rng)
    parts, misses = {"base": base}, {"base": near}
    if base in FILTERED and rng.random() < 0.5:
        words, parts["filter"], misses["filter"] = _filled(rng.choice(FILTERS), rng)
        phrase = phrase.replace("items", f"items {words}", 1)
    spec = Spec(rng.choice(FUNCTIONS), argument, **parts)
    if rng.random() < 0.7:
        words, after, misses["after"] = _filled(rng.choice(AFTERS[kind]), rng)
        phrase, spec = f"{phrase}, {words}", replace(spec, after=after)
    if base in FAIL_ON_EMPTY and rng.random() < 0.5:
        spec = replace(spec, empty="0" if argument == "xs" else "'-'")
        phrase = f"{phrase}, or {spec.empty} if {argument} is empty"
    return spec, misses, phrase


def _filled(texts: tuple[str, ...], rng: random.Random) -> tuple[str, ...]:
    # one less is a fault of the teacher's, and must not be 0; the letters are those of the words below
    number, letter = str(rng.randint(2, 9)), rng.choice("aeo")
    return tuple(text.replace("K", number).replace("C", letter) for text in texts)


def fault_kinds(spec: Spec, misses: dict[str, str]) -> dict[str, list[Spec]]:
    """The teacher's faulty versions by kind: a near miss, a forgotten part, a constant that is one off."""
    # each part's own near miss, such as min for max
    near = [replace(spec, **{part: miss}) for part, miss in misses.items()]
    forgotten = [replace(spec, **{part: ""}) for part in ("filter", "after", "empty") if getattr(spec, part)]
    constants = []
    for part in ("base", "filter", "after"):
        text = getattr(spec, part)
        for digit in text if "[" not in text or "for" in text else "":
            if digit.isdigit():
                constants.append(replace(spec, **{part: text.replace(digit, str(int(digit) - 1))}))
    kinds = {"near miss": near, "forgotten": forgotten, "constant": constants}
    return {kind: specs for kind, specs in kinds.items() if specs}


def _draw_inputs(spec: Spec, rng: random.Random) -> list[Any]:
    """Six arguments: empty ones and the constants of the specification among them."""
    digits = [int(c) for c in spec.base + spec.filter + spec.after if c.isdigit()]
    near = [digit + d for digit in digits for d in (-1, 0, 1)] or [1, 2]
    if spec.argument == "n":
        return [0, -3, *near[:2], rng.randint(10, 20), rng.randint(-20, -10)]
    fails = spec.base in FAIL_ON_EMPTY and not spec.empty  # then the empty value is left out
    edge: list[Any] = [] if fails else ["" if spec.argument == "s" else []]
    if spec.argument == "s":
        words = [*("Banana", "oboe", "a", "Ice Tea", "eel"), "".join(rng.choices("abeoXY ", k=7))]
        return edge + rng.sample(words, 6 - len(edge))
    lists = [[rng.choice([*near, rng.randint(-9, 12)]) for _ in range(rng.randint(1, 6))] for _ in range(4)]
    return [*edge, sorted(near, reverse=True), *lists, [rng.randint(-9, 12)]][:6]


@lru_cache(maxsize=8192)
def hidden_tests(spec: Spec, misses: tuple[tuple[str, str], ...], prompt: str) -> list[tuple[Any, Any]]:
    """Six pairs of argument and result, drawn from the prompt; every faulty version gets one wrong."""
    rng = random.Random(prompt)
    wrong = [w for specs in fault_kinds(spec, dict(misses)).values() for w in specs]
    # drawn anew until no faulty version passes: a wrong reply of the teacher must never be rewarded
    while True:
        inputs = _draw_inputs(spec, rng)
        right = [_outcome(spec, x) for x in inputs]
        if all([_outcome(w, x) for x in inputs] != right for w in wrong):
            return list(zip(inputs, right, strict=True))
