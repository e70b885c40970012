"""A repair judged by its tests where it is not: calls in its process, assertions in ours.

Which level a problem's tests get is decided by their text and by the golden repair, never by a candidate.
A repair that is right apart is right. One that is wrong may be so because the tests need the repository's
objects in their own process; then the golden repair is wrong apart, too, and the tests are run whole. The
verdict's part `apart` is 1 at this level.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from cascade_rl.grading.suites import KINDS
from cascade_rl.protocols import Sandbox
from cascade_rl.types import Outcome, Verdict
from cascade_rl.verify.patches.appraise import apply_patch
from cascade_rl.verify.patches.errors import PatchError
from cascade_rl.verify.programs.harness import check_program, checks_passed
from cascade_rl.verify.suites.apart import faults, program_of, results_of
from cascade_rl.verify.suites.apart_plan import Plan, plan_of

Files = dict[str, str]  # path: text


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong with each test, by node id, None if nothing; or the verdict of a run that tells nothing.

    odd    whether some result may have been more than plain data, which is all that crosses
    """

    faults: Mapping[str, str | None]
    odd: bool = False
    lost: Verdict | None = None

    @property
    def wrong(self) -> list[tuple[str, str]]:
        """The tests that fail, with what is wrong."""
        return [(name, why) for name, why in self.faults.items() if why is not None]


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

    async def ask(self, files: Mapping[str, str], sandbox: Sandbox) -> Found:
        """The tests on the files of a repair."""
        shown = {path: text for path, text in files.items() if path not in self.hidden}
        profile = "tests" if self.named else "code"
        program = program_of(self.plan, shown, self.timeout_s, profile, self.packages)
        execution = await sandbox.run(program)
        if execution.error:
            return Found({}, lost=Verdict.failed(execution.error))
        if execution.timed_out:
            note = f"tests took over {self.timeout_s} s"
            return Found({}, lost=Verdict(0.0, Outcome.TIMEOUT, {"apart": 1.0}, note))
        results = results_of(self.plan, execution)
        return Found(faults(self.plan, results), any(result.odd for result in results))

    async def allows(self, sandbox: Sandbox) -> bool:
        """Whether the golden repair is right apart: one run a problem, since equal programs run once."""
        found = await self.ask(self.golden, sandbox)
        return found.lost is None and not found.wrong


def question_of(
    answer: Mapping[str, Any], timeout_s: float, texts: Mapping[str, str], wanted: Sequence[str] | None = None
) -> Question | None:
    """The tests of an answer taken apart, those of the ids `wanted` or all of `texts`; None if they can't be.

    They can't without a golden patch, which has to show that they can.
    """
    if answer.get("apart") is False:
        return None
    packages = tuple(answer.get("packages", ())) if wanted is not None else ()
    return _question(
        answer["patch"],
        tuple(answer["files"].items()),
        frozenset(answer.get("test_files", ())),
        tuple(texts.items()),
        None if wanted is None else tuple(wanted),
        packages,
        timeout_s,
    )


# a group of replies asks one question; texts keep their hashes, so that asking again costs next to nothing
@lru_cache(maxsize=64)
def _question(
    patch: str,
    files: tuple[tuple[str, str], ...],
    test_files: frozenset[str],
    texts: tuple[tuple[str, str], ...],
    wanted: tuple[str, ...] | None,
    packages: tuple[str, ...],
    timeout_s: float,
) -> Question | None:
    try:
        golden = apply_patch(patch, dict(files))
    except PatchError:
        return None
    tests = dict(texts)
    hidden = frozenset(p for p in {*golden, *dict(files), *tests} if p in tests or _of_tests(p)) | test_files
    plan = plan_of(tests, _modules(golden.keys() - hidden), wanted)
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
        found = await question.ask(files, sandbox)
        if found.lost is not None:
            return found.lost
        # with plain results the tests would say in its process what they say here
        if not found.wrong or not found.odd or await question.allows(sandbox):
            note = found.wrong[0][1] if found.wrong else ""
            return Verdict.binary(not found.wrong, note, apart=1.0)
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
    if question is None or not _mended(question, answer["files"], kinds.get(KINDS[0], wanted)):
        return None
    # what a patch makes of tests never gets to where they are evaluated
    back = sorted(path for path in question.hidden if patched.get(path) != answer["files"].get(path))
    found = await question.ask(patched, sandbox)
    if found.lost is not None and found.lost.reward is None:
        return found.lost
    # a repository may lean on what it is run beside: here the golden repair always decides
    if (found.lost or found.wrong) and not await question.allows(sandbox):
        return None
    parts = {"apart": 1.0, "watched": 1.0, "taken_back": float(len(back))}
    if found.lost is not None:
        return replace(found.lost, parts=parts)
    for kind, ids in kinds.items():
        parts[kind] = sum(found.faults[node_id] is None for node_id in ids) / len(ids)
    notes = [f"{path} was put back (tests)" for path in back]
    if found.wrong:
        node_id, why = found.wrong[0]
        notes.insert(0, f"{len(found.wrong)} of {len(found.faults)} tests fail: {node_id}: {why}")
    return Verdict.binary(not found.wrong, "; ".join(notes), **parts)


def _mended(question: Question, before: Mapping[str, str], turned: Sequence[str]) -> bool:
    """Whether all that tests call which the repair must turn stands in modules that the golden patch mends.

    Else it may be a help to tests, which a patch could make say yes.
    """
    golden = question.golden
    touched = _modules(
        {path for path in golden.keys() | before.keys() if golden.get(path) != before.get(path)}
    )
    steps = [step for node_id in turned for step in question.plan.tests[node_id]]
    return all(question.plan.calls[number][0] in touched for step in steps for number in step.calls)


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
