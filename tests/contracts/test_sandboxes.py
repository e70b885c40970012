"""What every sandbox owes its callers: the real one at two levels, and the fake that users test their graders with."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.grading.services import _CountedSandbox, standing
from cascade_rl.protocols import Execution, Program, Sandbox, Standing
from cascade_rl.sandbox.levels import LEVELS
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.testing import FakeSandbox
from cascade_rl.types import Rollout


def act(program: Program) -> Execution:
    """A fake that knows the programs of this suite."""
    text = program.files[program.entry]
    if "raise" in text:
        return Execution("", "Traceback ...\nValueError: no\n", 1)
    if "while" in text:
        return Execution("", "", -9, timed_out=True, limit="cpu")
    return Execution(program.stdin or text.removeprefix("print(").removesuffix(")") + "\n", "", 0)


@pytest.fixture(scope="module", params=["full", "lockdown", "fake"])
def sandbox(request):
    if request.param == "fake":
        yield FakeSandbox(act)
    else:
        with ZygoteSandbox(2, level=request.param) as made:
            yield made


class Elsewhere:
    """A second sandbox, which somebody else wrote: it owes nothing to ours."""

    def __init__(self, level: str) -> None:
        self.level, self.asked = level, 0

    def standing(self) -> Standing:
        self.asked += 1
        return Standing(self.level, "a virtual machine")

    async def run(self, program: Program) -> Execution:
        return act(program)


def run(sandbox: Sandbox, text: str, stdin: str = "", timeout_s: float = 0.2) -> Execution:
    return asyncio.run(sandbox.run(Program({"main.py": text}, "main.py", stdin, timeout_s)))


def test_it_tells_how_strongly_programs_are_kept_in(sandbox, request):
    found = sandbox.standing()
    asked = request.node.callspec.params["sandbox"]
    assert found.level == ("full" if asked == "fake" else asked) and found.level in LEVELS
    assert found.line.startswith(f"sandbox: {found.level} (")


@pytest.mark.parametrize("level", LEVELS)
def test_any_sandbox_is_asked_where_it_stands(level):
    mine = Elsewhere(level)
    assert standing(Services(sandbox=mine)) == Standing(level, "a virtual machine") and mine.asked == 1
    counted = _CountedSandbox(mine, Counter(), 1.0)
    assert standing(Services(sandbox=counted)).level == level and mine.asked == 2
    assert standing(Services()) is None


def test_what_a_program_prints_comes_back(sandbox):
    done = run(sandbox, "print(3)")
    assert (done.stdout, done.exit_code, done.timed_out, done.error, done.limit) == (
        "3\n",
        0,
        False,
        None,
        None,
    )


def test_standard_input_reaches_the_program(sandbox):
    assert run(sandbox, "print(input())", "hello é\n").stdout == "hello é\n"


def test_a_program_that_raises_is_no_failure_of_the_sandbox(sandbox):
    done = run(sandbox, "raise ValueError('no')")
    assert done.exit_code == 1 and "ValueError: no" in done.stderr and done.error is None


def test_an_endless_program_is_told_apart(sandbox):
    done = run(sandbox, "while True: pass")
    assert done.timed_out and done.limit in ("cpu", "wall") and done.error is None


def test_equal_programs_give_equal_executions_in_any_loop(sandbox):
    assert run(sandbox, "print(4)") == run(sandbox, "print(4)")


def test_many_at_once_get_their_own_results(sandbox):
    async def many():
        programs = (Program({"main.py": f"print({i})"}, "main.py") for i in range(40))
        return await asyncio.gather(*map(sandbox.run, programs))

    assert [e.stdout for e in asyncio.run(many())] == [f"{i}\n" for i in range(40)]


def test_the_examples_of_the_coding_domain_earn_what_they_claim():
    domain = load_domain("coding")
    for level in ("full", "lockdown"):
        with ZygoteSandbox(1, level=level) as sandbox:
            for example in domain.examples():
                graded = domain.grade(example.problem, Rollout.of_text(example.reply), Services(sandbox))
                assert asyncio.run(graded).reward == example.reward
