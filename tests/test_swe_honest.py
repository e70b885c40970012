"""Right patches pass whatever the form of the tests, and what is not the reply's fault is not charged to it."""

import random

import pytest
from swe_cases import BROKEN, CORE, FILES, FIXED, IDS, TESTS, answer, rewards

from cascade_rl.grading import suites


@pytest.fixture(autouse=True)
def drawings(monkeypatch):
    """The same drawings of canaries in every run of a test."""
    suites._SUITES.clear()
    monkeypatch.setattr(suites.secrets, "randbits", random.Random(0).getrandbits)


def test_what_fails_with_the_golden_patch_too_is_the_answers_fault():
    wrong = FILES | {"other.py": ""}
    absent = answer(ids=[*IDS, "test_absent"])
    parameters = answer(ids=["test_even"])
    failing = answer(
        tests=TESTS + "\n\ndef test_odd():\n    assert area(1, 1) == 2\n", ids=["test_area", "test_odd"]
    )
    missing = answer(tests="import no_such_package\n" + TESTS)
    package = answer(packages=["no-such-package"])
    waiting = answer(tests="async def test_area():\n    assert 1\n", ids=["test_area"])
    slow = answer(tests="while True: pass\n", ids=["test_area"], timeout_s=0.5)
    for given in (absent, parameters, failing, missing, package, waiting, slow):
        assert rewards(given, wrong, FILES | {CORE: FIXED}) == [None, None]


def test_a_test_that_is_skipped_with_the_golden_patch_too_is_not_asked_for():
    more = "\n\n@pytest.mark.skip\ndef test_s():\n    pass\n\n\n@pytest.mark.xfail\ndef test_x():\n    assert area(1, 1) == 5\n"
    given = answer(tests=TESTS + more, ids=["test_area", "test_s", "test_x"])
    assert rewards(given, FILES | {CORE: FIXED}, FILES | {"other.py": ""}) == [1, 0]
    alone = answer(tests=TESTS + more, ids=["test_s"])
    assert rewards(alone, FILES | {CORE: FIXED}) == [None]


HONEST = {
    "early return": "def test_area():\n    if area(1, 1) == 1:\n        return\n    assert area(2, 3) == 7\n",
    "tolerant equality": "class Near:\n    def __init__(s, v): s.v = v\n    def __eq__(s, o): return abs(s.v - o) < 10\n"
                         "def test_area():\n    assert Near(area(2, 3)) == 6\n",
    "wide tolerance": "import pytest\ndef test_area():\n    assert area(2, 3) == pytest.approx(6, abs=20)\n",
    "once only": "CALLS = []\ndef test_area():\n    CALLS.append(1)\n    assert area(2, 3) == 6\n    assert len(CALLS) == 1\n",
    "once only, in the package": "import shapes\ndef test_area():\n    assert not hasattr(shapes, 'x')\n    shapes.x = 1\n"
                                 "    assert area(2, 3) == 6\n",
    "own name": "def test_area(request):\n    assert request.node.name == 'test_area' and __name__.endswith('test_shapes')\n"
                "    assert area(2, 3) == 6\n",
    "own file": "from pathlib import Path\ndef test_area():\n    assert Path(__file__).name == 'test_shapes.py'\n"
                "    assert area(2, 3) == 6\n",
    "own node": "def test_area(request):\n    assert request.node.nodeid == 'tests/test_shapes.py::test_area'\n"
                "    assert area(2, 3) == 6\n",
    "in order": "DONE = []\ndef test_area():\n    DONE.append(1)\n    assert area(2, 3) == 6\n"
                "def test_more():\n    assert DONE\n    assert area(2, 2) == 4\n",
    "a helper beside": "import util\ndef test_area():\n    assert area(2, util.three()) == 6\n",
    "a mark at the beginning": "\ufeffdef test_area():\n    assert area(2, 3) == 6\n",
    "form feed": "def test_none():\n    pass\n\f\ndef test_area():\n    assert area(2, 3) == 6\n",
    "helper by name": "def check_area(a, b):\n    assert a == b\ndef test_area():\n    check_area(area(2, 3), 6)\n",
    "no check by name": "def check_in(a, b):\n    pass\ndef test_area():\n    check_in(area(2, 3), 6)\n    assert area(2, 3)\n",
    "set up": "import unittest\nclass TestA(unittest.TestCase):\n    def setUp(self):\n        self.x = area(2, 3)\n"
              "    def test_area(self):\n        self.assertEqual(self.x, 6)\n",
    "inherited": "class Base:\n    def test_area(self):\n        assert area(2, 3) == self.want\n"
                 "class TestA(Base):\n    want = 6\n",
    "raises": "import pytest\ndef test_area():\n    with pytest.raises(TypeError):\n        area(None, None)\n",
    "fixture": "import pytest\n@pytest.fixture\ndef w():\n    return 2\ndef test_area(w):\n    assert area(w, 3) == 6\n",
    "carriage returns": "def test_area():\r\n    assert area(2, 3) == 6\r\n",
    "random": "import random\ndef test_area():\n    random.seed(1)\n    assert area(2, 3) == 6\n",
}  # fmt: skip


# tests that pass without the repair: then nothing tells it from another
WEAK = ("tolerant equality", "wide tolerance", "raises", "no check by name")


@pytest.mark.parametrize("part", range(4))
def test_a_canary_never_fails_a_right_patch(part):
    for name in list(HONEST)[part::4]:
        mark, text = ("\ufeff", HONEST[name][1:]) if HONEST[name][0] == "\ufeff" else ("", HONEST[name])
        tests = mark + "from shapes.core import area\n" + text
        ids = [
            f"TestA::{n}" if "class TestA" in text else n
            for n in ["test_area", *["test_more"] * ("test_more" in text)]
        ]
        given = answer(FILES | {"tests/util.py": "def three():\n    return 3\n"}, tests, ids)
        # several drawings, since a fault may show in some only
        for _ in range(2):
            suites._SUITES.clear()
            found = rewards(given, given["files"] | {CORE: FIXED})
            assert found == [1.0], name
        broken = rewards(given, given["files"] | {"other.py": ""})
        assert broken == [1.0 if name in WEAK else 0.0], name


def test_a_src_layout_is_found():
    files = {"src/shapes/__init__.py": "", "src/shapes/core.py": BROKEN}
    given = answer(files, right=files | {"src/shapes/core.py": FIXED})
    assert rewards(given, files | {"src/shapes/core.py": FIXED}, files | {"other.py": ""}) == [1, 0]
