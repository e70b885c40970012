"""Likeness pays for what the golden change does: not for path, context, chance, noise, or a copy of the file."""

from __future__ import annotations

import random
import statistics
from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from likeness_kinds import FAR, KINDS, OTHER, PATH, Repair, repairs

from cascade_rl.verify.patches.similarity import NEARLY, PLACE, likeness

TEXT = st.lists(
    st.sampled_from(["a = 1", "b(c)", "", "  a = 2", "# b", "return x", "b (c)"]), max_size=6
).map("\n".join)


@lru_cache(maxsize=1)
def drawn() -> list[Repair]:
    return repairs(random.Random(7), 150)


def values(kind: str) -> list[float]:
    found = []
    for i, repair in enumerate(drawn()):
        reply = KINDS[kind](repair, random.Random(f"{kind}{i}"))
        found.append(likeness(repair.files, reply, repair.golden))
    return found


def quantile(some: list[float], share: float) -> float:
    return sorted(some)[round(share * (len(some) - 1))]


@pytest.mark.parametrize("kind", FAR)
def test_what_is_not_the_repair_earns_at_most_a_tenth(kind):
    """All but a few by chance: random lines may hit what was to be removed, or be the right ones."""
    some = values(kind)
    assert quantile(some, 0.95) <= 0.1
    assert statistics.mean(some) <= 0.04


@pytest.mark.parametrize("kind", ["a comment at the end", "blanks added"])
def test_comments_and_blanks_earn_nothing_ever(kind):
    assert max(values(kind)) <= 0.1


def test_near_misses_keep_their_order():
    median = {kind: statistics.median(values(kind)) for kind in KINDS}
    assert median["the golden files"] == 1.0
    assert 0.9 < median["and a comment"] <= NEARLY
    assert (
        median["and a comment"]
        > median["one token off"]
        > median["half right"]
        > median["right lines elsewhere"]
    )
    assert median["right lines elsewhere"] > PLACE > median["other code at the place"] + 0.05


def changed(
    line: str, before: str = "def area(w, h):\n    return w + h\n", golden: str = "    return w * h"
) -> float:
    files = {PATH: before}
    right = {PATH: before.replace("    return w + h", golden)}
    return likeness(files, {PATH: before.replace("    return w + h", line)}, right)


def test_a_repair_of_one_token():
    near, around, both = (
        changed("    return w - h"),
        changed("    return (w * h)"),
        changed("    return w + h + w * h"),
    )
    assert changed("    return w * h") == 1.0
    assert 0.5 < near < 0.7 and 0.5 < around < 0.9 and both < 0.5
    assert changed("    return w  *  h  # the area") == NEARLY
    for nothing in (
        "    pass",
        "",
        "    return None",
        "    return w + h  # fixed",
        "    return 1",
        "    return w + h\n#",
    ):
        assert changed(nothing) <= 0.1, nothing
    # all operators at once are not the right one
    assert changed("    return w + - * / h") < near


def test_the_length_of_the_path_and_of_the_context_is_nothing_worth():
    files = dict.fromkeys(("a", PATH), "x = 1\n" + "y = 2\n" * 50)
    for path in files:
        right = files | {path: files[path].replace("x = 1", "x = 3")}
        comment = files | {path: files[path] + "#"}
        assert likeness(files, comment, right) == 0.0


def test_right_lines_in_the_wrong_file_are_nothing():
    files = {PATH: "x = 1\n", OTHER: "x = 1\n"}
    assert likeness(files, files | {OTHER: "x = 2\n"}, files | {PATH: "x = 2\n"}) == 0.0


def test_more_of_the_repair_is_worth_more():
    """Of twelve new lines in three places, one after the other made right."""
    before = [f"keep_{i} = {i}" for i in range(12)]
    new = [f"value_{i} = compute_{i}(keep_{i}, {i})" for i in range(12)]

    def version(count: int) -> dict[str, str]:
        lines = [line for i in range(12) for line in (before[i], *([new[i]] if i < count else []))]
        return {"f": "\n".join(lines)}

    files, golden = {"f": "\n".join(before)}, version(12)
    found = [likeness(files, version(count), golden) for count in range(1, 13)]
    assert found == sorted(found) and found[-1] == 1.0 and len(set(found)) == 12
    assert found[5] == pytest.approx(2 * 6 / 18, abs=0.02)  # Dice of half


@given(TEXT, TEXT, TEXT)
def test_likeness_is_a_share_one_for_the_same_alone_and_none_for_no_change(before, given_, golden):
    files, right = {"f.py": before}, {"f.py": golden}
    value = likeness(files, {"f.py": given_}, right)
    assert 0.0 <= value <= 1.0
    assert (value == 1.0) == (given_ == golden)
    if before != golden:
        assert likeness(files, files, right) == 0.0


@given(TEXT, st.data())
def test_removals_alone_earn_a_tenth_where_something_was_to_be_added(before, data):
    lines = before.split("\n")
    left = [line for line in lines if data.draw(st.booleans())]
    right = {"f.py": before + "\nnew = names(everywhere)"}
    if left != lines:
        assert likeness({"f.py": before}, {"f.py": "\n".join(left)}, right) <= PLACE


def test_changes_of_blanks_and_comments_alone_are_compared_by_line():
    files = {"f.py": "if x:\n  y\n# old\nz\n"}
    right = {"f.py": "if x:\n  y \n# new\nz\n"}
    assert likeness(files, right, right) == 1.0
    half = {"f.py": "if x:\n  y \n# old\nz\n"}
    assert 0.3 < likeness(files, half, right) < 0.9
    assert likeness(files, {"f.py": files["f.py"] + "#\n"}, right) == 0.0
    assert likeness(files, right, files | {"empty": ""}) == 0.0


def test_files_that_are_made_are_compared_by_what_is_in_them():
    golden = {"f": "import os\n\n\ndef path(name):\n    return os.path.join(ROOT, name)\n"}
    near = {"f": golden["f"].replace("ROOT", "HOME")}
    other = {"f": "class Shop:\n    price = 3\n\n    def sale(self):\n        self.price -= 1\n"}
    assert likeness({}, other, golden) <= 0.1 < 0.6 < likeness({}, near, golden) < 1.0
    assert likeness({}, {"g": golden["f"]}, golden) == 0.0
