"""Whatever a policy replies to a repair that is judged by tests, it gets a number: 50,000 hostile replies.

Most are no repair and never run; what can be applied runs in the real sandbox, apart from the tests for the built-in form and for
named tests of plain form, and under pytest for a share of them.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from itertools import cycle

from hostile_programs import HOSTILE
from hostile_replies import replies
from test_patch_fuzz import FILES, GOLDS, lines_mixed

from cascade_rl.domain import Services
from cascade_rl.domains import swe
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Verdict
from cascade_rl.verify.patches.appraise import unified_diff

COUNT = 50_000
TOGETHER = 200
TEST = """from shapes import area, edge


def test_area():
    assert area(2, 3) == 6


def test_edge():
    assert edge(2) == 8
"""
RIGHT = FILES | {"shapes.py": FILES["shapes.py"].replace("w + h", "w * h")}
PATCH = unified_diff(FILES, RIGHT)
NAMED = {
    "fail_to_pass": ["tests/test_shapes.py::test_area"],
    "pass_to_pass": ["tests/test_shapes.py::test_edge"],
}
BUILT_IN = {"files": FILES, "patch": PATCH, "tests": {"test_shapes.py": TEST}}
BY_NAME = {
    "files": FILES,
    "patch": PATCH,
    "tests": NAMED,
    "test_files": {"tests/test_shapes.py": TEST},
    "timeout_s": 20,
}
BY_PYTEST = BY_NAME | {"apart": False}


def problem(answer: dict, mode: Mode) -> Problem:
    return Problem("id", "swe", (Message("user", "Repair it."),), answer, mode)


def judged(asked: list[Problem], given: list[str], limit_s: float = math.inf) -> Counter[Outcome]:
    """How replies were judged, each on the next of the problems."""
    found: Counter[Outcome] = Counter()

    async def all_of_them(sandbox: ZygoteSandbox) -> None:
        pairs = list(zip(cycle(asked), given, strict=False))
        for at in range(0, len(pairs), TOGETHER):
            part = pairs[at : at + TOGETHER]
            jobs = (
                swe.score(one, Rollout.of_text(text), Services(sandbox=sandbox, limit_s=limit_s))
                for one, text in part
            )
            verdicts: list[Verdict] = await asyncio.gather(*jobs)
            for (_, text), verdict in zip(part, verdicts, strict=True):
                assert verdict.reward is not None and math.isfinite(verdict.reward), (
                    text[:500],
                    verdict.note,
                )
                found[verdict.outcome] += 1

    with ZygoteSandbox(2) as sandbox:
        asyncio.run(all_of_them(sandbox))
    return found


def test_a_repair_judged_by_tests_gets_a_number_whatever_is_replied():
    rng = random.Random("swe by tests")
    given = list(replies(random.Random("hostile"), COUNT - 2000, GOLDS)) + [
        lines_mixed(rng) for _ in range(2000)
    ]
    rng.shuffle(given)
    found = judged(
        [problem(answer, mode) for answer in (BUILT_IN, BY_NAME) for mode in (Mode.INSTRUCT, Mode.THINKING)],
        given,
    )
    assert found.total() == COUNT
    assert found[Outcome.RIGHT] > 20 and found[Outcome.WRONG] > 100 and found[Outcome.UNPARSEABLE] > 20_000


def test_a_repair_run_under_pytest_gets_a_number_whatever_is_replied():
    rng = random.Random("swe under pytest")
    given = [lines_mixed(rng) for _ in range(60)] + list(replies(rng, 500, GOLDS))
    found = judged([problem(BY_PYTEST, Mode.INSTRUCT)], given)
    assert found[Outcome.RIGHT] > 0 and found[Outcome.UNPARSEABLE] > 100


def test_a_repair_that_is_a_hostile_program_gets_a_number_and_no_reward():
    """Each of the corpus as the head of the module under test, which is not mended."""
    before = "def area(w, h):\n    return w + h"
    given = []
    for _, source in HOSTILE.values():
        edit = f"shapes.py\n<<<<<<< SEARCH\n{before}\n=======\n{source.strip()}\n{before}\n>>>>>>> REPLACE"
        given += [f"````\n{edit}\n````"] * 2
    found = judged([problem(BUILT_IN, Mode.INSTRUCT), problem(BY_NAME, Mode.INSTRUCT)], given, limit_s=0.5)
    assert found.total() == len(given) and found[Outcome.RIGHT] == 0
    assert found[Outcome.UNPARSEABLE] < len(given) / 4
