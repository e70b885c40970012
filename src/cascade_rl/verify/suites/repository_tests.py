"""Judge a repair by the repository's own tests, run by pytest in a sandbox, when the repair may try to cheat.

The candidate's code and pytest share a process, so what the process says is not believed by itself. What a
patch does to tests, to the runner's configuration or to the import system is taken back before the run
(`guarded_files`); the runner has its own configuration; the result is read from the JUnit file, never from
the output; every named test must be in it exactly once and pass, nothing else may be in it, the canaries
(`canaries`) must be in it and fail, and so must the run as a whole. A forgery has to know which tests are
canaries. docs/swe.md says what this can't rule out.
"""

from __future__ import annotations

import importlib.util
import json
import random
import xml.etree.ElementTree as ET
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from cascade_rl.protocols import Execution, Program
from cascade_rl.verify.suites.canaries import (
    COPIES,
    MixedFile,
    SuiteFile,
    Watched,
    choose,
    mix,
    split_id,
)

START, SETTINGS, REPORT = "_start_tests.py", "_tests.ini", "junit.xml"
TESTS_FAILED = 1  # pytest's exit code when some tests failed: with canaries, the only right one
LONGEST_REPORT = 8_000_000  # characters; the sandbox collects 16 MB together

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
job = json.loads(job)
paths = dict.fromkeys([*(os.path.normpath(os.path.join(root, path)) for path in job["paths"]), root])
place = sys.path.index(os.path.dirname(os.path.dirname(pytest.__file__)))
sys.path[place:place] = [path for path in paths if os.path.isdir(path)]
sys.argv[:] = ["pytest"]
sys.exit(int(pytest.main(job["arguments"])))
"""
# importlib mode leaves sys.path as it is set above; own settings, and no cache from a run before. Nobody
# reads how a test failed: no assertion is rewritten, no trace drawn.
ARGUMENTS = (
    "-c", SETTINGS, "--rootdir=.", "--import-mode=importlib", "-p", "no:cacheprovider", "-q",
    "--assert=plain", "--tb=no", "--continue-on-collection-errors", f"--junit-xml={REPORT}",
    "-o", "junit_family=xunit1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """Which tests are run under which names, and which must fail; it does not depend on a repair.

    texts      the test files and their copies, by path
    arguments  node ids for pytest: the order of copies is drawn, within a copy it is the file's
    wanted     node ids of the answer by key, a pair (classname, name) of JUnit
    canaries   keys of what must fail, by key whether who reads the file can tell it
    watched    the share of the named tests of whose form a canary can't be told so
    paths      folders that tests import from
    """

    texts: Mapping[str, str]
    arguments: tuple[str, ...]
    wanted: Mapping[tuple[str, str], str]
    canaries: Mapping[tuple[str, str], bool]
    watched: float
    paths: tuple[str, ...]

    def program(self, files: Mapping[str, str], timeout_s: float, packages: Sequence[str] = ()) -> Program:
        """The run on a repository, which sees pytest and `packages` of those that are installed."""
        job = json.dumps({"arguments": [*ARGUMENTS, *self.arguments], "paths": self.paths})
        own = {START: START_TEXT, SETTINGS: "[pytest]\n"}
        laid_out = {**files, **self.texts, **own}
        return Program(
            laid_out,
            START,
            job,
            timeout_s,
            profile="tests",
            collect=(REPORT,),
            packages=("pytest", *packages),
        )


def plan_of(
    files: Mapping[str, str],
    node_ids: Sequence[str],
    rng: random.Random,
    first: Collection[str] = (),
    canaries: bool = True,
) -> Plan:
    """A plan with canaries for the tests named by `node_ids`, those of `first` before others.

    Without `canaries` the tests run as they are, beside one that fails.
    Raises ValueError when a test's file is missing or no Python, and ModuleNotFoundError without pytest.
    """
    # the grader's fault, raised: an absent pytest would make every test fail
    if importlib.util.find_spec("pytest") is None:
        raise ModuleNotFoundError("grading by tests needs pytest: pip install pytest", name="pytest")
    suite = _suite_files(files, node_ids)
    chosen = choose(suite, frozenset(first), rng) if canaries else []
    copies = COPIES.get(len(chosen), 2)
    texts: dict[str, str] = {}
    wanted: dict[tuple[str, str], str] = {}
    failing: dict[tuple[str, str], bool] = {}
    groups: list[list[str]] = []
    for file in suite:
        mixed = mix(file, chosen, copies if canaries else 1, rng, frozenset(first))
        texts |= mixed.texts
        wanted |= {_key(new): old for old, new in mixed.real.items()}
        failing |= {_key(node_id): node_id in mixed.told for node_id in mixed.canaries}
        groups += _in_order(mixed)
    rng.shuffle(groups)
    if not failing:
        # nothing can be copied: one test of our own, which compares nothing of the candidate's
        path, name = suite[0].path, f"test_{rng.getrandbits(32):08x}"
        texts[path] += f"\n\ndef {name}():\n    assert [{rng.randint(1, 9)}] == []\n"
        failing[_key(f"{path}::{name}")] = True
        groups.append([f"{path}::{name}"])
    paths = tuple(dict.fromkeys(_root_of(file.path, files) for file in suite))
    arguments = tuple(node_id for group in groups for node_id in group)
    return Plan(texts, arguments, wanted, failing, _watched(suite, chosen), (*paths, "src"))


def _suite_files(files: Mapping[str, str], node_ids: Sequence[str]) -> list[SuiteFile]:
    if not node_ids:
        raise ValueError("no tests are named")
    by_file: dict[str, list[str]] = {}
    for node_id in dict.fromkeys(node_ids):
        path, names, _ = split_id(node_id)
        if not names:
            raise ValueError(f"{node_id!r} names no test: want path::test")
        by_file.setdefault(path, []).append(node_id)
    suite = []
    for path, ids in sorted(by_file.items()):
        if path not in files:
            raise ValueError(f"there is no test file {path}")
        try:
            suite.append(SuiteFile(path, files[path], ids))
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ValueError(f"the test file {path} is no Python: {error}") from None
    return suite


def _in_order(mixed: MixedFile) -> list[list[str]]:
    """The tests of each copy in the order of the file: a test may need what one above it has done."""
    groups: list[list[str]] = []
    for path in mixed.texts:
        mine = [
            node_id for node_id in (*mixed.real.values(), *mixed.canaries) if split_id(node_id)[0] == path
        ]
        mine = list(dict.fromkeys(mine))
        groups.append(sorted(mine, key=mixed.rank.__getitem__))
    return groups


def _root_of(path: str, files: Mapping[str, str]) -> str:
    """The folder from which a test file imports what lies beside it: the first that is no package."""
    folder = PurePosixPath(path).parent
    while str(folder) != "." and f"{folder}/__init__.py" in files:
        folder = folder.parent
    return str(folder)


def _watched(suite: Sequence[SuiteFile], chosen: Sequence[Watched]) -> float:
    """The share of named tests of a form that has a canary which only an answer tells."""
    forms = {test.form for test in chosen if len(test.values) > 1}
    form_of = {i: test.form for file in suite for test in file.watchable for i in test.ids}
    asked = [spelt for file in suite for spelt in file.asked.values()]
    return sum(form_of.get(node_id) in forms for node_id in asked) / len(asked)


def _key(node_id: str) -> tuple[str, str]:
    """How JUnit names a test: file and classes as a dotted path, then the function with its parameters."""
    head, bracket, parameters = node_id.partition("[")
    path, *names = head.split("::")
    place = ".".join([path.removesuffix(".py").replace("/", "."), *names[:-1]])
    return place, names[-1] + bracket + parameters


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What a run showed.

    passed   which named tests passed; `skipped`: which of the others were skipped, or failed as announced
    caught   keys of canaries that did not fail
    doubt    why the whole run is not to be believed, if so
    """

    passed: Mapping[str, bool] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()
    caught: frozenset[tuple[str, str]] = frozenset()
    doubt: str = ""

    @property
    def right(self) -> bool:
        """Whether every named test passed in a run that can be believed, and every canary failed."""
        return not self.doubt and not self.caught and bool(self.passed) and all(self.passed.values())


def read_run(plan: Plan, execution: Execution) -> SuiteResult:
    """Read the report of a run; a test that is not in it, or there twice, has not passed."""
    states = _states(execution.files.get(REPORT, ""))
    passed = {node_id: states.get(key) == ["passed"] for key, node_id in plan.wanted.items()}
    skipped = frozenset(i for key, i in plan.wanted.items() if states.get(key) == ["skipped"])
    caught = frozenset(key for key in plan.canaries if states.get(key) not in (["failure"], None))
    doubt = ""
    if not states:
        doubt = "the runner left no report"
    elif not plan.canaries.keys() <= states.keys():
        doubt = "a test is missing that must fail"
    elif states.keys() - plan.wanted.keys() - plan.canaries.keys():
        doubt = "the report holds tests that were not asked for"
    elif execution.exit_code != TESTS_FAILED:
        doubt = f"the runner ended with {execution.exit_code}, and should with {TESTS_FAILED}"
    return SuiteResult(passed, skipped, caught, doubt)


def _states(report: str) -> dict[tuple[str, str], list[str]]:
    """The states of every test in a JUnit report, by key; none when it can't be read.

    The report is the candidate's as much as pytest's: whatever it holds is no failure of the grader.
    """
    # no entities, which could blow up a small file
    if not report or len(report) > LONGEST_REPORT or "<!DOCTYPE" in report or "<!ENTITY" in report:
        return {}
    try:
        cases = list(ET.fromstring(report.encode("utf-8", "surrogateescape")).iter("testcase"))
    # bytes that are no text, an unknown encoding, markup that is not well-formed
    except (ET.ParseError, ValueError, LookupError):
        return {}
    states: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        marks = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        key = case.get("classname", ""), case.get("name", "")
        # all states of one key: a test that stands there twice, once passed, has not passed
        states.setdefault(key, []).extend(marks or ["passed"])
    return states
