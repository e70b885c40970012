"""Unified diffs against two independent oracles: `git apply` and `patch`; and each way in which one can fail."""

import contextlib
import difflib
import random
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.verify.patches import errors as e
from cascade_rl.verify.patches.appraise import apply_diff, apply_patch, execution_free_reward, parse_diff
from cascade_rl.verify.patches.diffs import unified_diff
from cascade_rl.verify.patches.hunks import FARTHEST

OLD = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n"
FILES = {"a.txt": OLD, "b.txt": "x\n"}
HEAD = "--- a/a.txt\n+++ b/a.txt\n"
GOOD = HEAD + "@@ -2,3 +2,3 @@\n two\n-three\n+THREE\n four\n"

TEXT = st.lists(
    st.sampled_from(["a", "b", "", " ", "-", "+x", "\\", "@@ -1 +1 @@", "--- a/f", "é"]), max_size=9
)


@st.composite
def trees(draw):
    """Files before and after, with and without a newline at the end."""

    def files():
        names = draw(st.lists(st.sampled_from(["f", "g/h", "with space"]), unique=True))
        return {name: "\n".join(draw(TEXT)) + draw(st.sampled_from(["", "\n"])) for name in names}

    return files(), files()


@given(trees(), st.integers(0, 3))
def test_applying_the_diff_of_two_trees_to_the_first_gives_the_second(both, context):
    before, after = both
    text = unified_diff(before, after, context)
    if before == after:
        assert text == ""
    else:
        assert apply_diff(parse_diff(text), before) == after
        assert apply_patch(f"Here it is:\n\n```diff\n{text}\n```\n", before) == after
        assert apply_diff(parse_diff(unified_diff(after, before, context)), after) == before


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")


def read(folder):
    return {str(p.relative_to(folder)): p.read_bytes().decode() for p in folder.rglob("*") if p.is_file()}


def random_trees(rng):
    def text():
        lines = [rng.choice("abcdefgh  ") * rng.randint(0, 3) for _ in range(rng.randint(0, 30))]
        return "\n".join(lines) + rng.choice(["", "\n", "\n"])

    before = {name: text() for name in ("f.py", "d/g.py", "h i.py") if rng.random() < 0.8}
    after = {}
    for name, old in before.items():
        lines = old.split("\n")
        for _ in range(rng.randint(0, 4)):
            i = rng.randrange(len(lines) + 1)
            lines[i : i + rng.randint(0, 2)] = rng.choices("abcxyz", k=rng.randint(0, 2))
        if rng.random() < 0.9:
            after[name] = "\n".join(lines)
    return before, after | ({"new.py": text()} if rng.random() < 0.3 else {})


def oracle(command, folder, patch):
    return subprocess.run(command, cwd=folder, input=patch, text=True, capture_output=True, timeout=20)


def test_git_and_patch_read_what_is_written_here(tmp_path):
    rng, compared = random.Random(0), 0
    for i in range(60):
        before, after = random_trees(rng)
        diff = unified_diff(before, after, rng.randint(1, 3))
        if not diff:
            continue
        hollow = "" in before.values() or "" in after.values()  # `patch` can't make or remove an empty file
        for command in (["git", "apply", "-"], ["patch", "-p1", "-s"])[: 1 if hollow else 2]:
            folder = tmp_path / f"{i}{command[0]}"
            folder.mkdir()
            write(folder, before)
            done = oracle(command, folder, diff + "\n")
            assert done.returncode == 0, (command, done.stderr, done.stdout, diff)
            assert read(folder) == after
            compared += 1
    assert compared > 80


def test_what_git_writes_is_read_here(tmp_path):
    """Renames, copies, new and deleted files, modes, functions named in hunk headers, quoted paths."""

    def git(*arguments):
        done = subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
        return done.stdout

    before = {"keep.py": "def f():\n" + "    pass\n" * 20, "old.py": "abc\n" * 9, "gone.py": "x\n", "bare": "no newline",
              "émile.py": "é\n", "empty": ""}  # fmt: skip
    after = {"keep.py": before["keep.py"].replace("pass\n" * 1, "pass\n", 1) + "# end\n", "new.py": before["old.py"] + "d\n",
             "made.py": "a\nb", "bare": "still none", "émile.py": "è\n", "hollow": ""}  # fmt: skip
    git("init", "-q")
    write(tmp_path, before)
    git("add", "-A")
    git("commit", "-qm", "x")
    for name in before:
        (tmp_path / name).unlink()
    write(tmp_path, after)
    (tmp_path / "keep.py").chmod(0o755)
    git("add", "-A")
    for options in (
        ["-M"],
        ["-M", "-C", "--find-copies-harder"],
        ["--no-renames"],
        ["-U0"],
        ["--stat", "-p"],
    ):
        diff = git("diff", "--cached", *options)
        assert apply_diff(parse_diff(diff), before) == after, options


def test_plain_diffs_name_one_file_twice_and_carry_times():
    diff = GOOD.replace("--- a/a.txt", "--- a.txt.orig\t2026-01-01 00:00:00").replace("+++ b/", "+++ ")
    assert apply_patch(diff, FILES)["a.txt"] == OLD.replace("three", "THREE")
    assert apply_patch(diff.replace("\n", "\r\n"), FILES)["a.txt"] == OLD.replace("three", "THREE")
    assert (
        apply_patch("<solution>\nFirst:\n" + GOOD + "\n</solution>\nDone", FILES)["a.txt"].count("THREE") == 1
    )


@pytest.mark.parametrize(
    ("diff", "error"),
    [
        (GOOD.replace("-2,3 +2,3", "-2,4 +2,4"), e.NoMatch),  # a blank line at the very end may have got lost
        (GOOD.replace("-2,3 +2,3", "-2,9 +2,9"), e.Unparseable),
        (GOOD.replace("-2,3 +2,3", "-2,2 +2,2"), e.Unparseable),
        (GOOD.replace("+THREE\n", ""), e.Unparseable),
        (HEAD, e.Unparseable),
        (GOOD.replace("-2,3", f"-{'9' * 5000},3"), e.Unparseable),
        (GOOD.replace(HEAD, ""), e.Unparseable),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b", e.Unparseable),
        ("diff --git a/x b/x\nBinary files a/x and b/x differ", e.Unparseable),
        (GOOD.replace("a.txt", "c.txt"), e.UnknownFile),
        (GOOD.replace(" two", " Two"), e.NoMatch),
        (GOOD.replace(" two", " two "), e.NoMatch),
        (GOOD.replace(" two", " two\t"), e.NoMatch),
        (HEAD + "@@ -1 +1 @@\n-six\n+6\n@@ -6 +6 @@\n-six\n+6", e.Overlap),
        (GOOD + GOOD, e.Overlap),
        ("--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1 @@\n+x", e.FileExists),
        ("--- a/a.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-one", e.NoMatch),
        ("--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+x", e.UnsafePath),
        ("--- /dev/null\n+++ /etc/x\n@@ -0,0 +1 @@\n+x", e.UnsafePath),
        (HEAD + "@@ -99,0 +99 @@\n+x", e.NoMatch),
        (HEAD + "@@ -1 +1 @@\n-one\n\\ No newline at end of file\n+1", e.NoMatch),
        (HEAD + "@@ -2 +2 @@\n-two\n+2\n\\ No newline at end of file", e.NoMatch),
        (HEAD + "@@ -2,2 +2,2 @@\n two\n three", e.NoChange),
        ("diff --git a/a.txt b/a.txt\nold mode 100644\nnew mode 100755", e.NoChange),
    ],
)
def test_each_way_to_fail_has_its_error(diff, error):
    with pytest.raises(e.PatchError) as caught:
        apply_patch(diff, FILES)
    assert type(caught.value) is error
    assert execution_free_reward(diff, GOOD, FILES) == (0 if error is e.NoChange else -1)


def lines(n, **changed):
    return "".join(f"{changed.get(f'l{i}', i)}\n" for i in range(n))


def test_a_hunk_may_have_moved_but_not_far_and_not_to_several_places():
    hunk = "--- a/f\n+++ b/f\n@@ -{0},3 +{0},3 @@\n a\n-b\n+B\n c\n"

    def after(text, at):
        return apply_patch(hunk.format(at), {"f": text})["f"]

    far = "x\n" * 300
    assert after(far + "a\nb\nc\n", 301 - FARTHEST).endswith("a\nB\nc\n")
    with pytest.raises(e.NoMatch):
        after(far + "a\nb\nc\n", 301 - FARTHEST - 1)
    twice = "a\nb\nc\n-\na\nb\nc\n"
    assert after(twice, 1) == "a\nB\nc\n-\na\nb\nc\n"  # the line number decides when it is right
    assert after(twice, 5) == "a\nb\nc\n-\na\nB\nc\n"
    with pytest.raises(e.SeveralMatches):
        after(twice, 2)  # `patch` and git would take the nearest


def test_later_hunks_move_along_with_earlier_ones():
    text = "".join(f"{c}\n" for c in "0123456789ab")
    diff = unified_diff({"f": text}, {"f": text.replace("1\n", "one\n").replace("9\n", "nine\n")}, 1)
    moved = "new\n" * 50 + text
    assert apply_patch(diff.replace("@@", "@@"), {"f": moved})["f"].endswith(
        "one\n2\n3\n4\n5\n6\n7\n8\nnine\na\nb\n"
    )


@given(st.text(max_size=200) | st.text(alphabet="@-+ ,01ab/\n\\", max_size=200).map(HEAD.__add__))
def test_any_text_is_applied_or_refused_by_name(text):
    with contextlib.suppress(e.PatchError):
        assert apply_patch(text, FILES) != FILES


@settings(max_examples=200)
@given(st.integers(0, len(GOOD) - 1), st.sampled_from(list("@-+ 0129ab\n\t\0")))
def test_one_wrong_character_never_makes_another_right_patch(at, character):
    broken = GOOD[:at] + character + GOOD[at + 1 :]
    with contextlib.suppress(e.PatchError):
        after = apply_patch(broken, FILES)
        assert after.keys() == FILES.keys()
        assert sum(d[0] in "+-" for d in difflib.ndiff(OLD.split("\n"), after["a.txt"].split("\n"))) <= 2
