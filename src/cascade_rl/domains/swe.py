"""Repair a bug in a small repository with SEARCH/REPLACE edits.

RL is rewarded without running anything, by likeness to the golden patch (arXiv 2512.13607, SWE RL; see
`verify.patches`), with values under one half counted as none. The benchmark runs the repository's tests on the
patched files: they must fail before and pass after. The tests are put back after the patch, and a pass is a
nonce that is printed when all of them have run; the assertions necessarily enter the child.

Built-in replies leave the optional solution tags out, to be short.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from cascade_rl.chat import compose_reply, split_reply, thinking_reply
from cascade_rl.domain import AnswerError, Domain, Example, Services, stream
from cascade_rl.domains._files import PREFIX, file_problems, unknown_source
from cascade_rl.domains._repositories import draw_modules
from cascade_rl.types import Message, Outcome, Problem, Rollout, Split, Verdict, problem_id
from cascade_rl.verify.patches import (
    Edit,
    NoChange,
    PatchError,
    apply_patch,
    edit_text,
    execution_free_reward,
    parse_edits,
    solution_text,
)
from cascade_rl.verify.programs import check_program, checks_passed

SOURCES = ("builtin", "file:PATH")
TIMEOUT_S = 4.0


def make(rng: random.Random) -> Problem:
    """A repository of two files, one function of which is broken."""
    module, other = draw_modules(rng)
    right, wrong, astray = (module.pieces[i] for i in rng.choice(((0, 1, 2), (0, 2, 1))))
    files = {module.path: module.text(wrong), other.path: other.text(other.pieces[0])}
    plan = f"{module.path} {module.name}: {{}} to {{}}"
    faults = {
        "elsewhere": _teach(other.edit(other.pieces[0], other.pieces[1]),
                            f"{other.path} {other.name}: {other.pieces[0]} to {other.pieces[1]}"),
        "nothing": _teach(module.edit(wrong, wrong), plan.format(wrong, wrong)),
        "astray": _teach(module.edit(wrong, astray), plan.format(wrong, astray)),
    }  # fmt: skip
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


def problems(source: str, split: Split, seed: int) -> Iterator[Problem]:
    """Problems of a source, see `SOURCES`."""
    if source == "builtin":
        return stream(make, split, seed)
    if source.startswith(PREFIX):
        return file_problems("swe", source, split, seed)
    raise unknown_source("swe", source, SOURCES)


def _unparseable(reward: float) -> Verdict:
    return Verdict(reward, Outcome.UNPARSEABLE, note="no answer after the think block")


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """The execution-free reward: -1 unusable, 0 unchanged or unlike, 1 the golden change, else the similarity."""
    answer = split_reply(rollout.text, problem.mode).answer
    if answer is None:
        return _unparseable(-1.0)
    reward = execution_free_reward(answer, problem.answer["patch"], problem.answer["files"])
    if reward < 0:
        return Verdict(reward, Outcome.UNPARSEABLE, note=_reason(answer, problem.answer["files"]))
    outcome = Outcome.RIGHT if reward == 1 else Outcome.PARTIAL if reward > 0 else Outcome.WRONG
    return Verdict(reward, outcome, {"similarity": reward})


def _reason(answer: str, files: Mapping[str, str]) -> str:
    try:
        apply_patch(answer, files)
    except PatchError as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def score(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """The benchmark: full reward when the repository's tests pass after the patch."""
    if services.sandbox is None:
        raise ValueError("the swe benchmark needs a sandbox")
    gold = problem.answer
    answer = split_reply(rollout.text, problem.mode).answer
    if answer is None:
        return _unparseable(0.0)
    try:
        files = apply_patch(answer, gold["files"])
    except NoChange as error:
        return Verdict.binary(False, str(error))
    except PatchError as error:
        return Verdict(0.0, Outcome.UNPARSEABLE, note=f"{type(error).__name__}: {error}")
    program = check_program(files | gold["tests"], list(gold["tests"]), TIMEOUT_S)
    execution = await services.sandbox.run(program)
    if execution.error:
        return Verdict.failed(execution.error)
    if execution.timed_out:
        return Verdict(0.0, Outcome.TIMEOUT, note=f"tests took over {TIMEOUT_S} s")
    return Verdict.binary(checks_passed(program, execution), execution.stderr[-200:])


def gold(problem: Problem) -> str:
    """The golden patch."""
    return compose_reply(problem.mode, problem.meta.get("thought", ""), problem.answer["patch"])


def null(problem: Problem) -> str:
    """The golden edits with every REPLACE as its SEARCH: a patch that changes nothing."""
    edits = [Edit(e.path, e.search, e.search) for e in parse_edits(problem.answer["patch"])]
    return compose_reply(problem.mode, "", solution_text(edits))


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
    files = {"shapes.py": "def area(w, h):\n    return w + h\n", "shop.py": "def price(n):\n    return n * 3\n"}
    edit = Edit("shapes.py", ("    return w + h",), ("    return w * h",))
    tests = {"test_shapes.py": "from shapes import area\n\ndef test_area():\n    assert area(2, 3) == 6\n"}
    answer = {"files": files, "patch": solution_text([edit]), "tests": tests}
    problem = _problem("area must multiply w by h", answer, {})
    other = Edit("shapes.py", ("def area(w, h):", "    return w + h"), ("def area(w, h):", "    return h * w"))
    leave = Edit("shapes.py", ("def area(w, h):",), ("import os; os._exit(0)", "def area(w, h):"))
    yield Example(problem, gold(problem), 1.0)
    yield Example(problem, thinking_reply("", solution_text([other])), 1.0)
    yield Example(problem, null(problem), 0.0)
    yield Example(problem, thinking_reply("", solution_text([leave])), 0.0)
    yield Example(problem, thinking_reply("", "return w * h"), 0.0)


def check_answer(answer: Any) -> None:
    """The files as they are and the patch that mends them."""
    files = answer.get("files") if isinstance(answer, dict) else None
    texts = isinstance(files, dict) and all(isinstance(text, str) for text in files.values())
    if not texts or not isinstance(answer.get("patch"), str):
        raise AnswerError('want {"files": {path: text}, "patch": text}')


DOMAIN = Domain(
    name="swe",
    summary="repairs of small repositories: rewarded by likeness to the golden patch, scored by running tests",
    problems=problems,
    grade=grade,
    examples=examples,
    gold=gold,
    null=null,
    demonstrate=demonstrate,
    score=score,
    sources=SOURCES,
    needs=frozenset({"sandbox"}),
    check_answer=check_answer,
)
