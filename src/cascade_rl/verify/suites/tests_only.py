"""What only tests use of a repository: helpers and data that are no code under test.

A module counts that tests import, that no other code imports, that the golden patch leaves alone, and that
looks like a helper (by its name, an `assert`, a test library) or does not lead to what that patch mends.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

OWN = frozenset({"_start_tests.py", "_tests.ini", "junit.xml"})  # the runner's: see `repository_tests`

_SETTINGS_FILES = {
    "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "pyproject.toml", "tox.ini",
    "setup.cfg", "setup.py", "noxfile.py", "sitecustomize.py", "usercustomize.py", "pyvenv.cfg",
}  # fmt: skip
TESTS = re.compile(r"test_.*\.py|.*_test\.py|tests?\.py")
_FOLDERS = {"test", "tests"}
# names and imports of modules that are there for tests
_HELPER = re.compile(
    r"(?:^|_)(?:checks?|check(?:er|ing)s?|asserts?|assertions?|helpers?|testing|test_?utils?|fixtures?|mocks?"
    r"|stubs?|fakes?|factories|expect|expected|compare|comparisons?|equality)(?:_|$)"
)
_TEST_LIBRARIES = {"pytest", "unittest", "_pytest", "hypothesis", "nose", "doctest"}


def looks_like_tests(path: str) -> bool:
    """Whether a path is a test's by its name or folder."""
    parts = PurePosixPath(path).parts
    return bool(TESTS.fullmatch(parts[-1])) or not _FOLDERS.isdisjoint(parts[:-1])


def settings(path: str) -> bool:
    """Whether a path is a setting of the runner or of the interpreter, or the runner's own."""
    name = PurePosixPath(path).name
    return name in _SETTINGS_FILES or name in OWN


def helpers_and_data(
    files: Mapping[str, str], tests: Sequence[str], golden: Collection[str]
) -> dict[str, str]:
    """The files that only `tests` use, with why; `golden`: what the golden patch touches."""
    found: dict[str, str] = {}
    texts: set[str] = set()
    seen, todo = set(tests), sorted(path for path in tests if path.endswith(".py"))
    while todo:
        path = todo.pop()
        tree = parsed(files[path])
        texts |= {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        for other in sorted(_imported(path, tree, files) - seen):
            seen.add(other)
            # what code uses as well is no helper of tests; nor is what the golden patch mends
            if other in golden or used_by_code(other, files, tests):
                continue
            todo.append(other)
            if _helps(other, files, golden):
                found[other] = "what tests use"
    named = {text.rpartition("/")[2] for text in texts if len(text) < 200}
    for path in files:
        name = PurePosixPath(path).name
        if path.endswith(".py") or name not in named or path in golden:
            continue
        if not any(
            name in text for p, text in files.items() if _code(p) and p not in found and p not in tests
        ):
            found[path] = "data of tests"
    return found


def used_by_code(path: str, files: Mapping[str, str], tests: Collection[str]) -> bool:
    """Whether a file that is no test imports a module."""
    place = PurePosixPath(path)
    package = place.name == "__init__.py"
    word = place.parent.name if package else place.stem
    for other, text in files.items():
        # the name first: to parse every file of a large repository would take long
        if not _code(other) or other in tests or other == path or word not in text:
            continue
        inside = package and PurePosixPath(other).is_relative_to(place.parent)
        if not inside and path in _imported(other, parsed(text), files):
            return True
    return False


def _helps(path: str, files: Mapping[str, str], golden: Collection[str]) -> bool:
    if supports(path, files[path]):
        return True
    # a package's face, and what leads to the code under repair, may well be mended
    if path.endswith("__init__.py") or not golden:
        return False
    seen, todo = {path}, [path]
    while todo:
        one = todo.pop()
        for other in _imported(one, parsed(files[one]), files) - seen:
            if other in golden:
                return False
            seen.add(other)
            todo.append(other)
    return True


def _code(path: str) -> bool:
    return path.endswith(".py") and not looks_like_tests(path) and not settings(path)


def supports(path: str, text: str) -> bool:
    """Whether a module is there for tests, by its name or by what it does."""
    place = PurePosixPath(path)
    names = [place.parent.name] if place.name == "__init__.py" else [place.stem, place.parent.name]
    if any(_HELPER.search(name.lower()) for name in names):
        return True
    if place.name == "__init__.py":
        return False
    for node in ast.walk(parsed(text)):
        match node:
            case ast.Assert():
                return True
            case ast.Import(names=aliases) if any(n.name.split(".")[0] in _TEST_LIBRARIES for n in aliases):
                return True
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in _TEST_LIBRARIES:
                return True
            case ast.Name(id="AssertionError"):
                return True
    return False


def parsed(text: str) -> ast.Module:
    """The syntax tree; an empty one of what is no Python."""
    try:
        return ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def dotted(path: str, root: str = "") -> str:
    """The name under which a file is imported below a root; empty when it is not below it."""
    if not path.endswith(".py") or (root and not path.startswith(root + "/")):
        return ""
    return path[len(root) + 1 if root else 0 : -3].replace("/", ".").removesuffix(".__init__")


def imports(tree: ast.Module) -> Iterator[str]:
    """The modules that a file imports by their whole names."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module


def _imported(path: str, tree: ast.Module, files: Mapping[str, str]) -> set[str]:
    """The files that a file imports."""
    folder = str(PurePosixPath(path).parent)
    roots = ["", "src/", "" if folder == "." else folder + "/"]
    found: set[str] = set()
    for name in _names(tree, folder):
        for root in roots:
            # `import a.b` runs `a/__init__` too, which is no reason to call that a helper
            place = root + name.replace(".", "/")
            found |= {p for p in (f"{place}.py", f"{place}/__init__.py") if p in files}
    return found


def _names(tree: ast.Module, folder: str) -> Iterator[str]:
    """Dotted names that are imported, or written as a text that may be one."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = module or ""
                if level:
                    up = [part for part in folder.split("/") if part != "."]
                    kept = up[: len(up) - level + 1]
                    base = ".".join([*kept, base] if base else kept)
                yield base
                yield from (f"{base}.{alias.name}" if base else alias.name for alias in names)
            # pytest_plugins = [...] and importlib.import_module(...)
            case ast.Constant(value=str(text)) if re.fullmatch(r"[A-Za-z_][\w.]{0,200}", text):
                yield text
