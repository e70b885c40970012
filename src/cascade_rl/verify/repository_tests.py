"""Judge a repair by the repository's own tests, run by pytest in a sandbox, when the repair may try to cheat.

The candidate's code and pytest share a process, so what the process says is not believed by itself. What a
patch does to tests, to the runner's configuration or to the import system is taken back before the run; the
runner has its own configuration; the result is read from the JUnit file, never from the output; every named
test must be in it exactly once and pass, nothing else may be in it, the canaries (`canaries`) must be in it
and fail, and so must the run as a whole. A forgery has to know which tests are canaries. docs/swe.md says
what this can't rule out.
"""

from __future__ import annotations

import importlib.util
import json
import random
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from cascade_rl.protocols import Execution, Program
from cascade_rl.verify.canaries import MixedFile, with_canaries

START, SETTINGS, REPORT = "_start_tests.py", "_tests.ini", "junit.xml"
OWN = frozenset({START, SETTINGS, REPORT})
TESTS_FAILED = 1  # pytest's exit code when some tests failed: with canaries, the only right one
LONGEST_REPORT = 8_000_000  # characters; the sandbox collects 8 MB together

# pytest is imported before the repository can be, and the repository stands between the standard library and
# the installed packages: it may be a newer version of one of these, and must not replace what the runner is
# made of.
START_TEXT = """\
import os, sys
job = sys.stdin.read()
root = os.getcwd()
sys.path[:] = [path for path in sys.path if path not in ("", root)]
sys.dont_write_bytecode = True
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
import json, pytest, _pytest.junitxml, _pytest.assertion.rewrite
sys.path.insert(sys.path.index(os.path.dirname(os.path.dirname(pytest.__file__))), root)
sys.argv[:] = ["pytest"]
sys.exit(int(pytest.main(json.loads(job)["arguments"])))
"""
# importlib mode leaves sys.path as it is set above; own settings, and no cache from a run before
ARGUMENTS = (
    "-c", SETTINGS, "--rootdir=.", "--import-mode=importlib", "-p", "no:cacheprovider", "-q",
    "--continue-on-collection-errors", f"--junit-xml={REPORT}", "-o", "junit_family=xunit1",
)  # fmt: skip

_SETTINGS_FILES = {
    "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "pyproject.toml", "tox.ini",
    "setup.cfg", "setup.py", "noxfile.py", "sitecustomize.py", "usercustomize.py", "pyvenv.cfg",
}  # fmt: skip
# what pytest imports, or would if it were there
_RUNNER = {
    "pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli",
    "colorama", "hypothesis", "_hypothesis_pytestplugin", "pytest_timeout", "xdist",
}  # fmt: skip
_BINARY = (".pth", ".pyc", ".pyo", ".so", ".pyd", ".egg-link")


def off_limits(
    path: str, before: Mapping[str, str], test_files: Mapping[str, str], golden: Collection[str] = ()
) -> str | None:
    """Why a patch may not touch this path; None if it may. `golden`: what the golden patch touches."""
    parts = PurePosixPath(path).parts
    name = parts[-1]
    looks_like_tests = re.fullmatch(r"test_.*\.py|.*_test\.py", name) or {"test", "tests"} & set(parts[:-1])
    # a golden patch may touch a folder of tests, for source lies in such folders, too
    if path in test_files or (looks_like_tests and path not in golden):
        return "tests"
    if name in _SETTINGS_FILES or name in OWN:
        return "settings of the runner"
    if name.endswith(_BINARY) or any(
        re.search(r"\.(egg|dist)-info$|^__pycache__$|^\.git$", part) for part in parts
    ):
        return "what the interpreter loads by itself"
    # a new module of such a name would be imported in the place of the real one
    module = parts[0].removesuffix(".py")
    if (
        path not in before
        and (module in _RUNNER or module in sys.stdlib_module_names)
        and not _held(module, before)
    ):
        return "a name of the standard library or of the runner"
    return None


def _held(module: str, before: Mapping[str, str]) -> bool:
    """Whether the repository has a top-level module of this name already."""
    return any(path == f"{module}.py" or path.startswith(f"{module}/") for path in before)


def restored(
    before: Mapping[str, str],
    after: Mapping[str, str],
    test_files: Mapping[str, str],
    golden: Collection[str] = (),
) -> tuple[dict[str, str], dict[str, str]]:
    """The files to be tested, and what of the patch was taken back (path -> why).

    The tests that come with the answer are laid over last: a patch can't delete or pre-empt them.
    """
    files, taken_back = dict(after), {}
    for path in before.keys() | after.keys():
        if before.get(path) != after.get(path) and (why := off_limits(path, before, test_files, golden)):
            taken_back[path] = why
            files.pop(path, None)
            if path in before:
                files[path] = before[path]
    return files | dict(test_files), taken_back


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """A program that runs tests, and how to read its report; keys are pairs (classname, name) of JUnit.

    wanted     node ids of the tests that must pass, by key
    canaries   keys of the tests that must fail
    """

    program: Program
    wanted: Mapping[tuple[str, str], str]
    canaries: frozenset[tuple[str, str]]


def run_of(
    files: Mapping[str, str],
    node_ids: Sequence[str],
    rng: random.Random,
    timeout_s: float,
    packages: Sequence[str] = (),
) -> SuiteRun:
    """A run of the named tests with canaries, which sees pytest and `packages` of those that are installed.

    Raises ValueError when a test's file is missing or no Python, and ModuleNotFoundError without pytest.
    """
    # the grader's fault, raised: an absent pytest would make every test fail
    if importlib.util.find_spec("pytest") is None:
        raise ModuleNotFoundError("grading by tests needs pytest: pip install pytest", name="pytest")
    if not node_ids:
        raise ValueError("no tests are named")
    files = dict(files)
    wanted: dict[tuple[str, str], str] = {}
    canaries: set[tuple[str, str]] = set()
    arguments: list[str] = []
    by_file: dict[str, list[str]] = {}
    for node_id in dict.fromkeys(node_ids):
        by_file.setdefault(node_id.partition("::")[0], []).append(node_id)
    for path, ids in sorted(by_file.items()):
        if path not in files:
            raise ValueError(f"there is no test file {path}")
        mixed = _mixed(path, files[path], ids, rng)
        files[path] = mixed.text
        new_ids = [_renamed(node_id, mixed.renamed) for node_id in ids]
        wanted |= {_key(new): old for new, old in zip(new_ids, ids, strict=True)}
        extra = [f"{path}::{name}" for name in mixed.canaries]
        canaries |= {_key(node_id) for node_id in extra}
        arguments += new_ids + extra
    # tests run in the order of their names here: canaries must not come last
    rng.shuffle(arguments)
    job = json.dumps({"arguments": [*ARGUMENTS, *arguments]})
    own = {START: START_TEXT, SETTINGS: "[pytest]\n"}
    program = Program(
        files | own, START, job, timeout_s, profile="tests", collect=(REPORT,), packages=("pytest", *packages)
    )
    return SuiteRun(program, wanted, frozenset(canaries))


def _mixed(path: str, text: str, ids: Sequence[str], rng: random.Random) -> MixedFile:
    names = [node_id.split("::")[1].partition("[")[0] for node_id in ids if "::" in node_id]
    try:
        return with_canaries(text, list(dict.fromkeys(names)), rng)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"the test file {path} is no Python: {error}") from None


def _renamed(node_id: str, names: Mapping[str, str]) -> str:
    path, *parts = node_id.split("::")
    if not parts:
        raise ValueError(f"{node_id!r} names no test: want path::test")
    name, bracket, rest = parts[0].partition("[")
    return "::".join([path, names.get(name, name) + bracket + rest, *parts[1:]])


def _key(node_id: str) -> tuple[str, str]:
    """How JUnit names a test: file and classes as a dotted path, then the function with its parameters."""
    head, bracket, parameters = node_id.partition("[")
    path, *names = head.split("::")
    return ".".join([path.removesuffix(".py").replace("/", "."), *names[:-1]]), names[
        -1
    ] + bracket + parameters


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What a run showed: which named tests passed, and why the whole run is not to be believed, if so."""

    passed: Mapping[str, bool] = field(default_factory=dict)
    doubt: str = ""

    @property
    def right(self) -> bool:
        """Whether every named test passed in a run that can be believed."""
        return not self.doubt and bool(self.passed) and all(self.passed.values())


def read_run(run: SuiteRun, execution: Execution) -> SuiteResult:
    """Read the report of a run; a test that is not in it, or there twice, has not passed."""
    states = _states(execution.files.get(REPORT, ""))
    passed = {node_id: states.get(key) == ["passed"] for key, node_id in run.wanted.items()}
    doubt = ""
    if not states:
        doubt = "the runner left no report"
    elif all(passed.values()) and any(states.get(key, ["failure"]) != ["failure"] for key in run.canaries):
        # Asked only where it matters: what a canary expects may be what wrong code happens to give.
        doubt = "a test passed that can't be passed"
    elif not run.canaries <= states.keys():
        doubt = "a test is missing that must fail"
    elif states.keys() - run.wanted.keys() - run.canaries:
        doubt = "the report holds tests that were not asked for"
    elif execution.exit_code != TESTS_FAILED:
        doubt = f"the runner ended with {execution.exit_code}, and should with {TESTS_FAILED}"
    return SuiteResult(passed, doubt)


def _states(report: str) -> dict[tuple[str, str], list[str]]:
    """The states of every test in a JUnit report, by key; none when it can't be read."""
    # no entities, which could blow up a small file
    if not report or len(report) > LONGEST_REPORT or "<!DOCTYPE" in report or "<!ENTITY" in report:
        return {}
    try:
        cases = list(ET.fromstring(report).iter("testcase"))
    except ET.ParseError:
        return {}
    states: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        marks = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        key = case.get("classname", ""), case.get("name", "")
        # all states of one key: a test that stands there twice, once passed, has not passed
        states.setdefault(key, []).extend(marks or ["passed"])
    return states
