"""Repairs made from installed packages: solvable, broken before, the same for everyone, and split by function."""

import ast
import asyncio
import itertools
import json
import random
import subprocess
import sys
import types
from collections import Counter
from functools import lru_cache

import pytest

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.sources.repairs import bugs as _bugs
from cascade_rl.sources.repairs import harvest as _harvest
from cascade_rl.sources.repairs import probe as _probe
from cascade_rl.sources.repairs.packages import LEVELS
from cascade_rl.types import Mode, Rollout, Split
from cascade_rl.verify.patches.appraise import apply_patch
from cascade_rl.verify.suites.repository_tests import plan_of, read_run

SWE = load_domain("swe")
SANDBOX = ZygoteSandbox()
SOURCE = "packages:urllib.parse,statistics,heapq,posixpath,textwrap,colorsys,html,email.quoprimime,ipaddress,difflib"


@lru_cache(maxsize=8)
def drawn(split=Split.SFT, seed=0, n=40, source=SOURCE):
    return list(itertools.islice(SWE.problems(source, split, seed), n))


def scores(pairs):
    async def all_of_them():
        services = Services(sandbox=SANDBOX)
        return await asyncio.gather(*(SWE.score(p, Rollout.of_text(reply), services) for p, reply in pairs))

    return [verdict.reward for verdict in asyncio.run(all_of_them())]


def test_gold_repairs_what_was_broken_and_null_does_not():
    problems = [*drawn()[:8], *drawn(Split.HELDOUT)[:4]]
    assert scores([(p, SWE.gold(p)) for p in problems]) == [1.0] * len(problems)
    direct = [p.in_mode(Mode.INSTRUCT) for p in problems[:2]]
    assert scores([(p, SWE.gold(p)) for p in direct]) == [1.0] * 2
    assert scores([(p, SWE.null(p)) for p in problems]) == [0.0] * len(problems)
    for problem in problems:
        reward = asyncio.run(SWE.grade(problem, Rollout.of_text(SWE.gold(problem)), Services())).reward
        assert reward == 1
        assert asyncio.run(SWE.grade(problem, Rollout.of_text(SWE.null(problem)), Services())).reward == 0


def test_before_the_repair_exactly_the_named_tests_fail():
    async def results(problems):
        for problem in problems:
            tests = problem.answer["tests"]
            files = problem.answer["files"] | problem.answer["test_files"]
            plan = plan_of(files, tests["fail_to_pass"] + tests["pass_to_pass"], random.Random(0))
            yield tests, read_run(plan, await SANDBOX.run(plan.program(files, 30, ()))).passed

    async def compare():
        async for tests, passed in results(drawn()[8:16]):
            assert {i for i, right in passed.items() if not right} == set(tests["fail_to_pass"])
            assert tests["fail_to_pass"]

    asyncio.run(compare())


def test_both_patches_of_a_problem_say_the_same():
    for problem in drawn():
        files = problem.answer["files"]
        assert apply_patch(problem.answer["patch"], files) == apply_patch(problem.meta["edits"], files)


def test_the_prompt_tells_symptoms_and_shows_files_in_any_order():
    problems = drawn(n=100)
    alone = sum(p.meta["difficulty"]["files"] == 1 for p in problems)
    assert 30 <= alone <= 70
    positions = set()
    for problem in problems:
        prompt, path = (
            problem.prompt_text,
            next(iter(problem.answer["test_files"])).replace("tests/test_", "kit/"),
        )
        shown = [line[4:] for line in prompt.split("\n") if line.startswith("### kit/")]
        assert path in shown and set(shown) == set(problem.answer["files"]) - {"kit/__init__.py"}
        positions.add((len(shown), shown.index(path)))
        issue = problem.meta["issue"]
        assert (
            issue in prompt
            and problem.meta["function"] in issue
            and ".py" not in issue
            and " line " not in issue
        )
        assert SWE.gold(problem) not in prompt and problem.answer["patch"] not in prompt
    assert {(3, 0), (3, 1), (3, 2)} <= positions


def test_the_issue_tells_the_truth():
    for problem in drawn(n=100)[::7]:
        path = next(iter(problem.answer["test_files"])).replace("tests/test_", "kit/")
        before, after = types.ModuleType("m"), types.ModuleType("m")
        exec(problem.answer["files"][path], before.__dict__)
        exec(apply_patch(problem.answer["patch"], problem.answer["files"])[path], after.__dict__)
        call, got, want = (
            problem.meta["issue"].split("`")[1:7:2] if "raise" not in problem.meta["issue"] else (None,) * 3
        )
        if call:
            assert eval(call, before.__dict__) == ast.literal_eval(got)
            assert eval(call, after.__dict__) == ast.literal_eval(want) != ast.literal_eval(got)


def test_no_function_is_in_two_splits():
    owner: dict[str, Split] = {}
    for piece, split in _harvest.catalogue(_harvest.STANDARD):
        assert all(owner.setdefault(digest, split) is split for digest in piece.digests), piece.name
    assert len(set(owner.values())) == 4
    texts = {split: "\n".join(t for p in drawn(split) for t in p.answer["files"].values()) for split in Split}
    names = {split: {p.meta["function"] for p in drawn(split)} for split in Split}
    assert not names[Split.SFT] & names[Split.HELDOUT]
    assert not any(f"def {name}(" in texts[Split.SFT] for name in names[Split.HELDOUT])


def test_problems_are_the_same_in_every_process():
    code = (
        "import itertools, json, sys; from cascade_rl.domains import load_domain; from cascade_rl.types import Split;"
        "ps = itertools.islice(load_domain('swe').problems(sys.argv[1], Split.RL, 3), 12);"
        "print(json.dumps([[p.id, p.prompt_text, p.answer, p.meta] for p in ps]))"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code, SOURCE], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                       capture_output=True, text=True, check=True, timeout=120).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1
    mine = drawn(Split.RL, 3, 12)
    assert json.loads(outputs.pop()) == json.loads(
        json.dumps([[p.id, p.prompt_text, p.answer, dict(p.meta)] for p in mine])
    )
    assert [p.id for p in mine] != [p.id for p in drawn(Split.RL, 4, 12)]
    assert len({p.id for p in drawn(n=100)}) == len(drawn(n=100))


def test_bugs_are_of_many_kinds_and_difficulties():
    problems = [p for split in Split for p in drawn(split, n=100)]
    assert len({p.meta["kind"] for p in problems}) == len(_bugs.KINDS)
    assert set(Counter(p.meta["difficulty"]["level"] for p in problems)) == {name for _, name in LEVELS}
    assert all(0 <= p.meta["difficulty"]["score"] <= 1 for p in problems)


@pytest.mark.parametrize(
    "source", ["packages:no_such_module", "packages:sys", "packages:_socket", "packages:this"]
)
def test_a_package_that_has_nothing_is_named(source):
    with pytest.raises(ValueError, match=source.partition(":")[2]):
        next(SWE.problems(source, Split.RL, 0))


# Bugs.

EXAMPLES = {
    "operator": ("return a + 1", "return a - 1"),
    "boundary": ("if a < b:\n        a = b\n    return a", "if a <= b:\n        a = b\n    return a"),
    "condition": ("return a if a == b else f(b)", "return a if a != b else f(b)"),
    "constant": ("return a[0]", "return a[1]"),
    "attribute": ("return a.lstrip()", "return a.rstrip()"),
    "function": ("return max(a, b)", "return min(a, b)"),
    "argument": ("return f(a)", "return f(b)"),
    "order": ("return f(a, b)", "return f(b, a)"),
    "case": (
        "if a:\n        b = 1\n    else:\n        b = 2\n    return b",
        "if a:\n        b = 1\n    return b",
    ),
    "guard": ("if not a:\n        return None\n    return a[b]", "return a[b]"),
    "statement": ("b = g(a)\n    b += 1\n    return b", "b = g(a)\n    return b"),
    "result": ("return sorted(a)", "return a"),
}


@pytest.mark.parametrize("kind", _bugs.KINDS)
def test_each_kind_of_bug_by_example(kind):
    right, wrong = ("def f(a, b):\n    " + body + "\n" for body in EXAMPLES[kind])
    assert (kind, wrong) in [(bug.kind, bug.text) for bug in _bugs.bugs_of(right)]


def test_a_bug_is_a_small_change_of_meaning_at_its_line():
    for piece, _ in _harvest.catalogue(_harvest.STANDARD)[::30]:
        lines = piece.text.split("\n")
        for bug in _bugs.bugs_of(piece.text):
            assert ast.dump(ast.parse(bug.text)) != ast.dump(ast.parse(piece.text))
            assert bug.place in piece.members
            changed = bug.text.split("\n")
            head = next(i for i, (a, b) in enumerate(zip(lines, changed, strict=False)) if a != b)
            assert bug.line - 1 <= head <= bug.line + 60
            assert len(lines) >= len(changed)


# Pieces.

MODULE = '''
import os
import math as m
from re import sub
import subprocess
LIMIT = 3
_seen = []
def clean(text, times=LIMIT):
    """Clean."""
    for _ in range(times):
        text = helper(text)
    return text[:m.floor(LIMIT)]
def helper(text):
    if text:
        text = sub(" ", "", text)
    return text
def reads(path):
    with open(path) as file:
        data = file.read()
    return data
def removes(path):
    path = str(path)
    os.remove(path)
    return path
def runs(command):
    done = subprocess.run(command)
    code = done.returncode
    return code
def unknown(x):
    y = mystery(x)
    z = y + 1
    return z
def state(x):
    global LIMIT
    LIMIT = x
    return LIMIT
def safe(path):
    path = os.fspath(path)
    if path:
        path += "/"
    return path
def sly(x):
    remove = os
    remove.remove(x)
    return x
'''


def test_only_harmless_functions_are_taken_with_all_they_need():
    pieces = {piece.name: piece for piece in _harvest.pieces_of("m", MODULE)}
    assert set(pieces) == {"clean", "safe"} | ({"helper"} & set(pieces))
    clean = pieces["clean"]
    assert (
        clean.members == ("clean", "helper") and clean.parameters == ("text", "times") and clean.required == 1
    )
    scope: dict = {}
    exec(clean.text, scope)
    assert scope["clean"]("a b cd") == "abc"
    assert "subprocess" not in clean.text and "_seen" not in clean.text


def test_pieces_stand_alone():
    for piece, _ in _harvest.catalogue(_harvest.STANDARD)[::4]:
        module = types.ModuleType("alone")
        exec(compile(piece.text, piece.name, "exec"), module.__dict__)
        assert callable(module.__dict__[piece.name])


def piece_of(text):
    [piece] = [p for p in _harvest.pieces_of("m", text) if p.name == "f"]
    return piece


def test_what_hangs_or_differs_from_run_to_run_is_left_out():
    unsteady = piece_of("def f(words):\n    found = set(words)\n    found.add('x')\n    for word in words:\n"
                        "        found.add(word + 'y')\n    return list(found)\n")  # fmt: skip
    assert _probe.record(unsteady) is None
    loop = piece_of("def f(text):\n    n = 0\n    i = 0\n    while i < len(text):\n        n += i * 2\n        i += 1\n"
                    "    if n > 40:\n        n -= 7\n    return n\n")  # fmt: skip
    known = _probe.record(loop)
    assert known is not None and all("i += 1" in f.bug.text or "i += 2" in f.bug.text for f in known.bugs)
    assert any(found.bug.kind == "constant" for found in known.bugs)


def test_symptoms_are_what_a_test_would_see():
    assert _probe._symptoms([("value", "1")], [("value", "1.0")]) is None  # equal values pass
    assert _probe._symptoms([("value", "1"), ("value", "2")], [("value", "1"), ("raises", "KeyError")]) == {
        1: ("raises", "KeyError")
    }
    assert (
        _probe._symptoms([("raises", "ValueError")], [("raises", "UnicodeError")]) is None
    )  # a subclass is caught too
    assert _probe._symptoms([("raises", "KeyError")], [("raises", "ValueError")])
    assert _probe._symptoms([("value", "1")], [("hangs", "")]) is None
    assert _probe._symptoms([("value", "1")], [("raises", "NameError")]) is None
