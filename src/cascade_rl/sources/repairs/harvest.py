"""Functions of installed packages that can stand alone: each with everything it needs, as one file.

Sources are read, never imported, and nothing of them is kept in this repository. A function is taken when all
that it refers to is a parameter, a harmless builtin, a definition of its own module or a harmless import of
the standard library: so it neither reads nor writes anything, and may be called with made-up arguments.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib.machinery
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from cascade_rl.errors import InputError
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Split
from cascade_rl.verify.suites.source_spans import Source

# Modules of the standard library that hold functions of the kind that is wanted.
STANDARD = (
    "ast", "base64", "binascii", "bisect", "calendar", "colorsys", "configparser", "copy", "csv",
    "dataclasses", "datetime", "difflib", "dis", "email._header_value_parser", "email._parseaddr",
    "email.base64mime", "email.charset", "email.header", "email.quoprimime", "email.utils", "fnmatch",
    "fractions", "functools", "genericpath", "gettext", "glob", "graphlib", "hashlib", "heapq", "html",
    "http.cookies", "imaplib", "inspect", "ipaddress", "json.encoder", "json.scanner", "keyword", "locale",
    "mailcap", "mimetypes", "ntpath", "numbers", "nturl2path", "opcode", "operator", "optparse", "pickle",
    "pickletools", "plistlib", "posixpath", "pprint", "pyclbr", "quopri", "random", "reprlib", "secrets",
    "shlex", "sndhdr", "stat", "statistics", "string", "stringprep", "tabnanny", "textwrap", "token",
    "tokenize", "traceback", "turtle", "typing", "unittest.util", "urllib.parse", "uuid", "wave",
    "xml.sax.saxutils", "zipfile",
)  # fmt: skip
HARMLESS = frozenset((
    "abc", "array", "binascii", "bisect", "cmath", "collections", "collections.abc", "contextlib", "copy",
    "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions", "functools", "heapq", "html",
    "html.entities", "itertools", "keyword", "math", "numbers", "operator", "re", "statistics", "string",
    "struct", "textwrap", "token", "types", "typing", "unicodedata", "warnings",
))  # fmt: skip
# of these modules only constants, and `fspath`
HARMLESS_PARTS = {"os": {"fspath", "PathLike"}, "sys": {"maxsize", "maxunicode", "float_info", "byteorder"}}
# builtins that read, write, or tell of the process (`id` and `hash` differ from run to run)
HARMFUL = frozenset((
    "open", "exec", "eval", "compile", "input", "breakpoint", "exit", "quit", "help", "globals", "locals",
    "vars", "print", "id", "hash", "memoryview", "__import__", "copyright", "credits", "license",
))  # fmt: skip
SHORTEST, LONGEST = 6, 400  # lines of a file
Definition = ast.stmt


@dataclass(frozen=True, slots=True)
class Piece:
    """A function with all that it needs.

    members     the functions and classes of the file, by name
    digests     of the members, whatever their place, comments and docstrings: by these copies are recognised
    parameters  names of the positional parameters; the first `required` have no default
    yields      whether it is a generator
    """

    module: str
    name: str
    text: str
    members: tuple[str, ...]
    digests: tuple[str, ...]
    parameters: tuple[str, ...]
    required: int
    yields: bool


class _Module:
    """The top-level definitions of a module, by name, in order."""

    def __init__(self, text: str) -> None:
        self.source = Source(text)
        self.definitions: dict[str, Definition] = {}
        twice: set[str] = set()
        for node in self.source.tree.body:
            for name in _defined(node):
                if name in self.definitions:
                    twice.add(name)
                self.definitions[name] = node
        for name in twice:  # of which one would have to know which counts
            del self.definitions[name]

    def closure(self, name: str) -> dict[int, Definition] | None:
        """All statements that a function needs, by position; None when it needs what is not harmless."""
        needed: dict[int, Definition] = {}
        waiting = [name]
        while waiting:
            node = self.definitions[waiting.pop()]
            if node.lineno in needed:
                continue
            needed[node.lineno] = node
            if isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = self._needs(node)
            if names is None:
                return None
            # a definition is looked up when it is called, an assignment's names when the file is loaded
            at_once = not isinstance(node, ast.FunctionDef | ast.ClassDef)
            if at_once and any(self.definitions[other].lineno > node.lineno for other in names):
                return None  # defined again further down
            waiting += names
        return dict(sorted(needed.items()))

    def _needs(self, node: Definition) -> list[str] | None:
        uses = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
        own = {n.id for n in uses if not isinstance(n.ctx, ast.Load)} | _bound(node)
        # an import inside could bring anything; a global is state between calls
        if any(isinstance(n, ast.Import | ast.ImportFrom | ast.Global | ast.Await) for n in ast.walk(node)):
            return None
        names = []
        for name in dict.fromkeys(n.id for n in uses):
            if name in self.definitions:
                definition = self.definitions[name]
                if isinstance(definition, ast.Import | ast.ImportFrom) and not _is_harmless(
                    definition, name, node
                ):
                    return None
                names.append(name)
            elif name not in own and (name in HARMFUL or not hasattr(builtins, name)):
                return None
        return names


def _defined(node: ast.stmt) -> list[str]:
    """Names that a top-level statement defines, if it is of a kind that can be moved."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Import(names=[alias]):
            return [(alias.asname or alias.name).partition(".")[0]]
        case ast.ImportFrom(names=names):
            return [alias.asname or alias.name for alias in names]
    return []


def _bound(node: ast.AST) -> set[str]:
    """Names that are bound inside by other means than assignment."""
    binding = ast.FunctionDef | ast.ClassDef | ast.ExceptHandler | ast.MatchAs | ast.MatchStar
    found: set[str] = set()
    for n in ast.walk(node):
        if isinstance(n, ast.arg):
            found.add(n.arg)
        elif n is not node and isinstance(n, binding) and n.name:
            found.add(n.name)  # not the statement's own, which its decorators can't see
    return found


def _is_harmless(imports: ast.Import | ast.ImportFrom, name: str, user: ast.AST) -> bool:
    """Whether what an import brings may be used as it is used."""
    if isinstance(imports, ast.ImportFrom):
        return imports.level == 0 and imports.module in HARMLESS
    module = imports.names[0].name
    if module in HARMLESS:
        return True
    parts = {
        n.attr for n in ast.walk(user) if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == name
    }
    # the module itself handed on could be used in any way
    bare = sum(isinstance(n, ast.Name) and n.id == name for n in ast.walk(user))
    dotted = sum(isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == name for n in ast.walk(user))
    return bare == dotted and parts <= HARMLESS_PARTS.get(module, set())


def _digest(node: ast.AST) -> str:
    """A digest of a function without its docstring."""
    body = getattr(node, "body", [])
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        [node] = ast.parse(ast.unparse(node)).body  # a copy, since the tree is still needed as it is
        assert isinstance(node, ast.FunctionDef | ast.ClassDef)
        node.body = node.body[1:] or [ast.Pass()]
    return hashlib.blake2b(ast.dump(node).encode(), digest_size=8).hexdigest()


def pieces_of(module: str, text: str) -> list[Piece]:
    """The functions of a module that can stand alone; none when the module can't be read."""
    try:
        parsed = _Module(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    found = []
    for name, node in parsed.definitions.items():
        if isinstance(node, ast.FunctionDef) and (piece := _piece(module, parsed, name, node)):
            found.append(piece)
    return found


def _piece(module: str, parsed: _Module, name: str, node: ast.FunctionDef) -> Piece | None:
    arguments = node.args
    parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    required = len(parameters) - len(arguments.defaults)
    bare = any(default is None for default in arguments.kw_defaults)
    # no decorators, which may keep state or hide the text; no *args; arguments can be made up for a few only
    if name.startswith("__") or node.decorator_list or bare or arguments.vararg or not 1 <= required <= 4:
        return None
    needed = parsed.closure(name)
    if needed is None:
        return None
    source = parsed.source
    parts = [source.part(*source.lines(n)).rstrip() for n in needed.values()]
    # they change what the text below means
    futures = [n for n in source.tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    parts = [source.part(*source.lines(n)).rstrip() for n in futures if n.lineno not in needed] + parts
    text = _joined(parts)
    members = [n for n in needed.values() if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    # a fence in the text could end the block of a reply's edit
    if not SHORTEST <= text.count("\n") <= LONGEST or "```" in text or "\t" in text or len(node.body) < 2:
        return None
    yields = any(isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(node))
    digests = tuple(map(_digest, members))
    return Piece(
        module, name, text, tuple(n.name for n in members), digests, tuple(parameters), required, yields
    )


def _joined(parts: Sequence[str]) -> str:
    """Statements as a file: definitions two lines apart, the others together."""
    out = ""
    for part in parts:
        tall = part.lstrip().startswith(("def ", "class ", "@"))
        out += ("\n\n" if out and (tall or out.endswith("\n\n")) else "") + part + ("\n\n" if tall else "\n")
    return out.replace("\n\n\n\n\n", "\n\n\n").replace("\n\n\n\n", "\n\n\n").rstrip("\n") + "\n"


@lru_cache(maxsize=8)
def catalogue(names: tuple[str, ...]) -> tuple[tuple[Piece, Split], ...]:
    """All pieces of some modules and packages, each with the split that it belongs to.

    Pieces that share a function, or a copy of one, belong to the same split. Raises InputError for an unknown
    name, or when there are none.
    """
    pieces = [piece for name in names for module, text in _sources(name) for piece in pieces_of(module, text)]
    if not pieces:
        raise InputError(f"swe: {', '.join(names)}: no function there can stand alone")
    once = {(piece.name, piece.digests): piece for piece in reversed(pieces)}  # of copies the first
    pieces = list(once.values())[::-1]
    # union of sets that share a function: each digest points to another of its set, the head to itself
    group = {digest: digest for piece in pieces for digest in piece.digests}

    def head(digest: str) -> str:
        while group[digest] != digest:
            digest = group[digest]
        return digest

    for piece in pieces:
        first, *others = sorted({head(digest) for digest in piece.digests})
        group.update(dict.fromkeys(others, first))
    return tuple((piece, split_of(f"swe/{head(piece.digests[0])}")) for piece in pieces)


def _files(name: str, spec: ModuleSpec) -> list[tuple[str, Path]]:
    """The module itself, or all modules of a package; of the standard library's only what STANDARD names."""
    places = spec.submodule_search_locations
    if places and name not in STANDARD:
        root = Path(next(iter(places)))
        found = ((path.relative_to(root).with_suffix("").parts, path) for path in sorted(root.rglob("*.py")))
        return [(".".join([name, *parts]), path) for parts, path in found]
    return [(name, Path(spec.origin))] if spec.origin else []


def _sources(name: str) -> Iterator[tuple[str, str]]:
    """The modules of a package, or a module, with their texts; packages of tests are left out."""
    path, *rest = name.split(".")
    # step by step, since to look a submodule up by its full name would import what is above it
    spec = importlib.machinery.PathFinder.find_spec(path)
    for part in rest:
        places = spec.submodule_search_locations if spec else None
        path += "." + part
        spec = importlib.machinery.PathFinder.find_spec(path, places) if places else None
    if spec is None or not (spec.has_location or spec.submodule_search_locations):
        if name in STANDARD:
            return  # of another version of Python
        raise InputError(f"swe: there is no installed module {name!r} whose source can be read")
    for module, file in _files(name, spec):
        if file.suffix == ".py" and not {"tests", "test", "testing"} & set(module.split(".")):
            try:
                yield module.removesuffix(".__init__"), file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
