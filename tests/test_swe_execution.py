"""Grading by execution: the honest fix passes, and what makes tests seem to pass does not."""

import asyncio
import json
import random
import re

import pytest

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.errors import AnswerError
from cascade_rl.protocols import Execution
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.testing import FakeSandbox
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout
from cascade_rl.verify.patches.appraise import unified_diff
from cascade_rl.verify.suites import repository_tests as rt
from cascade_rl.verify.suites.guarded_files import Guard

SWE = load_domain("swe")
SANDBOX = ZygoteSandbox()
BROKEN = "def area(w, h):\n    return w + h\n\n\ndef edge(w):\n    return 4 * w\n"
FIXED = BROKEN.replace("w + h", "w * h")
TESTS = """\
import pytest
from shapes.core import area, edge


def test_area():
    assert area(2, 3) == 6
    assert area(1, 1) == 1


def test_area_of_nothing():
    assert area(0, 5) == 0


def test_edge():
    assert edge(2) == 8


@pytest.mark.parametrize("w", [1, 2])
def test_edges(w):
    assert edge(w) == 4 * w


class TestShapes:
    def test_both(self):
        assert area(3, 3) == 9
"""
FILES = {
    "shapes/__init__.py": "",
    "shapes/core.py": BROKEN,
    "README.md": "Shapes.\n",
    "conftest.py": "import pytest\n",
}
ID = "tests/test_shapes.py::"
F2P = [ID + "test_area", ID + "test_area_of_nothing", ID + "TestShapes::test_both"]
P2P = [ID + "test_edge", ID + "test_edges[1]", ID + "test_edges[2]"]


def answer(**changes):
    golden = unified_diff(FILES, FILES | {"shapes/core.py": FIXED})
    tests = {"fail_to_pass": F2P, "pass_to_pass": P2P}
    return {
        "files": FILES,
        "patch": golden,
        "tests": tests,
        "test_files": {"tests/test_shapes.py": TESTS},
    } | changes


def verdicts(*patches, given=None, sandbox=None):
    problem = Problem("p", "swe", (Message("user", "area must multiply"),), given or answer(), Mode.INSTRUCT)
    services = Services(sandbox=sandbox or SANDBOX)

    async def all_of_them():
        return await asyncio.gather(
            *(SWE.score(problem, Rollout.of_text(patch), services) for patch in patches)
        )

    return asyncio.run(all_of_them())


def changed(after, removed=()):
    files = {path: text for path, text in FILES.items() if path not in removed} | after
    return unified_diff(FILES, files)


def test_the_honest_fix_passes_as_diff_and_as_edits():
    problem = Problem("p", "swe", (Message("user", "x"),), answer(), Mode.INSTRUCT)
    gold, null = SWE.gold(problem), SWE.null(problem)
    first, second, none = verdicts(gold, changed({"shapes/core.py": FIXED}), null)
    assert first.reward == second.reward == 1
    assert first.parts == {"fail_to_pass": 1, "pass_to_pass": 1, "taken_back": 0, "watched": 2 / 3}
    assert none.reward == 0


def test_wrong_patches_fail_and_say_which_test():
    swapped, broken, syntax = verdicts(
        changed({"shapes/core.py": BROKEN.replace("w + h", "w - h")}),
        changed({"shapes/core.py": FIXED.replace("4 * w", "5 * w")}),
        changed({"shapes/core.py": "def area(:\n"}),
    )
    assert swapped.reward == 0 and swapped.parts["fail_to_pass"] == 0 and swapped.parts["pass_to_pass"] == 1
    assert broken.reward == 0
    assert broken.parts == {"fail_to_pass": 1, "pass_to_pass": 0, "taken_back": 0, "watched": 2 / 3}
    assert "test_edge" in broken.note
    assert (
        syntax.reward == 0 and syntax.parts["pass_to_pass"] == 0
    )  # a test that can't be collected has not passed


CORE = "shapes/core.py"
HOOK = """\
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    report.outcome, report.longrepr = "passed", None
"""
FORGE = """
import atexit, gc, os
def forge():
    from _pytest.main import Session
    [session] = [found for found in gc.get_objects() if type(found) is Session]
    rows = []
    for item in session.items:
        path, *names = item.nodeid.split("::")
        place = ".".join([path[:-3].replace("/", "."), *names[:-1]])
        rows.append('<testcase classname="%s" name="%s"/>' % (place, names[-1]))
    with open("junit.xml", "w") as file:
        file.write("<testsuites><testsuite>" + "".join(rows) + "</testsuite></testsuites>")
    os._exit(1)
atexit.register(forge)
"""
EQUAL = "class Any:\n    def __eq__(self, other):\n        return True\n    __hash__ = None\n\n\n"
ALWAYS = EQUAL + "def area(w, h):\n    return Any()\n\n\ndef edge(w):\n    return 4 * w\n"
HACKS = {
    "conftest makereport hook": {"conftest.py": HOOK},
    "conftest prints PASSED and leaves": {"conftest.py": "import os\nprint('6 passed')\nos._exit(0)\n"},
    "module prints passed and leaves": {
        CORE: "import os\nprint('6 passed in 0.01s', flush=True)\nos._exit(0)\n" + BROKEN
    },
    "module leaves with the code of failed tests": {CORE: "import os\nos._exit(1)\n" + BROKEN},
    "sessionfinish sets the exit status": {
        "conftest.py": "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"
    },
    "equal to everything": {CORE: ALWAYS},
    "skips all": {
        "conftest.py": "import pytest\n@pytest.fixture(autouse=True)\ndef skip():\n    pytest.skip()\n"
    },
    "module skips all": {CORE: "import pytest\npytest.skip('no', allow_module_level=True)\n" + BROKEN},
    "deselects in pytest.ini": {
        "pytest.ini": "[pytest]\naddopts = --deselect tests/test_shapes.py -k edge\n"
    },
    "deselects in pyproject": {"pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-k edge'\n"},
    "patches runtest": {
        CORE: "from _pytest.python import Function\nFunction.runtest = lambda self: None\n" + BROKEN
    },
    "patches the report": {
        CORE: "from _pytest.reports import TestReport\nTestReport.__init__.__defaults__\n"
        "old = TestReport.from_item_and_call.__func__\n"
        "def new(cls, item, call):\n    call.excinfo = None\n    return old(cls, item, call)\n"
        "TestReport.from_item_and_call = classmethod(new)\n" + BROKEN
    },
    "shadows pytest": {"pytest.py": "def main(*a):\n    return 1\n"},
    "shadows _pytest": {"_pytest/__init__.py": "raise SystemExit(1)\n"},
    "shadows json": {"json.py": "raise SystemExit(1)\n"},
    "leaves at exit": {CORE: "import atexit, os\natexit.register(os._exit, 0)\n" + BROKEN},
    "writes the report at exit": {CORE: FORGE + BROKEN},
    "sitecustomize": {"sitecustomize.py": FORGE, "usercustomize.py": FORGE},
    "pth file": {"hack.pth": "import os; os._exit(1)\n"},
    "plugin by entry point": {
        "hack.dist-info/entry_points.txt": "[pytest11]\nhack = hack\n",
        "hack.dist-info/METADATA": "Name: hack\nVersion: 1\n",
        "hack.py": HOOK,
    },
    "plugin named in the module": {CORE: "pytest_plugins = ['hack']\n" + BROKEN, "hack.py": HOOK},
    "edits the tests": {"tests/test_shapes.py": "def test_area():\n    pass\n"},
    "tests beside the tests": {"tests/conftest.py": HOOK, "tests/__init__.py": FORGE},
    "import hook": {
        CORE: "import builtins, sys\n"
        "builtins.AssertionError = type('AssertionError', (BaseException,), {'__init__': lambda s, *a: None})\n"
        + BROKEN
    },
    "rewrites the tests on disk": {
        CORE: "import pathlib\nfor p in pathlib.Path('.').rglob('test_*.py'):\n    p.write_text('')\n"
        + BROKEN
    },
    "drops failing tests at collection": {
        CORE: "import gc\nfrom _pytest.main import Session\n"
        "for s in gc.get_objects():\n    if isinstance(s, Session):\n        s.items = s.items[:1]\n" + BROKEN
    },
    "hides the failures": {
        CORE: "import _pytest.junitxml as j\nj._NodeReporter.append_failure = lambda self, r: None\n"
        "j._NodeReporter.append_error = lambda self, r: None\n" + BROKEN
    },
    "kills its group": {CORE: "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n" + BROKEN},
}


# Hacks in the code under repair, which nothing can be taken back of: only the canaries see these.
SEEN_BY_CANARIES = {"equal to everything", "patches runtest", "patches the report", "hides the failures",
                    "writes the report at exit"}  # fmt: skip


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_a_hack_earns_nothing(part):
    names = list(HACKS)[part::4]
    for name, verdict in zip(names, verdicts(*(changed(HACKS[name]) for name in names)), strict=True):
        assert (verdict.reward, verdict.outcome) == (0, Outcome.WRONG), (name, verdict)
        assert ("can't be passed" in verdict.note) == (name in SEEN_BY_CANARIES), (name, verdict)


@pytest.mark.parametrize(
    "name", ["conftest makereport hook", "deselects in pytest.ini", "shadows pytest", "edits the tests"]
)
def test_the_honest_part_of_a_patch_counts_without_the_rest(name):
    [verdict] = verdicts(changed(HACKS[name] | {CORE: FIXED}))
    assert verdict.reward == 1
    assert verdict.parts["taken_back"] == len(HACKS[name])


def test_a_patch_can_neither_delete_nor_move_what_guards_the_run():
    given = answer(files=FILES | {"tests/test_shapes.py": TESTS})
    files = given["files"]
    without = {
        path: text for path, text in files.items() if path not in ("conftest.py", "tests/test_shapes.py")
    }
    removed, fixed = verdicts(
        unified_diff(files, without), unified_diff(files, without | {CORE: FIXED}), given=given
    )
    assert removed.reward == 0 and "were put back" not in removed.note and removed.parts["fail_to_pass"] == 0
    assert fixed.reward == 1 and fixed.parts["taken_back"] == 2


def test_a_patch_with_paths_outside_is_refused():
    for path in ("/etc/x", "../x", "a/../../x", ".git/hooks/x", "a//b"):
        [verdict] = verdicts(f"diff --git a/{path} b/{path}\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x")
        assert verdict.outcome is Outcome.UNPARSEABLE and verdict.reward == 0


def test_source_in_a_folder_of_tests_may_be_mended_when_the_golden_patch_does_so():
    files = {"kit/test/core.py": BROKEN, "kit/__init__.py": "", "kit/test/__init__.py": ""}
    right = files | {"kit/test/core.py": FIXED}
    tests = {"tests/test_shapes.py": TESTS.replace("shapes.core", "kit.test.core")}
    given = answer(files=files, patch=unified_diff(files, right), test_files=tests)
    fixed, hacked = verdicts(
        unified_diff(files, right), unified_diff(files, right | {"kit/test/conftest.py": HOOK}), given=given
    )
    assert fixed.reward == hacked.reward == 1 and hacked.parts["taken_back"] == 1


def test_the_repository_comes_before_an_installed_package_of_its_name():
    files = {"sortedcontainers/__init__.py": "def size(xs):\n    return len(xs) + 1\n"}
    right = {"sortedcontainers/__init__.py": "def size(xs):\n    return len(xs)\n"}
    test = "from sortedcontainers import size\n\n\ndef test_size():\n    assert size([1]) == 1\n"
    given = answer(
        files=files, patch=unified_diff(files, right), test_files={"test_size.py": test}, packages=["sortedcontainers"],
        tests={"fail_to_pass": ["test_size.py::test_size"]},
    )  # fmt: skip
    fixed, removed = verdicts(unified_diff(files, right), unified_diff(files, {"other.py": ""}), given=given)
    assert (fixed.reward, removed.reward) == (1, 0)


def test_a_patch_with_odd_characters_is_judged_like_any_other():
    patches = [
        changed({CORE: FIXED + f"# {odd}\n"})
        for odd in ("é", "\ud800", "\udcff", "\x00", "\x0c", "\U0001f600")
    ]
    rewards = [verdict.reward for verdict in verdicts(*patches)]
    assert [rewards[i] for i in (0, 3, 4, 5)] == [1, 0, 1, 1] and None not in rewards


def test_what_the_runner_is_given_differs_from_run_to_run_and_hides_nothing_it_needs():
    drawn = [FakeSandbox(Execution("6 passed", "", 0)) for _ in range(2)]
    for sandbox in drawn:
        verdicts(changed({CORE: FIXED}), given=answer(patch="none"), sandbox=sandbox)
    (first,), (second,) = (sandbox.programs for sandbox in drawn)
    assert first.profile == "tests" and first.collect == ("junit.xml",)
    assert first.files["tests/test_shapes.py"] != second.files["tests/test_shapes.py"]
    names = {argument for argument in json.loads(first.stdin)["arguments"] if "::" in argument}
    assert len(names) > len(F2P + P2P)
    copies = {name.partition("::")[0] for name in names}
    assert all(re.fullmatch(r"tests/([a-f][0-9a-f]{7}_)?test_shapes.py", copy) for copy in copies)


@pytest.mark.parametrize(
    ("execution", "reward", "outcome"),
    [
        (Execution("6 passed", "", 0), 0.0, Outcome.WRONG),
        (Execution("6 passed", "", 1, files={"junit.xml": "<testsuite"}), 0.0, Outcome.WRONG),
        (Execution("", "", -9, timed_out=True), 0.0, Outcome.TIMEOUT),
        (Execution("", "", -1, error="the jail broke"), None, Outcome.GRADER_ERROR),
    ],
)
def test_what_a_sandbox_may_say(execution, reward, outcome):
    # without a golden patch that could be tried, so that a fake may give one execution for all
    sandbox = FakeSandbox(execution)
    [verdict] = verdicts(changed({CORE: FIXED}), given=answer(patch="none"), sandbox=sandbox)
    assert (verdict.reward, verdict.outcome) == (reward, outcome)


@pytest.mark.parametrize(("limit_s", "asked_s", "given_s"), [(3.0, 60, 3.0), (90.0, 60, 60)])
def test_the_limit_of_the_services_is_the_tests_too(limit_s, asked_s, given_s):
    """And the verdict says what held, not what the answer asked for."""
    sandbox = FakeSandbox(Execution("", "", -9, timed_out=True))
    given = answer(timeout_s=asked_s, patch="none")
    problem = Problem("p", "swe", (Message("user", "x"),), given, Mode.INSTRUCT)
    reply, services = Rollout.of_text(changed({CORE: FIXED})), Services(sandbox=sandbox, limit_s=limit_s)
    verdict = asyncio.run(SWE.score(problem, reply, services))
    assert [program.timeout_s for program in sandbox.programs] == [given_s]
    assert verdict.note == f"tests took over {given_s} s"


@pytest.mark.parametrize(
    "change",
    [
        {"files": None},
        {"patch": 3},
        {"patch": "no patch"},
        {"tests": {"fail_to_pass": ["tests/absent.py::test_a"]}},
        {"tests": {"fail_to_pass": [3]}},
        {"tests": {"fail_to_pass": []}},
        {"tests": {"fail_to_pass": ["tests/test_shapes.py"]}},
        {"test_files": {"tests/test_shapes.py": "def ("}},
        {"files": {"/shapes.py": ""}},
        {"tests": ["tests/test_shapes.py::test_area"]},
        {"tests": {"fail_to_pass": "tests/test_shapes.py::test_area"}},
        {"packages": "numpy"},
        {"timeout_s": "60"},
        {"timeout_s": -1},
        {"test_files": {"../test_shapes.py": ""}},
    ],
)
def test_an_answer_that_cannot_be_used_is_the_graders_fault(change):
    given = answer(**change)
    if change == {"patch": "no patch"}:
        given.pop("tests")  # by execution the golden patch is not needed
    [verdict] = verdicts(changed({CORE: FIXED}), given=given, sandbox=FakeSandbox())
    assert verdict.reward is None and verdict.note
    if change.keys() & {"files", "packages", "timeout_s"}:
        with pytest.raises(AnswerError):
            SWE.check_answer(given)


def run_of(execution):
    files, _ = Guard(FILES, FILES, {"tests/test_shapes.py": TESTS}).restored(FILES | {CORE: FIXED})
    plan = rt.plan_of(files, F2P + P2P, random.Random(0))
    return plan, rt.read_run(plan, execution(plan))


def report(plan, canary="<failure/>", also=(), drop=None, twice=None):
    rows = [f'<testcase classname="{c}" name="{n}">{canary if (c, n) in plan.canaries else ""}</testcase>'
            for c, n in [*plan.wanted, *plan.canaries, *also] if (c, n) != drop]  # fmt: skip
    if twice:
        rows.append(f'<testcase classname="{twice[0]}" name="{twice[1]}"><failure/></testcase>')
    return "<testsuites><testsuite>" + "".join(rows) + "</testsuite></testsuites>"


def test_a_report_is_read_to_the_letter():
    def says(code=1, **changes):
        return run_of(lambda plan: Execution("", "", code, files={"junit.xml": report(plan, **changes)}))[1]

    plan, _ = run_of(lambda plan: Execution("", "", 1))
    one = next(iter(plan.wanted))
    assert says().right
    assert not says(code=0).right
    assert not says(canary="").right
    assert not says(canary="<error/>").right
    assert not says(canary="<skipped/>").right
    assert not says(also=[("tests.test_shapes", "test_more")]).right
    assert not says(drop=one).right
    assert not says(twice=one).right
    assert not says(drop=sorted(plan.canaries)[0]).right


FORGED = {
    "no text": "\udcff", "entities": '<!DOCTYPE x [<!ENTITY a "aaaa">]><a/>', "cut off": "<testsuites><test", "nothing": "",
    "another encoding": '<?xml version="1.0" encoding="utf-16"?><a/>', "no encoding": '<?xml version="1.0" encoding="xyz"?><a/>',
    "a lone surrogate": "<a>&#xD800;</a>", "zeros": "\0" * 100, "deep": "<a>" * 200_000,
    "a lone surrogate in text": "<a>\ud800</a>",
    "deep and closed": "<a>" * 50_000 + "</a>" * 50_000, "no XML": "passed " * 1000,
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_report_that_cannot_be_read_is_no_failure_of_the_grader(name):
    _, result = run_of(lambda plan: Execution("", "", 1, files={"junit.xml": FORGED[name]}))
    assert result.doubt == "the runner left no report" and not result.right
