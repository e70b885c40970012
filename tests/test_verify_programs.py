"""Programs run on calls, the expected results stay here, and hostile ones earn nothing."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.protocols import Execution
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.verify.programs.fences import last_code_block
from cascade_rl.verify.programs.harness import (
    Result,
    call_program,
    check_program,
    checks_passed,
    read_results,
    share_passed,
)
from cascade_rl.verify.programs.values import same

SANDBOX = ZygoteSandbox()


def calls(source, arguments, timeout_s=4.0):
    program = call_program(source, "f", arguments, timeout_s)
    return read_results(program, asyncio.run(SANDBOX.run(program)))


def checks(files, names):
    program = check_program(files, names)
    return checks_passed(program, asyncio.run(SANDBOX.run(program)))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\nx = 1\n```", "x = 1"),
        ("```\na\n```\nbut\n```py\nb\nc\n```\nend", "b\nc"),
        ("```python\na\n```\n```python\nb", "b"),
        ("```python\na\n```\n```\n", "a"),
        ("````md\n```python\na\n```\n````", "```python\na\n```"),
        ("```python\r\nx = 1\r\n```", "x = 1"),
        ("```python\n```", ""),
        ("```python x = 1```", None),
        ("x = 1", None),
        ("", None),
    ],
)
def test_last_code_block(text, code):
    assert last_code_block(text) == code


def test_results_come_back_in_order():
    results = calls("def f(x, y=0):\n    return (x, [y])", [[1], [2, 3], ["é\ud800"]])
    assert [r.value for r in results] == [[1, [0]], [2, [3]], ["é\ud800", [0]]]


def test_errors_are_of_one_call_only():
    results = calls("def f(x):\n    return 1 / x", [[0], [2]])
    assert "ZeroDivisionError" in results[0].error
    assert results[1] == Result(0.5)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f(x): return {1, 'a'}", "TypeError"),
        ("def g(x): return x", "KeyError"),
        ("def f(x: return x", "SyntaxError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("import os; os._exit(0)", "no result"),
        ("def f(x): import os; os._exit(0)", "no result"),
        ("def f(x): return f(x)", "RecursionError"),
        ("def f(x): raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("'\ud800'.encode()", "Unicode"),
        ("\x00", "null bytes"),
        ("def f(x):\n    y = []\n    for _ in range(10 ** 6): y = [y]\n    return y", ""),
        ("def f(x): return 10 ** 5000", ""),
        ("def f(x): return 'a' * 10 ** 8", "no result"),
    ],
)
def test_a_program_that_gives_no_value_has_an_error(source, reason):
    [result] = calls(source, [[1]])
    assert result.error is not None
    assert reason in result.error


def test_prints_go_elsewhere():
    body = "print(x); os.write(1, b'raw'); sys.stderr.write('e'); return x"
    source = f"print('noise'); import sys, os\ndef f(x): {body}"
    assert calls(source, [[1], [2]]) == [Result(1), Result(2)]


def test_the_expected_results_never_enter_the_child():
    program = call_program("def f(x): return 0", "f", [[11], [22]])
    assert json.loads(program.stdin).keys() == {
        "mark", "candidate", "source", "function", "before", "prelude", "nodes", "each_s", "calls"
    }  # fmt: skip


def test_forged_lines_need_the_nonce():
    source = "def f(x): return 0"
    program = call_program(source, "f", [[1]])
    forged = Execution('-1 {}\n0 {"value": 1}\n0000 -1 {}\n0000 0 {"value": 1}\n', "", 0)
    assert read_results(program, forged)[0].error == "no result"


def test_equal_programs_are_equal_for_a_cache_and_others_differ():
    assert call_program("a", "f", [[1]]) == call_program("a", "f", [[1]])
    nonces = {json.loads(call_program(s, "f", c).stdin)["mark"] for s in "ab" for c in ([[1]], [[2]])}
    assert len(nonces) == 4


def test_a_call_can_not_change_the_arguments_of_the_next():
    assert calls("def f(xs):\n    xs.append(1)\n    return len(xs)", [[[]], [[]]]) == [Result(1), Result(1)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_every_value_is_the_same_as_itself_after_json(value):
    assert same(json.loads(json.dumps(value)), value)


@given(JSON, JSON)
def test_sameness_is_pythons_own_but_for_floats(a, b):
    """Equal values agree; what agrees without being equal holds a float that was expected."""
    assert same(a, b) or a != b or "NaN" in json.dumps([a, b])
    assert a == b or not same(a, b) or any(c in json.dumps(b) for c in ".e")


@pytest.mark.parametrize(
    ("a", "b", "agree"),
    [
        (1, True, True), (0, False, True), (2, True, False), (True, True, True), (1, 1.0, True), (1.0, 1.0 + 1e-9, True),
        (1.0, 1.01, False), (1e12, 1e12 + 1, True), ([1, 2], (1, 2), True), ([1], [1, 2], False), ("1", 1, False),
        (None, 0, False), (float("nan"), float("nan"), False), (10**400, 1.0, False), ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False), ([True], [1], True), ([True], [0], False), ("a", "a", True), (10**20, 10**20 + 1, False),
    ],
)  # fmt: skip
def test_same(a, b, agree):
    assert same(a, b) is agree


def test_share_passed_counts_errors_as_failures():
    assert share_passed([Result(1), Result(None, "x"), Result(2)], [1, None, 3]) == pytest.approx(1 / 3)
    assert share_passed([], []) == 0.0


def test_checks_pass_when_all_have_run():
    files = {
        "a.py": "def one(): return 1\n",
        "test_a.py": "from a import one\ndef test_one():\n    assert one() == 1\n",
    }
    assert checks(files, ["test_a.py"])
    assert not checks(files | {"a.py": "def one(): return 2\n"}, ["test_a.py"])


@pytest.mark.parametrize(
    "hostile",
    [
        "import os; os._exit(0)",
        "raise SystemExit(0)",
        "print('0' * 24)",
        "import sys; sys.exit()",
        "1 / 0",
        "def one(",
    ],
)
def test_leaving_early_is_no_pass(hostile):
    files = {"a.py": hostile, "test_a.py": "from a import one\ndef test_one():\n    assert one() == 1\n"}
    assert not checks(files, ["test_a.py"])
