"""A function judged by a test that can't be split: test and candidate in two processes, in rounds."""

from __future__ import annotations

from cascade_rl.protocols import Sandbox
from cascade_rl.types import Outcome, Verdict
from cascade_rl.verify.programs.replay import (
    candidate_program,
    check_of,
    read_test,
    result_lines,
    test_program,
)

ROUNDS = 12  # a test whose calls depend on results needs one for each that could not be guessed


async def judge_check(
    source: str, before: str, text: str, timeout_s: float, sandbox: Sandbox
) -> Verdict | None:
    """The verdict of a text that ends with `check(EXPRESSION)`; None where the test needs one process.

    That is decided by the test alone, in a run that no candidate takes part in.
    """
    check = check_of(before, text)
    if check is None:
        return None
    execution = await sandbox.run(test_program(check, (), (), timeout_s))
    run = read_test(execution) if not execution.error else None
    if run is None or run.entangled or not run.more:
        return None
    for _ in range(ROUNDS):
        calls = run.calls
        execution = await sandbox.run(candidate_program(check, source, calls, timeout_s))
        if execution.error:
            return Verdict.failed(execution.error)
        late = execution.timed_out
        results = result_lines(execution, len(calls))
        execution = await sandbox.run(test_program(check, calls, results, timeout_s))
        if execution.error:
            return Verdict.failed(execution.error)
        run = read_test(execution)
        if run is None or (late and (run.lost or run.more)):
            return Verdict(0.0, Outcome.TIMEOUT, {"passed": 0.0, "apart": 1.0}, f"over {timeout_s:g} s")
        # the candidate made these calls and no others, so the test says what it would say beside it
        if not run.more and (not run.passed or run.calls == calls):
            words = "no result" if run.lost else run.words
            return Verdict.binary(run.passed, words, passed=float(run.passed), apart=1.0)
    note = "the test's calls differ from round to round"
    return Verdict.binary(False, note, passed=0.0, apart=1.0)
