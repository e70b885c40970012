"""What docs/coding.md promises: honest programs of every shape earn all, wrong and hostile ones nothing.

About 40 s on one core.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.protocols import Execution, Program, Turns
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.sandbox.turns import TICKS
from cascade_rl.testing import FakeSandbox
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout
from cascade_rl.verify.programs import calls_inside, fences
from cascade_rl.verify.programs.assertions import split_check
from cascade_rl.verify.programs.fences import code_blocks, language_named, last_code_block, program_block
from cascade_rl.verify.programs.harness import call_program, read_results
from cascade_rl.verify.programs.outputs import same_output, shorten
from cascade_rl.verify.programs.values import hashable, same, typed

CODING = load_domain("coding")


@pytest.fixture(scope="module")
def sandbox():
    with ZygoteSandbox(2) as made:
        yield made


@pytest.fixture
def graded(sandbox):
    def call(answer: dict, reply: str, using=None):
        problem = Problem("p", "coding", (Message("user", "add"),), answer, Mode.INSTRUCT)
        return asyncio.run(CODING.grade(problem, Rollout.of_text(reply), Services(using or sandbox)))

    return call


@pytest.fixture
def called(graded):
    """The verdict on a function `f`, by pairs of arguments and result."""

    def call(source: str, *tests, timeout_s: float = 4.0, function: str = "f"):
        rows = [{"args": args, "result": result} for args, result in tests]
        answer = {"function": function, "tests": rows, "timeout_s": timeout_s}
        return graded(answer, f"```python\n{source}\n```")

    return call


@pytest.fixture
def printed(graded):
    """The verdict on a program that reads and prints."""

    def call(source: str, *tests, mark: str = "python", timeout_s: float = 4.0):
        rows = [{"stdin": stdin, "stdout": stdout} for stdin, stdout in tests]
        return graded({"tests": rows, "timeout_s": timeout_s}, f"```{mark}\n{source}\n```")

    return call


# --- which block is the program -----------------------------------------------------------------------------------

CODE = "print(sum(map(int, input().split())))"
SUM = {"tests": [{"stdin": "1 2\n", "stdout": "3\n"}], "timeout_s": 2.0}
FENCES = {
    "plain": f"```\n{CODE}\n```",
    "python3": f"```python3\n{CODE}\n```",
    "capitals": f"```Python\n{CODE}\n```",
    "tildes": f"~~~python\n{CODE}\n~~~",
    "path": f"```python:main.py\n{CODE}\n```",
    "braces": f"```{{python}}\n{CODE}\n```",
    "pandoc": f"```{{.python .numberLines startFrom=1}}\n{CODE}\n```",
    "title": f'```python title="main.py"\n{CODE}\n```',
    "title first": f'``` title="main.py" python\n{CODE}\n```',
    "file name": f"```main.py\n{CODE}\n```",
    "blank before": f"``` python\n{CODE}\n```",
    "three blanks": f"1. so:\n   ```python\n   {CODE}\n   ```",
    "three blanks, code at the edge": f"1. so:\n   ```python\n{CODE}\n   ```",
    "four blanks": f"- so:\n\n    ```python\n    if 1:\n        {CODE}\n    ```\n",
    "beside a list mark": f"- ```python\n  if 1:\n      {CODE}\n  ```\n",
    "beside a number": f"12. ```python\n    {CODE}\n    ```\nDone.",
    "its first indent lost": f"    ```python\n    if 1:\n        {CODE}\n    ```\n",
    "CRLF": f"so:\r\n```python\r\nif 1:\r\n    {CODE}\r\n```\r\n",
    "four ticks": f"````python\n'''\n```\n'''\n{CODE}\n````",
    "longer end": f"```python\n{CODE}\n`````",
    "never closed": f"so:\n```python\n{CODE}\n",
    "a stray fence at the end": f"```python\n{CODE}\n```\n```",
    "a sample after": f"```python\n{CODE}\n```\nprints\n```\n3\n```",
    "a sample in words after": f"```\n{CODE}\n```\nprints\n```\n3\n```",
    "a command after": f"```python\n{CODE}\n```\n```bash\npython main.py\n```",
    "output marked after": f"```python\n{CODE}\n```\n```text\n3\n```",
    "a draft before": f"```python\nprint(0)\n```\nno, better:\n```python\n{CODE}\n```",
    "fence in a docstring": f"```python\ndef f():\n    '''\n    ```\n    x\n    ```\n    '''\n{CODE}\n```",
    "behind words": f"Here it is: ```python\n{CODE}\n```\nDone.",
    "behind a tag": f"<answer>```python\n{CODE}\n```</answer>",
    "end behind the code": f"```python\nx = 1\n{CODE}```",
    "end behind the code, words after": f"```python\nx = 1\n{CODE}``` \nDone.",
    "end behind the code, a block after": f"```python\nx = 1\n{CODE}```\n```bash\npython a.py\n```",
    "the end of a turn behind it": f"```python\n{CODE}\n```<|im_end|>",
    "quoted": f"> so:\n>\n> ```python\n> if 1:\n>\n>     {CODE}\n> ```",
    "a quotation that is printed": f"```python\n{CODE}\nassert len('''\n> a\n''') == 5\n```",
    "marks that nobody sees": f"\u200b```python\n\ufeff{CODE}\n```",
    "only spoken of a fence": f"Put it in ```python\nas here:\n```python\n{CODE}\n```",
    "only spoken of a fence, no mark": f"I put it in ```python\n\n```\n{CODE}\n```",
    "a fence in a comment": f"```python\nx = 1  # ends with ```\n{CODE}\n```",
    "a part explained after": f"```python\n{CODE}\n```\nIts core:\n```python\nsum(map(int, words))\n```",
    "its tests after": f"```python\n{CODE}\n```\n```python\nassert sum([1, 2]) == 3\n```",
    "a session after": f"```python\n{CODE}\n```\n```python\n>>> main()\n3\n```",
    "much behind a fence": f"```{' ' * 50_000}!\n```python\n{CODE}\n```\n",
}


@pytest.mark.parametrize("name", FENCES)
def test_fences_as_models_write_them(graded, name):
    verdict = graded(SUM, FENCES[name])
    assert verdict.reward == 1.0, verdict


@pytest.mark.parametrize(
    "reply",
    [
        CODE,
        f"```python {CODE}```",
        f"`{CODE}`",
        f"```python\n{CODE}\n```\nor\n```python\nprint(0)\n```",
        f"```python\n{CODE}\n```\n```cpp\nint main() {{}}\n```",
        f"```python\nprint(0)\n```\n```\n{CODE}\n```",
        f"```python\n{CODE}\n```\n```python\ninput()\nprint(0)\n```",
        f"```python\n{CODE}```\nor\n```python\ninput()\nprint(0)```",
        "```python\n```",
    ],
)
def test_one_place_is_the_program(graded, reply):
    """No code outside of fences, and of several programs the last marked one, right or not."""
    assert graded(SUM, reply).reward == 0.0


@pytest.mark.parametrize(
    ("info", "language"),
    [("py", "python"), ("PyPy3", "python"), ("c++17", "cpp"), ("cpp:main.cpp", "cpp"), ("main.cc", "cpp"), ("", ""),
     ('title="x"', ""), ("java", "java"), ("{#id .python}", "id"), ("GNU++20", "cpp"), ("text", "text")],
)  # fmt: skip
def test_languages_are_named_in_many_ways(info, language):
    assert language_named(info) == language


def test_a_wanted_language_chooses_the_block():
    blocks = code_blocks("```cpp\nA\n```\n```python\nB\n```\n```\n#include <x>\n```")
    assert [program_block(blocks, wanted).text for wanted in ("cpp", "python", None)] == ["A", "B", "B"]
    assert program_block(blocks[2:], None).language == "cpp" and program_block([], None) is None


def test_what_shows_how_to_call_it_is_not_the_program(graded):
    answer = {"function": "f", "tests": [{"args": [1], "result": 3}]}
    solution, usage = "```python\ndef f(x):\n    return x + 2\n```", "```python\nprint(f(1))\n```"
    assert graded(answer, f"{solution}\nUse it:\n{usage}").reward == 1.0
    assert graded(answer, f"{solution}\nor\n{solution.replace('2', '3')}\n{usage}").reward == 0.0, (
        "the last one"
    )
    wrapped = "```python\nclass Solution:\n    def f(self, x): return x + {}\n```"
    assert graded(answer, wrapped.format(2)).reward == 1.0, "judges name a method without its class"
    assert graded(answer, f"{solution}\nas a class:\n{wrapped.format(3)}").reward == 1.0, "a function first"
    method = "```python\nclass Solution:\n    def f(self, x): return x + 2\n```"
    assert (
        graded(answer | {"function": "Solution.f"}, f"{method}\n```python\nSolution().f(1)\n```").reward
        == 1.0
    )
    check = {"check": "def check(candidate):\n    assert candidate(1) == 3\ncheck({})", "before": ""}
    for name, block in (("f", solution), ("Solution().f", method)):
        assert graded(check | {"check": check["check"].format(name)}, f"{block}\n{usage}").reward == 1.0


def test_blocks_are_read_once_whatever_the_reply_holds(monkeypatch):
    """Each line is looked at twice at most and without a pattern, and what is kept is no longer than the reply."""
    looks, edge = [], fences._edge
    monkeypatch.setattr(fences, "_edge", lambda line: looks.append(len(line)) or edge(line))
    pieces = ["```", "~~~", " ", "\t", "`", "\n", "```python", "!", "\r", "    ", "````", "=", "{", "x"]
    for piece in pieces:
        for other in pieces:
            text = (piece * 40 + other) * 400
            looks.clear()
            assert sum(len(block.text) for block in code_blocks(text)) <= len(text)
            assert len(looks) <= 2 * (text.count("\n") + 1) and sum(looks) <= 2 * len(text)
    assert not hasattr(fences, "re")
    assert last_code_block("```" + " " * 1_000_000 + "!") is None


# --- what calls find ------------------------------------------------------------------------------------------------

PRELUDE_USES = {
    "List": "def f(xs: List[int]) -> Optional[int]: return sum(xs)",
    "a class": "class Solution:\n    def f(self, xs: List[int]): return pow(len(xs), -1, 7) * 0 + sum(xs)",
    "math": "def f(xs): return int(math.sqrt(gcd(0, sum(xs)) ** 2))",
    "modules": "def f(xs):\n    sys.setrecursionlimit(9999); datetime.datetime(2000, 1, 1); time.time()\n"
               "    return statistics.mean(xs * 2) * len(xs)",
    "names": "def f(xs):\n    randint(1, 2); q = deque(deepcopy(xs)); heappush([], 1); bisect_left(xs, 1)\n"
             "    return int(Decimal(1) * Fraction(1) .numerator) * reduce(lambda a, b: a + b, map(itemgetter(0), zip(q)))",
    "caches": "@lru_cache(None)\ndef g(n): return n\n@cache\ndef h(n): return n\ndef f(xs): return sum(map(g, map(h, xs)))",
    "built-in names stay": "def f(xs):\n    assert pow(2, 5, 7) == 4 and open is io.open and sum([1]) == 1 and abs(-1) == 1\n"
                           "    return sum(xs)",
    "postponed annotations": "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\n"
                             "class P:\n    x: int\n    y: list[int]\ndef f(xs): return P(sum(xs), []).x",
    "pickle": "import pickle\nclass P: pass\ndef f(xs): return (pickle.loads(pickle.dumps(P())), sum(xs))[1]",
    "numpy": "import numpy as np\ndef f(xs): return np.array(xs).sum()",
    "sortedcontainers": "from sortedcontainers import SortedList\ndef f(xs): return sum(SortedList(xs))",
    "signals and timers": "import signal, time\ndef f(xs):\n    signal.signal(signal.SIGALRM, lambda *a: None)\n"
                          "    signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(0.05)\n    return sum(xs)",
    "a thread that stays": "import threading, time\ndef f(xs):\n    threading.Thread(target=time.sleep, args=(99,)).start()\n"
                           "    return sum(xs)",
}  # fmt: skip


@pytest.mark.parametrize("name", PRELUDE_USES)
def test_calls_find_what_judges_give(called, name):
    function = "Solution.f" if name == "a class" else "f"
    verdict = called(PRELUDE_USES[name], ([[1, 2]], 3), ([[4]], 4), function=function)
    assert verdict.reward == 1.0, verdict


def test_the_prelude_is_no_answer(called):
    """A function of the task's name is the source's own, never one that is imported for it."""
    for name, arguments, result in (("add", [1, 2], 3), ("gcd", [4, 6], 2), ("sorted", [[2, 1]], [1, 2])):
        assert called("x = 1", (arguments, result), function=name).reward == 0.0
    assert {"sys", "datetime", "copy"} <= set(calls_inside.PRELUDE.split())


def test_exit_and_quit_are_there(printed):
    for end in ("exit()", "exit(0)", "quit()", "import sys; sys.exit()", "raise SystemExit"):
        assert printed(f"print(3)\n{end}", ("", "3")).reward == 1.0
    assert printed("print(3)\nexit(1)", ("", "3")).reward == 0.0


def test_recursion_has_room(called, printed):
    plain = "def f(n): return 0 if n == 0 else 1 + f(n - 1)"
    assert called(plain, ([1500], 1500), ([20_000], 20_000)).reward == 1.0
    assert called("@cache\n" + plain, ([1500], 1500), ([20_000], 20_000)).reward == 1.0
    raised = "import sys\nsys.setrecursionlimit(10 ** 6)\n"
    assert called(raised + plain, ([100_000], 100_000)).reward == 1.0
    assert printed(f"{raised}{plain}\nprint(f(100_000))", ("", "100000")).reward == 1.0
    endless = called("def f(n): return f(n)", ([1], 1))
    assert endless.reward == 0.0 and "RecursionError" in endless.note


# --- results and outputs ---------------------------------------------------------------------------------------------

SHAPES = {
    "a tuple": ("def f(): return (1, (2,))", [1, [2]]),
    "a set in order": ("def f(): return {3, 1, 2}", [1, 2, 3]),
    "a frozen set inside": ("def f(): return [frozenset('ba')]", [["a", "b"]]),
    "a range": ("def f(): return range(3)", [0, 1, 2]),
    "a deque": ("def f(): return deque([1, 2])", [1, 2]),
    "keys of integers": ("def f(): return {1: 'a', 2: 'b'}", {"1": "a", "2": "b"}),
    "a Counter": ("def f(): return Counter('aab')", {"a": 2, "b": 1}),
    "a defaultdict": ("def f():\n    d = defaultdict(list); d['x'].append(1); return d", {"x": [1]}),
    "a float for an integer": ("def f(): return [3.0]", [3]),
    "an integer for a float": ("def f(): return 3", 3.0),
    "booleans for integers": ("def f(): return [True, False]", [1, 0]),
    "integers for booleans": ("def f(): return {'a': 1}", {"a": True}),
    "numpy": ("import numpy as np\ndef f(): return [np.int64(3), np.float64(0.5), np.arange(2), np.bool_(True)]",
              [3, 0.5, [0, 1], True]),
    "exact numbers": ("def f(): return [Decimal('1.5'), Fraction(1, 4), Decimal(3), Fraction(10 ** 30 + 1)]",
                      [1.5, 0.25, 3, 10**30 + 1]),
    "a sorted list": ("from sortedcontainers import SortedList\ndef f(): return SortedList([2, 1])", [1, 2]),
    "a large integer": ("def f(): return 10 ** 400", 10**400),
    "deep": ("def f():\n    x = 1\n    for _ in range(480): x = [x]\n    return x", json.loads("[" * 480 + "1" + "]" * 480)),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_results_have_the_shapes_of_json(called, name):
    source, result = SHAPES[name]
    verdict = called(source, ([], result))
    assert verdict.reward == 1.0, verdict


WRONG_SHAPES = {
    "a float nearly an integer": ("def f(): return 1e9", 1_000_000_007),
    "in a list": ("def f(): return [2.0000001]", [2]),
    "exact but wrong": ("def f(): return Fraction(2 * 10 ** 7 + 1, 10 ** 7)", 2),
    "no exact number": ("def f(): return Decimal('NaN')", 0.5),
    "in a dictionary": ("def f(): return {'a': [1.0000001]}", {"a": [1]}),
    "an integer beyond floats": ("def f(): return float(2 ** 53)", 2**53 + 1),
    "an infinity": ("def f(): return float('inf')", 10**400),
    "a text": ("def f(): return '3'", 3),
    "nothing": ("def f(): pass", 0),
    "a boolean": ("def f(): return True", 2),
    "a list for its only member": ("def f(): return [3]", 3),
    "a set of too few": ("def f(): return {1, 2}", [1, 2, 2]),
    "an iterator": ("def f(): return iter([1])", [1]),
    "a generator": ("def f():\n    yield 1", [1]),
    "bytes": ("def f(): return b'a'", "a"),
    "deep but for the core": ("def f():\n    x = 2\n    for _ in range(480): x = [x]\n    return x",
                              json.loads("[" * 480 + "1" + "]" * 480)),
    "not a number": ("def f(): return float('nan')", 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_other_values_are_wrong_and_never_null(called, name):
    source, result = WRONG_SHAPES[name]
    assert called(source, ([], result)).reward == 0.0


def test_integers_are_exact_at_any_size():
    """Against exact arithmetic: a float meets an integer if and only if it is that integer."""
    for power in range(0, 200, 3):
        for off in (-1, 0, 1):
            integer = 3**power + off
            assert same(float(integer), integer) is (int(float(integer)) == integer)
            assert same(integer, integer) and not same(integer + 1, integer)


NODES = {
    "a list": ("class Solution:\n    def f(self, head: Optional[ListNode]) -> Optional[ListNode]:\n        last = None\n"
               "        while head: head.next, last, head = last, head, head.next\n        return last",
               [[[1, 2, 3]], [3, 2, 1]], [[[]], []]),
    "its own class": ("class ListNode:\n    def __init__(self, x):\n        self.val = x\n        self.next = None\n"
                      "class Solution:\n    def f(self, head: ListNode) -> ListNode: return head.next",
                      [[[1, 2]], [2]], [[[1]], []]),
    "several lists": ("class Solution:\n    def f(self, lists: List[Optional[ListNode]]) -> Optional[ListNode]:\n"
                      "        return lists[1]", [[[[1], [2, 3]]], [2, 3]]),
    "a tree": ("class Solution:\n    def f(self, root: 'TreeNode | None', k: int) -> int:\n"
               "        return 0 if not root else root.val + k + self.f(root.left, k) + self.f(root.right, k)",
               [[[1, None, 2, 3], 1], 9], [[[], 1], 0]),
    "a tree made": ("class Solution:\n    def f(self, n: int) -> Optional[TreeNode]:\n"
                    "        return TreeNode(1, None, TreeNode(2, TreeNode(3))) if n else None",
               [[1], [1, None, 2, 3]], [[0], []]),
    "told in words": ("class Solution(object):\n    def f(self, head):\n        \"\"\"\n        :type head: ListNode\n"
                      "        :rtype: ListNode\n        \"\"\"\n        return head and head.next",
                      [[[1, 2]], [2]], [[[1]], []], [[[]], []]),
    "postponed": ("from __future__ import annotations\nclass Solution:\n    def f(self, root: TreeNode) -> TreeNode:\n"
                  "        root.left, root.right = root.right, root.left\n        return root", [[[1, 2, 3]], [1, 3, 2]]),
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
def test_lists_and_trees_of_nodes(called, name):
    source, *tests = NODES[name]
    verdict = called(source, *tests, function="Solution.f")
    assert verdict.reward == 1.0, verdict


def test_nodes_in_a_circle_are_an_error(called):
    source = "def f(head: ListNode) -> ListNode:\n    head.next = head\n    return head"
    verdict = called(source, ([[1]], [1]))
    assert verdict.reward == 0.0 and "without an end" in verdict.note


def test_large_results_and_outputs_pass(called, printed):
    assert called("def f(n): return 'a' * n", ([2_000_000], "a" * 2_000_000)).reward == 1.0
    tests = [([i], [str(i)] * 100_000) for i in range(10)]
    assert called("def f(n): return [str(n)] * 100_000", *tests).reward == 1.0
    text = "\n".join(map(str, range(650_000)))
    assert len(text) > 4_400_000 and printed("print(*range(650_000), sep='\\n')", ("", text)).reward == 1.0
    long = called("def f(n): return ['a'] * n", ([1_000_000], ["a"]))
    assert long.reward == 0.0 and "a result of 5,0" in long.note, "not even read"
    flood = called("def f(n): return 'a' * n", ([20_000_000], "a" * 20_000_000))
    assert flood.reward == 0.0 and "output limit" in flood.note


def test_numbers_and_words_of_an_output():
    assert (
        same_output("3.0", "3")
        and same_output("YES\nno", "Yes\nNO")
        and same_output("0.33333333", "0.3333334")
    )
    assert not same_output("3.0000001", "3") and not same_output("1e9", "1000000007")
    assert not same_output("1000000000.0", "1000000007") and not same_output("ok", "OK")


# --- time -------------------------------------------------------------------------------------------------------------

BUSY = "import time\ndef f(x):\n    t = time.process_time()\n    while time.process_time() - t < ({}): pass\n    return x\n"


def test_each_call_has_its_own_time_and_no_total_cuts_it(called, printed):
    tests = [([i], i) for i in range(25)]
    assert called(BUSY.format(0.1), *tests, timeout_s=0.3).reward == 1.0
    busy = BUSY.format(0.15) + "print(f(input()))"
    rows = [(f"{i}\n", f"{i}\n") for i in range(20)]
    assert printed(busy, *rows, timeout_s=0.3).reward == 1.0


SILENCERS = {
    "ignored": "signal.signal(signal.SIGPROF, signal.SIG_IGN); signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    "blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 60))",
    "timers off": "signal.setitimer(signal.ITIMER_PROF, 0); signal.setitimer(signal.ITIMER_REAL, 0)",
    "junk on every descriptor": "import os, threading\ndef junk():\n    while True:\n        for fd in range(3, 64):\n"
                                "            try: os.write(fd, b'\\nx 1 {}\\n')\n            except OSError: pass\n"
                                "        time.sleep(0.01)\nthreading.Thread(target=junk, daemon=True).start()",
    "lines of its turn again": "import sys, os, threading\nframe = sys._getframe(1)\nmark = frame.f_locals['mark']\ndef junk():\n"
                               "    while True:\n        try: os.write(3, (mark + ' -1 {}\\n' + mark + ' 9 {}\\n').encode())\n"
                               "        except OSError: pass\n        time.sleep(0.01)\n"
                               "threading.Thread(target=junk, daemon=True).start()",
}  # fmt: skip


@pytest.mark.parametrize("name", SILENCERS)
def test_a_call_can_not_switch_off_its_limit(called, name):
    source = f"import signal, time\n{SILENCERS[name]}\n" + BUSY.format("1.2 if x == 2 else 0.01")
    verdict = called(source, *[([i], i) for i in range(8)], timeout_s=0.4)
    assert verdict.reward == 0.0 and verdict.outcome is Outcome.TIMEOUT, verdict
    assert verdict.note == "test 3 of 8: over 0.4 s"


def test_a_call_that_sleeps_ends(called):
    source = "import time\ndef f(x):\n    time.sleep(99 * (x == 2)); return x"
    verdict = called(source, *[([i], i) for i in range(8)], timeout_s=0.2)
    assert (verdict.outcome, verdict.note) == (Outcome.TIMEOUT, "test 3 of 8: over 0.2 s")


def test_turns_are_counted_by_whole_lines_in_order(sandbox):
    """A program may run far longer than one turn, if its turns end in time; and no line of another turn helps."""
    spin = "import time\ndef spin():\n    t = time.process_time()\n    while time.process_time() - t < 0.2: pass\n"
    for line, whole in (
        ("f'm {i - 1} x'", True),
        ("f'm {i} x'", False),
        ("f' m {i - 1} x'", False),
        ("'m -1 x'", False),
    ):
        source = f"{spin}for i in range(6):\n    print({line}, flush=True); spin()\n"
        program = Program({"m.py": source}, "m.py", timeout_s=9.0, turns=Turns("m", 6, 0.5))
        execution = asyncio.run(sandbox.run(program))
        assert execution.timed_out is not whole and (execution.limit == "cpu") is not whole
        assert whole or execution.cpu_s < 0.9


# --- the checks of a test -------------------------------------------------------------------------------------------------


def test_a_check_of_a_class_is_a_check(graded):
    check = "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(a=1, b=1) == 2\ncheck({})\n"
    method = "```python\nclass Solution:\n    def add(self, a: int, b: int) -> int:\n        return {}\n```"
    answer = {"check": check.format("Solution().add"), "before": "from typing import *\n"}
    assert graded(answer, method.format("a + b")).reward == 1.0
    assert graded(answer, method.format("a - b")).reward == 0.0
    plain = "```python\ndef add(a, b): return a + b\n```"
    assert graded(answer | {"check": check.format("add")}, plain).reward == 1.0


def test_a_check_takes_numbers_of_numpy_as_its_own(graded):
    check = (
        "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\ncheck(f)"
    )
    for kind, reward in (("np.int64", 1.0), ("np.float64", 1.0), ("np.bool_", 0.0), ("np.array", 1.0)):
        reply = f"```python\nimport numpy as np\ndef f(xs): return {kind}(sum(xs))\n```"
        assert graded({"check": check, "before": ""}, reply).reward == reward, kind


def test_values_that_share_a_hash_make_no_set():
    """20,000 multiples of 2^61 - 1 all hash to 0: they are refused before any table is made of them."""
    alike = [i * (2**61 - 1) for i in range(20_000)]
    assert len(set(map(hash, alike))) == 1
    for value in (["set", alike], ["dict", [[key, 1] for key in alike]], ["list", [["frozenset", alike]]]):
        with pytest.raises(ValueError, match="share a hash"):
            typed(value)
    [check] = split_check("def check(candidate):\n    assert len(set(candidate(1))) == 20000\n")
    assert not check.holds([alike]) and check.holds([list(range(20_000))])
    with pytest.raises(ValueError, match="share a hash"):
        hashable((i, 0) for i in alike)
    assert hashable([1, 1.0, True] * 50) == [1, 1.0, True] * 50


def test_a_product_of_a_check_stays_small():
    [check] = split_check("def check(candidate):\n    assert candidate(1) * candidate(2) == 6\n")
    assert (
        check.holds([2, 3]) and not check.holds([[1] * 10_000, 10**9]) and not check.holds(["x" * 9, 2**40])
    )
    [text] = split_check("def check(candidate):\n    assert 'ab' * candidate(1) == 'abab'\n")
    assert text.holds([2])


def test_notes_are_short_whatever_the_value():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, list(range(10**6)), "é" * 10**6, {i: [i] * 9 for i in range(10**5)}, 10**4000):
        assert len(shorten(value)) < 90


# --- a corpus of attempts ----------------------------------------------------------------------------------------------------

ATTEMPTS = {
    "an integer's repr": "class I(int):\n    __repr__ = __str__ = lambda s: '3'\ndef f(x): return I(9)",
    "a float's repr": "class F(float):\n    __repr__ = __str__ = lambda s: '3'\ndef f(x): return F(9)",
    "a text that is any": "class S(str):\n    __eq__ = lambda s, o: True\n    __hash__ = str.__hash__\ndef f(x): return S('q')",
    "a list that changes": "class L(list):\n    n = 0\n    def __iter__(s):\n        s.n += 1\n        return iter([s.n])\n"
                           "    def __len__(s): return 1\ndef f(x): return L()",
    "a dictionary of forms": "class D(dict):\n    def items(s): return [('value', 3)]\ndef f(x): return D(a=9)",
    "JSON in a text": "def f(x): return '{\"value\": 3}\\n'",
    "a line in a text": "import sys\ndef f(x):\n    m = sys._getframe(1).f_locals['mark']\n"
                      "    return f'\\n{m} 0 {{\"value\": 3}}\\n'",
    "the encoder replaced": "import json\njson.dumps = lambda *a, **k: '{\"value\": 3}'\n"
                            "json.encoder.c_make_encoder = None\njson.JSONEncoder.default = lambda *a: 3\n"
                            "def f(x): return object()",
    "the default hook": "import sys\nsys._getframe(1).f_globals['shaped'] = lambda v: 9\ndef f(x): return object()",
    "two lines of its turn": "import sys, os\ndef f(x):\n    say = sys._getframe(1).f_locals['say']\n    say(0, value=9)\n"
                             "    say(0, value=3)\n"
                             "    return 3",
    "lines of all turns first": "import sys\ndef f(x):\n    say = sys._getframe(1).f_locals['say']\n"
                                "    for t in (2, 1, 0): say(t, value=9)\n"
                                "    return [3, 5, 7][x - 1]",
    "an error and a value": "import sys\ndef f(x):\n    say = sys._getframe(1).f_locals['say']\n"
                            "    say(x - 1, error='no', value=3)\n"
                            "    return [3, 5, 7][x - 1]",
    "not a number": "def f(x): return float('nan')",
    "less than nothing": "def f(x): return -0.0",
    "a generator": "def f(x): yield from (3, 5, 7)",
    "a coroutine": "async def f(x): return 3",
    "half a surrogate": "def f(x): return '\\udc33'",
    "all answers": "def f(x): return [3, 5, 7]",
    "a later answer": "seen = []\ndef f(x):\n    seen.append(x)\n    return [5, 7, 3][x - 1]",
    "the arguments of others": "import sys\ndef f(x): return sys._getframe(1).f_locals['job']['calls'][0]",
    "itself": "def f(x): return f",
    "the exit code": "import os\ndef f(x): os._exit(0)",
    "a file rewound": "import os\ndef f(x):\n    for fd in range(3, 9):\n        try: os.lseek(fd, 0, 0); os.ftruncate(fd, 0)\n"
                      "        except OSError: pass\n    return 9",
    "a type that says int": "class T:\n    __class__ = int\n    __index__ = __int__ = lambda s: 3\ndef f(x): return T()",
    "a patch of isinstance": "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.sorted = lambda *a: [3]\n"
                             "def f(x): return {9}",
    "numpy's tolist": "class A:\n    def tolist(s): return 9\nA.__module__ = 'numpy'\ndef f(x): return A()",
    "nodes without end": "class ListNode:\n    val = 3\n    @property\n    def next(s): return s\ndef f(x): return ListNode()",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTEMPTS)
def test_attempts_in_calls_earn_nothing(called, name):
    verdict = called(ATTEMPTS[name], ([1], 3), ([2], 5), ([3], 7), timeout_s=1.0)
    assert verdict.reward == 0.0 and verdict.outcome in (Outcome.WRONG, Outcome.TIMEOUT), verdict


STREAM_ATTEMPTS = {
    "many lines": "print(*range(100), sep='\\n')",
    "backspaces": "print('9\\b3')",
    "a carriage return": "print('9\\r3')",
    "a zero byte": "print('3\\0')",
    "zero width": "print('\\u200b3')",
    "another three": "print('\\u0663')",
    "an expression": "print('1+2')",
    "a float near": "print(2.9999999)",
    "in words": "print('three')",
    "on the other stream": "import sys; print(3, file=sys.stderr)",
    "then an error": "print(3)\nraise ValueError",
    "then a failure's exit code": "import os\nprint(3, flush=True)\nos._exit(1)",
    "either": "print(3, 4)",
    "in an exit handler that fails": "import atexit\nprint(3)\natexit.register(lambda: 1 / 0)\nimport os\nos._exit(3)",
    "yes for no": "print('YES')",
}  # fmt: skip


@pytest.mark.parametrize("name", STREAM_ATTEMPTS)
def test_attempts_on_streams_earn_nothing(printed, name):
    verdict = printed(STREAM_ATTEMPTS[name], ("", "3" if "yes" not in name else "NO"), timeout_s=1.0)
    assert verdict.reward == 0.0 and verdict.outcome in (Outcome.WRONG, Outcome.TIMEOUT), verdict


def test_cpp_has_room_for_data_depth_and_threads(printed):
    data = '#include <cstdio>\nint a[2200000] = {1};\nint main() { printf("%d", a[0] + 2); }'
    assert printed(data, ("", "3"), mark="cpp").reward == 1.0
    deep = "#include <cstdio>\nint f(int n) { volatile int x[8]; x[0] = n; return n ? 1 + f(n - 1) * (x[0] != -1) : 0; }\n" \
           "int main() { printf(\"%d\", f(500000)); }"  # fmt: skip
    assert printed(deep, ("", "500000"), mark="c++17").reward == 1.0
    thread = (
        "#include <thread>\n#include <cstdio>\n"
        'int main() { int x = 0; std::thread t([&] { x = 3; }); t.join(); printf("%d", x); }'
    )
    assert printed(thread, ("", "3"), mark="cpp").reward == 1.0


def test_cpp_is_compiled_as_judges_do(printed):
    new = "#include <bits/stdc++.h>\nint main() { std::vector v{1, 2}; std::ranges::sort(v); __int128 x = 3;\n" \
          "#ifndef ONLINE_JUDGE\nfreopen(\"input.txt\", \"r\", stdin);\n#endif\n" \
          "int a; std::cin >> a; std::cout << a + (int)x + ((1 <=> 1) == 0); }"  # fmt: skip
    assert printed(new, ("1", "5"), mark="cpp20").reward == 1.0


def test_a_tick_is_a_small_part_of_a_turn():
    assert TICKS >= 10


def test_forged_executions_give_numbers():
    """Whatever comes back from the sandbox without its own fault, the verdict is a number."""
    answer = {"function": "f", "tests": [{"args": [1], "result": 3}]}
    program = call_program("def f(x): pass", "f", [[1]])
    for execution in (
        Execution("", "", 0),
        Execution("\n" * 10**6, "", -9, True, limit="cpu"),
        Execution("\0", "", 255),
    ):
        [result] = read_results(program, execution)
        assert result.error is not None
        problem = Problem("p", "coding", (Message("user", "f"),), answer, Mode.INSTRUCT)
        reply = Rollout.of_text("```python\ndef f(x): pass\n```")
        verdict = asyncio.run(CODING.grade(problem, reply, Services(FakeSandbox(execution))))
        assert verdict.reward == 0.0
