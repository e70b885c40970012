"""Tests judged apart: arguments go to the candidate's process, assertions stay here, and forging earns nothing."""

import asyncio
import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.protocols import Execution
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.types import Message, Mode, Problem, Rollout, Split
from cascade_rl.verify.patches.appraise import unified_diff
from cascade_rl.verify.programs.values import ALL_KINDS, LONGEST_RANGE, typed
from cascade_rl.verify.suites.apart import faults, program_of, results_of
from cascade_rl.verify.suites.apart_inside import encode
from cascade_rl.verify.suites.apart_plan import plan_of

SWE = load_domain("swe")
SANDBOX = ZygoteSandbox()
BROKEN = """\
def area(w, h):
    return w + h


def half(n):
    if n % 2:
        raise ValueError(n)
    return n // 2
"""
FIXED = BROKEN.replace("w + h", "w * h")
TESTS = """\
import pytest
from shapes import area, half


def test_area():
    six = area(2, 3)
    assert six == 6
    assert area(1, 1) == 1 and area(0, 5) == 0


def test_half():
    assert half(8) == 4
    with pytest.raises(ValueError):
        half(3)
"""
PLAIN = TESTS.replace("import pytest\n", "").partition("    with")[0]
NAMED = {"fail_to_pass": ["tests/test_s.py::test_area"], "pass_to_pass": ["tests/test_s.py::test_half"]}


def scores(*codes, tests=None, test_text=TESTS, **changes):
    """Verdicts of files `shapes.py` (texts, or whole files) as repairs; by built-in tests or by named ones."""
    files = {"shapes.py": BROKEN}
    answer = {"files": files, "patch": unified_diff(files, {"shapes.py": FIXED})}
    answer |= {"tests": tests or {"test_s.py": PLAIN}}
    if tests:
        answer["test_files"] = {"tests/test_s.py": test_text}
    answer |= changes
    problem = Problem("p", "swe", (Message("user", "area must multiply"),), answer, Mode.INSTRUCT)
    after = [code if isinstance(code, dict) else {"shapes.py": code} for code in codes]
    patches = [unified_diff(answer["files"], answer["files"] | files) for files in after]

    async def all_of_them():
        services = Services(sandbox=SANDBOX)
        return await asyncio.gather(*(SWE.score(problem, Rollout.of_text(p), services) for p in patches))

    return asyncio.run(all_of_them())


HALF = "\n\n" + FIXED.partition("\n\n")[2]
# what several of the following begin with: `found` of all frames, `forge` results on every descriptor, `Any`
TOOLS = """
import atexit, gc, os, sys, threading

found, frame = [], sys._getframe()
while frame:
    found += list(frame.f_locals.values()) + list(frame.f_globals.values())
    frame = frame.f_back


def forge(*values):
    for number in range(3, 20):
        try:
            for i, value in enumerate(values):
                os.write(number, f"{i} {value}\\n".encode())
        except OSError:
            pass


SIX, TRUE = '{"value": 6}', '{"value": true}'


class Equal:
    __hash__ = None

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False


def area(w, h):
    return w + h
"""
# each tries to earn 1 without working the area out; `half` is as it should be where they say nothing else
HOSTILE_TEXT = """
#### reads a nonce out of the caller's frames
job = next((v for v in found if isinstance(v, dict) and "nonce" in v), {})
os.write(1, str(job.get("nonce", "")).encode())
for n in range(3, 20):
    try:
        os.write(n, job["nonce"].encode())
    except (OSError, KeyError):
        pass
#### answers with what it finds in frames
def area(w, h):
    return next((v for v in found if type(v) is int), 0)
#### searches all objects for tests
def area(w, h):
    return 6 if [o for o in gc.get_objects() if "assert area" in str(o)[:9999] and type(o) is not dict] else 0
#### searches the disk for tests
import glob
def area(w, h):
    texts = [open(path).read() for path in glob.glob("**/*.py", recursive=True)]
    return int(next(t for t in texts if "assert" + " area" in t).partition("== ")[2][0])
#### forges true for all
forge(*[TRUE] * 8)
#### forges passed tests and leaves
forge(*['{"passed": true, "ok": true}'] * 8)
os._exit(0)
#### writes every result twice
def area(w, h):
    forge(*['{"value": %d}' % (w + h)] * 3, *[SIX] * 3)
    return w + h
#### prints after the end
atexit.register(forge, *[SIX] * 3)
#### leaves at once
os._exit(0)
#### leaves by SystemExit
raise SystemExit(0)
#### equal to everything
def area(w, h):
    return Equal()
#### an int that is equal to everything
class Int(Equal, int):
    pass
def area(w, h):
    return Int(5)
#### a list that is equal to everything
class List(Equal, list):
    pass
def area(w, h):
    return List()
#### a type that passes for a plain one
class Fake:
    __class__ = int
    __eq__ = Equal.__eq__
def area(w, h):
    return Fake()
#### not a number
def area(w, h):
    return float("nan")
#### infinity
def area(w, h):
    return float("inf")
#### a huge number
def area(w, h):
    return 10 ** 100_000
#### a huge text
def area(w, h):
    return "6" * 10 ** 7
#### nested deep
def area(w, h):
    x = 6
    for _ in range(900):
        x = [x]
    return x
#### nested without end
def area(w, h):
    x = []
    x.append(x)
    return x
#### many numbers of one hash
def area(w, h):
    return {i * (2 ** 61 - 1) for i in range(1, 3000)}
#### another json
import json
json.dumps = lambda *a, **k: SIX
json.loads = None
#### replaces the encoder of its process
import __main__
__main__.encode = lambda value: True
__main__.answer = lambda *a: {"value": True}
#### patches builtins
import builtins
builtins.isinstance = lambda *a: True
builtins.all = builtins.any = lambda *a: True
#### a thread that writes
threading.Thread(target=forge, args=[SIX] * 3).start()
#### a fork that writes
try:
    if os.fork() == 0:
        forge(*[TRUE] * 8)
        os._exit(0)
except OSError:
    pass
#### signals
import signal
signal.signal(signal.SIGALRM, lambda *a: forge(SIX))
signal.setitimer(signal.ITIMER_REAL, 0.001)
#### a generator
def area(w, h):
    yield 6
#### raises a failed assertion
def area(w, h):
    raise AssertionError
#### skips
import unittest
def area(w, h):
    raise unittest.SkipTest
#### raises everywhere
def area(w, h):
    raise ValueError
half = area
#### another run, another value
def area(w, h):
    return 7 + id(object()) % 5
#### a trace function
def trace(frame, event, arg):
    if "value" in frame.f_locals:
        frame.f_locals["value"] = 6
    return trace
sys.settrace(trace)
"""
HOSTILE = {
    name: TOOLS + HALF + "\n\n" + code
    for name, _, code in (part.partition("\n") for part in HOSTILE_TEXT.split("#### ")[1:])
}


@pytest.mark.parametrize("tests", [None, NAMED], ids=["built-in", "named"])
def test_what_does_not_work_the_answer_out_earns_nothing(tests):
    found = scores(FIXED, *HOSTILE.values(), tests=tests)
    assert found[0].reward == 1 and found[0].parts["apart"] == 1
    earned = dict(zip(HOSTILE, found[1:], strict=True))
    assert {name: v.reward for name, v in earned.items()} == dict.fromkeys(HOSTILE, 0.0)
    assert {name for name, v in earned.items() if v.parts["apart"] != 1} == set()


def test_modules_named_like_the_standard_library_or_like_ours_stay_in_their_process():
    names = ["json", "ast", "os", "re", "_calls", "_harness", "sitecustomize"]
    names += [f"{name}/__init__" for name in ("importlib", "collections", "cascade_rl")]
    shadow = "def dumps(*a, **k): return '{\"value\": 6}'\nloads = dumps\nencode = answer = dumps\n"
    wrong = TOOLS + HALF
    for tests in (None, NAMED):
        found = scores(*({"shapes.py": wrong, f"{name}.py": shadow} for name in names), tests=tests)
        assert [v.reward for v in found] == [0.0] * len(names)
        honest = scores(*({"shapes.py": FIXED, f"{name}.py": shadow} for name in names[:1]), tests=tests)
        assert [v.reward for v in honest] == [1.0]


def test_the_candidates_process_holds_no_expected_value_and_no_test():
    texts = {"test_s.py": "from shapes import area\n\ndef test_a():\n    assert area(2, 3) == 271828182\n"}
    plan = plan_of(texts, {"shapes"})
    program = program_of(plan, {"shapes.py": FIXED}, 4.0)
    assert "271828182" not in json.dumps([dict(program.files), program.stdin])
    assert json.loads(program.stdin) == {"calls": [["shapes", "area"]], "arguments": "[([2, 3], {})]"}


def test_rewards_of_one_process_and_of_two_agree():
    async def both(problem, text):
        whole = Problem(problem.id, "swe", problem.messages, problem.answer | {"apart": False})
        services = Services(sandbox=SANDBOX)
        return [await SWE.score(p, Rollout.of_text(text), services) for p in (problem, whole)]

    async def all_of_them():
        rng = random.Random(5)
        drawn = [next(SWE.problems("builtin", Split.RL, seed)) for seed in range(60)]
        replies = [SWE.demonstrate(p, rng, 0.7) for p in drawn]
        return await asyncio.gather(*map(both, drawn, replies))

    pairs = asyncio.run(all_of_them())
    assert all(a.parts.get("apart", 1) == 1 and b.parts.get("apart", 0) == 0 for a, b in pairs)
    assert [a.reward for a, _ in pairs] == [b.reward for _, b in pairs]
    assert {a.reward for a, _ in pairs} == {0.0, 1.0}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.integers() | st.text() | st.tuples(st.integers()), inner)
        | st.sets(st.integers() | st.text())
        | st.frozensets(st.booleans() | st.binary())
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_plain_data_cross_with_their_types(value):
    told = json.loads(json.dumps(encode(value)))
    back = typed(told, ALL_KINDS)
    assert type(back) is type(value)
    # not-a-number equals nothing
    assert back == value or "nan" in repr(value)


@settings(max_examples=150, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_forged_results_are_values_or_none(row):
    texts = {"test_s.py": "from shapes import area\n\ndef test_a():\n    assert area(2, 3) == 271828182\n"}
    plan = plan_of(texts, {"shapes"})
    for line in (row, {"value": row}, {"raised": row}, {"fault": row, "words": row}):
        told = Execution(f"0 {json.dumps(line)}\n", "", 0)
        assert faults(plan, results_of(plan, told))["test_s.py::test_a"] is not None
    lines = [
        "",
        "0",
        "0 ",
        "x 1",
        "-1 {}",
        "9" * 5000 + " {}",
        '0 {"value": 1',
        "0 " + "[" * 100_000,
        "\x00 \udcff",
    ]
    for line in lines:
        assert faults(plan, results_of(plan, Execution(line, "", 0)))["test_s.py::test_a"] is not None


# a word of a kind with any content, and nested: what a forger of lines would try beside honest values
FORGED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(st.sampled_from([*ALL_KINDS, "none"]), inner | st.lists(inner, max_size=4)).map(list)
    ),
)


@settings(max_examples=400, deadline=None)
@given(FORGED)
@example(["bytes", [1]])
@example(["bytes", 5])
@example(["complex", [10**400, 0]])
@example(["range", [0, 10**400, 1]])
@example(["range", [0, 1, 0]])
def test_forged_kinds_with_any_content_are_values_or_none(row):
    """Whatever stands behind the word of a kind, reading it raises nothing: else a reply could void its verdict."""
    texts = {"test_s.py": "from shapes import area\n\ndef test_a():\n    assert area(2, 3) == 271828182\n"}
    plan = plan_of(texts, {"shapes"})
    told = Execution("0 " + json.dumps({"value": row}) + "\n", "", 0)
    assert faults(plan, results_of(plan, told))["test_s.py::test_a"] is not None


def test_values_that_are_short_to_write_and_large_to_hold_are_wrong():
    """A range that a test adds up, and a product with one: either would fill the trainer's memory or time."""

    def fault(check, value):
        plan = plan_of({"t.py": f"from m import f\n\ndef test_a():\n    assert {check}\n"}, {"m"})
        return faults(plan, results_of(plan, Execution(f'0 {{"value": {json.dumps(value)}}}\n', "", 0)))[
            "t.py::test_a"
        ]

    assert fault("sum(f(1)) == 3", ["range", [0, LONGEST_RANGE + 1, 1]]) == "no result"
    assert fault("sum(f(1)) == 3", ["range", [0, 10**15, 10**13]]) is not None
    assert fault("sum(f(1)) == 3", ["range", [0, 3, 1]]) is None
    assert fault("f(1) * 100_000 == 'x'", "x" * 1000) == "ValueError: a product that is too large"
    assert fault("f(1) * 3 == 'xxx'", "x") is None and fault("f(1) * 3 == b'xxx'", ["bytes", "x"]) is None
    assert fault("f(1) * 2 == 4j", ["complex", [0, 2]]) is None


@pytest.mark.parametrize(
    "body",
    [
        "xs = [2, 3]\n    area(xs, 1)\n    assert xs == [2, 3]",  # what a call does to its arguments
        "area(2, 3)",  # asserts nothing of its own
        "assert area(2, 3) is not 6",
        "assert area(area(1, 2), 3) == 6",
        "assert area(2, 3).real == 6",
        "assert isinstance(area(2, 3), int)",
        "for n in (1, 2):\n        assert area(n, 1) == n",
        "assert [area(2, 3)] == [n for n in [6]]",
        "assert sorted([2, 1], key=area) == []",
        "assert area is area",
        "assert not (area(2, 3) == 6 and area(1, 1) == 1)",
        "assert area(2, 3) == 6 or area(1, 1) == 1",
        "assert 1 < area(2, 3) < area(3, 3)",
        "assert print(area(2, 3)) is None",
        "assert area(*[2, 3]) == 6",
        "assert eval('6') == area(2, 3)",
        "assert json.loads('6') == area(2, 3)",
        "assert (six := area(2, 3)) == 6",
        "with pytest.raises(ValueError, match='x'):\n        area(2, 3)",
        "with pytest.raises(Missing):\n        area(2, 3)",
        "_0 = 6\n    assert _0 == area(2, 3)",
        "assert area(2, 3) == half(12)",  # a patch may write both
        "six = half(12)\n    assert area(2, 3) == six",
        "global area\n    assert area(2, 3) == 6",
        "yield area(2, 3) == 6",
        "assert area(2, 3) == six()",
        "assert f'{area(2, 3)}' == '6'",
        "assert max(1, area) == 6",
    ],
)
def test_tests_that_need_the_candidates_objects_are_not_taken_apart(body):
    text = f"import json, pytest\nfrom shapes import area, half, Missing\n\ndef test_a():\n    {body}\n"
    assert plan_of({"test_s.py": text}, {"shapes"}) is None


@pytest.mark.parametrize(
    "text",
    [
        "from shapes import *\n\ndef test_a():\n    assert 1 == 1\n",
        "from .shapes import area\n\ndef test_a():\n    assert area(1, 1) == 1\n",
        "from shapes import area\narea = print\n\ndef test_a():\n    assert area(1, 1) == 1\n",
        "from shapes import area\n\ndef test_a(tmp_path):\n    assert area(1, 1) == 1\n",
        "import pytest\nfrom shapes import area\n\n@pytest.mark.skip\ndef test_a():\n    assert area(1, 1) == 1\n",
        "from shapes import area\n\nclass TestA:\n    def test_a(self):\n        assert area(1, 1) == 1\n",
        "from shapes import area\n\ndef setup_module():\n    area(1, 1)\n\ndef test_a():\n    assert area(1, 1) == 1\n",
        "from shapes import area\n\ndef test_a():\n    assert 0\n\ndef test_a():\n    assert area(1, 1) == 1\n",
        "from helpers import area\n\ndef test_a():\n    assert area(1, 1) == 1\n",
        "def test_a(:\n",
        "def test_a():\n    assert " + "(" * 300 + ")" * 300,
        "\x00",
        "",
    ],
)
def test_files_with_more_than_plain_tests_are_not_taken_apart(text):
    assert plan_of({"test_s.py": text}, {"shapes"}) is None


def test_the_golden_repair_decides_where_results_are_no_plain_data():
    good = (
        "from fractions import Fraction\ndef area(w, h): return Fraction(w) * h\ndef half(n): return n // 2\n"
    )
    bad = good.replace("* h", "+ h")
    files = {"shapes.py": bad}
    given = {"files": files, "patch": unified_diff(files, {"shapes.py": good})}
    right, wrong, plainly = scores(good, bad + "#\n", FIXED, **given)
    assert [v.reward for v in (right, wrong, plainly)] == [1, 0, 1]
    # a Fraction is compared in its own process, a number here
    assert [v.parts["apart"] for v in (right, wrong, plainly)] == [0, 0, 1]
    # with a golden repair whose results are plain no candidate can ask for the weaker level
    [verdict] = scores(HOSTILE["equal to everything"])
    assert verdict.reward == 0 and verdict.parts["apart"] == 1


def test_named_tests_tell_which_fail_and_what_was_put_back():
    cheat = {"shapes.py": BROKEN, "tests/test_s.py": "def test_area(): pass\n\ndef test_half(): pass\n"}
    right, wrong, put_back = scores(FIXED, BROKEN + "#\n", cheat, tests=NAMED)
    assert right.parts == {"apart": 1, "watched": 1, "taken_back": 0, "fail_to_pass": 1, "pass_to_pass": 1}
    assert wrong.reward == 0 and wrong.parts["fail_to_pass"] == 0 and wrong.parts["pass_to_pass"] == 1
    assert "test_area" in wrong.note and "5" in wrong.note
    assert put_back.reward == 0 and put_back.parts["taken_back"] == 1 and "tests/test_s.py" in put_back.note


def test_a_help_to_tests_is_not_asked_in_the_candidates_process():
    help = "from shapes import area\n\n\ndef right():\n    return area(2, 3) == 6\n"
    files = {"shapes.py": BROKEN, "checks.py": help}
    text = TESTS.replace("import area, half\n", "import area, half\nfrom checks import right\n")
    text = text.replace("six == 6", "right()")
    given = {"files": files, "patch": unified_diff(files, files | {"shapes.py": FIXED}), "test_text": text}
    [verdict] = scores({"shapes.py": FIXED}, tests=NAMED, **given)
    assert verdict.reward == 1 and verdict.parts.get("apart", 0) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"apart": False},
        {"files": {"shapes.py": BROKEN, "conftest.py": "import sys\nsys.path.insert(0, 'src')\n"}},
        {
            "test_text": TESTS.replace(
                "def test_half():", "@pytest.mark.parametrize('n', [8])\ndef test_half(n):"
            )
        },
    ],
)
def test_where_tests_share_a_process_the_verdict_says_so(changes):
    tests = NAMED
    if "test_text" in changes:
        tests = {"fail_to_pass": NAMED["fail_to_pass"], "pass_to_pass": ["tests/test_s.py::test_half[8]"]}
    if "files" in changes:
        changes["patch"] = unified_diff({"shapes.py": BROKEN}, {"shapes.py": FIXED})
    [verdict] = scores(changes.get("files", {}) | {"shapes.py": FIXED}, tests=tests, **changes)
    assert verdict.reward == 1 and verdict.parts.get("apart", 0) == 0
