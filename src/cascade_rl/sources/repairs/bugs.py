"""Bugs to be injected: one small change of a Python file, of the kinds that people make, wherever it fits.

The kinds are those of mutation testing (DeMillo, Lipton & Sayward 1978) and of SWE-smith's procedural
modifications, made in the text itself, so that layout, comments and names stay as their author wrote them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cascade_rl.verify.suites.source_spans import Source

Change = tuple[int, int, str]  # (first byte, byte after the last, new text)

# How hard a kind is to find, from 0 to 1: what is visibly odd is easy, what is missing is hard.
KINDS = {
    "operator": 0.3, "boundary": 0.6, "condition": 0.4, "constant": 0.5, "attribute": 0.3, "function": 0.3,
    "argument": 0.6, "order": 0.5, "case": 0.8, "guard": 0.9, "statement": 0.9, "result": 0.5,
}  # fmt: skip

OPERATORS = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "+"), ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"), ast.Mod: ("%", "//"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
    ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
}  # fmt: skip
BOUNDARIES = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")}
CONDITIONS = {
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
}  # fmt: skip
# "a b": a becomes b, and b becomes a unless an earlier pair has it already; same arguments, other meaning
ATTRIBUTES = (
    "lstrip rstrip", "strip lstrip", "find rfind", "index rindex", "startswith endswith", "upper lower",
    "split rsplit", "partition rpartition", "append extend", "keys values", "isalpha isalnum",
    "isdigit isalpha", "ljust rjust", "match search", "add discard", "isupper islower", "union intersection",
    "start end", "numerator denominator", "capitalize title", "pop popleft", "real imag",
)  # fmt: skip
FUNCTIONS = (
    "min max", "any all", "floor ceil", "sorted list", "int float", "sum max", "ord len", "str repr",
    "tuple set", "abs int", "reversed iter", "first last", "bisect_left bisect_right",
)  # fmt: skip


def _partners(pairs: tuple[str, ...]) -> dict[str, str]:
    table: dict[str, str] = {}
    for pair in pairs:
        a, b = pair.split()
        table.setdefault(a, b)
        table.setdefault(b, a)
    return table


OTHER_ATTRIBUTE, OTHER_FUNCTION = _partners(ATTRIBUTES), _partners(FUNCTIONS)


@dataclass(frozen=True, slots=True)
class Bug:
    """A changed file: the kind of bug, its top-level function or class, its line in the original."""

    kind: str
    place: str
    line: int
    text: str


def bugs_of(text: str) -> list[Bug]:
    """Every bug that can be injected into the functions of a file, in order; some may have no effect."""
    source = Source(text)
    # by the whole text: two kinds may lead to the same file, of which the first counts
    found: dict[str, Bug] = {}
    for top in source.tree.body:
        if isinstance(top, ast.FunctionDef | ast.ClassDef):
            for kind, line, change in _changes(source, top):
                changed = source.changed([change])
                if changed != text and changed not in found and _compiles(changed):
                    found[changed] = Bug(kind, top.name, line, changed)
    return list(found.values())


def _compiles(text: str) -> bool:
    try:
        compile(text, "bug", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _changes(source: Source, top: ast.AST) -> Iterator[tuple[str, int, Change]]:
    makers = (_of_operators, _of_values, _of_calls, _of_statements)
    for function in (n for n in ast.walk(top) if isinstance(n, ast.FunctionDef)):
        names = [a.arg for a in function.args.args if a.arg not in ("self", "cls")]
        for node in (n for statement in function.body for n in ast.walk(statement)):
            for maker in makers:
                for kind, change in maker(source, node, names):
                    yield kind, getattr(node, "lineno", 0), change


def _between(source: Source, left: ast.expr, right: ast.expr, old: str, new: str) -> Change | None:
    """Exchange the operator between two operands; None where comments or line ends make it unclear."""
    start, stop = source.span(left)[1], source.span(right)[0]
    gap = source.part(start, stop)
    # the operator alone, not a part of `**`, `//`, `<=` or `->`
    found = re.search(rf"(?<![\w<>=!*/]){re.escape(old)}(?![\w<>=*/])", gap)
    if not found or "#" in gap:
        return None
    return start + found.start(), start + found.end(), new


def _of_operators(source: Source, node: ast.AST, names: list[str]) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS and not _is_format(node):
            change = _between(source, left, right, *OPERATORS[type(op)])
            yield from [("operator", change)] if change else []
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in OPERATORS:
            old, new = OPERATORS[type(op)]
            change = _between(source, target, value, old + "=", new + "=")
            yield from [("operator", change)] if change else []
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            kind = "boundary" if type(op) in BOUNDARIES else "condition"
            change = _between(source, left, right, *(BOUNDARIES | CONDITIONS)[type(op)])
            yield from [(kind, change)] if change else []
        case ast.BoolOp(op=op, values=[left, right]):
            old, new = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
            change = _between(source, left, right, old, new)
            yield from [("condition", change)] if change else []
            start, stop = source.span(node)
            for kept in (left, right):  # one of two cases is forgotten
                yield "case", (start, stop, source.part(*source.span(kept)))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "condition", (*source.span(node), source.part(*source.span(operand)))


def _is_format(node: ast.BinOp) -> bool:
    """Whether `%` or `+` works on a text here, where another operator would only raise."""
    return any(
        (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes))
        or isinstance(side, ast.JoinedStr)
        for side in (node.left, node.right)
    )


def _of_values(source: Source, node: ast.AST, names: list[str]) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.Constant(value=bool() as value):
            yield "constant", (*source.span(node), str(not value))
        case ast.Constant(value=int() as value) if abs(value) < 10**6:
            # off by one, either way
            for new in (value + 1, value - 1):
                if new >= 0:
                    yield "constant", (*source.span(node), str(new))
        case ast.Slice(lower=lower, upper=upper):
            for bound in (lower, upper):
                if bound is not None and not isinstance(bound, ast.Constant):
                    text = source.part(*source.span(bound))
                    more = f"{text} + 1" if text.isidentifier() else f"({text}) + 1"
                    yield "boundary", (*source.span(bound), more)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            first, asked, second = (source.part(*source.span(n)) for n in (body, test, orelse))
            yield "condition", (*source.span(node), f"{second} if {asked} else {first}")
        case ast.Attribute(attr=attr) if attr in OTHER_ATTRIBUTE:
            stop = source.span(node)[1]
            yield "attribute", (stop - len(attr), stop, OTHER_ATTRIBUTE[attr])


def _of_calls(source: Source, node: ast.AST, names: list[str]) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.Call(func=ast.Name(id=name) as function) if (
            name in OTHER_FUNCTION and name != OTHER_FUNCTION[name]
        ):
            yield "function", (*source.span(function), OTHER_FUNCTION[name])
    if not isinstance(node, ast.Call) or any(isinstance(a, ast.Starred) for a in node.args):
        return
    if getattr(node.func, "id", "") == "range" and len(node.args) <= 2:
        text = source.part(*source.span(node.args[-1]))
        yield "boundary", (*source.span(node.args[-1]), f"{text} - 1")
    # two arguments exchanged; of `isinstance` that only raises
    if len(node.args) >= 2 and getattr(node.func, "id", "") != "isinstance":
        (a, b), (c, d) = source.span(node.args[0]), source.span(node.args[1])
        yield "order", (a, d, source.part(c, d) + source.part(b, c) + source.part(a, b))
    for argument in node.args:
        if isinstance(argument, ast.Name) and argument.id in names:
            for other in names:
                if other != argument.id:
                    yield "argument", (*source.span(argument), other)


def _of_statements(source: Source, node: ast.AST, names: list[str]) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.If(body=[ast.Return() | ast.Raise() | ast.Continue() | ast.Break()], orelse=[]):
            # an `elif` can't be taken out as a statement
            if not _is_elif(source, node):
                yield "guard", _without(source, node)
        case ast.If(body=body, orelse=[_, *_] as orelse) if not _is_elif(source, node):
            start = source.lines(body[-1])[1]
            yield "case", (start, source.lines(orelse[-1])[1], "")
        case ast.AugAssign() | ast.Assign() | ast.Expr(value=ast.Call()):
            yield "statement", _without(source, node)
        case (
            ast.Return(value=ast.BinOp(left=kept) as value)
            | ast.Return(value=ast.Call(args=[kept], keywords=[]) as value)
        ):
            yield "result", (*source.span(value), source.part(*source.span(kept)))


def _is_elif(source: Source, node: ast.If) -> bool:
    return source.part(*source.span(node)).startswith("elif")


def _without(source: Source, node: ast.stmt) -> Change:
    """Leave a statement out; one that shares its line, or would leave a block empty, becomes `pass`."""
    start, stop = source.lines(node)
    whole = source.part(start, stop)
    if whole.strip() == source.part(*source.span(node)):
        return start, stop, ""
    return (*source.span(node), "pass")
