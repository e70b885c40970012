"""Split a test that is a program into calls, which run with the candidate, and checks, which do not.

`assert candidate(3) == [1, 2]` becomes the call `candidate(3)` and the check `_0 == [1, 2]`: the call is
evaluated in the sandbox, its value comes back as plain data, and the check is evaluated here, so the expected
value stays here. Only a small set of expressions counts as a check; a test with loops, assignments or other
functions is not split.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.verify.programs.values import hashable

LARGEST_PRODUCT = 1_000_000  # members of a list or text


def _set(items: Any = ()) -> set[Any]:
    return set(hashable(items))


def _times(a: Any, b: Any) -> Any:
    """A product; of texts and lists a small one only: a candidate's values could fill the memory."""
    sizes = [len(part) if isinstance(part, (str, bytes, list, tuple)) else abs(part) for part in (a, b)]
    numbers = all(isinstance(part, (int, float, complex)) for part in (a, b))
    if not numbers and sizes[0] * sizes[1] > LARGEST_PRODUCT:
        raise ValueError("a product that is too large")
    return a * b


# all that a check may call: pure functions of plain data, and the whole of its builtins
CHECKERS = {
    f.__name__: f for f in (abs, bool, float, int, len, list, max, min, round, sorted, str, sum, tuple)
} | {"set": _set, "_times": _times}
# no lambda, comprehension, attribute or f-string: a check can neither loop nor reach an object's insides
NODES = (
    ast.Expression, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Load, ast.Name, ast.Call,
    ast.Compare, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add,
    ast.Sub, ast.Mult, ast.Div, ast.cmpop, ast.Subscript, ast.Slice,
)  # fmt: skip


class _Products(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        # of the test's own constants any product is taken as it is
        if isinstance(node.op, ast.Mult) and any(isinstance(part, ast.Name) for part in ast.walk(node)):
            return ast.Call(ast.Name("_times", ast.Load()), [node.left, node.right], [])
        return node


def bounded(check: ast.expr) -> ast.expr:
    """A check whose products of values, which a candidate may have made large, are `_times`."""
    found: ast.expr = ast.fix_missing_locations(_Products().visit(check))
    return found


@dataclass(frozen=True, slots=True)
class Check:
    """One assertion: expressions for the sandbox, and the check over their values `_0`, `_1` ... for here."""

    calls: tuple[str, ...]
    check: str
    text: str

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether plain values satisfy the check; a check that can't be made of them fails."""
        names = {f"_{i}": value for i, value in enumerate(values)}
        try:
            # the text is the problem's and has passed `_split`; of the candidate's come plain values only
            return bool(eval(self.check, {"__builtins__": CHECKERS}, names))
        # what a wrong value does to a check is an answer, and a wrong one
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            RecursionError,
            MemoryError,
        ):
            return False


def split_check(test: str, name: str = "check") -> list[Check] | None:
    """The assertions of `def check(candidate)` in a test; None when one of its statements can't be split."""
    definitions = [n for n in ast.parse(test).body if isinstance(n, ast.FunctionDef) and n.name == name]
    if len(definitions) != 1 or len(definitions[0].args.args) != 1:
        return None
    candidate, checks = definitions[0].args.args[0].arg, []
    for statement in definitions[0].body:
        if isinstance(statement, ast.Pass) or (isinstance(statement, ast.Expr) and _idle(statement.value)):
            continue
        found = _split(statement.test, candidate) if isinstance(statement, ast.Assert) else None
        # one statement that can't be split, and the whole test runs as it is
        if found is None:
            return None
        checks.append(found)
    return checks or None


def _idle(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant | ast.Name)


def _split(test: ast.expr, candidate: str) -> Check | None:
    calls: list[str] = []

    class Lift(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            if isinstance(node.func, ast.Name) and node.func.id == candidate:
                calls.append(ast.unparse(node))
                return ast.Name(f"_{len(calls) - 1}", ast.Load())
            return self.generic_visit(node)

    text = ast.unparse(test)
    rest = ast.Expression(bounded(Lift().visit(test)))
    # only what can be evaluated over plain data, here, without a call of anything of the candidate's
    if not all(isinstance(node, NODES) for node in ast.walk(rest)):
        return None
    known = {*CHECKERS, *(f"_{i}" for i in range(len(calls)))}
    if any(isinstance(n, ast.Name) and n.id not in known for n in ast.walk(rest)):
        return None
    if any(_foreign_names(call, candidate) for call in calls):
        return None
    return Check(tuple(calls), ast.unparse(rest), text)


def _foreign_names(call: str, candidate: str) -> bool:
    """Whether a call needs anything but builtins: then it can't leave its test."""
    names = [n for n in ast.walk(ast.parse(call)) if isinstance(n, ast.Name)]
    return any(n.id != candidate and not hasattr(builtins, n.id) for n in names)
