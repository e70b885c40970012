"""Repair a bug in a small repository with SEARCH/REPLACE edits or a unified diff.

RL is rewarded without running anything, by likeness to the golden patch (`verify.patches`) or by a judge
model (arXiv 2512.13607, SWE RL), with similarities under one half counted as none. The benchmark runs tests
on the patched files: where their text allows it calls in the candidate's process and assertions in ours
(`grading.apart`), else the repository's own suite under pytest, among canaries (`grading.suites`).
docs/swe.md has the format.

Built-in replies leave the optional solution tags out, to be short.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from cascade_rl.chat import THINK_END, compose_reply, split_reply, thinking_reply
from cascade_rl.domain import Domain, Example, Services
from cascade_rl.errors import AnswerError
from cascade_rl.grading.apart import judge_checks, judge_named
from cascade_rl.grading.suites import KINDS, SUITE_TIMEOUT_S, run_suite
from cascade_rl.protocols import Judge, Verifiers
from cascade_rl.sources.repairs.packages import from_packages, small_from_packages
from cascade_rl.sources.shared import SHARED
from cascade_rl.sources.small_world.repositories import draw_modules
from cascade_rl.sources.splits import drawn
from cascade_rl.types import Message, Outcome, Problem, Rollout, Verdict, problem_id
from cascade_rl.verify.patches.appraise import (
    SEARCH,
    Edit,
    apply_patch,
    appraise,
    as_solution,
    differing,
    edit_text,
    similarity,
    solution_text,
    unified_diff,
)
from cascade_rl.verify.patches.errors import GoldenError, NoChange, PatchError
from cascade_rl.verify.patches.hunks import check_path
from cascade_rl.verify.patches.questions import LONGEST, question

Files = dict[str, str]  # path: text

SIMILARITY = "cascade_rl.verify.patches.appraise:similarity"  # as a verifier's process is told it
TIMEOUT_S = 4.0  # of the built-in problems' tests
# of the similarity; the report's better variant (arXiv 2512.13607, SWE RL)
FLOOR = 0.5
# characters of both patches and of the files that they change, above which the similarity may take more than
# some milliseconds
LONG, LARGE = 500, 30_000


def make(rng: random.Random) -> Problem:
    """A repository of two files, one function of which is broken."""
    module, other = draw_modules(rng)
    # the first piece is right; which other one is the bug, and which a false repair, is drawn
    right, wrong, astray = (module.pieces[i] for i in rng.choice(((0, 1, 2), (0, 2, 1))))
    files = {module.path: module.text(wrong), other.path: other.text(other.pieces[0])}
    plan = f"{module.path} {module.name}: {{}} to {{}}"
    faults = {
        "elsewhere": _teach(
            other.edit(other.pieces[0], other.pieces[1]),
            f"{other.path} {other.name}: {other.pieces[0]} to {other.pieces[1]}",
        ),
        "nothing": _teach(module.edit(wrong, wrong), plan.format(wrong, wrong)),
        "astray": _teach(module.edit(wrong, astray), plan.format(wrong, astray)),
    }
    answer = {
        "files": files,
        "patch": edit_text(module.edit(wrong, right)),
        "tests": {f"test_{m.path}": m.test() for m in (module, other)},
    }
    meta = {"family": module.path, "thought": plan.format(wrong, right), "faults": faults}
    return _problem(module.issue, answer, meta)


def _teach(edit: Edit, thought: str) -> dict[str, str]:
    return {"thought": thought, "patch": edit_text(edit)}


def _problem(issue: str, answer: dict[str, Any], meta: Mapping[str, Any]) -> Problem:
    shown = "\n".join(f"### {path}\n{text}" for path, text in sorted(answer["files"].items()))
    prompt = f"Fix the issue: {issue}.\n\n{shown}".rstrip()
    return Problem(problem_id("swe", prompt), "swe", (Message("user", prompt),), answer, meta=meta)


def _refused(reward: float, error: PatchError | None = None) -> Verdict:
    note = "no answer after the think block" if error is None else f"{type(error).__name__}: {error}"
    return Verdict(reward, Outcome.UNPARSEABLE, note=note)


def _answer(problem: Problem, rollout: Rollout) -> str | None:
    """The answer with the blanks at its end, which may be the last of a diff; None where there is none."""
    if split_reply(rollout.text, problem.mode).answer is None:
        return None
    return rollout.text.rpartition(THINK_END)[2]


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """The execution-free reward: -1 unusable, 0 unchanged, 1 the golden change, else a share of it.

    The share is the lexical similarity, 0 under one half; with `services.judge` it is the probability of YES.
    """
    if fault := _fault(problem.answer):
        return Verdict.failed(fault)
    answer = _answer(problem, rollout)
    if answer is None:
        return _refused(-1.0)
    try:
        found = appraise(answer, problem.answer["patch"], problem.answer["files"])
    except GoldenError as error:
        return Verdict.failed(str(error))
    # 0, not -1: the format is right, only nothing was done
    if isinstance(found.error, NoChange):
        return Verdict(0.0, Outcome.WRONG, {"similarity": 0.0}, str(found.error))
    if found.after is None:
        return _refused(-1.0, found.error)
    # the same files by whatever edits: asked before any likeness, which would give 0.99 at most
    if found.after == found.right:
        return Verdict(1.0, Outcome.RIGHT, {"similarity": 1.0})
    if services.judge is not None:
        return await _judged(problem, found.after, found.right, services.judge)
    return await _likened(problem.answer, found.after, found.right, len(answer), services.verifiers)


async def _likened(
    answer: Mapping[str, Any], after: Files, right: Files, length: int, verifiers: Verifiers | None
) -> Verdict:
    """The lexical similarity; of long patches in a verifier's process, since it may take a second."""
    files = answer["files"]
    paths = differing(files, after, right)
    sides = [{path: side[path] for path in paths if path in side} for side in (files, after, right)]
    short = length + len(answer["patch"]) <= LONG and sum(map(len, sides[0].values())) <= LARGE
    if verifiers is None or short:
        value = similarity(*sides)
    else:
        judgement = await verifiers.call(SIMILARITY, *sides, deadline_s=30.0)
        if judgement.fault is not None:
            return Verdict.failed(f"similarity: {judgement.fault}: {judgement.note}")
        value = judgement.value
    # the part keeps the likeness itself, so that a journal shows progress below the floor
    reward = value if value >= FLOOR else 0.0
    return Verdict(reward, Outcome.PARTIAL if reward else Outcome.WRONG, {"similarity": value})


async def _judged(problem: Problem, after: Files, right: Files, judge: Judge) -> Verdict:
    """The judge's probability of YES; its failure is no verdict, a change too long to show earns nothing."""
    files = problem.answer["files"]
    golden, candidate = unified_diff(files, right), unified_diff(files, after)
    # the judge sees a patch whole or not at all: the end of a cut one would be trusted unseen
    # at least twice the golden one, since that must be shown whole as well
    if len(candidate) > max(LONGEST, 2 * len(golden)):
        return Verdict(0.0, Outcome.WRONG, note="the change is too long for the judge")
    # the issue alone where it is known: the prompt holds whole files, which the diffs quote already
    issue = problem.meta.get("issue") or problem.prompt_text
    judgement = await judge.probability(question(issue, golden, candidate))
    if judgement.fault is not None:
        return Verdict.failed(f"the judge failed: {judgement.fault}: {judgement.note}")
    outcome = Outcome.PARTIAL if judgement.value > 0 else Outcome.WRONG
    return Verdict(judgement.value, outcome, {"yes": judgement.value})


def _texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(k, str) and isinstance(v, str) for k, v in value.items()
    )


def _names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _fault(answer: Any) -> str | None:
    """What is wrong with an answer's format; None when it can be graded."""
    if (
        not isinstance(answer, Mapping)
        or not _texts(answer.get("files"))
        or not isinstance(answer.get("patch"), str)
    ):
        return 'want {"files": {path: text}, "patch": diff or edits, "tests"?, "test_files"?}'
    if not _texts(answer.get("test_files", {})):
        return 'want "test_files": {path: text}'
    try:
        for path in (*answer["files"], *answer.get("test_files", {})):
            check_path(path)
    except PatchError as error:
        return str(error)
    tests = answer.get("tests") or {}
    if not isinstance(tests, Mapping) or not (
        all(_names(tests.get(kind, ())) for kind in KINDS) if _named(tests) else _texts(tests)
    ):
        return 'want "tests": {"fail_to_pass": [node ids], "pass_to_pass": [node ids]}'
    timeout_s = answer.get("timeout_s", SUITE_TIMEOUT_S)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s < 86_400:
        return 'want "timeout_s": seconds'
    if not _names(answer.get("packages", ())):
        return 'want "packages": [names of installed distributions]'
    if not isinstance(answer.get("apart", True), bool):
        return 'want "apart": false for tests that must share a process with the code'
    return None


def _named(tests: Mapping[str, Any]) -> bool:
    """Whether tests are named for pytest; the built-in problems hold files instead."""
    return not tests.keys().isdisjoint(KINDS)


async def score(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """The benchmark: full reward when the repository's tests pass; RL's reward when there are none."""
    if fault := _fault(problem.answer):
        return Verdict.failed(fault)
    tests = problem.answer.get("tests")
    if not tests:
        return await grade(problem, rollout, services)
    if services.sandbox is None:
        raise ValueError("the swe benchmark needs a sandbox")
    answer = _answer(problem, rollout)
    if answer is None:
        return _refused(0.0)
    try:
        files = apply_patch(answer, problem.answer["files"])
    except NoChange as error:
        return Verdict.binary(False, str(error))
    except PatchError as error:
        return _refused(0.0, error)
    limit_s, sandbox = services.limit_s, services.sandbox
    if not _named(tests):
        return await judge_checks(problem.answer, files, sandbox, min(TIMEOUT_S, limit_s))
    timeout_s = min(problem.answer.get("timeout_s", SUITE_TIMEOUT_S), limit_s)
    apart = await judge_named(problem.answer, files, sandbox, timeout_s)
    return apart or await run_suite(problem.answer, files, sandbox, limit_s)


def gold(problem: Problem) -> str:
    """The golden patch: as it stands, or as SEARCH/REPLACE edits where it is a diff."""
    patch = problem.meta.get("edits", problem.answer["patch"])
    if SEARCH not in patch:
        patch = as_solution(patch, problem.answer["files"])
    return compose_reply(problem.mode, problem.meta.get("thought", ""), patch)


def null(problem: Problem) -> str:
    """A patch that changes nothing: of a file its mode, which is ignored."""
    # no edit of lines by themselves: a file may be empty or hold marks, so that none could quote it
    path = min(problem.answer["files"])
    modes = f"diff --git a/{path} b/{path}\nold mode 100644\nnew mode 100755"
    return compose_reply(problem.mode, "", f"<solution>\n```diff\n{modes}\n```\n</solution>")


def demonstrate(problem: Problem, rng: random.Random, fault_rate: float) -> str:
    """The gold reply, or with probability `fault_rate` a faulty one.

    Its patch breaks the other file, changes nothing, or puts another wrong piece in the place of the first.
    """
    faults = problem.meta.get("faults")
    if not faults:
        return gold(problem)
    if rng.random() < fault_rate:
        fault = faults[rng.choice(sorted(faults))]
        return compose_reply(problem.mode, fault["thought"], fault["patch"])
    return gold(problem)


def examples() -> Iterator[Example]:
    """Vectors of the benchmark's grader."""
    files = {
        "shapes.py": "def area(w, h):\n    return w + h\n",
        "shop.py": "def price(n):\n    return n * 3\n",
    }
    edit = Edit("shapes.py", ("    return w + h",), ("    return w * h",))
    tests = {"test_shapes.py": "from shapes import area\n\ndef test_area():\n    assert area(2, 3) == 6\n"}
    answer = {"files": files, "patch": solution_text([edit]), "tests": tests}
    problem = _problem("area must multiply w by h", answer, {})
    other = Edit(
        "shapes.py", ("def area(w, h):", "    return w + h"), ("def area(w, h):", "    return h * w")
    )
    leave = Edit("shapes.py", ("def area(w, h):",), ("import os; os._exit(0)", "def area(w, h):"))
    yield Example(problem, gold(problem), 1.0)
    yield Example(problem, thinking_reply("", solution_text([other])), 1.0)
    yield Example(problem, null(problem), 0.0)
    yield Example(problem, thinking_reply("", solution_text([leave])), 0.0)
    yield Example(problem, thinking_reply("", "return w * h"), 0.0)


def check_answer(answer: Any) -> None:
    """The files as they are, the patch that mends them, and perhaps tests."""
    if fault := _fault(answer):
        raise AnswerError(fault)
    if answer.get("tests"):
        return  # by execution the golden patch is not needed
    try:
        changed = apply_patch(answer["patch"], answer["files"]) != dict(answer["files"])
    except PatchError as error:
        raise AnswerError(f"the golden patch can't be applied: {type(error).__name__}: {error}") from None
    if not changed:
        raise AnswerError("the golden patch changes nothing")


SOURCES = {
    "builtin": drawn(make),
    # two forms: alone the standard library, with names what they name
    "packages": from_packages,
    "packages:NAME,...": from_packages,
    "small-packages": small_from_packages,
    "small-packages:NAME,...": small_from_packages,
    **SHARED,
}

DOMAIN = Domain(
    name="swe",
    summary="repairs of small repositories: rewarded by likeness to the golden patch, "
    "scored by running tests",
    sources=SOURCES,
    grade=grade,
    examples=examples,
    gold=gold,
    null=null,
    demonstrate=demonstrate,
    score=score,
    judged=True,
    needs=frozenset({"sandbox", "verifiers"}),
    check_answer=check_answer,
)
