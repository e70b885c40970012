"""What a repair may not touch: tests, what tests rest on, settings of the runner, what is imported by itself.

Off limits are the files of the named tests whatever their names, test files and folders, and what only tests
use: helpers and data. What the golden patch touches may be mended, unless it is a test itself or a setting:
then the answer's version of it is used. The answer decides everything, so a patch can't move the border.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import PurePosixPath

from cascade_rl.verify.suites.tests_only import (
    TESTS,
    dotted,
    helpers_and_data,
    imports,
    looks_like_tests,
    parsed,
    settings,
    supports,
    used_by_code,
)

# what pytest imports, or would if it were there
_RUNNER = {
    "pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli",
    "colorama", "hypothesis", "_hypothesis_pytestplugin", "pytest_timeout", "xdist",
}  # fmt: skip
_BINARY = (".pth", ".pyc", ".pyo", ".so", ".pyd", ".egg-link", ".pyw")


class Guard:
    """Which paths a patch of an answer may not touch.

    before      the repository's files
    right       the same after the golden patch; `before` itself where that is not known
    test_files  what the answer lays over the repository
    named       the files of the named tests
    """

    def __init__(
        self,
        before: Mapping[str, str],
        right: Mapping[str, str],
        test_files: Mapping[str, str] | None = None,
        named: Collection[str] = (),
    ) -> None:
        self.before, self.right = before, right
        self.tests = dict(test_files or {})
        self.named = frozenset(named)
        self.golden = frozenset(p for p in before.keys() | right.keys() if before.get(p) != right.get(p))
        self._known: dict[str, str | None] = {}

    def why(self, path: str) -> str | None:
        """Why a patch may not touch a path; None if it may."""
        if path not in self._known:
            self._known[path] = self._reason(path)
        return self._known[path]

    def _reason(self, path: str) -> str | None:
        parts = PurePosixPath(path).parts
        if path in self.named or path in self.tests:
            return "tests"
        # source lies in folders of tests, too: what the golden patch touches there may be mended
        if looks_like_tests(path) and (path not in self.golden or self._is_test(path)):
            return "tests"
        if settings(path):
            return "settings of the runner"
        if path.endswith(_BINARY) or any(
            re.search(r"\.(egg|dist)-info$|^__pycache__$|^\.git$", p) for p in parts
        ):
            return "what the interpreter loads by itself"
        if path in self.golden:
            return None
        if path not in self.before and (reason := self._shadowing(path)):
            return reason
        return self.support.get(path)

    def _is_test(self, path: str) -> bool:
        """Whether what looks like a test, and is touched by the golden patch, is one and no source."""
        if used_by_code(path, self.right, {*self.named, *self.tests}):
            return False
        if TESTS.fullmatch(PurePosixPath(path).name):
            return True
        # a helper among other things that are mended; the only thing that is mended is source
        source = [p for p in self.golden if not looks_like_tests(p) and not settings(p)]
        return bool(source) and supports(path, self.right.get(path, ""))

    @property
    def fault(self) -> str | None:
        """What is wrong with an answer whose golden patch mends nothing that a patch may touch."""
        if self.golden and all(map(self.why, self.golden)):
            return "the golden patch touches nothing but tests and settings"
        return None

    def _shadowing(self, path: str) -> str | None:
        """A new module would be imported in the place of one of the same name."""
        modules = {dotted(path, root) for root in ("", "src")} - {""}
        for module in modules:
            top = module.partition(".")[0]
            if (top in _RUNNER or top in sys.stdlib_module_names) and not self._held(top):
                return "a name of the standard library or of the runner"
        guarded = {*self.named, *self.tests, *self.support}
        taken = {dotted(other, root) for other in guarded for root in ("", "src")} - {""}
        # a package that is installed, and that the repository has none of
        if any(module.partition(".")[0] in self._foreign for module in modules):
            return "a name of what tests use"
        return "a name of what tests use" if modules & taken else None

    @cached_property
    def _foreign(self) -> frozenset[str]:
        """The top-level modules that tests import from elsewhere: not even the golden patch makes them."""
        files = {**self.right, **self.tests}
        named = {
            name.partition(".")[0]
            for path in {*self.named, *self.tests, *self.support} & files.keys()
            if path.endswith(".py")
            for name in imports(parsed(files[path]))
        }
        own = {
            part for path in (*self.before, *files) for part in PurePosixPath(path.removesuffix(".py")).parts
        }
        return frozenset(named - own)

    def _held(self, module: str) -> bool:
        """Whether the repository has a top-level module of this name already."""
        return any(
            path.startswith((f"{module}/", f"src/{module}/")) or path in (f"{module}.py", f"src/{module}.py")
            for path in self.before
        )

    @cached_property
    def support(self) -> Mapping[str, str]:
        """What only tests use of the repository: helpers and data, with why."""
        files = {**self.right, **self.tests}
        roots = [p for p in files if p in self.named or p in self.tests or p.endswith("conftest.py")]
        return helpers_and_data(files, roots, self.golden)

    def restored(self, after: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """The files to be tested, and what of a patch was taken back (path -> why).

        The answer's tests and settings are laid over last: a patch can't delete or pre-empt them.
        """
        files, taken_back = dict(after), {}
        for path in self.before.keys() | after.keys():
            if self.before.get(path) != after.get(path) and (why := self.why(path)):
                # what the golden patch does there is done by the answer
                if after.get(path) != self.right.get(path):
                    taken_back[path] = why
                files.pop(path, None)
                if path in self.before:
                    files[path] = self.before[path]
        for path in self.golden:
            if self.why(path):
                files.pop(path, None)
                if path in self.right:
                    files[path] = self.right[path]
        files |= self.tests
        self._without_clashes(files, after, taken_back)
        return files, taken_back

    def _without_clashes(
        self, files: dict[str, str], after: Mapping[str, str], taken_back: dict[str, str]
    ) -> None:
        """Take out new files of a patch that stand where what was put back needs a folder, or below it."""
        folders = {str(p) for path in files for p in PurePosixPath(path).parents}
        for path in (after.keys() - self.before.keys()) & files.keys():
            above = {str(p) for p in PurePosixPath(path).parents}
            if path in folders or above & (files.keys() - after.keys()):
                taken_back[path] = "in the way of what was put back"
        for path in taken_back.keys() & files.keys():
            if taken_back[path].startswith("in the way"):
                del files[path]
