"""A repair judged by its tests where it is not: calls in its process, assertions in ours.

Which level a problem's tests get is decided by their text and by the golden repair, never by a candidate.
A repair that is right apart is right. One that is wrong may be so because the tests need the repository's
objects in their own process; then the golden repair is wrong apart, too, and the tests are run whole. The
verdict's part `apart` is 1 at this level.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cascade_rl.protocols import Sandbox
from cascade_rl.types import Outcome, Verdict
from cascade_rl.verify.apart import faults, program_of, results_of
from cascade_rl.verify.apart_plan import Plan, plan_of
from cascade_rl.verify.patch_errors import PatchError
from cascade_rl.verify.patches import apply_patch
from cascade_rl.verify.programs import check_program, checks_passed
from cascade_rl.verify.repository_tests import restored

Files = dict[str, str]  # path: text


@dataclass(frozen=True, slots=True)
class Question:
    """Tests that can be taken apart, and where they come from.

    hidden   paths of tests, which the candidate's process must not see
    named    whether they are node ids of a repository, which may need packages and processes
    """

    plan: Plan
    hidden: frozenset[str]
    golden: Files
    timeout_s: float
    packages: tuple[str, ...]
    named: bool

    async def ask(
        self, files: Mapping[str, str], sandbox: Sandbox
    ) -> tuple[dict[str, str | None], Verdict | None]:
        """What is wrong with each test, None if nothing; or the verdict of a run that told nothing of them."""
        shown = {path: text for path, text in files.items() if path not in self.hidden}
        profile = "tests" if self.named else "code"
        program = program_of(self.plan, shown, self.timeout_s, profile, self.packages)
        execution = await sandbox.run(program)
        if execution.error:
            return {}, Verdict.failed(execution.error)
        if execution.timed_out:
            note = f"tests took over {self.timeout_s} s"
            return {}, Verdict(0.0, Outcome.TIMEOUT, {"apart": 1.0}, note)
        return faults(self.plan, results_of(self.plan, execution)), None

    async def allows(self, sandbox: Sandbox) -> bool:
        """Whether the golden repair is right apart: one run a problem, since equal programs run once."""
        found, lost = await self.ask(self.golden, sandbox)
        return lost is None and all(why is None for why in found.values())


def question_of(
    answer: Mapping[str, Any], timeout_s: float, texts: Mapping[str, str], wanted: Sequence[str] | None = None
) -> Question | None:
    """The tests of an answer taken apart: the node ids `wanted`, or all of the files `texts`; None if they can't.

    They can't without a golden patch, which has to show that they can.
    """
    if answer.get("apart") is False:
        return None
    try:
        golden = apply_patch(answer["patch"], answer["files"])
    except PatchError:
        return None
    hidden = frozenset(p for p in {*golden, *answer["files"], *texts} if p in texts or _of_tests(p))
    hidden |= frozenset(answer.get("test_files", ()))
    plan = plan_of(texts, _modules(golden.keys() - hidden), wanted)
    packages = tuple(answer.get("packages", ())) if wanted is not None else ()
    if plan is None:
        return None
    return Question(plan, hidden, golden, timeout_s, packages, wanted is not None)


def _of_tests(path: str) -> bool:
    """Whether a file is a test or a help to tests, by its path."""
    *folders, name = PurePosixPath(path).parts
    return (
        not {"test", "tests"}.isdisjoint(folders)
        or name in ("conftest.py", "tests.py")
        or name.startswith("test_")
        or name.endswith("_test.py")
    )


def _modules(paths: Collection[str]) -> set[str]:
    """What can be imported of files: modules and the packages that they lie in."""
    found: set[str] = set()
    for path in paths:
        if path.endswith(".py"):
            parts = PurePosixPath(path.removesuffix(".py").removesuffix("/__init__")).parts
            found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return found


async def judge_checks(
    answer: Mapping[str, Any], files: Files, sandbox: Sandbox, timeout_s: float
) -> Verdict:
    """The built-in problems' tests: apart where they can be, else whole, where a nonce says that all ran."""
    tests: Mapping[str, str] = answer["tests"]
    question = question_of(answer, timeout_s, tests)
    if question:
        found, lost = await question.ask(files, sandbox)
        reason = next((why for why in found.values() if why is not None), None)
        if lost is not None and lost.reward is None:
            return lost
        if (lost is None and reason is None) or await question.allows(sandbox):
            return lost or Verdict.binary(reason is None, reason or "", apart=1.0)
    # the tests as they are in the answer, over whatever the patch made of files with their names
    program = check_program({**files, **tests}, list(tests), timeout_s)
    execution = await sandbox.run(program)
    if execution.error:
        return Verdict.failed(execution.error)
    if execution.timed_out:
        return Verdict(0.0, Outcome.TIMEOUT, {"apart": 0.0}, f"tests took over {timeout_s} s")
    return Verdict.binary(checks_passed(program, execution), execution.stderr[-200:], apart=0.0)


async def judge_named(
    answer: Mapping[str, Any], patched: Files, sandbox: Sandbox, timeout_s: float
) -> Verdict | None:
    """Named tests apart; None when they have to be run whole, by pytest."""
    kinds = {kind: list(ids) for kind, ids in answer["tests"].items() if kind in KINDS and ids}
    wanted = list(dict.fromkeys(node_id for ids in kinds.values() for node_id in ids))
    # as they came: what a patch makes of tests is taken back
    own = {**answer["files"], **answer.get("test_files", {})}
    texts = {path: own.get(path, "") for path in dict.fromkeys(n.partition("::")[0] for n in wanted)}
    question = question_of(answer, timeout_s, texts, wanted) if wanted and not _prepared(own) else None
    if question is None:
        return None
    before, golden = answer["files"], question.golden
    touched = {path for path in golden.keys() | before.keys() if golden.get(path) != before.get(path)}
    files, taken_back = restored(before, patched, answer.get("test_files", {}), touched)
    found, lost = await question.ask(files, sandbox)
    if lost is not None and lost.reward is None:
        return lost
    failed = [node_id for node_id, why in found.items() if why is not None]
    if (lost is not None or failed) and not await question.allows(sandbox):
        return None
    parts = {"apart": 1.0, "watched": 1.0, "taken_back": float(len(taken_back))}
    if lost is not None:
        return Verdict(lost.reward, lost.outcome, parts, lost.note)
    parts |= {kind: sum(found[node_id] is None for node_id in ids) / len(ids) for kind, ids in kinds.items()}
    back = "; ".join(f"{path} was put back ({why})" for path, why in sorted(taken_back.items()))
    told = f"{len(failed)} of {len(found)} tests fail: {failed[0]}: {found[failed[0]]}" if failed else ""
    return Verdict.binary(not failed, "; ".join(filter(None, [told, back])), **parts)


# SWE-bench's names: tests that the repair must turn, tests that it must not break
KINDS = ("fail_to_pass", "pass_to_pass")


def _prepared(files: Mapping[str, str]) -> bool:
    """Whether a `conftest.py` may prepare anything for tests: fixtures, paths, hooks."""
    for path, text in files.items():
        if PurePosixPath(path).name == "conftest.py":
            try:
                body = ast.parse(text).body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return True
            if not all(map(_idle, body)):
                return True
    return False


def _idle(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )
