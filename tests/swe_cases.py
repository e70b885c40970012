"""A repository with a bug, its tests and its repairs, as the tests of swe's verdict by execution use them."""

import asyncio

from cascade_rl.grading.suites import run_suite
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.types import Outcome, Verdict
from cascade_rl.verify.patches.appraise import apply_patch, unified_diff
from cascade_rl.verify.patches.errors import PatchError

SANDBOX = ZygoteSandbox()
CORE = "shapes/core.py"
BROKEN = """\
def area(w, h):
    return w + h


def label(n):
    return 'n' + n


def pair(a, b):
    return [b, a]


def half(n):
    return n // 2


def even(n):
    return n % 2 == 1


def sides(n):
    return {"left": n, "right": n}
"""
FIXED = (
    BROKEN.replace("w + h", "w * h").replace("'n' +", "'n=' +").replace("[b, a]", "[a, b]").replace("n // 2", "n / 2")
    .replace("== 1", "== 0").replace('"right": n}', '"right": 2 * n}')
)  # fmt: skip
TESTS = """\
import unittest
import pytest
from shapes.core import area, even, half, label, pair, sides


def test_area():
    assert area(2, 3) == 6
    assert area(4, 5) == 20


def test_label():
    assert label("x1") == "n=x1"


def test_pair():
    assert pair(1, 2) == [1, 2]


def test_half(tmp_path):
    assert half(3) == pytest.approx(1.5)


@pytest.mark.parametrize("n, r", [(2, True), (3, False), (10, True)])
def test_even(n, r):
    assert even(n) is r


@pytest.mark.parametrize("w, r", [(2, 14), (3, 21), (10, 70)])
def test_areas(w, r):
    assert area(w, 7) == r


class TestSides:
    def test_sides(self):
        assert sides(2) == {"left": 2, "right": 4}


class TestUnit(unittest.TestCase):
    def test_unit(self):
        self.assertEqual(area(9, 9), 81)
"""
IDS = ["test_area", "test_label", "test_pair", "test_half", "test_even[2-True]", "test_even[3-False]", "test_even[10-True]",
       "test_areas[2-14]", "test_areas[3-21]", "test_areas[10-70]", "TestSides::test_sides", "TestUnit::test_unit"]  # fmt: skip
FILES = {"shapes/__init__.py": "", CORE: BROKEN}
PATH = "tests/test_shapes.py"


def answer(files=FILES, tests=TESTS, ids=IDS, right=None, path=PATH, laid_over=True, **more):
    right = right or files | {CORE: FIXED}
    given = {"files": files, "patch": unified_diff(files, right), "timeout_s": 20,
             "tests": {"fail_to_pass": [f"{path}::{name}" for name in ids]}}  # fmt: skip
    return given | ({"test_files": {path: tests}} if laid_over else {}) | more


def verdicts(given, *patches, sandbox=SANDBOX):
    """The verdicts of the tests in the candidate's process: the weaker level, where most can be tried."""

    async def of(patch):
        try:
            files = apply_patch(patch, given["files"])
        except PatchError as error:  # refused before any test runs, as the domain does
            return Verdict(0.0, Outcome.UNPARSEABLE, note=str(error))
        return await run_suite(given, files, sandbox, float("inf"))

    async def all_of_them():
        return await asyncio.gather(*map(of, patches))

    return asyncio.run(all_of_them())


def rewards(given, *afters):
    return [v.reward for v in verdicts(given, *(unified_diff(given["files"], after) for after in afters))]
