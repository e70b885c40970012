"""Tests taken apart by their text: calls for the candidate's process, checks of plain values for ours.

What can be taken apart: undecorated test functions without arguments, made of assertions over calls of
imported names with literal arguments, of `pytest.raises` with a built-in exception around one such call, of
names for their results, and of bare calls. Anything else, and `plan_of` says None: whether a file can be
taken apart is decided from the tests alone, never by what a candidate does.

    def test_area():                 calls: shapes.area(2, 3), shapes.area(0, 1)
        assert area(2, 3) == 6       checks: _0 == 6
        none = area(0, 1)
        assert none == 0                     _1 == 0
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from cascade_rl.verify.programs.assertions import CHECKERS, NODES, bounded

MOST_CALLS = 5_000  # of all tests together
RESULT = re.compile(r"_\d+")  # what results are called: no test may use such a name


@dataclass(frozen=True, slots=True)
class Step:
    """A statement of a test: the numbers of its calls, and what is asked of their results.

    check    an expression over `_N`, the value of call N, and names that earlier steps gave; must be true
    name     what the expression's value is called from here on; then it need not be true
    raises   built-in exceptions, one of which the only call must raise
    """

    calls: tuple[int, ...]
    check: str = ""
    name: str = ""
    raises: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All calls in the order of the tests: module, path in it, arguments, keywords; and each test's steps."""

    calls: tuple[tuple[str, str, str, str], ...]
    tests: Mapping[str, tuple[Step, ...]]


class Entangled(Exception):
    """A test that needs the candidate's objects in its own process."""


def plan_of(
    texts: Mapping[str, str], modules: Collection[str], wanted: Sequence[str] | None = None
) -> Plan | None:
    """The plan of test files (path -> text), all their tests or those of the node ids `wanted`; None if none.

    modules    what may be called: the repository's own, without tests and their helpers

    Raises nothing: a file that is no Python has no plan.
    """
    calls: list[tuple[str, str, str, str]] = []
    tests: dict[str, tuple[Step, ...]] = {}
    try:
        for path, text in texts.items():
            tests |= _file(path, ast.parse(text), modules, wanted, calls)
    except (Entangled, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    if not tests or (wanted is not None and set(wanted) != tests.keys()) or len(calls) > MOST_CALLS:
        return None
    return Plan(tuple(calls), tests)


def _file(
    path: str,
    tree: ast.Module,
    modules: Collection[str],
    wanted: Sequence[str] | None,
    calls: list[tuple[str, str, str, str]],
) -> dict[str, tuple[Step, ...]]:
    names: dict[str, tuple[str, str]] = {}
    found: dict[str, tuple[Step, ...]] = {}
    for node in tree.body:
        match node:
            case ast.Import() | ast.ImportFrom():
                names |= _imported(node)
            case ast.Expr(ast.Constant()):
                continue
            case ast.FunctionDef() if node.name.startswith("test_") and node.name not in names:
                names[node.name] = "", ""  # a second test of this name would replace the first
                if wanted is None or f"{path}::{node.name}" in wanted:
                    found[f"{path}::{node.name}"] = _Test(names, modules, calls).steps_of(node)
            case _:
                raise Entangled
    return found


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str]]:
    """Names of an import as (module, path in it); the path is empty for a module."""
    if isinstance(node, ast.ImportFrom):
        if node.level or node.module is None or any(alias.name == "*" for alias in node.names):
            raise Entangled
        return {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    # `import a.b` binds `a`
    return {
        alias.asname or alias.name.partition(".")[0]: (
            alias.name if alias.asname else alias.name.partition(".")[0],
            "",
        )
        for alias in node.names
    }


class _Test:
    """One test function on its way into steps."""

    def __init__(
        self,
        names: Mapping[str, tuple[str, str]],
        modules: Collection[str],
        calls: list[tuple[str, str, str, str]],
    ) -> None:
        self._names, self._modules, self._calls = names, modules, calls
        self._own: dict[str, ast.expr] = {}  # names of the test's own, with what they stand for
        self._origins: dict[str, set[str]] = {}  # and of which functions their values come

    def steps_of(self, node: ast.FunctionDef) -> tuple[Step, ...]:
        spec = node.args
        if node.decorator_list or any(
            (spec.posonlyargs, spec.args, spec.vararg, spec.kwonlyargs, spec.kwarg)
        ):
            raise Entangled
        # a test that only calls leaves its assertions to what it calls
        if not any(isinstance(statement, ast.Assert | ast.With) for statement in node.body):
            raise Entangled
        return tuple(step for statement in node.body for step in self._steps(statement))

    def _steps(self, statement: ast.stmt) -> list[Step]:
        begin = len(self._calls)
        match statement:
            case ast.Pass() | ast.Expr(ast.Constant()):
                return []
            case ast.Assert(ast.BoolOp(ast.And(), values), None | ast.Constant()):
                return [step for value in values for step in self._steps(ast.Assert(value, None))]
            case ast.Assert(test, None | ast.Constant()):
                check = self._lifted(test)
                # who may write both sides can make them equal
                if len(self._functions(check)) > 1:
                    raise Entangled
                return [Step(self._since(begin), check)]
            case ast.Assign([ast.Name(name)], value) if not RESULT.fullmatch(name):
                check = self._lifted(value)
                self._own[name], self._origins[name] = value, self._functions(check)
                return [Step(self._since(begin), check, name)]
            case ast.Expr(value):
                check = self._lifted(value)
                # true whatever the value, unless it can't be made
                return [Step(self._since(begin), f"[{check}]")]
            case ast.With([ast.withitem(ast.Call(wanted, [kind], []), None)], [ast.Expr(value)]):
                if self._target(wanted) != ("pytest", "raises"):
                    raise Entangled
                raises = self._exceptions(kind)
                self._lifted(value)
                if len(self._calls) != begin + 1:
                    raise Entangled
                return [Step(self._since(begin), raises=raises)]
        raise Entangled

    def _since(self, begin: int) -> tuple[int, ...]:
        return tuple(range(begin, len(self._calls)))

    def _exceptions(self, node: ast.expr) -> tuple[str, ...]:
        kinds = node.elts if isinstance(node, ast.Tuple) else [node]
        names = tuple(kind.id for kind in kinds if isinstance(kind, ast.Name))
        real = [getattr(builtins, name, None) for name in names if name not in self._names]
        if len(real) != len(kinds) or not all(
            isinstance(kind, type) and issubclass(kind, BaseException) for kind in real
        ):
            raise Entangled
        return names

    def _target(self, node: ast.expr) -> tuple[str, str] | None:
        """(module, path in it) of a name or of attributes of one, where that was imported; else None."""
        path: list[str] = []
        while isinstance(node, ast.Attribute):
            path.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id in self._own:
            return None
        module, name = self._names.get(node.id, ("", ""))
        return (module, ".".join([*filter(None, [name]), *path])) if module else None

    def _lifted(self, node: ast.expr) -> str:
        """An expression with every call of the candidate's made a name `_N`; it must then be plain."""
        rest = bounded(_Lift(self._call).visit(node))
        for part in ast.walk(rest):
            if not isinstance(part, NODES) or (isinstance(part, ast.Name) and not self._known(part.id)):
                raise Entangled
            # all calls are made first: none may stand where it might not be reached
            later = part.values[1:] if isinstance(part, ast.BoolOp) else []
            if isinstance(part, ast.Compare):
                later = part.comparators[1:]
            if any(map(_calls_in, later)):
                raise Entangled
            # identity can't be asked of values that crossed, but for the few that are one object
            if isinstance(part, ast.Compare):
                for op, right in zip(part.ops, part.comparators, strict=True):
                    one = isinstance(right, ast.Constant) and right.value in (None, True, False)
                    if isinstance(op, ast.Is | ast.IsNot) and not one:
                        raise Entangled
        return ast.unparse(rest)

    def _functions(self, check: str) -> set[str]:
        """The functions of the candidate's that an expression's values come from."""
        names = [part.id for part in ast.walk(ast.parse(check)) if isinstance(part, ast.Name)]
        found = {".".join(self._calls[int(name[1:])][:2]) for name in names if RESULT.fullmatch(name)}
        return found.union(*(self._origins.get(name, ()) for name in names))

    def _known(self, name: str) -> bool:
        if name in self._own or RESULT.fullmatch(name):
            return True
        return name in CHECKERS and name not in self._names

    def _call(self, node: ast.Call) -> ast.expr | None:
        """The name of a call's result; None where the call is not the candidate's."""
        target = self._target(node.func)
        if target is None:
            return None
        if not target[1] or target[0] not in self._modules:
            raise Entangled
        if any(word.arg is None for word in node.keywords):
            raise Entangled
        arguments = [self._literal(argument) for argument in node.args]
        keywords = [f"{word.arg!r}: {self._literal(word.value)}" for word in node.keywords]
        self._calls.append((*target, f"[{', '.join(arguments)}]", f"{{{', '.join(keywords)}}}"))
        return ast.Name(f"_{len(self._calls) - 1}", ast.Load())

    def _literal(self, node: ast.expr) -> str:
        """The text of an argument: a literal, or a name for one that no call can change."""
        if isinstance(node, ast.Name):
            node = self._own.get(node.id, node)
            hash(ast.literal_eval(node))  # a TypeError for what the call might change
        ast.literal_eval(node)
        return ast.unparse(node)


def _calls_in(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and RESULT.fullmatch(part.id) for part in ast.walk(node))


class _Lift(ast.NodeTransformer):
    def __init__(self, call: Callable[[ast.Call], ast.expr | None]) -> None:
        self._call = call

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self._call(node) or self.generic_visit(node)
