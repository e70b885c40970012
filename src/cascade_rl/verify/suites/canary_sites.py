"""Where a test says what it expects: the places at which a canary may expect something else.

Known are `assert` with `==`, `is` and `and`, unittest's and numpy's assertions, `approx` and its kin with
their tolerance, expected exceptions, parameters, names and tables of literals, and helpers by a name like
`check_area(result, 6)`. Only what is reached for certain counts: statements of the body itself and of its
`with`, up to a first possible return.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.verify.suites.canary_values import fair, literal

Function = ast.FunctionDef | ast.AsyncFunctionDef

# exceptions that are expected in tests, about as often; none is a kind of another
EXCEPTIONS = {
    "ValueError": 40, "TypeError": 25, "KeyError": 10, "IndexError": 6, "ZeroDivisionError": 4,
    "AttributeError": 6, "NotImplementedError": 4, "StopIteration": 2, "FileNotFoundError": 3,
}  # fmt: skip
_EXACT = {
    "assertEqual", "assertEquals", "assertListEqual", "assertTupleEqual", "assertDictEqual", "assertSetEqual",
    "assertSequenceEqual", "assertMultiLineEqual", "assertIs", "assertCountEqual", "assert_equal",
    "assert_array_equal", "assert_string_equal",
}  # fmt: skip
# an assertion with a tolerance: how far apart two values still pass, from its arguments
_TOLERANT = {
    "assertAlmostEqual", "assertAlmostEquals", "assert_almost_equal", "assert_array_almost_equal",
    "assert_allclose", "assert_approx_equal",
}  # fmt: skip
_HELPER = re.compile(r"(?i)(?:^|_)(?:equals?|eq|same|check|assert|expect|match|verify|compare)(?:_|s?$)")
_LEAVING = (ast.Return, ast.Raise, ast.Yield, ast.YieldFrom, ast.Continue, ast.Break)
_LEAVING_CALLS = {"skip", "skipTest", "xfail", "fail", "exit", "importorskip"}


@dataclass(frozen=True, slots=True)
class Site:
    """A place of an expected value.

    node       what is replaced, always by the written form of a value
    value      what stands there: a literal's value, or an exception's name
    far        whether another value is far enough from it to be told apart by the assertion
    exception  whether the place is an exception's name
    """

    node: ast.expr
    value: Any
    far: Callable[[Any], bool] = lambda new: True
    exception: bool = False

    @property
    def fair(self) -> bool:
        """Whether another value tells nothing by its shape."""
        return self.exception or fair(self.value)


def sites(function: Function, parameters: frozenset[str] = frozenset()) -> list[Site]:
    """The places of a test's body; `parameters` are no results."""
    stored = [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    bound: dict[str, ast.expr] = {}
    found: list[Site] = []
    for statement in reached(function.body):
        match statement:
            # `expected = 6`, and compared with later
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if stored.count(name) == 1:
                bound |= {name: value} if list(literal(value)) else {}
            case ast.For():
                found += _of_table(statement, parameters | bound.keys())
            case _:
                found += _of(statement, parameters, bound)
    # one place once, however often it is compared with
    return list({id(site.node): site for site in found}.values())


def expected_parameters(function: Function, names: Sequence[str]) -> set[str]:
    """Which of a test's parameters its assertions compare something with."""
    found: set[str] = set()
    for statement in reached(function.body):
        for result, expected, _ in _comparisons(statement):
            if isinstance(expected, ast.Name) and expected.id in names and not _constant(result, names):
                found.add(expected.id)
    return found


def reached(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that are run for certain when nothing fails."""
    for statement in body:
        if isinstance(statement, ast.With | ast.AsyncWith):
            yield statement
            # what follows in the body of an expected exception is never reached
            if not any(_raising(item.context_expr) for item in statement.items):
                yield from reached(statement.body)
        elif isinstance(statement, ast.Assert | ast.Expr | ast.Assign) or _table(statement):
            yield statement
        if any(map(_leaves, ast.walk(statement))):
            return


def _leaves(node: ast.AST) -> bool:
    return isinstance(node, _LEAVING) or (isinstance(node, ast.Call) and called(node) in _LEAVING_CALLS)


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _raising(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and called(node) in {"raises", "assertRaises", "assertRaisesRegex"}


def _of(statement: ast.stmt, parameters: frozenset[str], bound: Mapping[str, ast.expr]) -> Iterator[Site]:
    for result, expected, tolerance in _comparisons(statement):
        if _constant(result, parameters | bound.keys()):
            continue
        node = bound.get(expected.id, expected) if isinstance(expected, ast.Name) else expected
        for value in literal(node):
            if not _told_elsewhere(statement, value):
                yield Site(node, value, _beyond(value, tolerance))
    for node in _raisers(statement):
        if isinstance(node, ast.Name) and node.id in EXCEPTIONS:
            yield Site(node, node.id, exception=True)


def _table(statement: ast.stmt) -> tuple[list[str], list[list[ast.expr]]] | None:
    """The names and the rows of a loop over a table that is written out."""
    match statement:
        case ast.For(target=ast.Tuple(elts=names), iter=ast.List(elts=rows) | ast.Tuple(elts=rows)) if rows:
            cells = [list(row.elts) for row in rows if isinstance(row, ast.Tuple | ast.List)]
            words = [name.id for name in names if isinstance(name, ast.Name)]
            if len(words) == len(names) and [len(row) for row in cells] == [len(names)] * len(rows):
                return words, cells
    return None


def _of_table(loop: ast.For, parameters: frozenset[str]) -> Iterator[Site]:
    table = _table(loop)
    assert table is not None  # no other loop is reached
    names, rows = table
    for statement in reached(loop.body):
        for result, expected, tolerance in _comparisons(statement):
            if not isinstance(expected, ast.Name) or expected.id not in names:
                continue
            if _constant(result, parameters | set(names)):
                continue
            for node in (row[names.index(expected.id)] for row in rows):
                yield from (Site(node, value, _beyond(value, tolerance)) for value in literal(node))


def _constant(node: ast.expr, parameters: Sequence[str] | frozenset[str]) -> bool:
    """Whether nothing of the code under test is in an expression: only literals and parameters."""
    return not any(
        isinstance(part, ast.Call | ast.Attribute | ast.Await)
        or (isinstance(part, ast.Name) and part.id not in parameters)
        for part in ast.walk(node)
    )


def _told_elsewhere(statement: ast.stmt, value: Any) -> bool:
    """Whether the message of an assertion says what is right."""
    message = statement.msg if isinstance(statement, ast.Assert) else None
    return message is not None and str(value) in ast.unparse(message)


Comparison = tuple[ast.expr, ast.expr, float]  # result, expected value, tolerance


def _comparisons(statement: ast.stmt) -> Iterator[Comparison]:
    if isinstance(statement, ast.Assert):
        yield from _asserted(statement.test)
    elif isinstance(statement, ast.Expr) and isinstance(call := statement.value, ast.Call):
        name, arguments = called(call), call.args
        if name in {"assertTrue", "assert_"} and arguments:
            yield from _asserted(arguments[0])
        elif len(arguments) >= 2:
            if name in _EXACT:
                yield from _both(arguments[0], arguments[1], 0.0)
            elif name in _TOLERANT:
                yield from _both(arguments[0], arguments[1], _tolerance(call))
            elif _HELPER.search(name):
                yield from _both(arguments[0], arguments[-1], 0.0)


def _asserted(test: ast.expr) -> Iterator[Comparison]:
    match test:
        case ast.BoolOp(op=ast.And(), values=values):
            for part in values:
                yield from _asserted(part)
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[right]):
            yield from _both(left, right, 0.0)
        case ast.Call() if called(test) in {"allclose", "isclose", "array_equal"} and len(test.args) >= 2:
            yield from _both(test.args[0], test.args[1], _tolerance(test))


def _both(left: ast.expr, right: ast.expr, tolerance: float) -> Iterator[Comparison]:
    for result, expected in ((left, right), (right, left)):
        if isinstance(expected, ast.Call) and called(expected) == "approx" and expected.args:
            yield result, expected.args[0], _tolerance(expected)
        else:
            yield result, expected, tolerance


def _tolerance(call: ast.Call) -> float:
    """How far from each other two values may surely be no more, for values of about the expected size.

    A plain upper bound: a canary must be beyond it, and may be far beyond.
    """
    given = {word.arg: list(literal(word.value)) for word in call.keywords}
    numbers = [
        float(abs(values[0])) for values in given.values() if values and isinstance(values[0], int | float)
    ]
    name = called(call)
    if (
        name in {"assertAlmostEqual", "assertAlmostEquals"}
        or "almost" in name
        or name == "assert_approx_equal"
    ):
        places = given.get("places") or given.get("decimal")
        if places and isinstance(places[0], int):
            return float(10.0 ** -min(max(places[0], -300), 300)) * 2
        plain = [v for a in call.args[2:3] for v in literal(a) if isinstance(v, int)]
        return max([*numbers, float(10.0 ** -min(max(plain[0], -300), 300)) * 2 if plain else 1e-5])
    return max([*numbers, 1e-5])


def _beyond(value: Any, tolerance: float) -> Callable[[Any], bool]:
    if not tolerance:
        return lambda new: True
    numbers = list(_numbers(value))

    def far(new: Any) -> bool:
        others = list(_numbers(new))
        # a tolerance may be relative to either
        return len(others) != len(numbers) or any(
            abs(a - b) > 2 * tolerance * max(1.0, abs(a), abs(b))
            for a, b in zip(numbers, others, strict=True)
        )

    return far


def _numbers(value: Any) -> Iterator[complex]:
    if isinstance(value, int | float | complex) and abs(value) < 1e300:
        yield complex(value)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)


def _raisers(statement: ast.stmt) -> Iterator[ast.expr]:
    """What exceptions a statement expects."""
    calls: list[ast.expr] = []
    if isinstance(statement, ast.With | ast.AsyncWith):
        calls = [item.context_expr for item in statement.items]
    elif isinstance(statement, ast.Expr):
        calls = [statement.value]
    for call in calls:
        if isinstance(call, ast.Call) and _raising(call) and call.args:
            yield call.args[0]
