"""No reply slows the trainer's process: our own patterns are searched for what would make them turn back.

Verifier processes can be killed and programs run in a sandbox; what this looks at is the rest, which holds up every
other verdict. A fault is growth, not a time: two doublings of a reply that each take nearly four times as long.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from instruction_cases import CASES as INSTRUCTION_CASES
from pattern_attacks import attacks, modules_of, patterns

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.protocols import Execution, Judgement
from cascade_rl.testing import FakeSandbox, text_rollout
from cascade_rl.types import Mode, Problem

SCREEN = 16_000  # characters; a quadratic pattern takes 10^8 steps for them
SUSPICIOUS_S = 0.03  # asked about growth at all; nothing is asserted of it
TOGETHER = 12  # instructions of one problem
QUADRATIC = 2.8  # of a doubling; linear is 2
TRIES = 3  # noise is not the same thrice
WRAPPED = (
    "{}",
    "\\boxed{{{}}}",
    "```python\n{}\n```",
    "Answer: {}\n",
    "```\nshapes.py\n<<<<<<< SEARCH\n{}\n",
)
PIECES = {
    "maths": ("verify.maths",),
    "multiple_choice": ("verify.choice",),
    "following": ("verify.instructions",),
    "coding": ("verify.programs", "domains.coding"),
    "swe": ("verify.patches", "verify.suites", "domains.swe"),
    "tools": ("verify.tools", "domains.tools"),
}
STEP = {
    "maths": 1,
    "multiple_choice": 5,
    "following": 10,
    "coding": 1,
    "swe": 1,
    "tools": 1,
}  # of the attacks each so manieth


class NoVerifiers:
    """Says wrong of everything: what a killable process does is not looked at."""

    async def call(self, function: str, *args: object, deadline_s: float) -> Judgement:
        values: dict[str, object] = {"judge": {"outcome": "wrong", "note": ""}, "check_all": {}}
        return Judgement(value=values.get(function.partition(":")[2], 0.0))


def problems(name: str) -> list[Problem]:
    """One of the domain; of following some that ask for every instruction together."""
    domain = load_domain(name)
    # without a thought, so that all of the reply is read
    first = replace(next(iter(domain.examples())).problem, mode=Mode.INSTRUCT)
    if name != "following":
        return [first]
    parts = [INSTRUCTION_CASES[at : at + TOGETHER] for at in range(0, len(INSTRUCTION_CASES), TOGETHER)]
    answers = (
        {"instruction_id_list": [c.id for c in part], "kwargs": [c.kwargs for c in part]} for part in parts
    )
    return [replace(first, answer=answer) for answer in answers]


def growth(run: Callable[[str], None], opening: str, pump: str, end: str) -> list[float]:
    """Seconds for texts of 1,000 characters, 2,000 and so on, until one takes half a second."""
    found: list[float] = []
    for size in (1000 << k for k in range(8)):
        text = opening + pump * (size // len(pump)) + end
        times = []
        for _ in range(3):
            begin = time.process_time()
            run(text)
            times.append(time.process_time() - begin)
        found.append(min(times))
        if found[-1] > 0.5:
            break
    return found


def is_slow(seconds: list[float]) -> bool:
    """Whether two doublings in a row took far more than twice as long, where a clock can tell."""
    triples = zip(seconds, seconds[1:], seconds[2:], strict=False)
    return any(c > SUSPICIOUS_S and b > QUADRATIC * a and c > QUADRATIC * b for a, b, c in triples)


def grading(name: str, problem: Problem) -> Callable[[str], None]:
    """A function that grades a reply by both of the domain's graders, without processes."""
    domain = load_domain(name)
    services = Services(sandbox=FakeSandbox(Execution("", "", 1)), verifiers=NoVerifiers())

    def run(text: str) -> None:
        for grade in {domain.grade, domain.benchmark_grade}:
            asyncio.run(grade(problem, text_rollout(text), services))

    return run


@pytest.mark.parametrize("name", sorted(PIECES))
def test_no_reply_made_from_our_patterns_is_slow(name):
    names = [module.__name__ for module in modules_of("cascade_rl.verify", "cascade_rl.domains")]
    heads = tuple(f"cascade_rl.{piece}" for piece in PIECES[name])
    found = patterns(modules_of("cascade_rl.chat", *(n for n in names if n.startswith(heads))))
    tried = sorted({attack for pattern, flags in found for attack in attacks(pattern, flags)})
    assert len(tried) > 10
    for problem in problems(name):
        run = grading(name, problem)
        for head, piece, tail in tried[:: STEP[name]]:
            for wrap in WRAPPED[: 1 if name == "following" else None]:
                text = wrap.format(head + piece * (SCREEN // len(piece)) + tail)
                begin = time.process_time()
                run(text)
                if time.process_time() - begin < SUSPICIOUS_S:
                    continue
                before, after = wrap.split("{}")
                grown = [growth(run, before + head, piece, tail + after) for _ in range(TRIES)]
                assert not all(map(is_slow, grown)), (wrap, head, piece, tail, grown[-1])


def test_the_clock_tells_a_quadratic_pattern():
    """One of which each start runs to the end is told from one that is linear."""
    assert is_slow(growth(re.compile(r"\s*!x").search, "", " ", ""))
    assert not is_slow(growth(re.compile(r"\s++!").match, "", " ", ""))
