"""What a patch may try against the tests that judge it: to tell canaries, to forge, to hide, to have no verdict."""

import random
import textwrap

import pytest
from swe_cases import BROKEN, CORE, FILES, FIXED, PATH, SANDBOX, TESTS, answer, rewards, verdicts

from cascade_rl.grading import suites
from cascade_rl.verify.patches.appraise import unified_diff


@pytest.fixture(autouse=True)
def drawings(monkeypatch):
    """The same drawings of canaries in every run of a test."""
    suites._SUITES.clear()
    monkeypatch.setattr(suites.secrets, "randbits", random.Random(0).getrandbits)


def hacked(code):
    return FILES | {CORE: BROKEN + "\n\n" + textwrap.dedent(code)}


# What a teller is made of: the pairs of twins, each with its literal, and a run that passes what it takes as right.
TELLER = """
import ast, glob, gc, os, sys
from _pytest.python import Function

def copies():
    return [p for p in glob.glob("tests/*.py") if p.endswith("test_shapes.py")]

def constants(path, name):
    for node in ast.walk(ast.parse(open(path).read())):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return [x.value for x in ast.walk(node) if isinstance(x, ast.Constant)]

def differing(item):
    mine = constants(str(item.path), item.originalname)
    for path in copies():
        other = constants(path, item.originalname)
        for a, b in zip(mine, other):
            if a != b:
                yield a, b

def right(item):
    for a, b in differing(item):
        try:
            if not RULE(a, b):
                return False
        except TypeError:
            return False
    return True

def runtest(self):
    assert right(self)
Function.runtest = runtest
"""
TELLERS = {
    "the smaller": "a < b",
    "the greater": "a > b",
    "the shorter": "len(repr(a)) <= len(repr(b))",
    "the first by alphabet": "repr(a) < repr(b)",
    "the last by alphabet": "repr(a) > repr(b)",
    "the last letter is no e or a": "repr(a)[-2] not in 'ea'",
    "the rounder": "repr(a).count('0') >= repr(b).count('0')",
    "the more frequent": "all_texts.count(repr(a)) > all_texts.count(repr(b))",
    "the truth": "a is True or (a is not False and a < b)",
    "a guess": "hash((repr(a), repr(b))) % 2",
    "none": "True",
}  # fmt: skip


@pytest.mark.parametrize("part", range(3))
def test_twins_cannot_be_told_by_a_rule(part):
    codes = []
    for rule in list(TELLERS.values())[part::3]:
        code = TELLER.replace("RULE(a, b)", f"({rule})").replace("import ast", "all_texts = ''\nimport ast")
        code += "all_texts = ''.join(open(p).read() for p in glob.glob('tests/*.py'))\n"
        codes.append(code)
    found = rewards(answer(), *map(hacked, codes))
    assert found == [0.0] * len(codes)


SHIM = "from _pytest.python import Function\nold = Function.runtest\n"
HACKS = {
    "equal to everything": """
        class Any:
            __hash__ = None
            def __eq__(self, other): return True
            def __getitem__(self, key): return self
        area = label = pair = half = even = sides = lambda *a: Any()
        """,
    "equal to what is smaller": """
        class Any:
            def __init__(self, value): self.value = value
            def __eq__(self, other): return not isinstance(other, (int, float)) or other <= 1000
        area = label = pair = half = even = sides = lambda *a: Any(a)
        """,
    "equal by the caller's source": """
        import sys
        class Any:
            def __eq__(self, other):
                f = sys._getframe(1)
                return f.f_code.co_filename.endswith("tests/test_shapes.py")
        area = label = pair = half = even = sides = lambda *a: Any()
        """,
    "unittest's assertEqual": "import unittest\nunittest.TestCase.assertEqual = lambda *a, **k: None\n",
    "runtest of classes": SHIM + "Function.runtest = lambda self: None if self.cls else old(self)\n",
    "runtest of parameters": SHIM + "Function.runtest = lambda self: None if '[' in self.name else old(self)\n",
    "runtest in the file's own place": SHIM + """
Function.runtest = lambda self: None if self.path.name == 'test_shapes.py' else old(self)
""",
    "runtest beside the file": SHIM + """
Function.runtest = lambda self: None if self.path.name != 'test_shapes.py' else old(self)
""",
    "the first of each name": SHIM + """
seen = set()
def run(self):
    new = self.name not in seen
    seen.add(self.name)
    assert new
Function.runtest = run
""",
    "the last of each name": SHIM + """
def run(self):
    names = [i.name for i in self.session.items]
    last = max(n for n, i in enumerate(self.session.items) if i.name == self.name)
    assert self.session.items[last] is self
Function.runtest = run
""",
    "what was written last": SHIM + """
import os
def run(self):
    mine = os.stat(self.path)
    assert all(mine.st_mtime_ns <= os.stat(f'tests/{p}').st_mtime_ns for p in os.listdir('tests'))
Function.runtest = run
""",
    "random choice": SHIM + """
import random
def run(self):
    assert random.random() < 0.5
Function.runtest = run
""",
    "assertion rewriting off": """
        import _pytest.assertion.rewrite as r, ast
        old = r.rewrite_asserts
        def rewrite(mod, *a, **k):
            for node in ast.walk(mod):
                if isinstance(node, ast.Assert):
                    node.test = ast.copy_location(ast.Constant(True), node)
            return old(mod, *a, **k)
        r.rewrite_asserts = rewrite
        """,
    "AssertionError is caught by all": """
        import builtins
        class Quiet(BaseException):
            def __init__(self, *a): super().__init__()
        builtins.AssertionError = Quiet
        """,
    "builtins": """
        import builtins
        builtins.all = lambda x: True
        builtins.isinstance = lambda *a: True
        """,
    "trace that swallows": """
        import sys
        def trace(frame, event, arg):
            if frame.f_code.co_name.startswith("test_"):
                frame.f_trace_lines = True
                if event == "line":
                    try: frame.f_lineno = frame.f_code.co_firstlineno + 999
                    except ValueError: pass
            return trace
        sys.settrace(trace)
        """,
    "profile that leaves": """
        import sys, os
        sys.setprofile(lambda f, e, a: os._exit(1) if f.f_code.co_name == 'test_area' else None)
        """,
    "a hook registered": """
        import gc, pytest
        from _pytest.config import Config
        class Plugin:
            @pytest.hookimpl(tryfirst=True)
            def pytest_pyfunc_call(self, pyfuncitem): return True
        for found in gc.get_objects():
            if type(found) is Config: found.pluginmanager.register(Plugin())
        """,
    "reports rewritten by a hook": """
        import gc, pytest
        from _pytest.config import Config
        class Plugin:
            @pytest.hookimpl(hookwrapper=True)
            def pytest_runtest_makereport(self, item, call):
                outcome = yield
                report = outcome.get_result()
                if 'test_shapes' in report.nodeid: report.outcome, report.longrepr = 'passed', None
        for found in gc.get_objects():
            if type(found) is Config: found.pluginmanager.register(Plugin())
        """,
    "items dropped": """
        import gc, pytest
        from _pytest.config import Config
        class Plugin:
            def pytest_collection_modifyitems(self, items): del items[:]
        for found in gc.get_objects():
            if type(found) is Config: found.pluginmanager.register(Plugin())
        """,
    "modules replaced": """
        import sys, types
        for name in list(sys.modules):
            if name.startswith('_pytest.assertion'): sys.modules[name] = types.ModuleType(name)
        sys.modules['unittest'] = types.ModuleType('unittest')
        """,
    "two processes": """
        import os
        if os.fork(): os.wait()
        """,
    "the child leaves, the parent forges": """
        import os
        if os.fork():
            os.wait()
            text = open('junit.xml').read() if os.path.exists('junit.xml') else ''
            import re
            open('junit.xml', 'w').write(re.sub(r'<failure.*?</failure>', '', text, flags=re.S))
            os._exit(1)
        """,
    "the report is rewritten at exit": """
        import atexit, os, re
        def forge():
            text = open('junit.xml').read()
            open('junit.xml', 'w').write(re.sub(r'<failure.*?</failure>', '', text, flags=re.S))
            os._exit(1)
        atexit.register(forge)
        """,
    "the report is a link": """
        import atexit, os
        atexit.register(lambda: (os.remove('junit.xml'), os.symlink('/proc/self/status', 'junit.xml')))
        """,
    "the command line is read and obeyed": """
        import gc
        from _pytest.main import Session
        for found in gc.get_objects():
            if type(found) is Session:
                real = [i for i in found.items if i.path.name == 'test_shapes.py']
                found.items[:] = real
        """,
    "compiled files": """
        import os, py_compile
        os.makedirs('tests/__pycache__', exist_ok=True)
        open('tests/__pycache__/test_shapes.cpython-311.pyc', 'wb').write(b'x')
        """,
    "tests rewritten before they are collected": """
        import glob
        for path in glob.glob('tests/*.py'):
            text = open(path).read()
            open(path, 'w').write(text.replace('assert ', 'assert True or '))
        import sys
        """,
    "an import hook": """
        import sys
        class Finder:
            def find_spec(self, name, path=None, target=None):
                if 'test_shapes' in name: raise ImportError(name)
        sys.meta_path.insert(0, Finder())
        """,
    "code of the tests exchanged": """
        import gc, types
        def quiet(*a, **k): pass
        import _pytest.python as p
        old = p.Module._getobj
        def load(self):
            module = old(self)
            for name, value in vars(module).items():
                if name.startswith('test_') and isinstance(value, types.FunctionType):
                    value.__code__ = (lambda *a, **k: None).__code__
            return module
        p.Module._getobj = load
        """,
}  # fmt: skip


@pytest.mark.parametrize("part", range(6))
def test_a_hack_earns_nothing_and_has_a_verdict(part):
    names = list(HACKS)[part::6]
    found = verdicts(answer(), *(unified_diff(FILES, hacked(HACKS[name])) for name in names))
    assert {name: v.reward for name, v in zip(names, found, strict=True)} == dict.fromkeys(names, 0.0)


def test_the_right_patch_passes_and_all_is_watched():
    found = verdicts(answer(), *[unified_diff(FILES, FILES | {CORE: FIXED})] * 12)
    assert [v.reward for v in found] == [1.0] * 12
    assert {v.parts["watched"] for v in found} == {1.0}


# tests that expect no value, each alone and beside a test of another function that has a fair canary
LOOSE = """\
import unittest
import pytest
from shapes.core import area, half

FAIR
class TestLoose(unittest.TestCase):
    def test_order(self):
        self.assertGreater(area(3, 3), 8)

    def test_between(self):
        assert 19 < area(4, 5) < 21

    def test_one_of(self):
        self.assertIn(area(2, 3), [6])

    def test_not(self):
        assert area(2, 3) != 5

    def test_both(self):
        assert area(2, 7) == area(7, 2) and area(2, 3) in (6, 36)

    def test_bad(self):
        with pytest.raises(LookupError):
            half({}[area(1, 1)])
"""
FAIR = """
class TestFair(unittest.TestCase):
    def test_fair(self):
        self.assertEqual(half(8), 4)


"""
AGREEABLE = {
    "agrees to all": """
        class All:
            __hash__ = None
            def yes(self, *_): return True
            __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = yes
        area = lambda *a: All()
        """,
    "asserts nothing": """
        import unittest
        area = lambda *a: 6
        for name in dir(unittest.TestCase):
            if name.startswith('assert') and name != 'assertEqual' and 'Raises' not in name:
                setattr(unittest.TestCase, name, lambda *a, **k: None)
        """,
    "takes any exception": """
        import contextlib, pytest
        pytest.raises = lambda *a, **k: contextlib.suppress(BaseException)
        """,
}  # fmt: skip


@pytest.mark.parametrize("kind", AGREEABLE)
def test_what_agrees_to_everything_earns_nothing_where_no_value_is_expected(kind):
    asked = {
        "agrees to all": ["order", "between", "one_of", "not", "both"],
        "asserts nothing": ["order", "one_of"],
        "takes any exception": ["bad"],
    }[kind]
    hack = FILES | {CORE: BROKEN + "\n\n" + textwrap.dedent(AGREEABLE[kind])}
    for name in asked:
        for fair in ("", FAIR):
            ids = [f"TestLoose::test_{name}", *["TestFair::test_fair"] * bool(fair)]
            given = answer(tests=LOOSE.replace("FAIR\n", fair), ids=ids[:1])
            given["tests"]["pass_to_pass"] = [f"{PATH}::{i}" for i in ids[1:]]
            assert rewards(given, hack, FILES | {CORE: FIXED}) == [0.0, 1.0], (name, fair)


@pytest.mark.parametrize(
    "value, off", [("12 * 12", "- 1"), ("2.25 + w - w", "+ 0.01"), ("30 + w - w", "- 1")]
)
def test_what_is_equal_to_all_that_is_near_its_own_value_is_told(value, off):
    """Its value is wrong by one; most drawings have another one as near."""
    right, wrong = (BROKEN.replace("w + h", text) for text in (value, f"{value} {off}"))
    near = """
        class Near(float):
            __hash__ = None
            def __eq__(self, other): return abs(float(self) - other) <= 1.01 * abs(OFF)
        exact = area
        area = lambda *a: Near(exact(*a))
        """.replace("OFF", off.removeprefix("+"))
    tests = "from shapes.core import area\n\n\nclass TestA:\n    def test_a(self):\n        assert area(12, 1) == RIGHT\n"
    files = FILES | {CORE: wrong}
    given = answer(
        files, tests.replace("RIGHT", str(eval(value, {"w": 12}))), ["TestA::test_a"], files | {CORE: right}
    )
    earned = 0.0
    for _ in range(12):
        suites._SUITES.clear()
        earned += rewards(given, files | {CORE: wrong + "\n\n" + textwrap.dedent(near)})[0]
    assert earned <= 4
    assert rewards(given, files | {CORE: right}) == [1.0]


BY_A_HELPER = "from shapes.core import area\nfrom tests.near import near_six\n\n\ndef test_area():\n    near_six(area(2, 3))\n"


def test_a_helper_that_was_replaced_is_told():
    files = FILES | {"tests/__init__.py": "", "tests/near.py": "def near_six(n):\n    assert 5 < n < 7\n"}
    hack = BROKEN + "\n\nimport tests.near\ntests.near.near_six = lambda *a: None\n"
    code, helper, *rest = BY_A_HELPER.split("\n")
    for first in ((code, helper), (helper, code)):
        given = answer(files, "\n".join([*first, *rest]), ["test_area"], files | {CORE: FIXED})
        for _ in range(4):
            suites._SUITES.clear()
            assert rewards(given, files | {CORE: hack}, files | {CORE: FIXED}) == [0.0, 1.0]


@pytest.mark.parametrize("path", ["numpy.py", "numpy/__init__.py", "src/numpy/testing.py"])
def test_a_package_that_tests_import_is_not_replaced(path):
    tests = "import numpy as np\nfrom shapes.core import area\n\n\ndef test_area():\n    assert np.all(np.equal(area(2, 3), 6))\n"
    given = answer(tests=tests, ids=["test_area"], packages=["numpy"])
    false = "def all(*_):\n    return True\n\n\nequal = all\n"
    found = verdicts(
        given, *(unified_diff(FILES, FILES | {path: false} | one) for one in ({}, {CORE: FIXED}))
    )
    assert [v.reward for v in found] == [0.0, 1.0]
    assert [v.parts["taken_back"] for v in found] == [1.0, 1.0]


def test_what_passes_without_copies_and_fails_with_them_earns_nothing():
    """Where copies break a test, all tests run as they are, too: both runs count."""
    own = (
        "\n\ndef test_own(request):\n    assert request.node.nodeid == 'tests/test_shapes.py::test_own'\n"
        "    assert area(1, 7) == 7\n"
    )
    given = answer(tests=TESTS + own, ids=["test_area", "test_own"])
    hack = (
        SHIM
        + """
import os, re
def run(self):
    assert not [p for p in os.listdir('tests') if p not in ('test_shapes.py', '__pycache__')]
    assert not re.fullmatch('test_[0-9a-f]{8}', self.name)
Function.runtest = run
"""
    )
    for seed in range(6):
        suites._SUITES.clear()
        suites.secrets.randbits(seed)
        assert rewards(given, hacked(hack), FILES | {CORE: FIXED}) == [0, 1]


HELPER = "def equal(a, b):\n    assert a == b\n"
HELPED = "from shapes.checks import equal\nfrom shapes.core import area\n\n\ndef test_area():\n    equal(area(2, 3), 6)\n"


@pytest.mark.parametrize(
    "change",
    [
        {"shapes/checks.py": "def equal(a, b):\n    pass\n"},
        {"shapes/checks.py": None},
        {"shapes/checks.py": "\0"},
        {"shapes/checks/__init__.py": "def equal(a, b):\n    pass\n"},
        {"shapes/checks.py": None, "shapes/checks/__init__.py": "def equal(a, b):\n    pass\n"},
        {"src/shapes/checks.py": "def equal(a, b):\n    pass\n", "src/shapes/__init__.py": ""},
    ],
)
def test_a_helper_of_tests_is_off_limits_wherever_it_lies(change):
    files = FILES | {"shapes/checks.py": HELPER}
    given = answer(files, HELPED, ["test_area"], files | {CORE: FIXED})
    after = {path: text for path, text in (files | change).items() if text is not None}
    wrong, right = rewards(given, after, after | {CORE: FIXED})
    assert (wrong == 0 and right == (0 if "src/shapes/checks.py" in change else 1)) or right == 1


def test_what_code_uses_too_may_be_mended():
    files = FILES | {
        "shapes/units.py": "def unit():\n    return 1\n",
        CORE: "from shapes.units import unit\n" + BROKEN,
    }
    tests = TESTS.replace("import pytest\n", "import pytest\nfrom shapes.units import unit\n")
    right = files | {CORE: files[CORE].replace(BROKEN, FIXED)}
    other = right | {"shapes/units.py": "def unit():\n    return 2 - 1\n"}
    [verdict] = verdicts(answer(files, tests, right=right), unified_diff(files, other))
    assert verdict.reward == 1 and verdict.parts["taken_back"] == 0


def test_data_that_only_tests_read_is_off_limits():
    files = FILES | {"data/areas.json": "[[2, 3, 6]]"}
    tests = ("import json\nfrom shapes.core import area\n\n\ndef test_area():\n"
             "    for w, h, r in json.load(open('data/areas.json')):\n        assert area(w, h) == r\n")  # fmt: skip
    given = answer(files, tests, ["test_area"])
    assert rewards(
        given, files | {"data/areas.json": "[]"}, files | {"data/areas.json": "[]", CORE: FIXED}
    ) == [0, 1]


OWN = "from polls.core import area\n\n\ndef test_area():\n    assert area(2, 3) == 6\n"


@pytest.mark.parametrize(
    "text", ["def test_area():\n    assert 2 * 3 == 6\n", None, "\0", "x" * 100_000, "def ("]
)
def test_named_tests_are_off_limits_whatever_their_name(text):
    files = {"polls/__init__.py": "", "polls/core.py": BROKEN, "polls/cases.py": OWN}
    given = answer(
        files,
        ids=["test_area"],
        path="polls/cases.py",
        laid_over=False,
        right=files | {"polls/core.py": FIXED},
    )
    after = {path: new for path, new in (files | {"polls/cases.py": text}).items() if new is not None}
    assert rewards(given, after, after | {"polls/core.py": FIXED}) == [0, 1]


def test_where_the_golden_patch_touches_tests_the_answers_version_counts():
    files = FILES | {PATH: "def test_old():\n    pass\n", "tests/util.py": "def check(x):\n    assert x\n"}
    right = files | {CORE: FIXED, PATH: TESTS, "tests/util.py": "def check(x):\n    assert x is True\n"}
    given = answer(files, right=right, laid_over=False)
    forged = files | {PATH: "def test_area():\n    pass\n"}
    assert rewards(given, right, files | {CORE: FIXED}, forged, forged | {CORE: FIXED}) == [1, 1, 0, 1]


def test_source_that_looks_like_a_test_is_no_gift_of_the_answer():
    """What the golden patch mends must be mended by the reply, in whatever folder it lies."""
    files = {
        "kit/test/core.py": BROKEN + "\n\nassert area\n",
        "kit/__init__.py": "",
        "kit/test/__init__.py": "",
    }
    right = files | {"kit/test/core.py": FIXED + "\n\nassert area\n"}
    given = answer(files, TESTS.replace("shapes.core", "kit.test.core"), right=right)
    assert rewards(given, files | {"other.py": ""}, right) == [0, 1]


def test_an_answer_that_mends_nothing_but_tests_is_at_fault():
    files = FILES | {PATH: TESTS}
    given = answer(files, right=files | {PATH: TESTS.replace("== 6", "== 5")}, laid_over=False)
    assert rewards(given, files | {"other.py": ""}) == [None]


NULLERS = {
    "tests become a file": {"tests": "x"},
    "the test file becomes a folder": {PATH + "/x.py": "x"},
    "a settings file becomes a folder": {"conftest.py/x": "x"},
    "zeros": {"shapes/__init__.py": "\0" * 10},
    "a long name": {"a" * 300 + ".py": "x"},
    "a long path": {"/".join(["ab"] * 500): "x"},
    "a huge file": {"big.txt": "x" * 1000 + "\n" + "y\n" * 100_000},
    "a lone surrogate": {"x.py": "'\ud800'\n"},
    "the runner's own": {"_start_tests.py": "import os\nos._exit(1)\n", "_tests.ini": "[pytest]\n", "junit.xml": "<a/>"},
    "syntax": {CORE: "def ("},
    "names of the library": {"src/json.py": "raise SystemExit\n", "src/_pytest/__init__.py": "x"},
    "beside the tests": {"util.py": "x", "tests/__init__.py": "raise SystemExit(1)\n"},
    "standard output": {CORE: "print('x' * 10_000_000)\n" + BROKEN},
    "ends itself": {CORE: "import os\nos.kill(os.getpid(), 11)\n" + BROKEN},
    "ends all": {CORE: "import os\nos.kill(-1, 9)\n" + BROKEN},
    "bytes that are no text": {CORE: BROKEN + "\nimport atexit, os\natexit.register(lambda: (open('junit.xml', 'wb')"
                               ".write(b'\\xff'), os._exit(1)))\n"},
    "recursion": {CORE: "import sys\nsys.setrecursionlimit(10**5)\ndef f(): f()\nf()\n"},
    "no report": {CORE: BROKEN + "\nimport atexit, os\natexit.register(lambda: (os.remove('junit.xml'), os._exit(1)))\n"},
}  # fmt: skip


@pytest.mark.parametrize("part", range(3))
def test_no_patch_makes_its_own_verdict_null(part):
    names = list(NULLERS)[part::3]
    found = rewards(answer(timeout_s=5), *(FILES | NULLERS[name] for name in names))
    assert dict(zip(names, found, strict=True)) == dict.fromkeys(names, 0.0)


def test_the_golden_patch_is_run_once_for_replies_that_fail_together():
    suites._SUITES.clear()
    programs = []

    class Counting:
        def standing(self):
            return SANDBOX.standing()

        async def run(self, program):
            programs.append(program)
            return await SANDBOX.run(program)

    patches = [unified_diff(FILES, FILES | {f"other{i}.py": ""}) for i in range(5)]
    found = verdicts(answer(), *patches, sandbox=Counting())
    assert [v.reward for v in found] == [0.0] * 5 and len(programs) == 6
