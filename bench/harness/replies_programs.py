"""Replies to HumanEval as models write them, made by rule from the canonical solution: right programs, and faulty ones.

Of forms that begin with `right` an honest reader says that they hold the right program, of `wrong` that they
don't, of `open` nothing: there the policies of graders part.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A problem: its prompt, the canonical rest, the name that is tested."""

    prompt: str
    rest: str
    name: str

    @property
    def whole(self) -> str:
        """The canonical program."""
        return self.prompt + self.rest

    def bad(self, body: str) -> str:
        """The prompt with another body."""
        return f"{self.prompt}    {body}\n"


def _fenced(code: str, language: str = "python", sign: str = "```") -> str:
    return f"{sign}{language}\n{code.rstrip()}\n{sign}"


FLIPS = {ast.Lt: ast.GtE, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
         ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.And: ast.Or, ast.Or: ast.And}  # fmt: skip


def mutant(source: str, rng: random.Random) -> str | None:
    """The program with one operator or number changed, or None where there is none."""
    tree = ast.parse(source)
    spots = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in FLIPS:
            spots.append(lambda n=node: n.ops.__setitem__(0, FLIPS[type(n.ops[0])]()))
        if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in FLIPS:
            spots.append(lambda n=node: setattr(n, "op", FLIPS[type(n.op)]()))
        if isinstance(node, ast.Constant) and type(node.value) is int:
            spots.append(lambda n=node: setattr(n, "value", n.value + 1))
    if not spots:
        return None
    rng.choice(spots)()
    return ast.unparse(tree)


Form = Callable[[Task], str]
FORMS: dict[str, Form] = {
    "right: fenced": lambda t: _fenced(t.whole),
    "right: fenced as py": lambda t: _fenced(t.whole, "py"),
    "right: fenced as Python": lambda t: _fenced(t.whole, "Python"),
    "right: fenced without a language": lambda t: _fenced(t.whole, ""),
    "right: words around": lambda t: f"Here is the function:\n\n{_fenced(t.whole)}\n\nIt runs in linear time.",
    "right: thought before": lambda t: f"<think>\nLoop over it.\n</think>\n\n{_fenced(t.whole)}",
    "right: draft in the thought": lambda t: f"<think>\n{_fenced(t.bad('return None'))}\n</think>\n{_fenced(t.whole)}",
    "right: usage in a block after": lambda t: f"{_fenced(t.whole)}\n\nUse it:\n\n{_fenced(f'print({t.name})')}",
    "right: output in a block after": lambda t: f"{_fenced(t.whole)}\n\nOutput:\n\n{_fenced('True', '')}",
    "right: usage in the block": lambda t: _fenced(f"{t.whole}\n\nif __name__ == '__main__':\n    print({t.name})"),
    "right: test in the block": lambda t: _fenced(f"{t.whole}\n\nassert callable({t.name})"),
    "right: printing on the way": lambda t: _fenced(t.whole.replace(t.rest, f"    print('begin')\n{t.rest}")),
    "right: helper before": lambda t: _fenced(f"import os\n\ndef helper(x):\n    return x\n\n{t.whole}"),
    "right: tildes": lambda t: _fenced(t.whole, "python", "~~~"),
    "right: four backticks": lambda t: _fenced(t.whole, "python", "````"),
    "right: blank behind the language": lambda t: _fenced(t.whole, "python "),
    "right: title behind the language": lambda t: _fenced(t.whole, "python title=main.py"),
    "right: block not closed": lambda t: f"```python\n{t.whole.rstrip()}",
    "right: Windows line ends": lambda t: _fenced(t.whole).replace("\n", "\r\n"),
    "right: block in a list": lambda t: "1. Write it:\n\n" + "\n".join(f"   {x}" for x in _fenced(t.whole).split("\n")),
    "open: faulty block, then the right one": lambda t: f"{_fenced(t.bad('return None'))}\n\nBetter:\n\n{_fenced(t.whole)}",
    "open: right block, then a faulty one": lambda t: f"{_fenced(t.whole)}\n\nOr:\n\n{_fenced(t.bad('return None'))}",
    "open: the rest alone": lambda t: t.rest,
    "open: the rest, fenced": lambda t: _fenced(t.rest),
    "open: whole, not fenced": lambda t: t.whole,
    "open: in a class": lambda t: _fenced("class Solution:\n" + "\n".join(f"    {x}" for x in t.whole.split("\n"))),
    "open: leaves at the end": lambda t: _fenced(f"{t.whole}\n\nraise SystemExit(0)"),
    "wrong: nothing returned": lambda t: _fenced(t.bad("return None")),
    "wrong: passes": lambda t: _fenced(t.bad("pass")),
    "wrong: raises": lambda t: _fenced(t.bad("raise ValueError('no')")),
    "wrong: not finished": lambda t: _fenced(t.bad("...")),
    "wrong: syntax": lambda t: _fenced(t.bad("return (")),
    "wrong: other name": lambda t: _fenced(t.whole.replace(f"def {t.name}(", "def another(")),
    "wrong: leaves in the function": lambda t: _fenced(t.bad("raise SystemExit(0)")),
    "wrong: words alone": lambda t: "You loop over the list and compare each pair.",
    "wrong: nothing": lambda t: "",
    "wrong: thought without an end": lambda t: f"<think>\n{_fenced(t.whole)}",
    "wrong: only usage": lambda t: _fenced(f"print({t.name})"),
}  # fmt: skip
ENDLESS = "wrong: endless"  # for few, since each takes the harness its whole time


def programs(task: Task, rng: random.Random, number: int) -> Iterator[tuple[str, str]]:
    """(form, reply): some forms, drawn, and mutants of the right program, of which some are right all the same."""
    for form in rng.sample(list(FORMS), 6):
        yield form, FORMS[form](task)
    for _ in range(2):
        changed = mutant(task.whole, rng)
        if changed:
            yield "open: mutant", _fenced(changed)
    if number % 40 == 0:
        yield ENDLESS, _fenced(task.bad("while True: pass"))
