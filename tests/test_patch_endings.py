"""Files of any endings go through repairs and back: `git diff` writes them, edits and diffs are read again."""

from __future__ import annotations

import asyncio
import random
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.types import Message, Problem, Rollout
from cascade_rl.verify.patches import errors as e
from cascade_rl.verify.patches.appraise import Edit, apply_patch, as_solution, solution_text, unified_diff
from cascade_rl.verify.patches.text import BOM

SWE = load_domain("swe")
TEXT = st.sampled_from([
    "a", "b", "    c", "", " ", "d\r", "=======", "```", "+x", "-- y", "@@ -1 +1 @@", "é",
    "<<<<<<< SEARCH", ">>>>>>> REPLACE",
])  # fmt: skip
ENDS = [["\n"], ["\r\n"], ["\n", "\r\n"]]


@st.composite
def versions(draw) -> tuple[str, str]:
    """A file and another version of it, with one way of ending lines or both, perhaps a mark in front."""
    ends = st.sampled_from(draw(st.sampled_from(ENDS)))
    mark = draw(st.sampled_from(["", "", BOM]))

    def text(lines: list[str]) -> str:
        joined = "".join(line + draw(ends) for line in lines)
        return mark + (joined if draw(st.booleans()) else joined.rstrip("\r\n"))

    lines = draw(st.lists(TEXT, max_size=8))
    i = draw(st.integers(0, len(lines)))
    changed = lines[:i] + draw(st.lists(TEXT, max_size=3)) + lines[i + draw(st.integers(0, 2)) :]
    return text(lines), text(changed)


@given(versions())
def test_any_repair_written_here_is_read_again(both):
    before, after = ({"f.py": text, "g.py": "x\r\n"} for text in both)
    if before == after:
        return
    diff = unified_diff(before, after)
    assert apply_patch(diff, before) == after
    assert apply_patch(f"So:\n```diff\n{diff}\n```\n", before) == after
    assert apply_patch(as_solution(diff, before), before) == after


def problem(before: str, after: str) -> Problem:
    answer = {"files": {"f.py": before}, "patch": unified_diff({"f.py": before}, {"f.py": after})}
    return Problem("id", "swe", (Message("user", "Repair it."),), answer)


@settings(max_examples=150)
@given(versions())
def test_gold_earns_all_and_null_nothing_whatever_the_ends(both):
    before, after = both
    if before != after:
        made = problem(before, after)
        for reply, reward in ((SWE.gold(made), 1.0), (SWE.null(made), 0.0)):
            verdict = asyncio.run(SWE.grade(made, Rollout.of_text(reply), Services()))
            assert verdict.reward == reward, verdict


def random_file(rng: random.Random) -> list[str]:
    return [rng.choice("abcdefgh") * rng.randint(0, 3) for _ in range(rng.randint(1, 30))]


def random_edit(rng: random.Random, lines: list[str]) -> list[str]:
    lines = list(lines)
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(lines) + 1)
        lines[i : i + rng.randint(0, 2)] = rng.choices("xyz", k=rng.randint(0, 2))
    return lines


def joined(rng: random.Random, lines: list[str], ends: list[str], last: bool, mark: str) -> str:
    text = "".join(line + rng.choice(ends) for line in lines)
    return mark + (text if last else text.rstrip("\r\n"))


def git_diff(folder, before: str, after: str, *options: str) -> str:
    for name, text in (("old", before), ("new", after)):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "f.py").write_bytes(text.encode())
    done = subprocess.run(
        ["git", "-c", "core.autocrlf=false", "diff", "--no-index", "--no-renames", *options, "old/f.py", "new/f.py"],
        cwd=folder, capture_output=True, timeout=20,
    )  # fmt: skip
    return done.stdout.decode().replace("old/f.py", "f.py").replace("new/f.py", "f.py")


OPTIONS = [
    (),
    ("-U0",),
    ("-U1",),
    ("--no-prefix",),
    ("--patience",),
    ("--src-prefix=i/", "--dst-prefix=w/"),
    ("-U20",),
]


def test_what_git_writes_of_any_ends_is_read_here(tmp_path):
    rng = random.Random(0)
    compared = 0
    for i in range(140):
        ends, mark, last = rng.choice(ENDS), rng.choice(["", "", BOM]), rng.random() < 0.7
        lines = random_file(rng)
        before = joined(rng, lines, ends, last, mark)
        after = joined(rng, random_edit(rng, lines), ends, last if rng.random() < 0.8 else not last, mark)
        diff = git_diff(tmp_path, before, after, *OPTIONS[i % len(OPTIONS)])
        if diff:
            assert apply_patch(diff, {"f.py": before}) == {"f.py": after}, (before, diff)
            compared += 1
    assert compared > 120


def test_a_model_that_sees_no_carriage_returns_keeps_them(tmp_path):
    """The repair is made and written on a copy with plain newlines; the file has carriage returns, or a mark."""
    rng = random.Random(1)
    compared = 0
    for _ in range(150):
        lines = random_file(rng)
        changed = random_edit(rng, lines)
        last, mark = rng.random() < 0.7, rng.choice(["", BOM])
        plain = [joined(rng, some, ["\n"], last, "") for some in (lines, changed)]
        wanted = [joined(rng, some, ["\r\n"], last, mark) for some in (lines, changed)]
        if plain[0] == plain[1] or not plain[1].strip() or plain[0].endswith("\n") != plain[1].endswith("\n"):
            continue
        files = {"f.py": wanted[0]}
        copy, repaired = ({"f.py": text} for text in plain)
        for text in (git_diff(tmp_path, *plain), as_solution(unified_diff(copy, repaired), copy)):
            sent = rng.choice([text, text.replace("\n", "\r\n")])
            assert apply_patch(sent, files) == {"f.py": wanted[1]}, (wanted[0], text)
            compared += 1
    assert compared > 200


def one(search: str, replace: str, text: str) -> str:
    edit = Edit("f.py", tuple(search.split("\n")), tuple(replace.split("\n")))
    return apply_patch(solution_text([edit]), {"f.py": text})["f.py"]


def test_each_line_of_mixed_ends_keeps_its_own():
    text = "a\r\nb\nc\r\nd"
    assert one("b", "B", text) == "a\r\nB\nc\r\nd"
    assert one("a\nb\nc", "a\nB\nc", text) == "a\r\nB\nc\r\nd"
    assert one("a", "A\nA2", text) == "A\r\nA2\r\nb\nc\r\nd"
    assert one("d", "D\nE", text) == "a\r\nb\nc\r\nD\r\nE"
    assert one("c", "c\nnew", text) == "a\r\nb\nc\r\nnew\r\nd"


def test_the_end_of_a_file_stays_as_it_was():
    assert one("x = 1", "x = 2", "x = 1") == "x = 2"
    assert one("b", "c\nd", "a\r\nb") == "a\r\nc\r\nd"
    forgotten = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"
    assert apply_patch(forgotten, {"f": "x = 1"}) == {"f": "x = 2"}
    said = forgotten + "\\ No newline at end of file\n"
    assert apply_patch(said, {"f": "x = 1\n"}) == {"f": "x = 2"}
    with pytest.raises(e.NoMatch):  # a note that is wrong
        apply_patch(forgotten.replace("+x", "\\ No newline at end of file\n+x"), {"f": "x = 1\n"})


def test_a_byte_order_mark_stays_in_front():
    text = BOM + "import a\r\nb\r\n"
    assert one("import a", "import c", text) == BOM + "import c\r\nb\r\n"
    assert one(BOM + "import a", "import c", text) == BOM + "import c\r\nb\r\n"
    diff = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-import a\n+import c\n b\n"
    assert apply_patch(diff, {"f": text}) == {"f": BOM + "import c\r\nb\r\n"}


def test_a_diff_that_changes_the_ends_does():
    before, after = {"f": "a\r\nb\r\n"}, {"f": "a\nb\n"}
    assert apply_patch(unified_diff(before, after), before) == after
    assert apply_patch(unified_diff(after, before), after) == before


def test_blanks_at_the_very_end_of_a_reply_count():
    """Of a diff without a fence the last line may end with blanks, or be blank but for them."""
    files = {"f.txt": "a\nb\n    \nd\n"}
    head = "--- a/f.txt\n+++ b/f.txt\n"
    for hunk in ("@@ -1,3 +1,3 @@\n a\n-b\n+c\n     \n", "@@ -1,2 +1,2 @@\n a\n-b\n+c  \n"):
        right = apply_patch(head + hunk, files)
        made = Problem(
            "id", "swe", (Message("user", "Do."),), {"files": files, "patch": unified_diff(files, right)}
        )
        reply = Rollout.of_text(f"<think>\n</think>\n{head}{hunk}")
        assert asyncio.run(SWE.grade(made, reply, Services())).reward == 1.0
