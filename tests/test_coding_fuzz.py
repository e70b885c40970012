"""Any reply whatever, and whatever comes back from its program, gives a number: never null, never an exception.

50,000 replies meet a sandbox that answers with arbitrary executions, a few hundred run in the real one. About 35 s on
one core.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

import pytest
from hostile_replies import replies

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.protocols import Execution, Program
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.testing import FakeSandbox
from cascade_rl.types import Message, Mode, Problem, Rollout

CODING = load_domain("coding")
CHECK = (
    "def check(candidate):\n    assert candidate(1) == {1, 2}\n    assert sorted(candidate(2)) == [1]\n"
    "    assert abs(candidate(3)) < 2\n"
)
ANSWERS = [
    {"tests": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "", "stdout": "YES 0.5\n"}], "timeout_s": 0.2},
    {"tests": [{"stdin": "1", "stdout": "3"}], "language": "python", "timeout_s": 0.2},
    {"function": "f", "tests": [{"args": [1], "result": 3}, {"args": [[2]], "result": [1.5, {"a": True}, None]}],
     "timeout_s": 0.2},
    {"function": "Solution.f", "tests": [{"args": [[1]], "result": [1]}], "timeout_s": 0.2},
    {"check": CHECK + "check(f)", "before": "import math\n", "timeout_s": 0.2},
    {"check": CHECK + "check(Solution().f)", "before": "", "timeout_s": 0.2},
    {"check": "def check(candidate):\n    for x in [1]: assert candidate(x)\ncheck(f)", "before": "", "timeout_s": 0.2},
]  # fmt: skip
GOLDS = [
    "Read and add.\n```python\nimport sys\na, b = map(int, input().split())\nprint(a + b)\nexit()\n```\nDone:\n```\n3\n```\n",
    "```python\nclass Solution:\n    def f(self, head: Optional[ListNode]) -> List[int]:\n        return {1, 2}\n"
    "def f(x): return [x]\n```",
    "~~~cpp\n#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b; }\n~~~",
    "1. so\n    ```{python}\n    def f(x):\n        return 3\n    ```\n",
]  # fmt: skip


def value(rng: random.Random) -> str:
    """JSON, or what is nearly such, as a program may have forged it."""
    deep = rng.choice((3, 60, 480, 2_000, 60_000))
    made = rng.choice((
        "3", "true", "null", "NaN", "-Infinity", "-0.0", "1e999", "9" * 5_000, '"\\ud800"', '{"a": {}, "a": 1}', "[1.5, {}, 3]",
        "[" * deep + "1" + "]" * deep, "[" * deep, '{"a":' * deep, '["set", [1, 2]]', '["set", [[], 1]]', '["dict", [[1]]]',
        '["dict", [[["list", []], 1]]]', '["odd", [1]]', '["list", 3]', "[[]]", '["tuple", ["set", []]]', '["set"]', "x", "",
    ))  # fmt: skip
    return rng.choice(('{"value": %s}', '{"error": %s}', "%s", '{"value": %s, "error": null}')) % made


def stdout(rng: random.Random, program: Program) -> str:
    job = json.loads(program.stdin) if program.stdin.startswith("{") else {}
    mark = job.get("mark") or job.get("nonce") or "0"
    lines = [f"{mark} {turn} {value(rng)}" for turn in sorted(rng.choices(range(-2, 5), k=rng.randrange(7)))]
    odd = ["3", "yes 0.5", "", " " * 1_000, "\x00\ufffd", mark, f"{mark} -1 {{}}", f"{mark} 0 " + "7" * 200]
    return rng.choice(("\n", "\n\n", "\r\n")).join(lines + rng.choices(odd, k=rng.randrange(3))) + rng.choice(
        ("\n", "")
    )


def any_execution(rng: random.Random):
    def run(program: Program) -> Execution:
        code, limit = (
            rng.choice((0, 0, 0, 1, 127, 255, -9, -11)),
            rng.choice((None, None, "cpu", "wall", "output", "memory")),
        )
        stderr = rng.choice(("", "E\n", "\ud800", "a\n" * 500, "ValueError: " + "x" * 5_000, "\n\x00"))
        files = rng.choice(({}, {"program": "\x7fELF\udcff"}, {"other": ""}))
        late = limit in ("cpu", "wall") or rng.random() < 0.1
        return Execution(
            stdout(rng, program), stderr, code, late, None, files, limit, rng.choice((0.0, 0.1, 99.0))
        )

    return run


def fenced(rng: random.Random, texts):
    """Half of the replies as they are, the others as a program each."""
    for text in texts:
        mark = rng.choice(("", "", "", "python", "python", "cpp"))
        yield f"```{mark}\n{text}\n```" if mark else text


async def verdicts(texts, rng, sandbox, width: int = 1):
    services, found, waiting = Services(sandbox), Counter(), iter(texts)

    async def lane() -> None:
        for text in waiting:
            problem = Problem(
                "p",
                "coding",
                (Message("user", "f"),),
                rng.choice(ANSWERS),
                rng.choice((Mode.INSTRUCT, Mode.THINKING)),
            )
            verdict = await CODING.grade(problem, Rollout.of_text(text), services)
            assert verdict.reward in (0.0, 1.0), (problem.answer, text[:300], verdict)
            found[verdict.outcome] += 1
            if isinstance(sandbox, FakeSandbox):
                sandbox.programs.clear()

    await asyncio.gather(*(lane() for _ in range(width)))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_any_reply_and_any_execution_give_a_number(seed):
    rng = random.Random(seed)
    found = asyncio.run(
        verdicts(fenced(rng, replies(rng, 10_000, GOLDS)), rng, FakeSandbox(any_execution(rng)))
    )
    assert sum(found.values()) == 10_000 and len(found) >= 3, found


def test_any_program_gives_a_number():
    """In the real sandbox: right programs with a few changes, which run, and run wild."""
    rng = random.Random(7)
    texts = (text for text in fenced(rng, replies(rng, 100_000, GOLDS)) if "```" in text or "~~~" in text)
    with ZygoteSandbox(2) as sandbox:
        found = asyncio.run(verdicts((next(texts) for _ in range(600)), rng, sandbox, 2))
        assert sum(found.values()) == 600 and sandbox.counters["infra_faults"] == 0
