"""A repair judged by the repository's own tests in a sandbox; what fails is tried on the golden patch, too.

The golden patch is run only where a reply did not pass: then it is asked, once for a drawing of canaries,
which tests it passes itself. What fails with it is the fault of the answer or the machine: no verdict.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from typing import Any

from cascade_rl.protocols import Execution, Sandbox
from cascade_rl.types import Outcome, Verdict
from cascade_rl.verify.patches.appraise import apply_patch
from cascade_rl.verify.patches.errors import PatchError
from cascade_rl.verify.suites.guarded_files import Guard
from cascade_rl.verify.suites.repository_tests import Plan, SuiteResult, plan_of, read_run

Files = dict[str, str]  # path: text

SUITE_TIMEOUT_S = 60.0  # where the answer names none; a small suite takes 0.4 s
# SWE-bench's names: tests that the repair must turn, tests that it must not break
KINDS = ("fail_to_pass", "pass_to_pass")
# replies that share a drawing of canaries, and what the golden patch does with it: they can't tell each other
SHARED = 16
KEPT = 32  # answers whose drawing is kept


@dataclass(frozen=True, slots=True)
class Golden:
    """What the golden patch does: a fault of the answer, or what its own run shows to be no fault of a reply.

    void      tests that the drawing of canaries breaks, and canaries that the golden patch passes
    excused   tests that are skipped, or fail as announced, with the golden patch as well
    """

    fault: str | None = None
    void: frozenset[str] = frozenset()
    passable: frozenset[tuple[str, str]] = frozenset()
    excused: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Run:
    """A plan on one state of the repository, as it went."""

    execution: Execution
    result: SuiteResult


class Suite:
    """The tests of one answer, with a drawing of canaries that some replies share."""

    def __init__(self, answer: Mapping[str, Any], sandbox: Sandbox, limit_s: float) -> None:
        """Raises ValueError when the answer's tests can't be used."""
        self.sandbox = sandbox
        self.before: Files = dict(answer["files"])
        self.right = right_of(answer)
        self.tests = {kind: list(answer["tests"].get(kind, ())) for kind in KINDS}
        self.ids = [*self.tests[KINDS[0]], *self.tests[KINDS[1]]]
        self.timeout_s: float = min(answer.get("timeout_s", SUITE_TIMEOUT_S), limit_s)
        self.packages = tuple(answer.get("packages", ()))
        self.guard = guard_of(answer, self.right)
        if fault := self.guard.fault or _absent(self.packages):
            raise ValueError(fault)
        self.plan = self._plan()
        self.replies = 0
        self._golden: asyncio.Task[Golden] | Golden | None = None

    def _plan(self, canaries: bool = True) -> Plan:
        files, _ = self.guard.restored(self.before)
        rng = random.Random(secrets.randbits(128))  # canaries that can't be foreseen
        return plan_of(files, self.ids, rng, self.tests[KINDS[0]], canaries)

    async def run(self, files: Mapping[str, str], plan: Plan) -> Run:
        """The tests on a repository, its guarded files as they should be."""
        execution = await self.sandbox.run(plan.program(files, self.timeout_s, self.packages))
        return Run(execution, read_run(plan, execution))

    async def golden(self) -> Golden:
        """What the golden patch does with this drawing; asked once, however many replies wait for it."""
        if isinstance(self._golden, Golden):
            return self._golden
        # a loop that has ended takes its tasks along
        if self._golden is None or self._golden.get_loop() is not asyncio.get_running_loop():
            self._golden = asyncio.create_task(self._try_golden())
        task = self._golden
        found = await asyncio.shield(task)
        self._golden = found
        return found

    async def _try_golden(self) -> Golden:
        if self.right is None:
            return Golden()  # by execution the golden patch is not needed: there is nothing to compare with
        files, _ = self.guard.restored(self.right)
        mixed = await self.run(files, self.plan)
        if mixed.execution.error:
            return Golden(mixed.execution.error)
        if not mixed.execution.timed_out and mixed.result.right:
            return Golden()
        # as they are, one after the other: is it the canaries or the answer?
        plain = await self.run(files, self._plan(canaries=False))
        if plain.execution.error:
            return Golden(plain.execution.error)
        if plain.execution.timed_out:
            return Golden(f"the tests take over {self.timeout_s} s with the golden patch, too")
        excused = plain.result.skipped
        failed = [i for i, passed in plain.result.passed.items() if not passed and i not in excused]
        if failed or plain.result.doubt or len(excused) == len(plain.result.passed):
            what = f"{failed[0]} fails" if failed else plain.result.doubt or "all tests are skipped"
            return Golden(f"with the golden patch, too, {what}: {plain.execution.stdout[-200:].strip()}")
        if mixed.execution.timed_out or mixed.result.doubt:
            return Golden(None, frozenset(self.ids), frozenset(self.plan.canaries), excused)
        void = frozenset(i for i, passed in mixed.result.passed.items() if not passed and i not in excused)
        return Golden(None, void, mixed.result.caught, excused)

    async def verdict(self, patched: Mapping[str, str]) -> Verdict:
        """The reward of a patched repository; null when the golden patch fares no better."""
        files, taken_back = self.guard.restored(patched)
        note = "; ".join(f"{path} was put back ({why})" for path, why in sorted(taken_back.items()))
        parts = {"taken_back": float(len(taken_back)), "watched": self.plan.watched}
        mixed = await self.run(files, self.plan)
        if mixed.execution.error:
            return Verdict.failed(mixed.execution.error)
        if mixed.result.right and not mixed.execution.timed_out:
            return self._binary(mixed.result, parts, note)
        golden = await self.golden()
        if golden.fault:
            return Verdict.failed(golden.fault)
        if not (golden.void or golden.passable or golden.excused):
            return self._refused(mixed, parts, note)
        return await self._excused(files, mixed, golden, parts, note)

    async def _excused(
        self, files: Mapping[str, str], mixed: Run, golden: Golden, parts: dict[str, float], note: str
    ) -> Verdict:
        """The verdict where canaries or tests don't do with the golden patch what they should."""
        plan, result = self.plan, mixed.result
        kept = plan.canaries.keys() - golden.passable
        parts["watched"] = plan.watched * len(kept) / len(plan.canaries)
        if kept:
            # what the copies don't break must pass there, too: else failing all of them would be enough
            owed = result.passed.keys() - golden.void - golden.excused
            right = all(result.passed[node_id] for node_id in owed)
            if mixed.execution.timed_out or result.doubt or result.caught & kept or not right:
                return self._refused(mixed, parts, note)
        # what the copies break is run as it is
        if golden.void:
            alone = await self.run(files, self._plan(canaries=False))
            if alone.execution.error:
                return Verdict.failed(alone.execution.error)
            if alone.execution.timed_out or alone.result.doubt or alone.result.caught:
                return self._refused(alone, parts, note)
            result = alone.result
        passed = {i: ok for i, ok in result.passed.items() if i not in golden.excused}
        shown = SuiteResult(passed)
        return self._binary(shown, parts, note)

    def _refused(self, run: Run, parts: dict[str, float], note: str) -> Verdict:
        if run.execution.timed_out:
            return Verdict(0.0, Outcome.TIMEOUT, parts, f"tests took over {self.timeout_s} s")
        return self._binary(run.result, parts, note)

    def _binary(self, result: SuiteResult, parts: dict[str, float], note: str) -> Verdict:
        for kind, ids in self.tests.items():
            asked = [node_id for node_id in ids if node_id in result.passed]
            if asked:
                parts[kind] = sum(result.passed[node_id] for node_id in asked) / len(asked)
        failed = [node_id for node_id, passed in result.passed.items() if not passed]
        told = f"{len(failed)} of {len(result.passed)} tests fail: {failed[0]}" if failed else ""
        # asked only where it matters: what a canary expects may be what wrong code happens to give
        seen = "a test passed that can't be passed" if result.caught and not failed else ""
        reasons = [seen or result.doubt, told, note]
        return Verdict.binary(result.right, "; ".join(filter(None, reasons)), **parts)


def right_of(answer: Mapping[str, Any]) -> Files | None:
    """The repository after the golden patch; None when it can't be applied."""
    try:
        return apply_patch(answer["patch"], answer["files"])
    except PatchError:
        return None


def guard_of(answer: Mapping[str, Any], right: Mapping[str, str] | None) -> Guard:
    """What a patch of this answer may not touch; `right`: the files after the golden patch, if known."""
    ids = [node_id for kind in KINDS for node_id in answer["tests"].get(kind, ())]
    named = {node_id.partition("::")[0] for node_id in ids}
    return Guard(answer["files"], right or answer["files"], answer.get("test_files"), named)


@lru_cache(maxsize=256)
def _absent(packages: Sequence[str]) -> str | None:
    for name in packages:
        try:
            metadata.distribution(name)
        except (metadata.PackageNotFoundError, ValueError):
            return f"the package {name!r} is not installed"
    return None


# by sandbox and answer: a suite holds its sandbox, so no other one can have the same identity meanwhile
_SUITES: OrderedDict[tuple[int, str], Suite] = OrderedDict()


def _suite(answer: Mapping[str, Any], sandbox: Sandbox, limit_s: float) -> Suite:
    """The answer's suite; its drawing serves some replies, which can't tell each other of it."""
    text = json.dumps([answer, limit_s], sort_keys=True, default=str)
    key = id(sandbox), hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    suite = _SUITES.get(key)
    if suite is None or suite.replies >= SHARED:
        suite = _SUITES[key] = Suite(answer, sandbox, limit_s)
    _SUITES.move_to_end(key)
    while len(_SUITES) > KEPT:
        _SUITES.popitem(last=False)
    suite.replies += 1
    return suite


async def run_suite(answer: Mapping[str, Any], patched: Files, sandbox: Sandbox, limit_s: float) -> Verdict:
    """The named tests under pytest, with canaries, after what a patch may not touch has been taken back."""
    try:
        suite = _suite(answer, sandbox, limit_s)
    except ValueError as error:
        return Verdict.failed(str(error))
    return await suite.verdict(patched)
