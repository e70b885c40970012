"""A repair judged by the repository's own tests in a sandbox."""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping
from typing import Any

from cascade_rl.protocols import Sandbox
from cascade_rl.types import Outcome, Verdict
from cascade_rl.verify.patch_errors import PatchError
from cascade_rl.verify.patches import apply_patch
from cascade_rl.verify.repository_tests import read_run, restored, run_of

Files = dict[str, str]  # path: text

SUITE_TIMEOUT_S = 60.0  # where the answer names none; a small suite takes 0.4 s
# SWE-bench's names: tests that the repair must turn, tests that it must not break
KINDS = ("fail_to_pass", "pass_to_pass")


def _touched(answer: Mapping[str, Any]) -> set[str]:
    """Paths that the golden patch changes; none when it can't be applied, since tests don't need it."""
    try:
        right = apply_patch(answer["patch"], answer["files"])
    except PatchError:
        return set()
    return {
        path for path in right.keys() | answer["files"].keys() if right.get(path) != answer["files"].get(path)
    }


async def run_suite(answer: Mapping[str, Any], patched: Files, sandbox: Sandbox, limit_s: float) -> Verdict:
    """The named tests under pytest, with canaries, after what a patch may not touch has been taken back."""
    # a patch may not pass the tests by changing them, or what runs them
    files, taken_back = restored(answer["files"], patched, answer.get("test_files", {}), _touched(answer))
    note = "; ".join(f"{path} was put back ({why})" for path, why in sorted(taken_back.items()))
    parts = {"taken_back": float(len(taken_back))}
    tests = {kind: list(answer["tests"].get(kind, ())) for kind in KINDS}
    timeout_s = min(answer.get("timeout_s", SUITE_TIMEOUT_S), limit_s)
    rng = random.Random(secrets.randbits(128))  # canaries that can't be foreseen
    try:
        run = run_of(files, [*tests[KINDS[0]], *tests[KINDS[1]]], rng, timeout_s, answer.get("packages", ()))
    except ValueError as error:
        return Verdict.failed(str(error))
    execution = await sandbox.run(run.program)
    if execution.error:
        return Verdict.failed(execution.error)
    if execution.timed_out:
        return Verdict(0.0, Outcome.TIMEOUT, parts, f"tests took over {timeout_s} s")
    result = read_run(run, execution)
    for kind, ids in tests.items():
        if ids:
            parts[kind] = sum(result.passed[node_id] for node_id in ids) / len(ids)
    failed = [node_id for node_id, passed in result.passed.items() if not passed]
    told = f"{len(failed)} of {len(result.passed)} tests fail: {failed[0]}" if failed else ""
    reasons = [result.doubt, told, note]
    return Verdict.binary(result.right, "; ".join(filter(None, reasons)), **parts)
