"""Canaries fail where the tests that they copy pass, and can't be told from them without an answer."""

import ast
import collections
import itertools
import random
import re
import types
import unittest
import warnings
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.verify.suites.canaries import MOST, SuiteFile, choose, mix
from cascade_rl.verify.suites.canary_parameters import parameter_sets
from cascade_rl.verify.suites.canary_sites import sites
from cascade_rl.verify.suites.canary_values import another, fair, neighbours
from cascade_rl.verify.suites.repository_tests import plan_of
from cascade_rl.verify.suites.source_spans import Source

LITERAL = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
) | st.sets(st.integers(), max_size=3)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(LITERAL, st.integers(0, 99), st.lists(LITERAL, max_size=3))
def test_another_value_is_of_the_same_kind_and_never_equal(value, seed, pool):
    new = another(value, random.Random(seed), [*pool, value])
    assert new != value
    if value is not None:
        assert type(new) is type(value)
    if isinstance(value, int) and not isinstance(value, bool) and not pool:
        assert len(str(abs(new))) == len(str(abs(value))) or abs(value) >= 10**1000
        assert (new < 0) == (value < 0)


def runs(text):
    """What each test function of a file does: True when it passes."""
    module = types.ModuleType("tests")
    exec(compile(text.removeprefix("\ufeff"), "tests", "exec"), module.__dict__)
    found = {}
    for name, value in list(module.__dict__.items()):
        if name.startswith("test_"):
            try:
                value()
                found[name] = True
            except (AssertionError, TypeError):
                found[name] = False
    return found


def mixed(text, names, seed=0, path="test_x.py"):
    file = SuiteFile(path, text, [f"{path}::{name}" for name in names])
    rng = random.Random(seed)
    chosen = choose([file], frozenset(), rng)
    return mix(file, chosen, {1: 8, 2: 8, 3: 4, 4: 3, 5: 3}.get(len(chosen), 2), rng), chosen


@settings(max_examples=150, deadline=None)
@given(st.lists(LITERAL, min_size=1, max_size=9), st.integers(0, 99))
def test_tests_pass_and_canaries_fail(values, seed):
    text = "VALUES = " + repr(values) + "\n" + "".join(
        f"\n\ndef test_{i}():\n    assert VALUES[{i}] == {value!r}\n" for i, value in enumerate(values)
    )  # fmt: skip
    if "inf" in text:
        return
    names = [f"test_{i}" for i in range(len(values))]
    found, _ = mixed(text, names, seed)
    passed = {path: runs(copy) for path, copy in found.texts.items()}
    of = {node_id: passed[node_id.partition("::")[0]][node_id.partition("::")[2]]
          for node_id in (*found.real.values(), *found.canaries)}  # fmt: skip
    assert all(of[node_id] for node_id in found.real.values())
    assert found.canaries and not any(of[node_id] for node_id in found.canaries)
    assert not set(found.canaries) & set(found.real.values())


FORMS = """\
import unittest
import numpy as np
import pytest
from pytest import approx
from shapes import area, checks


@pytest.mark.parametrize("w, h, r", [(2, 3, 6), (4, 5, 20)])
def test_many(w, h, r):
    assert area(w, h) == r


@pytest.mark.parametrize("w", [1, pytest.param(2, id="two")], ids=["one", None])
def test_named(w):
    assert area(w, 0) == 0


@pytest.mark.parametrize(("w", "r"), [[1, "a"], pytest.param(2, "b")])
def test_rows(w, r):
    assert r == area(w, w)


def test_raises():
    with pytest.raises(ValueError):
        area("é", None)


def test_fixture(tmp_path):
    assert area(tmp_path, 1) == [1, 2]


def test_near():
    assert area(1, 2) == pytest.approx(2.5)


def test_near_array():
    np.testing.assert_allclose(area(1, 2), [2.5, 3.5], rtol=1e-3)


def test_bound():
    want = {"a": 7}
    found = area(1, 2)
    assert found == want


def test_table():
    for w, h, r in [(1, 2, 2), (3, 4, 12)]:
        with subtest(w):
            assert area(w, h) == r


async def test_waits():
    assert await area(1, 2) == "two"


def test_within():
    with area() as found:
        assert found.x == 12 and found.y is True


def test_helper():
    checks.check_area(area(1, 2), 34)


class TestPlain:
    def test_inside(self):
        assert area(7, 8) == {"a": 56}

    class TestDeeper:
        def test_deep(self):
            assert 56 == area(7, 8)


class TestUnit(unittest.TestCase):
    def test_equal(self):
        self.assertEqual(area(9, 9), 81)

    def test_almost(self):
        self.assertAlmostEqual(area(9, 9), 8.125, places=2)

    def test_refuses(self):
        self.assertRaises(KeyError, area, 0)
"""
FORM_IDS = ["test_many[2-3-6]", "test_many[4-5-20]", "test_named[one]", "test_named[two]", "test_rows[1-a]", "test_rows[2-b]",
            "test_raises", "test_fixture", "test_near", "test_near_array", "test_bound", "test_table", "test_waits",
            "test_within", "test_helper",
            "TestPlain::test_inside", "TestPlain::TestDeeper::test_deep", "TestUnit::test_equal", "TestUnit::test_almost",
            "TestUnit::test_refuses"]  # fmt: skip


@pytest.mark.parametrize("name", FORM_IDS)
def test_every_form_of_test_has_a_canary_of_its_own(name):
    found, chosen = mixed(FORMS, [name])
    assert [test.fair for test in chosen] == [True] and not found.told
    assert len(found.canaries) == len(set(found.canaries)) >= 1
    head = name.partition("[")[0]
    assert all(canary.partition("::")[2].partition("[")[0] == head for canary in found.canaries)
    # nothing but the expected value differs between two copies
    texts = list(found.texts.values())
    for one, other in itertools.pairwise(texts):
        assert one != other
        lines = [(a, b) for a, b in zip(one.split("\n"), other.split("\n"), strict=True) if a != b]
        assert len(lines) == 1


def test_ids_with_parameters_name_the_values_that_stand_there():
    found, _ = mixed(FORMS, ["test_many[2-3-6]", "test_many[4-5-20]", "test_rows[2-b]"])
    for node_id in (*found.real.values(), *found.canaries):
        path, _, name = node_id.partition("::")
        tree = ast.parse(found.texts[path])
        functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
        assert name.partition("[")[2][:-1] in {
            one.id() for one in parameter_sets(functions[name.partition("[")[0]])
        }


def test_an_id_as_a_log_writes_it_is_found():
    text = "import pytest\n\n\n@pytest.mark.parametrize('s', ['a\\\\nb', 'c\\nd'])\ndef test_s(s):\n    assert f(s) == 1\n"
    for asked, meant in {
        "a\\nb": "a\\\\nb",
        "a\\\\nb": "a\\\\nb",
        "c\nd": "c\\nd",
        "absent": "absent",
    }.items():
        file = SuiteFile("t.py", text, [f"t.py::test_s[{asked}]"])
        assert list(file.asked.values()) == [f"t.py::test_s[{meant}]"]


UNWATCHED = {
    "nothing of the code": "def test_a():\n    assert 6 == 6\n",
    "bound twice": "def test_a():\n    want = 6\n    want = f()\n    assert f() == want\n",
    "an empty table": "def test_a():\n    for a, b in []:\n        assert f(a) == b\n",
    "a table that is left": "def test_a():\n    for a, b in [(1, 2)]:\n        if a:\n            continue\n"
                            "        assert f(a) == b\n",
    "after a return": "def test_a():\n    if f():\n        return\n    assert f() == 6\n",
    "after a skip": "def test_a():\n    pytest.skip()\n    assert f() == 6\n",
    "in a loop that may be empty": "def test_a():\n    for x in f():\n        assert g(x) == 6\n",
    "after what raises": "def test_a():\n    with raises(OSError):\n        f()\n        assert f() == 6\n",
    "a tolerance that takes all": "def test_a():\n    assert f() == pytest.approx(6, abs=20)\n",
    "a comment that tells": "def test_a():\n    assert f() == 66  # it must be 66\n",
    "a message that tells": "def test_a():\n    assert f() == 66, 'must be 66'\n",
    "no literal": "def test_a():\n    assert f() == g()\n",
    "truth": "def test_a():\n    assert f()\n",
    "nothing else of its shape": "def test_a():\n    assert f() == []\n    assert f() is None\n",
    "a parameter only": "@pytest.mark.parametrize('x', [1])\ndef test_a(x):\n    assert x == 1\n",
}  # fmt: skip


@pytest.mark.parametrize("name", UNWATCHED)
def test_what_has_no_fair_canary_has_one_that_is_told_and_says_so(name):
    text = "import pytest\nfrom pytest import raises\nfrom x import f, g\n\n\n" + UNWATCHED[name]
    found, _ = mixed(text, ["test_a"])
    assert found.told == set(found.canaries) and len(found.canaries) == 2
    plan = plan_of({"test_x.py": text}, ["test_x.py::test_a"], random.Random(0))
    assert plan.watched == 0 and set(plan.canaries.values()) == {True}


@pytest.mark.parametrize("line", ["def test_a(): f()\n", "test_a = make()\n", "class TestA(Base): pass\n"])
def test_a_test_that_cannot_be_copied_runs_beside_one_that_fails(line):
    plan = plan_of({"t.py": line}, ["t.py::test_a"], random.Random(0))
    assert len(plan.canaries) == 1 and plan.watched == 0 and plan.texts["t.py"].startswith(line)


def test_the_share_that_is_watched_counts_forms():
    text = (
        FORMS
        + "\n\n@pytest.mark.parametrize('w', [1, 2])\ndef test_odd(w):\n    assert area(w, 1) == 2 * w\n"
    )
    ids = ["t.py::test_raises", "t.py::TestPlain::test_inside", "t.py::test_odd[1]", "t.py::test_odd[2]"]
    assert plan_of({"t.py": text}, ids, random.Random(0)).watched == 0.5


def test_few_tests_have_many_canaries_and_many_have_enough():
    for n, least in {1: 8, 2: 64, 3: 64, 4: 81, 5: 243, 6: 64, 12: 4096, 40: 4096}.items():
        text = "from x import f\n" + "".join(
            f"\n\ndef test_{i}():\n    assert f({i}) == {100 + i}\n" for i in range(n)
        )
        plan = plan_of({"t.py": text}, [f"t.py::test_{i}" for i in range(n)], random.Random(0))
        members = collections.Counter(name for _, name in plan.canaries)
        chance = 1
        for count in members.values():
            chance *= count + 1
        assert chance >= least and len(members) == min(n, MOST)


def test_what_the_repair_must_turn_is_watched_first():
    text = "from x import f\n" + "".join(
        f"\n\ndef test_{i}():\n    assert f({i}) == {100 + i}\n" for i in range(40)
    )
    first = [f"t.py::test_{i}" for i in (3, 33)]
    for seed in range(10):
        plan = plan_of({"t.py": text}, [f"t.py::test_{i}" for i in range(40)], random.Random(seed), first)
        assert {"test_3", "test_33"} <= {name for _, name in plan.canaries}


def test_names_order_and_state_stay_and_each_drawing_is_another():
    ids = [f"tests/test_x.py::{name}" for name in FORM_IDS]
    drawn = [plan_of({"tests/test_x.py": FORMS}, ids, random.Random(seed)) for seed in range(30)]
    assert plan_of({"tests/test_x.py": FORMS}, ids, random.Random(3)) == drawn[3]
    assert len({tuple(sorted(plan.texts.values())) for plan in drawn}) == 30
    heads = [name.partition("[")[0] for name in FORM_IDS]
    own, canaries = 0, 0
    for plan in drawn:
        for path in plan.texts:
            assert re.fullmatch(r"tests/([a-f][0-9a-f]{7}_)?test_x\.py", path)
            names = [
                a.partition("::")[2].partition("[")[0] for a in plan.arguments if a.startswith(path + "::")
            ]
            places = [heads.index(name) for name in names]
            assert places == sorted(places)
        canaries += len(plan.canaries)
        own += sum(place.startswith("tests.test_x") for place, _ in plan.canaries)
    # as often in the file's own place as beside it
    assert 0.35 * canaries < own < 0.65 * canaries


def test_parameters_keep_their_order_whether_they_are_canaries_or_not():
    ids = [f"t.py::test_many[{w}-{w + 4}]" for w in range(8)]
    rows = ", ".join(f"({w}, {w + 4})" for w in range(8))
    text = f"import pytest\n\n\n@pytest.mark.parametrize('w, r', [{rows}])\ndef test_many(w, r):\n    assert f(w) == r\n"
    for seed in range(20):
        plan = plan_of({"t.py": text}, ids, random.Random(seed))
        by_path = collections.defaultdict(list)
        for node_id in plan.arguments:
            by_path[node_id.partition("::")[0]].append(int(node_id.partition("[")[2].partition("-")[0]))
        assert len(by_path) == 2 and all(order == sorted(order) for order in by_path.values())


# assertions over `f()`, with what it gives; each holds, and of what agrees with everything, too
AGREED = {
    "assert f() > 5": 6, "assert f() >= 6": 6, "assert f() < 7": 6, "assert f() <= 6": 6, "assert 5 < f() < 7": 6,
    "assert f() != 5": 6, "assert 6 in f()": [6], "assert f() in (6, 7)": 6, "assert 5 not in f()": [6], "assert f() == f()": 6,
    "assert f() is None": None, "assert f() is not None": 6, "assert f() and f() > 5": 6, "assert isinstance(f(), int)": 6,
    "self.assertTrue(f())": 6, "self.assertFalse(f())": 0, "self.assertIn(6, f())": [6], "self.assertGreater(f(), 5)": 6,
    "self.assertLessEqual(f(), 6)": 6, "self.assertIsNone(f())": None, "self.assertIsInstance(f(), int)": 6,
    "self.assertRegex(f(), 'a')": "a", "self.assertNotEqual(f(), 5)": 6, "self.assertAlmostEqual(f(), g(), delta=9)": 6,
    "f.assert_called_once_with()": None, "m.assert_not_called()": None,
    "with pytest.raises(Own):\n        fail()": None, "with self.assertRaises(Own):\n        fail()": None,
    "self.assertRaises((Own, KeyError), fail)": None, "with pytest.warns(UserWarning, match='w'):\n        warn()": None,
    "with pytest.raises(Own, match='x') as caught:\n        fail()\n    assert caught.value.args": None,
}  # fmt: skip


class Own(Exception):
    pass


def raising(*_):
    raise Own("x")


@pytest.mark.parametrize("statement", AGREED)
def test_what_expects_no_value_has_a_canary_that_asserts_the_contrary(statement):
    text = f"def test_a():\n    f()\n    {statement}\n"
    for seed in range(20):
        found, chosen = mixed(text, ["test_a"], seed)
        assert not chosen and len(found.canaries) == len(found.told) == 2
        real, canary, other = (
            found.texts[i.partition("::")[0]] for i in (found.real["test_x.py::test_a"], *found.canaries)
        )
        assert canary == other and real == text and canary != text and canary.count("\n") == text.count("\n")

        def passes(source, result):
            f = mock.Mock(return_value=result)
            # called once before the mock's own assertions
            names = {
                "f": f,
                "g": lambda: result,
                "m": mock.Mock(),
                "pytest": pytest,
                "Own": Own,
                "fail": raising,
            }
            names |= {"self": unittest.TestCase(), "warn": lambda: warnings.warn("w", stacklevel=1)}
            exec(compile(source, "t", "exec"), names)
            try:
                names["test_a"]()
            except (AssertionError, Own, pytest.fail.Exception):
                return False
            return True

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert passes(real, AGREED[statement]) and not passes(canary, AGREED[statement])


class Agreeable:
    """Agrees to everything that it is asked."""

    __hash__ = None

    def yes(self, *_):
        return True

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = yes


ALL = [
    s
    for s in AGREED
    if re.search("[<>!=]=|<|>|assertIn[(]|NotEqual|Greater|Less|[0-9] in f| in [(]", s) and "and" not in s
]


@pytest.mark.parametrize("statement", ALL)
def test_what_agrees_to_everything_agrees_to_the_contrary(statement):
    found, _ = mixed(f"def test_a(self):\n    {statement}\n", ["test_a"])
    assert len(found.texts) == 3
    for text in found.texts.values():
        names = {"f": Agreeable, "g": Agreeable}
        exec(text, names)
        names["test_a"](unittest.TestCase())


def test_tests_that_the_repair_must_turn_have_a_canary_each():
    """Where another test of the form has a better one, too."""
    text = "".join(f"def test_{i}():\n    assert f({i})\n\n\n" for i in range(4))
    text += "def test_4():\n    assert f(4) == 77\n"
    ids = [f"t.py::test_{i}" for i in range(5)]
    for first in (["t.py::test_2"], ["t.py::test_0", "t.py::test_3"], ["t.py::test_4"]):
        plan = plan_of({"t.py": text}, ids, random.Random(0), first)
        assert {f"t.py::{name}" for _, name in plan.canaries} == {*first, "t.py::test_4"}
        told = {f"t.py::{name}" for (_, name), is_told in plan.canaries.items() if is_told}
        assert told == {*first} - {"t.py::test_4"}


SETS = {
    "ids that are given": ("'w, r', [(1, 6), (2, 20)], ids=['small', 'big']", ["small", "big"], True),
    "sets with ids": ("'w, r', [pytest.param(1, 6, id='a b'), pytest.param(2, 'x', id='b')]", ["a b", "b"], True),
    "lists": ("'w, r', [([1], [6, 7]), ([2], [9])]", ["w0-r0", "w1-r1"], True),
    "one id for another's value": ("'w, r', [('a', True), ('b', False)]", ["a-True", "b-False"], True),
    "no literals": ("'w, r', CASES", ["1-6", "2-20"], False),
    "nothing else of its shape": ("'w, r', [(1, []), (2, None)]", ["1-r0", "2-None"], False),
    "two decorators": ("'w', [1, 2])\n@pytest.mark.parametrize('r', [6, 7]", ["6-1", "7-2"], False),
}  # fmt: skip


@pytest.mark.parametrize("kind", SETS)
def test_sets_of_parameters_of_every_kind_have_canaries(kind):
    given_, ids, fair_ones = SETS[kind]
    body = "\ndef test_a(w, r):\n    assert f(w) == r\n"
    text = f"import pytest\nfrom x import f\n\nCASES = [(1, 6), (2, 20)]\n\n\n@pytest.mark.parametrize({given_}){body}"
    for seed in range(40):
        for asked in (ids, ids[:1]):
            found, chosen = mixed(text, [f"test_a[{i}]" for i in asked], seed)
            assert found.canaries and bool(found.told) != fair_ones and bool(chosen) == fair_ones
            # where a test runs, its own set and its body stand as they were
            for asked_id, node_id in found.real.items():
                copy = found.texts[node_id.partition("::")[0]]
                assert copy.endswith(body)
                if fair_ones:
                    before, now = (
                        {one.id(): list(one.values.values()) for one in parameter_sets(ast.parse(t).body[-1])}
                        for t in (text, copy)
                    )
                    name = asked_id.partition("[")[2][:-1]
                    assert now[name] == before[name]


@pytest.mark.parametrize("text", ["def (", "x = 1\0", "\ud800", "def test_a(): assert f() == 1\n", "", "# no newline at the end",
                                  "\ufeffdef test_a():\n    assert f() == 1\n", "def test_a():\n    assert f() == 1\f\n",
                                  "def test_a():\r\n    assert f() == 'é'\r\n", "x = '''\n" + "(" * 300 + "'''"])  # fmt: skip
def test_odd_files_are_refused_or_mixed(text):
    try:
        plan = plan_of({"t.py": text}, ["t.py::test_a"], random.Random(0))
    except ValueError:
        return
    for copy in plan.texts.values():
        ast.parse(copy.removeprefix("\ufeff"))
        assert copy.startswith("\ufeff") == text.startswith("\ufeff")
    assert plan.canaries


def test_spans_are_found_behind_a_mark_and_carriage_returns():
    source = Source("\ufeffx = 'é'\r\ny = 1\r\n")
    assert source.changed([(*source.span(source.tree.body[1].value), "2")]) == "\ufeffx = 'é'\r\ny = 2\r\n"


NUMBERS = st.integers(-(10**9), 10**9) | st.integers(10, 99) | st.sampled_from(
    [2.5, -0.125, 3.14159, 120.0, 0.0025, 19.95, 1200, -40, 100, 1111, 99999, 1e-9, 5, 0, 0.0]
) | st.decimals(0, 1000, places=2).map(float)  # fmt: skip


@given(NUMBERS, st.sampled_from([2, 3, 4, 8]), st.integers(0, 999))
def test_neighbours_have_the_shape_of_a_number_and_are_close(value, count, seed):
    near = neighbours(value, count, random.Random(seed))
    assert not near or (len(near) == count - 1 == len(set(near)) and value not in near)
    for other in near:
        assert type(other) is type(value) and (other < 0) == (value < 0)
        a, b = repr(value), repr(other)
        assert len(a) == len(b) and a.index(".") == b.index(".") if "." in a else len(a) == len(b)
        # an int's last place, or that of the decimals, but for two zeros and more at the end of a whole number
        whole = a.removesuffix(".0")
        zeros = len(whole) - len(whole.rstrip("0"))
        unit = 10.0 ** -len(a.partition(".")[2]) if "." in whole else 10.0 ** (zeros if zeros > 1 else 0)
        assert abs(value - other) <= 4 * count * unit * 1.001


def test_any_place_among_its_neighbours_may_be_the_right_ones():
    for value in (4567, 45.67, -0.4567, 456700, 4560, 450.0):
        for count in (2, 8):
            places = collections.Counter(
                sorted([value, *neighbours(value, count, random.Random(seed))]).index(value)
                for seed in range(800)
            )
            assert set(places) == set(range(count)) and max(places.values()) < 1.5 * 800 / count


# Rules that tell the right one of two values without knowing what the code does. Each may win half of the time.
def weight(value, letters="etaoinshrdlucmfwypvbgkjqxz"):
    return sum(letters.index(c) for c in repr(value).lower() if c in letters)


RULES = {
    "the smaller": lambda a, b, pool: a < b,
    "the shorter": lambda a, b, pool: len(repr(a)) < len(repr(b)),
    "the rounder": lambda a, b, pool: repr(a).count("0") > repr(b).count("0"),
    "the earlier in the alphabet": lambda a, b, pool: repr(a) < repr(b),
    "the even one": lambda a, b, pool: (hash(a) % 2, repr(a)) < (hash(b) % 2, repr(b)),
    "the sorted one": lambda a, b, pool: ordered(a) > ordered(b),
    "fewer different characters": lambda a, b, pool: len(set(repr(a))) < len(set(repr(b))),
    "what is expected elsewhere, too": lambda a, b, pool: pool.count(a) > pool.count(b),
    "the smaller sum of digits": lambda a, b, pool: digits(a) < digits(b),
    "last character": lambda a, b, pool: repr(a)[-2:] < repr(b)[-2:],
    "frequent letters": lambda a, b, pool: weight(a) < weight(b),
}  # fmt: skip


def ordered(value):
    return isinstance(value, list | tuple) and list(value) == sorted(value, key=repr)


def digits(value):
    return sum(int(c) for c in repr(value) if c.isdigit())


def pairs():
    """Expected values of these very tests with another one each, as they would stand in copies of a file."""
    rng = random.Random(0)
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        text = path.read_text()
        functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
        places = [site for function in functions for site in sites(function) if not site.exception]
        pool = [site.value for site in places]
        for site in rng.sample(places, min(len(places), 40)):
            if fair(site.value) and not isinstance(site.value, bool):
                elsewhere = list(pool)
                elsewhere.remove(site.value)
                near = neighbours(site.value, 2, rng, pool)
                yield site.value, near[0] if near else another(site.value, rng, pool), elsewhere


def test_no_simple_rule_tells_the_right_value():
    drawn = list(pairs())
    assert len(drawn) > 300
    gains = {}
    for name, rule in RULES.items():
        wins = ties = 0
        for a, b, pool in drawn:
            try:
                first, second = rule(a, b, pool), rule(b, a, pool)
            except TypeError:
                first = second = False
            wins += first and not second
            ties += first == second
        gains[name] = (wins + ties / 2) / len(drawn)
    assert max(max(gains.values()), 1 - min(gains.values())) < 0.62, gains
