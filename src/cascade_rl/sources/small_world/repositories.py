"""Tiny repositories as data: what the built-in problems of `swe` are composed of.

A template is one function in one file with a slot that holds the right piece of code, or one of two wrong
ones. A repository is two templates from different files: one function is broken, the other is as it should
be. The issue says what is meant, never the line that is wanted.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from cascade_rl.verify.patches.appraise import Edit

# In all texts: F is the function's name, A and B its arguments, K one of 2 to 9, J one more, I one less.
NUMBERS, PAIRS = ((1,), (5,), (12,)), ((2, 3), (7, 4))
AROUND_K = (("I",), ("K",), ("J",))
WORDS, LISTS = (("Banana Pie",), ("oX",)), (([3, 1, 2],), ([5, 8],))


@dataclass(frozen=True, slots=True)
class Template:
    """A function with a slot `@`; `pieces` are the right one and two wrong ones."""

    path: str
    names: tuple[str, ...]
    arguments: tuple[tuple[str, ...], ...]
    body: tuple[str, ...]
    pieces: tuple[str, str, str]
    issue: str
    calls: tuple[tuple[Any, ...], ...]


TEMPLATES = (
    Template("shapes.py", ("area", "size"), (("w", "h"), ("a", "b")), ("A @ B",), ("*", "+", "-"),
             "F must multiply A by B", PAIRS),
    Template("shapes.py", ("edge", "rim"), (("w", "h"), ("a", "b")), ("s = A @ B", "s * K"), ("+", "-", "*"),
             "F must add A and B", PAIRS),
    Template("shapes.py", ("width", "wide"), (("box",),), ('A["@"] + K',), ("w", "h", "x"),
             "F must use the w of the box", (({"w": 3, "h": 9, "x": 30},), ({"w": 8, "h": 1, "x": 20},))),
    Template("shop.py", ("price", "cost"), (("n",), ("k",)), ("A * @",), ("K", "J", "I"),
             "the F of one is K", NUMBERS),
    Template("shop.py", ("sale", "deal"), (("n",), ("p",)), ("A @ K",), ("-", "+", "*"),
             "F must take K off", NUMBERS),
    Template("shop.py", ("bill", "due"), (("n", "p"), ("a", "b")), ("A * B @ K",), ("+", "-", "*"),
             "F must put K on top", PAIRS),
    Template("rules.py", ("big", "old"), (("n",), ("a",)), ("A @ K",), (">=", ">", "<"),
             "F must hold for K and more", AROUND_K),
    Template("rules.py", ("small", "young"), (("n",), ("a",)), ("A @ K",), ("<=", "<", ">"),
             "F must hold for K and less", AROUND_K),
    Template("rules.py", ("above", "over"), (("n",), ("a",)), ("A @ K",), (">", ">=", "<"),
             "F must hold for more than K only", AROUND_K),
    Template("text.py", ("shout", "loud"), (("s",), ("t",)), ("A.@() * K",), ("upper", "lower", "title"),
             "F must give upper case", WORDS),
    Template("text.py", ("quiet", "calm"), (("s",), ("t",)), ("A.@() * K",), ("lower", "upper", "title"),
             "F must give lower case", WORDS),
    Template("text.py", ("head", "start"), (("s",), ("t",)), ("A[@] * K",), ("0", "-1", "1"),
             "F must give the first letter", WORDS),
    Template("text.py", ("tail", "end"), (("s",), ("t",)), ("A[@] * K",), ("-1", "0", "-2"),
             "F must give the last letter", (*WORDS, ("abc",))),
    Template("stats.py", ("top", "best"), (("xs",), ("ys",)), ("@(A) + K",), ("max", "min", "sum"),
             "F must find the largest item", LISTS),
    Template("stats.py", ("low", "least"), (("xs",), ("ys",)), ("@(A) + K",), ("min", "max", "sum"),
             "F must find the smallest item", LISTS),
    Template("stats.py", ("count", "many"), (("xs",), ("ys",)), ("@(A) * K",), ("len", "sum", "max"),
             "F must count the items", LISTS),
    Template("clock.py", ("later", "shift"), (("h",), ("n",)), ("(A + K) % @",), ("24", "12", "60"),
             "a day of F has 24 hours", ((1,), (11,), (20,), (23,))),
    Template("clock.py", ("minutes", "mins"), (("h",), ("n",)), ("A * @ + K",), ("60", "6", "24"),
             "an hour of F has 60 minutes", NUMBERS),
    Template("names.py", ("full", "label"), (("a", "b"), ("x", "y")), ("A + @ * K",), ("B", "A", '"B"'),
             "F must end with B", (("Ann", "Lee"), ("x", "yz"))),
    Template("loops.py", ("upto", "steps"), (("n",), ("k",)), ("m = A + K", "list(range(@))"),
             ("m", "A", "1, m"), "F must count m numbers", NUMBERS),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Module:
    """A template with its names and numbers filled in."""

    path: str
    name: str
    lines: tuple[str, ...]
    pieces: tuple[str, ...]
    issue: str
    calls: tuple[tuple[Any, ...], ...]

    def text(self, piece: str) -> str:
        """The file with the slot filled."""
        return "\n".join(self.lines).replace("@", piece) + "\n"

    def edit(self, old: str, new: str) -> Edit:
        """The edit that puts one piece in the place of another."""
        before, after = self.text(old).split("\n"), self.text(new).split("\n")
        i = next(
            (i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b), len(self.lines) - 1
        )
        return Edit(self.path, (before[i],), (after[i],))

    def test(self) -> str:
        """A test file; the results are those of the function as it should be."""
        scope: dict[str, Any] = {}
        # our own text: nothing of a model is run here
        exec(self.text(self.pieces[0]), scope)
        checks = [
            f"    assert {self.name}({', '.join(map(repr, c))}) == {scope[self.name](*c)!r}"
            for c in self.calls
        ]
        module = self.path.removesuffix(".py")
        head = [f"from {module} import {self.name}", "", f"def test_{self.name}():"]
        return "\n".join([*head, *checks]) + "\n"


def _fill(template: Template, rng: random.Random) -> Module:
    name, arguments, k = rng.choice(template.names), rng.choice(template.arguments), rng.randint(2, 9)
    words = {"F": name, "K": str(k), "J": str(k + 1), "I": str(k - 1)} | dict(
        zip("AB", arguments, strict=False)
    )

    def filled(text: str) -> str:
        return "".join(words.get(character, character) for character in text)

    *first, last = (filled(text) for text in template.body)
    head = f"def {name}({', '.join(arguments)}):"
    # `is`: the one set of calls that stands for the numbers around the K that was drawn
    calls = template.calls if template.calls is not AROUND_K else tuple((int(words[a]),) for (a,) in AROUND_K)
    lines = (head, *(f"    {line}" for line in first), f"    return {last}")
    return Module(
        template.path, name, lines, tuple(map(filled, template.pieces)), filled(template.issue), calls
    )


def draw_modules(rng: random.Random) -> tuple[Module, Module]:
    """The module with the bug and the sound one beside it, of different files."""
    broken = rng.choice(TEMPLATES)
    # of another file, so that one patch can break the right or the wrong one
    sound = rng.choice([t for t in TEMPLATES if t.path != broken.path])
    return _fill(broken, rng), _fill(sound, rng)
