"""A test's last resort: one of its assertions turned into its opposite, which fails wherever the test passes.

Where a test expects no value that could be another, its canary asserts the contrary: `<` for `>`, other
members for `in`, `assertFalse` for `assertTrue`, an exception of another kind. Who reads both may guess which
is the test. But what only agrees with whatever is asked of it (an object, an assertion that was replaced)
agrees to both.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator

from cascade_rl.verify.suites.canary_sites import Function, called, reached
from cascade_rl.verify.suites.canary_values import another, literal

# never both true of one value: what is ordered is asked for the other order, since a thing that says yes to
# all would say no to a `not`
_OPERATORS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.Gt, ast.LtE: ast.Gt, ast.Gt: ast.Lt, ast.GtE: ast.Lt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_METHODS = {
    "assertTrue": "assertFalse", "assertFalse": "assertTrue", "assertEqual": "assertNotEqual",
    "assertEquals": "assertNotEqual", "assertNotEqual": "assertEqual", "assertIn": "assertNotIn",
    "assertNotIn": "assertIn", "assertIs": "assertIsNot", "assertIsNot": "assertIs",
    "assertIsNone": "assertIsNotNone", "assertIsNotNone": "assertIsNone",
    "assertIsInstance": "assertNotIsInstance", "assertNotIsInstance": "assertIsInstance",
    "assertGreater": "assertLess", "assertLess": "assertGreater", "assertGreaterEqual": "assertLess",
    "assertLessEqual": "assertGreater", "assertRegex": "assertNotRegex", "assertNotRegex": "assertRegex",
    "assertAlmostEqual": "assertNotAlmostEqual", "assertNotAlmostEqual": "assertAlmostEqual",
    "assertListEqual": "assertNotEqual", "assertTupleEqual": "assertNotEqual",
    "assertDictEqual": "assertNotEqual", "assertSetEqual": "assertNotEqual",
    "assertSequenceEqual": "assertNotEqual", "assertMultiLineEqual": "assertNotEqual",
}  # fmt: skip
# of unittest's mocks, whatever their arguments
_CALLED = {
    "assert_called", "assert_called_once", "assert_called_with", "assert_called_once_with", "assert_any_call",
    "assert_has_calls",
}  # fmt: skip
# what hardly any code raises or warns of
_RAISES = {"raises": "EOFError", "assertRaises": "EOFError", "assertRaisesRegex": "EOFError"}
_WARNS = {"warns": "BytesWarning", "assertWarns": "BytesWarning", "assertWarnsRegex": "BytesWarning"}

DRAWS = 10  # tries to find a member that is none of those in the test

Turn = tuple[ast.expr, str]  # what is replaced, and by what


def turn(function: Function, rng: random.Random) -> Turn | None:
    """One assertion of a test that is reached for certain, with its opposite; None where there is none."""
    statements = list(reached(function.body))
    found = [one for statement in statements for one in _turns(statement, rng)]
    # a test that leaves its assertions to what it calls
    found = found or [one for statement in statements for one in _of_nothing(statement)]
    asking = [one for one in found if any(isinstance(n, ast.Call | ast.Attribute) for n in ast.walk(one[0]))]
    # a comparison of names may be of what the code gave
    return rng.choice(asking or found) if found else None


def _turns(statement: ast.stmt, rng: random.Random) -> Iterator[Turn]:
    match statement:
        case ast.Assert(test=test):
            yield test, ast.unparse(_opposite(test, rng))
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="assertIn"), args=[member, among]) as call) if (
            members := _other_members(member, among, rng)
        ):
            yield call, ast.unparse(ast.Call(call.func, list(members), []))
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name) as func, args=arguments) as call):
            if name in _CALLED or name == "assert_not_called":
                other = "assert_not_called" if name in _CALLED else "assert_called"
                yield call, f"{ast.unparse(func.value)}.{other}()"
            elif name in _METHODS and arguments:
                renamed = copy.deepcopy(call)
                assert isinstance(renamed.func, ast.Attribute)
                renamed.func.attr = _METHODS[name]
                yield call, ast.unparse(renamed)
            else:
                yield from _kinds(call)
        case ast.With(items=items) | ast.AsyncWith(items=items):
            for item in items:
                if isinstance(item.context_expr, ast.Call):
                    yield from _kinds(item.context_expr)


def _of_nothing(statement: ast.stmt) -> Iterator[Turn]:
    """A call that is made for what it asserts, of None in the place of what the code gave."""
    match statement:
        case ast.Expr(value=ast.Call(args=arguments)):
            for argument in arguments:
                if any(isinstance(n, ast.Name) for n in ast.walk(argument)):
                    yield argument, "None"
                    return


def _kinds(call: ast.Call) -> Iterator[Turn]:
    """The kind of exception or warning that is expected."""
    other = (_RAISES | _WARNS).get(called(call))
    if other and call.args and ast.unparse(call.args[0]) not in (other, "Warning"):
        yield call.args[0], other


def _opposite(test: ast.expr, rng: random.Random) -> ast.expr:
    """An expression that is false where the given one is true."""
    match test:
        case ast.Compare(left=member, ops=[ast.In()], comparators=[among]) if members := _other_members(
            member, among, rng
        ):
            return ast.Compare(members[0], [ast.In()], [members[1]])
        case ast.Compare(left=left, ops=ops, comparators=rest):
            return ast.Compare(left, [_OPERATORS[type(op)]() for op in ops], rest)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
        case ast.BoolOp(op=ast.And(), values=[*first, last]):
            return ast.BoolOp(ast.And(), [*first, _opposite(last, rng)])
        case _:
            return ast.UnaryOp(ast.Not(), test)


def _other_members(member: ast.expr, among: ast.expr, rng: random.Random) -> tuple[ast.expr, ast.expr] | None:
    """Both sides of an `in` with another member, or with others to choose from, where either is a literal."""
    for value in literal(member):
        return (ast.Constant(another(value, rng)), among) if isinstance(value, str | int | bytes) else None
    for values in literal(among):
        if isinstance(values, list | tuple | set) and values:
            drawn = ([another(value, rng) for _ in range(DRAWS)] for value in values)
            new = [value for tries in drawn for value in [t for t in tries if t not in values][:1]]
            if len(new) == len(values):
                return member, ast.parse(repr(type(values)(new)), mode="eval").body
    return None
