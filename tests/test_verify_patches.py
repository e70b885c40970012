"""Edits are parsed strictly, applied at exactly one place, and rewarded by likeness to the golden change."""

import contextlib
import difflib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.verify.patches import appraise as p
from cascade_rl.verify.patches import errors as e
from cascade_rl.verify.patches.appraise import (
    Edit,
    apply_patch,
    as_solution,
    execution_free_reward,
    parse_edits,
    solution_text,
)
from cascade_rl.verify.patches.blocks import DIVIDER
from cascade_rl.verify.patches.edits import apply_edits, edits_between
from cascade_rl.verify.patches.errors import GoldenError
from cascade_rl.verify.patches.matching import MOST_STEPS
from cascade_rl.verify.patches.similarity import NEARLY, PLACE

FILES = {
    "shapes.py": "def area(w, h):\n    return w + h\n\n\ndef edge(w):\n    return 4 * w\n",
    "shop.py": "def price(n):\n    return n * 3\n",
}
FIX = Edit("shapes.py", ("    return w + h",), ("    return w * h",))
GOLDEN = solution_text([FIX])

LINE = st.text(alphabet="abc =+", max_size=8).filter(lambda line: line.rstrip() != DIVIDER)
# SEARCH that is blank says no place
LINES = st.lists(LINE, min_size=1, max_size=4).map(tuple).filter(lambda lines: "".join(lines).strip())
EDIT = st.builds(Edit, st.sampled_from(["a.py", "b/c.py"]), LINES, st.lists(LINE, max_size=4).map(tuple))


@given(st.lists(EDIT, min_size=1, max_size=4))
def test_what_is_written_is_read_again(edits):
    assert parse_edits(solution_text(edits)) == edits
    assert parse_edits("\n\n".join(map(p.edit_text, edits))) == edits  # without solution tags


@given(st.text(max_size=300) | st.text(alphabet="<>=`# SEARCHREPLACE\n", max_size=300))
def test_any_text_gives_edits_or_unparseable(text):
    with contextlib.suppress(e.Unparseable):
        assert parse_edits(text)


def block(*lines):
    return "\n".join(["```diff", *lines, "```"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would multiply instead.",
        "<solution>\n</solution>\n"
        + GOLDEN.replace("<solution>", "").replace("</solution>", "")
        + "<solution>",
        block("<<<<<<< SEARCH", "a", "=======", "b", ">>>>>>> REPLACE"),
        block("### a.py", "a", "=======", "b", ">>>>>>> REPLACE"),
        block("### a.py", "<<<<<<< SEARCH", "a", "b", ">>>>>>> REPLACE"),
        block("### a.py", "<<<<<<< SEARCH", "a", "=======", "b"),
        block("### a.py", "<<<<<<< SEARCH", "=======", "b", ">>>>>>> REPLACE"),
        block("### a.py", "words", "<<<<<<< SEARCH", "a", "=======", "b", ">>>>>>> REPLACE"),
        block("### a.py", "<<<<<<< SEARCH", "a", "=======", "b", ">>>>>>> REPLACE", "words"),
        GOLDEN.rpartition("```")[0],
        "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE",
        "```diff",
    ],
)
def test_unparseable(text):
    with pytest.raises(e.Unparseable):
        parse_edits(text)
    assert execution_free_reward(text, GOLDEN, FILES) == -1.0


def test_a_solution_may_talk_outside_its_tags_and_use_carriage_returns():
    assert parse_edits("```python\nprint(1)\n```\n" + GOLDEN.replace("\n", "\r\n") + "\nDone.") == [FIX]


def test_a_replacement_may_hold_fences_and_rules():
    edit = Edit("README.md", ("a",), ("Title", "=======", "```python", "x", "```"))
    assert parse_edits(solution_text([edit])) == [edit]


def test_edits_apply_against_the_file_as_it_was():
    edits = [Edit("shapes.py", ("    return 4 * w",), ("    return 5 * w", "# end")), FIX]
    after = apply_edits(edits, FILES)
    assert (
        after["shapes.py"] == "def area(w, h):\n    return w * h\n\n\ndef edge(w):\n    return 5 * w\n# end\n"
    )
    assert after["shop.py"] == FILES["shop.py"]
    assert FILES["shapes.py"].count("w + h") == 1


@pytest.mark.parametrize(
    ("edits", "error"),
    [
        ([Edit("absent.py", ("a",), ("b",))], e.UnknownFile),
        ([Edit("../shapes.py", ("a",), ("b",))], e.UnknownFile),
        ([Edit("shapes.py", ("    return w - h",), ("b",))], e.NoMatch),
        ([Edit("shapes.py", ("return w + h",), ("b",))], e.NoMatch),  # lines are matched whole
        ([Edit("shapes.py", ("",) * 50, ())], e.NoMatch),
        ([Edit("shapes.py", ("",), ("b",))], e.SeveralMatches),
        ([FIX, FIX], e.Overlap),
        ([FIX, Edit("shapes.py", ("def area(w, h):", "    return w + h"), ("x",))], e.Overlap),
        ([Edit("shapes.py", FIX.search, FIX.search)], e.NoChange),
    ],
)
def test_each_way_to_fail_has_its_error(edits, error):
    with pytest.raises(e.PatchError) as caught:
        apply_edits(edits, FILES)
    assert type(caught.value) is error
    expected = 0.0 if error is e.NoChange else -1.0
    assert execution_free_reward(solution_text(edits), GOLDEN, FILES) == expected


def test_one_idle_edit_beside_a_real_one_is_no_error():
    idle = Edit("shop.py", ("    return n * 3",), ("    return n * 3",))
    assert execution_free_reward(solution_text([idle, FIX]), GOLDEN, FILES) == 1.0


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=8, unique=True), st.data())
def test_applying_then_undoing_restores_the_file(lines, data):
    files = {"f": "\n".join(lines)}
    i = data.draw(st.integers(0, len(lines) - 1))
    there, back = Edit("f", (lines[i],), ("new", "lines")), Edit("f", ("new", "lines"), (lines[i],))
    assert apply_edits([back], apply_edits([there], files)) == files


def test_unified_diff_of_an_edit():
    after = apply_patch(GOLDEN, FILES)
    assert p.unified_diff(FILES, after).startswith(
        "diff --git a/shapes.py b/shapes.py\n--- a/shapes.py\n+++ b/shapes.py\n@@ -1,5 +1,5 @@\n def area"
    )


@given(st.text(alphabet="ab \n", max_size=40), st.text(alphabet="ab \n", max_size=40))
def test_similarity_is_a_share_and_one_only_for_equal_changes(a, b):
    before = {"f": "a\nb", "g": "b"}
    given, golden = before | {"f": a}, before | {"f": b}
    similarity = p.similarity(before, given, golden)
    assert 0 <= similarity <= 1
    assert (similarity == 1) == (given == golden)
    assert similarity <= NEARLY or given == golden
    # right lines in the wrong file
    assert p.similarity({"f": "b", "g": "b"}, {"f": "b", "g": b}, {"f": b, "g": "b"}) <= (b == "b")


def test_right_lines_in_the_wrong_file_earn_nothing():
    files = {"a.py": "x = 1\n", "b.py": "x = 1\n"}
    golden = solution_text([Edit("a.py", ("x = 1",), ("x = 2",))])
    wrong = solution_text([Edit("b.py", ("x = 1",), ("x = 2",))])
    assert execution_free_reward(golden, golden, files, 0.0) == 1
    assert execution_free_reward(wrong, golden, files, 0.0) == 0
    found = p.appraise(wrong, golden, files)
    assert p.similarity(files, found.after, found.right) == 0


def test_copying_context_does_not_inflate_the_similarity():
    files = {"f.py": "".join(f"line {i}\n" for i in range(100)) + "x = 1\n"}
    golden = solution_text([Edit("f.py", ("x = 1",), ("x = 2",))])
    lines = tuple(files["f.py"].split("\n")[:-2])
    short = solution_text([Edit("f.py", ("x = 1",), ("while True:", "    pass"))])
    long = solution_text([Edit("f.py", (*lines, "x = 1"), (*lines, "while True:", "    pass"))])
    assert (
        execution_free_reward(short, golden, files, 0.0)
        == execution_free_reward(long, golden, files, 0.0)
        < 0.7
    )


@given(st.lists(st.sampled_from(["a", "b", "    c", "", "d e"]), max_size=8), st.data())
def test_a_change_of_white_space_alone_is_a_change(lines, data):
    files = {"f": "\n".join([*lines, "end"])}
    golden = solution_text([Edit("f", ("end",), ("fin",))])
    i = data.draw(st.integers(0, len(lines)))
    spaced = "\n".join(line + " " * (n == i) for n, line in enumerate([*lines, "fin"]))
    patch = p.unified_diff(files, {"f": spaced})
    assert 0 < execution_free_reward(patch, golden, files, 0.0) < 1  # near, never equal


@given(st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=10), st.data())
def test_the_reward_is_one_for_the_same_files_only(lines, data):
    files = {"f": "\n".join(["start", *lines])}
    given, right = (
        {"f": "\n".join(data.draw(st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=10)))} for _ in "12"
    )
    if right == files:
        return
    reward = execution_free_reward(
        p.unified_diff(files, given) or "none", p.unified_diff(files, right), files, 0.0
    )
    assert (reward == 1) == (given == right)


def test_a_golden_patch_that_cannot_be_applied_is_no_measure():
    for golden in (
        "",
        "no patch",
        solution_text([Edit("absent.py", ("a",), ("b",))]),
        GOLDEN.replace("w * h", "w + h"),
    ):
        with pytest.raises(GoldenError):
            execution_free_reward(GOLDEN, golden, FILES)


def reward(*edits, floor=0.5):
    return execution_free_reward(solution_text(edits), GOLDEN, FILES, floor)


def test_the_reward_ranks_patches():
    near = reward(Edit("shapes.py", FIX.search, ("    return w - h",)))
    far = Edit(
        "shapes.py", ("def edge(w):", "    return 4 * w"), ("import os", "x = 1", "y = 2", "print(os)")
    )
    assert reward(FIX) == 1.0
    assert 0.5 < near < 0.7
    assert reward(far) == reward(far, floor=0.0) == 0.0


def test_the_same_result_by_another_edit_is_golden():
    assert (
        reward(Edit("shapes.py", ("def area(w, h):", *FIX.search), ("def area(w, h):", *FIX.replace))) == 1.0
    )


def test_the_same_change_elsewhere_is_not_golden():
    files = {"f.py": "a = 1\nx\nb\na = 1\nx\nc\n"}
    golden = solution_text([Edit("f.py", ("x", "b"), ("y", "b"))])
    elsewhere = solution_text([Edit("f.py", ("x", "c"), ("y", "c"))])
    assert PLACE < execution_free_reward(elsewhere, golden, files, 0.0) < 0.5


@given(st.sampled_from(["    return w - h", "    return w", "", "pass", "    return w * h"]), st.floats(0, 1))
def test_the_floor_only_takes_away(line, floor):
    free, floored = (
        reward(Edit("shapes.py", FIX.search, (line,)), floor=0.0),
        reward(Edit("shapes.py", FIX.search, (line,)), floor=floor),
    )
    assert floored == (free if free >= floor else 0.0)


def hurtful(size, mark):
    """Texts that share single characters only: difflib's matcher then takes one pass for each of them."""
    return "".join("abcdefghijklmnop"[i % 16] + mark for i in range(size // 2))


@pytest.mark.parametrize("size", [1_000, 3_900, 20_000])
@pytest.mark.parametrize("kind", ["a", "ab", "ab\n", "\n", "hurtful", "hurtful lines", "prose"])
def test_texts_made_to_keep_difflib_busy_are_judged_in_bounded_steps(kind, size, monkeypatch):
    rng = random.Random(0)
    if kind.startswith("hurtful"):
        texts = [hurtful(size, mark) for mark in "YZ"]
        texts = ["\n".join(text) for text in texts] if kind.endswith("lines") else texts
    else:
        alphabet = kind if kind != "prose" else "etaoin shrdlu\n"
        texts = ["".join(rng.choices(alphabet, k=size)) for _ in "12"]
    steps = count_steps(monkeypatch)
    patch, golden = (
        solution_text([Edit("shapes.py", FIX.search, tuple(text.split("\n")))]) for text in texts
    )
    assert 0 <= execution_free_reward(patch, golden, FILES, 0.0) <= 1
    assert sum(steps) <= 8 * MOST_STEPS


def count_steps(monkeypatch):
    """The inner steps that difflib really takes, counted by its own loops' bounds."""
    steps, original = [], difflib.SequenceMatcher.find_longest_match

    def counted(self, alo=0, ahi=None, blo=0, bhi=None):
        steps.append(sum(len(self.b2j.get(x, ())) for x in self.a[alo : len(self.a) if ahi is None else ahi]))
        return original(self, alo, ahi, blo, bhi)

    monkeypatch.setattr(difflib.SequenceMatcher, "find_longest_match", counted)
    return steps


def test_whole_files_of_20_kilobytes_are_compared_by_line(monkeypatch):
    rng = random.Random(1)
    old = "".join(f"value_{rng.randrange(500)} = {rng.randrange(10)}\n" for _ in range(1400))
    assert len(old) > 19_000
    steps = count_steps(monkeypatch)
    new = old.replace("= 3", "= 4")
    golden = p.unified_diff({"f": old}, {"f": new})
    near = p.unified_diff({"f": old}, {"f": old.replace("= 3", "= 5")})
    assert 0.4 < execution_free_reward(near, golden, {"f": old}, 0.0) < 0.99
    assert sum(steps) <= 8 * MOST_STEPS


@pytest.mark.parametrize("lines", [("a",) * 20_000, ("",) * 20_000, ("a", "b") * 10_000])
def test_a_search_in_a_file_made_of_repeats_takes_linear_time(lines):
    files = {"f": "\n".join((*lines, "end"))}
    with pytest.raises(e.PatchError):
        apply_edits([Edit("f", lines[: len(lines) // 2], ("x",))], files)
    with pytest.raises(e.PatchError):
        apply_edits([Edit("f", (*lines[: len(lines) // 2], "x"), ("x",))], files)


@given(st.text(alphabet="ab\n", max_size=30), st.text(alphabet="ab\n", max_size=30))
def test_edits_between_two_versions_make_one_of_the_other(a, b):
    edits = edits_between("f", a, b)
    if a == b:
        assert not edits
    else:
        assert apply_edits(edits, {"f": a})["f"] == b
        # a file of blank lines has none that could be quoted
        assert not a.strip() or parse_edits(solution_text(edits)) == edits


@given(st.text(alphabet="ab \n", max_size=30), st.text(alphabet="ab \n", max_size=30))
def test_a_diff_as_a_solution_says_the_same(a, b):
    files, after = {"f": a, "g": "x"}, {"f": b, "g": "x"}
    if a != b:
        assert apply_patch(as_solution(p.unified_diff(files, after), files), files) == after
    made = p.unified_diff(files, after | {"h": b})
    assert apply_patch(as_solution(made, files), files) == after | {"h": b}
