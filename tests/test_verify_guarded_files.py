"""Whatever a patch leaves of a repository, what tests need is as the answer has it, and nothing raises."""

import random

import pytest
from swe_cases import BROKEN, CORE, FILES, FIXED, IDS, PATH, TESTS

from cascade_rl.protocols import Execution
from cascade_rl.sandbox.pool import check
from cascade_rl.verify.suites.guarded_files import Guard
from cascade_rl.verify.suites.repository_tests import plan_of, read_run
from cascade_rl.verify.suites.tests_only import helpers_and_data

REPOSITORY = FILES | {
    "shapes/checks.py": "def equal(a, b):\n    return a == b\n",
    "shapes/units.py": "UNIT = 1\n",
    "shapes/__init__.py": "from shapes.units import UNIT\n",
    "shapes/api.py": "from shapes.core import area\n\n\ndef areas(rows):\n    return [area(*row) for row in rows]\n",
    "tests/__init__.py": "",
    "tests/util.py": "from shapes.core import pair\n",
    "tests/data.json": "[1]",
    "data/areas.json": "[2]",
    "data/units.json": "[3]",
    "conftest.py": "import pytest\n",
    "setup.cfg": "[tool:pytest]\n",
    "README.md": "Shapes.\n",
}
MORE = (
    TESTS
    + """
from shapes.api import areas
from shapes.checks import equal
from shapes.units import UNIT

DATA = ("data/areas.json", "data/units.json")
"""
)
RIGHT = REPOSITORY | {CORE: FIXED}
KEPT = (
    "tests/__init__.py",
    "tests/util.py",
    "tests/data.json",
    "data/areas.json",
    "conftest.py",
    "setup.cfg",
    "shapes/checks.py",
)
PIECES = ("tests", "shapes", "checks", "checks.py", "core.py", "conftest.py", "x", "data", "areas.json", "test_shapes.py", "src",
          "json.py", "a b", "é", "\u2028", "x" * 300, "__pycache__", "x.pth", "setup.cfg", "..x", "junit.xml")  # fmt: skip
TEXTS = ("", "x", "\0", "\udcff", "\ud800", "\ufeff", "def (", "assert 0\n", "\r\n", "x" * 5000)


def guard():
    files = REPOSITORY | {"shapes/units.py": "UNIT = open('data/units.json')\n"}
    return Guard(files, files | {CORE: FIXED}, {PATH: MORE}, [PATH])


def test_what_only_tests_use_is_found():
    found = helpers_and_data(RIGHT | {PATH: MORE}, [PATH, "conftest.py"], {CORE})
    assert set(found) == {"shapes/checks.py", "data/areas.json", "data/units.json"}
    kept = guard()
    assert kept.why("data/units.json") is None and kept.why("shapes/units.py") is None
    # it leads to what the golden patch mends: where an honest repair may stand as well
    assert kept.why("shapes/api.py") is None and kept.why(CORE) is None and kept.why("README.md") is None
    assert all(kept.why(path) for path in (*KEPT, PATH))


def patched(rng):
    files = dict(guard().before)
    for _ in range(rng.randint(1, 6)):
        match rng.randrange(4):
            case 0:
                files.pop(rng.choice(list(files)), None)
            case 1:
                files[rng.choice(list(files) or ["x"])] = rng.choice(TEXTS)
            case 2:
                files["/".join(rng.choices(PIECES, k=rng.randint(1, 4)))] = rng.choice(TEXTS)
            case 3:
                path = rng.choice(list(files) or ["x"])
                files.pop(path, None)
                files[rng.choice((path + "/x.py", path.rpartition("/")[0] or "x"))] = rng.choice(TEXTS)
    return files


@pytest.mark.parametrize("seed", range(4))
def test_no_patch_moves_what_tests_need_and_none_raises(seed):
    rng, kept = random.Random(seed), guard()
    plan = plan_of(kept.restored(kept.before)[0], [f"{PATH}::{name}" for name in IDS], random.Random(0))
    runnable = 0
    for _ in range(800):
        after = patched(rng)
        files, taken_back = kept.restored(after)
        assert {path: files[path] for path in KEPT} == {path: kept.before[path] for path in KEPT}
        assert files[PATH] == MORE and "conftest.py/x.py" not in files and "tests" not in files
        # all else is the patch's
        changed = {p for p in files if kept.before.get(p) != files[p]} - {PATH}
        assert all(after.get(path) == files[path] and kept.why(path) is None for path in changed)
        assert all(path in after or path in kept.before for path in taken_back)
        program = plan.program(files, 5.0)
        try:
            check(program)
            runnable += 1
        except ValueError:
            pass  # the sandbox runs nothing then, and says so as the program's own end
    assert runnable > 200


def test_no_report_raises_and_none_but_the_right_one_passes():
    rng = random.Random(1)
    plan = plan_of({PATH: TESTS}, [f"{PATH}::{name}" for name in IDS], random.Random(0))
    rows = [f'<testcase classname="{c}" name="{n}">{"<failure/>" * ((c, n) in plan.canaries)}</testcase>\n'
            for c, n in [*plan.wanted, *plan.canaries]]  # fmt: skip
    right = "<testsuites><testsuite>" + "".join(rows) + "</testsuite></testsuites>"
    assert read_run(plan, Execution("", "", 1, files={"junit.xml": right})).right
    for _ in range(3000):
        report = right
        for _ in range(rng.randint(1, 3)):
            at, to = sorted(rng.choices(range(len(report)), k=2))
            to = min(to, at + 40)
            part = rng.choice(
                (
                    "",
                    "\udcff",
                    "\0",
                    "<",
                    ">",
                    "&",
                    "failure",
                    "<skipped/>",
                    "]]>",
                    "<!--",
                    "<?x",
                    report[at:to] * 2,
                )
            )
            report = report[:at] + part + report[to:]
        result = read_run(plan, Execution("", "", 1, files={"junit.xml": report}))
        # what is left right reads as the right one does: a change outside of what counts
        if result.right:
            again = read_run(
                plan, Execution("", "", 1, files={"junit.xml": report.replace("<failure", "<passed")})
            )
            assert again.caught


def test_a_file_of_a_broken_repository_is_no_reason_to_raise():
    files = {
        "a.py": "def (",
        "b.py": "\0",
        PATH: "import a, b\n\n\ndef test_a():\n    assert a.f() == 1\n",
        CORE: BROKEN,
    }
    kept = Guard(files, files | {CORE: FIXED}, {}, [PATH])
    assert kept.restored(files | {"a.py": "x = 1\n"})[0][PATH] == files[PATH]
