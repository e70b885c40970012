"""Edits are parsed strictly, applied at exactly one place, and rewarded by likeness to the golden change."""

import contextlib
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.verify import patches as p
from cascade_rl.verify.patches import Edit, apply_edits, apply_patch, execution_free_reward, parse_edits, solution_text

FILES = {
    "shapes.py": "def area(w, h):\n    return w + h\n\n\ndef edge(w):\n    return 4 * w\n",
    "shop.py": "def price(n):\n    return n * 3\n",
}
FIX = Edit("shapes.py", ("    return w + h",), ("    return w * h",))
GOLDEN = solution_text([FIX])

LINE = st.text(alphabet="abc =+", max_size=8).filter(lambda line: line.rstrip() != p.DIVIDER)
LINES = st.lists(LINE, min_size=1, max_size=4).map(tuple)
EDIT = st.builds(Edit, st.sampled_from(["a.py", "b/c.py"]), LINES, st.lists(LINE, max_size=4).map(tuple))


@given(st.lists(EDIT, min_size=1, max_size=4))
def test_what_is_written_is_read_again(edits):
    assert parse_edits(solution_text(edits)) == edits
    assert parse_edits("\n\n".join(map(p.edit_text, edits))) == edits  # without solution tags


@given(st.text(max_size=300) | st.text(alphabet="<>=`# SEARCHREPLACE\n", max_size=300))
def test_any_text_gives_edits_or_unparseable(text):
    with contextlib.suppress(p.Unparseable):
        assert parse_edits(text)


def block(*lines):
    return "\n".join(["```diff", *lines, "```"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would multiply instead.",
        "<solution>\n</solution>\n" + GOLDEN.replace("<solution>", "").replace("</solution>", "") + "<solution>",
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
    with pytest.raises(p.Unparseable):
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
    assert after["shapes.py"] == "def area(w, h):\n    return w * h\n\n\ndef edge(w):\n    return 5 * w\n# end\n"
    assert after["shop.py"] == FILES["shop.py"]
    assert FILES["shapes.py"].count("w + h") == 1


@pytest.mark.parametrize(
    ("edits", "error"),
    [
        ([Edit("absent.py", ("a",), ("b",))], p.UnknownFile),
        ([Edit("../shapes.py", ("a",), ("b",))], p.UnknownFile),
        ([Edit("shapes.py", ("    return w - h",), ("b",))], p.NoMatch),
        ([Edit("shapes.py", ("return w + h",), ("b",))], p.NoMatch),  # lines are matched whole
        ([Edit("shapes.py", ("",) * 50, ())], p.NoMatch),
        ([Edit("shapes.py", ("",), ("b",))], p.SeveralMatches),
        ([FIX, FIX], p.Overlap),
        ([FIX, Edit("shapes.py", ("def area(w, h):", "    return w + h"), ("x",))], p.Overlap),
        ([Edit("shapes.py", FIX.search, FIX.search)], p.NoChange),
    ],
)
def test_each_way_to_fail_has_its_error(edits, error):
    with pytest.raises(p.PatchError) as caught:
        apply_edits(edits, FILES)
    assert type(caught.value) is error
    expected = 0.0 if error is p.NoChange else -1.0
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


def test_unified_diff_and_its_changed_lines():
    diff = p.unified_diff(FILES, apply_patch(GOLDEN, FILES))
    assert diff.startswith("--- a/shapes.py\n+++ b/shapes.py\n@@ -1,5 +1,5 @@\n def area")
    assert p.changed_lines(diff) == "shapes.py\n-    return w + h\n+    return w * h"


@given(st.text(alphabet="ab\n", max_size=40), st.text(alphabet="ab\n", max_size=40))
def test_similarity_is_a_share_and_one_only_for_equal_changes(a, b):
    first, second = ({"f": "a\nb"}, {"f": text}) if (text := a) else ({}, {})
    x, y = p.unified_diff(first, second), p.unified_diff(first, {"f": b})
    similarity = p.lexical_similarity(x, y)
    assert 0 <= similarity <= 1
    assert (similarity == 1) == (p.changed_lines(x) == p.changed_lines(y))
    assert p.lexical_similarity(x, x) == 1


def reward(*edits, floor=0.5):
    return execution_free_reward(solution_text(edits), GOLDEN, FILES, floor)


def test_the_reward_ranks_patches():
    near = reward(Edit("shapes.py", FIX.search, ("    return w - h",)))
    far = Edit("shop.py", ("def price(n):", "    return n * 3"), ("import os", "x = 1", "y = 2", "print(os)"))
    assert reward(FIX) == 1.0
    assert 0.9 < near < 1.0
    assert reward(far) == 0.0 < reward(far, floor=0.0) < 0.5


def test_the_same_result_by_another_edit_is_golden():
    assert reward(Edit("shapes.py", ("def area(w, h):", *FIX.search), ("def area(w, h):", *FIX.replace))) == 1.0


def test_the_same_change_elsewhere_is_not_golden():
    files = {"f.py": "a = 1\nx\nb\na = 1\nx\nc\n"}
    golden = solution_text([Edit("f.py", ("x", "b"), ("y", "b"))])
    elsewhere = solution_text([Edit("f.py", ("x", "c"), ("y", "c"))])
    assert execution_free_reward(elsewhere, golden, files) == p.NEARLY


@given(st.sampled_from(["    return w - h", "    return w", "", "pass", "    return w * h"]), st.floats(0, 1))
def test_the_floor_only_takes_away(line, floor):
    free, floored = (
        reward(Edit("shapes.py", FIX.search, (line,)), floor=0.0),
        reward(Edit("shapes.py", FIX.search, (line,)), floor=floor),
    )
    assert floored == (free if free >= floor else 0.0)


@pytest.mark.parametrize("alphabet", ["a", "ab", "ab\n", "\n"])
def test_texts_made_to_keep_difflib_busy_are_judged_in_time(alphabet):
    rng = random.Random(0)
    junk = "".join(rng.choices(alphabet, k=60_000))
    for size in (1_000, 3_900, 60_000):
        edits = [Edit("shapes.py", FIX.search, tuple(junk[:size].split("\n")))]
        golden = solution_text([Edit("shapes.py", FIX.search, tuple(junk[-size:].split("\n")))])
        began = time.perf_counter()
        assert 0 <= execution_free_reward(solution_text(edits), golden, FILES, 0.0) <= 1
        assert time.perf_counter() - began < 3
