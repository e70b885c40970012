"""Canaries fail where the tests that they copy pass, and can't be told from them by name, file or place."""

import ast
import random
import re
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.verify.canaries import MOST, another, with_canaries

LITERAL = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
) | st.sets(st.integers(), max_size=3)  # fmt: skip


@given(LITERAL, st.integers(0, 99))
def test_another_value_is_never_equal(value, seed):
    assert another(value, random.Random(seed)) != value


def runs(text):
    """What each test function of a file does: True when it passes."""
    module = types.ModuleType("tests")
    exec(compile(text, "tests", "exec"), module.__dict__)
    found = {}
    for name, value in list(module.__dict__.items()):
        if name.startswith("test_"):
            try:
                value()
                found[name] = True
            except (AssertionError, TypeError):
                found[name] = False
    return found


@given(st.lists(LITERAL, min_size=1, max_size=9), st.integers(0, 99))
def test_tests_pass_and_canaries_fail(values, seed):
    text = "VALUES = " + repr(values) + "\n" + "".join(
        f"\n\ndef test_{i}():\n    assert VALUES[{i}] == {value!r}\n" for i, value in enumerate(values)
    )  # fmt: skip
    names = [f"test_{i}" for i in range(len(values))]
    if "inf" in text:
        return
    mixed = with_canaries(text, names, random.Random(seed))
    passed = runs(mixed.text)
    assert set(passed) == set(mixed.renamed.values()) | set(mixed.canaries)
    assert all(passed[name] for name in mixed.renamed.values())
    assert not any(passed[name] for name in mixed.canaries)
    assert len(mixed.canaries) == min(MOST, len(values))


FILE = """\
import pytest


@pytest.mark.parametrize("x", [1, 2])
def test_many(x):
    assert x


def test_raises():
    with pytest.raises(ValueError):
        int("é")


def test_with_fixture(tmp_path):
    assert tmp_path


class TestOne:
    def test_inside(self):
        assert True


def test_other():  # not among the named ones
    assert 1 == 1
"""


def test_names_tell_nothing_and_each_run_has_others():
    first, second = (
        with_canaries(FILE, ["test_many", "test_raises", "TestOne"], random.Random(seed)) for seed in (1, 2)
    )
    names = [*first.renamed.values(), *first.canaries]
    assert len({re.sub(r"[0-9a-f]{8}$", "", name) for name in names}) < len(names)
    assert all(re.fullmatch(r"test_\w+_[0-9a-f]{8}", name) for name in names)
    assert not {*first.canaries, *first.renamed.values()} & {*second.canaries, *second.renamed.values()}
    assert with_canaries(FILE, ["test_many"], random.Random(1)) == with_canaries(
        FILE, ["test_many"], random.Random(1)
    )
    assert "def test_other():  # not among" in first.text and "def test_inside(self)" in first.text
    places = set()
    for seed in range(20):
        mixed = with_canaries(FILE, ["test_raises"], random.Random(seed))
        places.add(mixed.text.index(mixed.canaries[0]) < mixed.text.index(mixed.renamed["test_raises"]))
    assert places == {True, False}


def test_a_file_without_plain_tests_gets_a_canary_all_the_same():
    mixed = with_canaries(FILE, ["test_many", "TestOne"], random.Random(0))
    assert len(mixed.canaries) == 1 and runs(mixed.text.replace("@pytest", "#"))[mixed.canaries[0]] is False


@pytest.mark.parametrize(
    "text", ["def (", "x = 1\0", "\ud800", "def test_a(): assert f() == 1\n", "", "# no newline at the end"]
)
def test_odd_files_are_refused_or_mixed(text):
    try:
        mixed = with_canaries(text, ["test_a"], random.Random(0))
    except (SyntaxError, ValueError):
        return
    ast.parse(mixed.text)
    assert mixed.canaries
