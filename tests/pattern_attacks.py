"""Every regular expression of a part of the package, and texts made from its own parse tree to slow it down.

`patterns(modules)` finds compiled ones among the globals of modules, and literal ones by the syntax tree of each file.
`attacks(pattern)` repeats each piece that may repeat, with what leads to it and with what breaks it off.
Not covered: patterns that are made inside a function of its arguments.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from re import _compiler as compiler
from re import _constants as codes  # what `re` itself parses with
from re import _parser as parser
from types import ModuleType
from typing import Any

REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
MANY = 40  # a repetition that may come more often than so is worth attacking
TRIED = " a0A\n\t.,:;-_=(){}[]<>*'\"`$\\/|+#!?&^~@%éж中\x00"
BREAKERS = ("\x00", "!", "\n", "", "a", " ")
METHODS = ("match", "fullmatch", "search", "finditer", "findall", "sub", "split", "subn")


def modules_of(*names: str) -> list[ModuleType]:
    """Modules and packages by name, packages with all their modules."""
    found = []
    for name in names:
        module = importlib.import_module(name)
        found.append(module)
        if hasattr(module, "__path__"):
            found += [
                importlib.import_module(m.name) for m in pkgutil.walk_packages(module.__path__, f"{name}.")
            ]
    return found


def _compiled(value: Any) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        yield value
    elif isinstance(value, tuple | list | frozenset | set):
        for one in value:
            yield from _compiled(one)
    elif isinstance(value, dict):
        yield from _compiled([*value.values(), *value.keys()])


def _literals(module: ModuleType) -> Iterator[tuple[str, int, str]]:
    """(pattern, flags, method) of each call `re.method(pattern, ...)` whose pattern the module's globals make."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re"):
            continue
        try:
            pattern = eval(compile(ast.Expression(node.args[0]), "<pattern>", "eval"), vars(module))
            given = [
                a
                for a in (*node.args[1:], *(k.value for k in node.keywords if k.arg == "flags"))
                if "re." in ast.unparse(a)
            ]
            flags = (
                int(eval(compile(ast.Expression(given[-1]), "<flags>", "eval"), vars(module))) if given else 0
            )
        except (NameError, TypeError, ValueError, AttributeError):
            continue  # of a function's own names
        if isinstance(pattern, str) and node.func.attr in METHODS:
            yield pattern, flags, node.func.attr


def patterns(modules: Iterable[ModuleType]) -> dict[tuple[str, int], tuple[str, set[str]]]:
    """From pattern and flags to the module that has it and the methods it is used with."""
    modules = list(modules)
    sources = "\n".join(inspect.getsource(module) for module in modules)
    found: dict[tuple[str, int], tuple[str, set[str]]] = {}
    for module in modules:
        for name, value in vars(module).items():
            for one in _compiled(value):
                used = (
                    set(re.findall(rf"\b{re.escape(name)}\.({'|'.join(METHODS)})\(", sources))
                    if value is one
                    else set()
                )
                found.setdefault((one.pattern, one.flags), (f"{module.__name__}.{name}", set()))[1].update(
                    used or {"search"}
                )
        for pattern, flags, method in _literals(module):
            key = (pattern, re.compile(pattern, flags).flags)
            found.setdefault(key, (module.__name__, set()))[1].add(method)
    return found


def _members(items: Any, flags: int) -> Callable[[str], bool]:
    """Whether a character belongs to a class of the parse tree."""
    whole = parser.SubPattern(parser.State())
    whole.data = [(codes.IN, items)]
    whole.state.flags = flags
    one = compiler.compile(whole, flags)
    return lambda char: one.fullmatch(char) is not None


def _char(op: Any, arg: Any, flags: int, turn: int) -> str:
    """One of the characters that a class, a dot or a negated character takes."""
    if op is codes.IN:
        inside = _members(arg, flags)
        fits = [c for c in TRIED if inside(c)] or [chr(value) for kind, value in arg if kind is codes.LITERAL]
    else:
        fits = [c for c in TRIED if c != ("\n" if op is codes.ANY else chr(arg))]
    return fits[turn % len(fits)] if fits else "a"


def _samples(tree: Any, flags: int, turn: int) -> str:
    """A text that a parse tree matches, nearly: look-arounds are passed over; `turn` chooses among alternatives."""
    text = ""
    for op, arg in tree:
        if op is codes.LITERAL:
            text += chr(arg)
        elif op in (codes.NOT_LITERAL, codes.ANY, codes.IN):
            text += _char(op, arg, flags, turn)
        elif op is codes.BRANCH:
            text += _samples(arg[1][turn % len(arg[1])], flags, turn)
        elif op is codes.SUBPATTERN:
            text += _samples(arg[3], flags, turn)
        elif op is codes.ATOMIC_GROUP:
            text += _samples(arg, flags, turn)
        elif op in REPEATS:
            least, _, inner = arg
            text += _samples(inner, flags, turn) * max(least, turn % 2)
        elif op is codes.GROUPREF_EXISTS:
            text += _samples(arg[1], flags, turn)
    return text


def _repeats(tree: Any, before: Any = ()) -> Iterator[tuple[list[Any], Any]]:
    """(what leads to it, what repeats) of each repetition without a small bound, nested ones too."""
    for at, (op, arg) in enumerate(tree):
        lead = [*before, *list(tree)[:at]]
        if op in REPEATS:
            if arg[1] is codes.MAXREPEAT or arg[1] > MANY:
                yield lead, arg[2]
            yield from _repeats(arg[2], lead)
        elif op is codes.BRANCH:
            for branch in arg[1]:
                yield from _repeats(branch, lead)
        elif op is codes.SUBPATTERN:
            yield from _repeats(arg[3], lead)
        elif op is codes.ATOMIC_GROUP:
            yield from _repeats(arg, lead)
        elif op in (codes.ASSERT, codes.ASSERT_NOT):
            yield from _repeats(arg[1], lead)


def attacks(pattern: str, flags: int) -> list[tuple[str, str, str]]:
    """(head, piece, tail): the piece is to be repeated as often as one likes."""
    tree = parser.parse(pattern, flags)
    found: dict[tuple[str, str, str], None] = {}
    for lead, inner in _repeats(tree):
        for turn in (0, 1, 2, 5):
            head, piece = _samples(lead, flags, turn)[:200], _samples(inner, flags, turn)[:50]
            if not piece:
                continue
            for tail in BREAKERS:
                found[head, piece, tail] = None
                found["", piece, tail] = None
            found["", head + piece, "\x00"] = found["", head or piece, "\x00"] = None
    return list(found)
