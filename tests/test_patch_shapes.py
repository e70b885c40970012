"""Edits and diffs in the shapes that models write them, read to one meaning or refused with the reason.

Sources of the shapes: aider's edit formats and its reports of failed edits, SWE-RL's and Agentless's prompts,
git's settings for prefixes, GNU diff's dates, the format of codex's apply_patch.
"""

from __future__ import annotations

import contextlib
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.verify.patches import errors as e
from cascade_rl.verify.patches.appraise import apply_patch, execution_free_reward, parse_edits

FILES = {
    "shapes.py": "def area(w, h):\n    return w + h\n\n\ndef edge(w):\n    return 4 * w\n",
    "lib/shop.py": "def price(n):\n    return n * 3\n",
    "README.md": "Shapes\n=======\n\n```\narea\n```\n\nOld.\n",
    "a/b.py": "x = 1\n",
}
OLD, NEW = "    return w + h", "    return w * h"
BODY = f"<<<<<<< SEARCH\n{OLD}\n=======\n{NEW}\n>>>>>>> REPLACE"
RIGHT = FILES | {"shapes.py": FILES["shapes.py"].replace("w + h", "w * h")}
SHOP = "<<<<<<< SEARCH\n    return n * 3\n=======\n    return n * 4\n>>>>>>> REPLACE"
BOTH = RIGHT | {"lib/shop.py": FILES["lib/shop.py"].replace("3", "4")}


def indented(text: str, by: int) -> str:
    return "\n".join(" " * by + line for line in text.split("\n"))


PATHS = [
    "shapes.py", "./shapes.py", "a/shapes.py", "b/shapes.py", "`shapes.py`", "**shapes.py**", "**`shapes.py`**",
    "# shapes.py", "// shapes.py", "### shapes.py", "#### shapes.py:", "File: shapes.py", "### File: `shapes.py`",
    "**File:** `shapes.py`", "/* shapes.py */", "<!-- shapes.py -->", "-- shapes.py", "; shapes.py", '"shapes.py"',
    "1. shapes.py", "- shapes.py", "file path: shapes.py", "path=shapes.py", "文件：shapes.py", "（shapes.py）",
    "<path>shapes.py</path>", "<file>shapes.py</file>", "<summary>shapes.py</summary>", "[shapes.py](shapes.py)", "[shapes.py]",
    "(shapes.py)", "shapes.py:2", "shapes.py:", "shapes.py\u200b", '<file="shapes.py">',
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_the_path_stands_in_its_block_above_it_or_above_no_block(path):
    for text in (
        f"```\n{path}\n{BODY}\n```",
        f"```python\n\n{path}\n\n{BODY}\n\n```",
        f"{path}\n```python\n{BODY}\n```",
        f"{path}\n\n```\n{BODY}\n```\nDone.",
        f"I multiply.\n\n{path}\n{BODY}",
        f"<solution>\n{path}\n~~~~\n{BODY}\n~~~~\n</solution>",
    ):
        assert apply_patch(text, FILES) == RIGHT, text


FENCES = {
    "path in the info": f"```shapes.py\n{BODY}\n```",
    "language and path": f"```python shapes.py\n{BODY}\n```",
    "language:path": f"```python:shapes.py\n{BODY}\n```",
    "title": f'```python title="shapes.py"\n{BODY}\n```',
    "braces": f'```{{.python file="shapes.py"}}\n{BODY}\n```',
    "four backticks": f"````\nshapes.py\n{BODY}\n````",
    "tildes": f"~~~diff\nshapes.py\n{BODY}\n~~~",
    "a list": "1. The fix:\n\n" + indented(f"```python\n### shapes.py\n{BODY}\n```", 3),
    "a list, four deep": "- a\n  - b\n" + indented(f"```\nshapes.py\n{BODY}\n```", 4),
    "indented fence, plain body": f"  ```\nshapes.py\n{BODY}\n  ```",
    "indented marks": f"```\nshapes.py\n  <<<<<<< SEARCH\n{OLD}\n  =======\n{NEW}\n  >>>>>>> REPLACE\n```",
    "a sentence": f"In `shapes.py`, the operator is wrong:\n```\n{BODY}\n```",
    "five lines between": f"The bug is in shapes.py.\n\nIt adds.\n\nIt should\nmultiply\nboth.\n\nSo:\n\n```python\n{BODY}\n```",
    "cline": f"<replace_in_file>\n<path>shapes.py</path>\n<diff>\n{BODY}\n</diff>\n</replace_in_file>",
    "a sentence in chinese": f"在`shapes.py`中，应当相乘：\n```python\n{BODY}\n```",
    "a heading and a sentence": f"## shapes.py\n\nMultiply instead, as lib/shop.py does:\n\n```\n{BODY}\n```",
    "quoted code beside": f"It says\n```python\ndef area(w, h):\n    return w + h\n```\nand so:\n```\nshapes.py\n{BODY}\n```",
    "an unclosed block before": f"```python\nreturn w + h\n\n```diff\nshapes.py\n{BODY}\n```",
    "marks of five and nine": f"shapes.py\n<<<<< SEARCH\n{OLD}\n=====\n{NEW}\n>>>>>>>>> REPLACE",
    "blanks behind the marks": "```\nshapes.py\n" + BODY.replace("\n=======\n", "\n=======  \n") + "  \n```",
    "path behind the mark": BODY.replace("SEARCH", "SEARCH shapes.py"),
    "carriage returns": f"Here:\n```\nshapes.py\n{BODY}\n```\n".replace("\n", "\r\n"),
    "a tag in a sentence": f"I close with <solution> and so on.\n```\nshapes.py\n{BODY}\n```",
    "a closing tag at the fence": f"<solution>```\nshapes.py\n{BODY}\n```</solution>",
    "prose on rules": f"I changed `=======` lines.\n```\nshapes.py\n{BODY}\n```",
}  # fmt: skip


@pytest.mark.parametrize("kind", FENCES)
def test_fences_of_every_kind(kind):
    assert apply_patch(FENCES[kind], FILES) == RIGHT


EDGE = "<<<<<<< SEARCH\n    return 4 * w\n=======\n    return 5 * w\n>>>>>>> REPLACE"


def test_several_edits_under_one_path_and_under_several():
    edge = RIGHT | {"shapes.py": RIGHT["shapes.py"].replace("4", "5")}
    assert apply_patch(f"```\n### shapes.py\n{BODY}\n{EDGE}\n```", FILES) == edge
    assert apply_patch(f"```\n### shapes.py\n{BODY}\n```\nand\n```\n{EDGE}\n```", FILES) == edge
    assert apply_patch(f"```\nshapes.py\n{BODY}\n\nlib/shop.py\n{SHOP}\n```", FILES) == BOTH
    assert apply_patch(f"shapes.py\n{BODY}\nlib/shop.py\n{SHOP}", FILES) == BOTH
    assert apply_patch(f"shapes.py\n```\n{BODY}\n```\n**lib/shop.py**\n```\n{SHOP}\n```", FILES) == BOTH


def test_a_divider_inside_search_is_found_by_the_file():
    new = "Forms\n=======\n\nNew"
    text = f"```\nREADME.md\n<<<<<<< SEARCH\nShapes\n=======\n=======\n{new}\n>>>>>>> REPLACE\n```"
    assert apply_patch(text, FILES)["README.md"] == FILES["README.md"].replace("Shapes\n=======", new)
    # the whole heading out
    gone = "```\nREADME.md\n<<<<<<< SEARCH\nShapes\n=======\n\n=======\n>>>>>>> REPLACE\n```"
    assert apply_patch(gone, FILES)["README.md"].startswith("```\narea")
    # a rule in REPLACE alone divides nothing
    late = "```\nREADME.md\n<<<<<<< SEARCH\nOld.\n=======\nNew\n=======\nOld.\n>>>>>>> REPLACE\n```"
    assert apply_patch(late, FILES)["README.md"].endswith("New\n=======\nOld.\n")
    # none of the readings stands in the file
    with pytest.raises(e.NoMatch):
        apply_patch(text.replace("SEARCH\nShapes", "SEARCH\nShape"), FILES)
    with pytest.raises(e.Unparseable):
        apply_patch(text.replace("=======\n", "=======\n" * 20), FILES)


def test_a_file_that_holds_fences():
    text = "```\n### README.md\n<<<<<<< SEARCH\n```\narea\n```\n=======\n~~~\narea\n~~~\n>>>>>>> REPLACE\n```"
    assert apply_patch(text, FILES)["README.md"] == FILES["README.md"].replace("```", "~~~")


REFUSED = {
    "no path": (f"```\n{BODY}\n```", e.Unparseable),
    "a sentence for a path": (f"```\nthe shapes\n{BODY}\n```", e.Unparseable),
    "two files mentioned": (f"See shapes.py and lib/shop.py.\n{BODY}", e.Unparseable),
    "in a tag, another's": (f"<path>src/shapes.py</path>\n{BODY}", e.UnknownFile),
    "in brackets, two files": (f"[shapes.py](lib/shop.py)\n{BODY}", e.UnknownFile),
    "base name": (f"```\nshop.py\n{SHOP}\n```", e.UnknownFile),
    "absolute": (f"```\n/shapes.py\n{BODY}\n```", e.UnknownFile),
    "above the repository": (f"```\n../shapes.py\n{BODY}\n```", e.UnknownFile),
    "text between path and edit": (f"```\nshapes.py\nas said\n{BODY}\n```", e.Unparseable),
    "text behind the edit": (f"```\nshapes.py\n{BODY}\nreturn 5\n```", e.Unparseable),
    "a block that does not close": (f"```\nshapes.py\n{BODY}", e.Unparseable),
    "ellipsis": (f"```\nshapes.py\n{BODY.replace(OLD, 'def area(w, h):' + chr(10) + '...')}\n```", e.NoMatch),
    "empty search": (f"```\nshapes.py\n{BODY.replace(OLD + chr(10), '')}\n```", e.Unparseable),
    "blank search": (f"```\nlib/shop.py\n{BODY.replace(OLD, '')}\n```", e.Unparseable),
    "no divider": (f"```\nshapes.py\n{BODY.replace('=======', '')}\n```", e.Unparseable),
    "cut off": (f"shapes.py\n{BODY[:-10]}", e.Unparseable),
    "marks in prose": (
        f"The block\n<<<<<<< SEARCH\nis the mark.\n```\nshapes.py\n{BODY}\n```",
        e.Unparseable,
    ),
    "another's indentation": (f"```\nshapes.py\n{BODY.replace(OLD, OLD.strip())}\n```", e.NoMatch),
    "twice the same": (f"```\nshapes.py\n{BODY}\n```\n```\nshapes.py\n{BODY}\n```", e.Overlap),
    "half of a pair": (f"```\nshapes.py\n{BODY.replace(NEW, chr(0xD800))}\n```", e.Unparseable),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_sure_is_refused_with_its_reason(kind):
    text, error = REFUSED[kind]
    with pytest.raises(e.PatchError) as caught:
        apply_patch(text, FILES)
    assert type(caught.value) is error, caught.value
    golden = f"```\nshapes.py\n{BODY}\n```"
    assert execution_free_reward(text, golden, FILES) == -1.0


def test_an_indent_that_could_be_the_files_is_refused():
    files = {"f.py": "x = 1\nif x:\n    x = 1\n"}
    edit = "    <<<<<<< SEARCH\n    x = 1\n    =======\n    x = 2\n    >>>>>>> REPLACE"
    with pytest.raises(e.SeveralMatches):
        apply_patch(f"f.py\n{edit}", files)
    assert apply_patch(f"f.py\n{edit}", {"f.py": "x = 1\n"}) == {"f.py": "x = 2\n"}
    assert apply_patch(f"f.py\n{edit}", {"f.py": "if y:\n    x = 1\n"}) == {"f.py": "if y:\n    x = 2\n"}


HUNK = f"@@ -1,2 +1,2 @@\n def area(w, h):\n-{OLD}\n+{NEW}\n"
DIFFS = {
    "no prefix": f"diff --git shapes.py shapes.py\nindex 1..2 100644\n--- shapes.py\n+++ shapes.py\n{HUNK}",
    "index and work tree": f"diff --git i/shapes.py w/shapes.py\n--- i/shapes.py\n+++ w/shapes.py\n{HUNK}",
    "commit and work tree": f"--- c/shapes.py\n+++ w/shapes.py\n{HUNK}",
    "object and work tree": f"diff --git o/shapes.py w/shapes.py\n--- o/shapes.py\n+++ w/shapes.py\n{HUNK}",
    "one side with a letter": f"--- a/shapes.py\n+++ shapes.py\n{HUNK}",
    "letters alike": f"--- a/shapes.py\n+++ a/shapes.py\n{HUNK}",
    "quoted": f'--- "a/shapes.py"\n+++ "b/shapes.py"\n{HUNK}',
    "dots": f"--- ./shapes.py\n+++ ./shapes.py\n{HUNK}",
    "dates": f"--- shapes.py.orig\t2026-01-01 10:00:00\n+++ shapes.py\t2026-01-02 10:00:00\n{HUNK}",
    "fenced": f"The fix:\n```diff\n--- a/shapes.py\n+++ b/shapes.py\n{HUNK}```\nDone.",
    "tilde fence": f"~~~\n--- a/shapes.py\n+++ b/shapes.py\n{HUNK}~~~",
    "in a list": "1. So:\n" + indented(f"```diff\n--- a/shapes.py\n+++ b/shapes.py\n{HUNK}```", 3),
    "patch tags": f"<patch>\n--- a/shapes.py\n+++ b/shapes.py\n{HUNK}</patch>",
    "solution tags": f"<solution>\n--- a/shapes.py\n+++ b/shapes.py\n{HUNK}</solution>",
    "prose behind": f"--- a/shapes.py\n+++ b/shapes.py\n{HUNK}\nThis multiplies.\n",
    "code quoted before": f"```python\nreturn w + h\n```\n--- a/shapes.py\n+++ b/shapes.py\n{HUNK}",
    "carriage returns": f"--- a/shapes.py\n+++ b/shapes.py\n{HUNK}".replace("\n", "\r\n"),
    "no numbers": f"--- a/shapes.py\n+++ b/shapes.py\n{HUNK.replace('-1,2 +1,2', '...')}",
    "no numbers at all": f"--- a/shapes.py\n+++ b/shapes.py\n@@ @@\n def area(w, h):\n-{OLD}\n+{NEW}\n\nDone.",
    "apply_patch": f"*** Begin Patch\n*** Update File: shapes.py\n@@\n-{OLD}\n+{NEW}\n*** End Patch",
    "apply_patch with an anchor": "```\n*** Begin Patch\n*** Update File: ./shapes.py\n@@ def area(w, h):\n"
    f"-{OLD}\n+{NEW}\n \n \n def edge(w):\n*** End Patch\n```",
}  # fmt: skip


@pytest.mark.parametrize("kind", DIFFS)
def test_diffs_of_every_kind(kind):
    assert apply_patch(DIFFS[kind], FILES) == RIGHT


def test_folders_with_the_name_of_gits_letters():
    hunk = "@@ -1 +1 @@\n-x = 1\n+x = 2\n"
    bare = "--- a/b.py\n+++ a/b.py\n"
    for head in (f"diff --git a/b.py a/b.py\n{bare}", bare, "--- a/a/b.py\n+++ b/a/b.py\n"):
        assert apply_patch(head + hunk, FILES) == FILES | {"a/b.py": "x = 2\n"}
    new = "--- /dev/null\n+++ {0}\n@@ -0,0 +1 @@\n+x\n"
    assert apply_patch(new.format("b/new.py"), FILES) == FILES | {"new.py": "x\n"}
    bare = "diff --git b/new.py b/new.py\nnew file mode 100644\n"
    assert apply_patch(bare + new.format("b/new.py"), FILES) == FILES | {"b/new.py": "x\n"}
    work = "diff --git i/new.py w/new.py\nnew file mode 100644\n"
    assert apply_patch(work + new.format("w/new.py"), FILES) == FILES | {"new.py": "x\n"}


def test_new_and_removed_files_by_dates_and_by_nothing_before():
    made = FILES | {"n.txt": "a\n"}
    epoch = "n.txt\t1970-01-01 00:00:00.000000000 +0000"
    dated = "n.txt\t2026-01-01 00:00:00.000000000 +0000"
    assert apply_patch(f"--- {epoch}\n+++ {dated}\n@@ -0,0 +1 @@\n+a\n", FILES) == made
    assert apply_patch("--- a/n.txt\n+++ b/n.txt\n@@ -0,0 +1 @@\n+a\n", FILES) == made
    assert apply_patch(f"--- {dated}\n+++ {epoch}\n@@ -1 +0,0 @@\n-a\n", made) == FILES
    with pytest.raises(e.FileExists):
        apply_patch(f"--- {epoch}\n+++ {dated}\n@@ -0,0 +1 @@\n+a\n", made)
    with pytest.raises(e.UnknownFile):
        apply_patch("--- a/n.txt\n+++ b/n.txt\n@@ -1 +1 @@\n-a\n+b\n", FILES)
    # all files of some archives are as old as time
    old = f"--- {epoch}\n+++ {epoch}\n@@ -1 +1 @@\n-a\n+b\n"
    assert apply_patch(old, made)["n.txt"] == "b\n"


def test_apply_patch_adds_moves_and_deletes():
    text = (
        "*** Begin Patch\n*** Add File: new.py\n+x = 1\n+\n*** Delete File: a/b.py\n*** Update File: shapes.py\n"
        f"*** Move to: forms.py\n@@\n-{OLD}\n+{NEW}\n*** Update File: lib/shop.py\n@@\n def price(n):\n-    return n * 3\n"
        "+    return n * 4\n*** End of File\n*** End Patch"
    )
    after = dict(BOTH)
    after["forms.py"] = after.pop("shapes.py")
    del after["a/b.py"]
    assert apply_patch(text, FILES) == after | {"new.py": "x = 1\n\n"}
    with pytest.raises(e.Unparseable):
        apply_patch(text.removesuffix("*** End Patch"), FILES)
    with pytest.raises(e.SeveralMatches):
        apply_patch("*** Begin Patch\n*** Update File: f\n@@\n-a\n+b\n*** End Patch", {"f": "a\na\n"})
    anchored = "*** Begin Patch\n*** Update File: f\n@@ c\n-a\n+b\n*** End Patch"
    assert apply_patch(anchored, {"f": "a\nc\na\na\n"}) == {"f": "a\nc\nb\na\n"}


def test_a_diff_and_an_edit_in_one_reply_both_count():
    diff = "--- a/lib/shop.py\n+++ b/lib/shop.py\n@@ -2 +2 @@\n-    return n * 3\n+    return n * 4\n"
    assert apply_patch(f"{diff}\n```\nshapes.py\n{BODY}\n```", FILES) == BOTH
    assert apply_patch(f"```\nshapes.py\n{BODY}\n```\n```diff\n{diff}```", FILES) == BOTH
    # edits can't make a file: models use a diff for that
    new = "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = 1\n"
    assert apply_patch(f"{new}```\nshapes.py\n{BODY}\n```", FILES) == RIGHT | {"new.py": "x = 1\n"}
    same = f"--- a/shapes.py\n+++ b/shapes.py\n{HUNK}"
    assert apply_patch(f"{same}shapes.py\n{EDGE}", FILES)["shapes.py"].count("5 * w") == 1
    with pytest.raises(e.Overlap):
        apply_patch(f"{same}```\nshapes.py\n{BODY}\n```", FILES)
    gone = "diff --git a/a/b.py b/a/b.py\ndeleted file mode 100644\n--- a/a/b.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x = 1\n"
    with pytest.raises(e.Overlap):
        apply_patch(gone + "a/b.py\n<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n>>>>>>> REPLACE", FILES)


TORN = {
    "a hunk without its header": HUNK,
    "a second hunk with a broken header": f"--- a/shapes.py\n+++ b/shapes.py\n{HUNK}@@ -5,2 @@\n def edge(w):\n",
    "the end of an edit": f"shapes.py\n{BODY}\n=======\nx\n>>>>>>> REPLACE",
    "a folder in a file": "--- /dev/null\n+++ b/shapes.py/x.py\n@@ -0,0 +1 @@\n+x\n",
    "a file for a folder": "--- /dev/null\n+++ b/lib\n@@ -0,0 +1 @@\n+x\n",
    "a name too long": f"--- /dev/null\n+++ b/{'x' * 300}\n@@ -0,0 +1 @@\n+x\n",
    "a path too long": f"--- /dev/null\n+++ b/{'x/' * 3000}y\n@@ -0,0 +1 @@\n+x\n",
    "context without its blank": f"--- a/shapes.py\n+++ b/shapes.py\n{HUNK.replace(' def', 'def')}",
}


@pytest.mark.parametrize("kind", TORN)
def test_parts_of_changes_are_not_lost_in_silence(kind):
    with pytest.raises(e.PatchError):
        apply_patch(TORN[kind], FILES)


PIECES = [
    "```", "~~~~", "```python", "   ```", "shapes.py", "### shapes.py", "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "",
    "--- a/shapes.py", "+++ b/shapes.py", "@@ -1 +1 @@", "@@ ... @@", "-" + OLD, "+x", " ", "*** Begin Patch", "*** End Patch",
    "*** Update File: shapes.py", "<solution>", "</solution>", "diff --git a/shapes.py b/shapes.py", OLD,
    "   --- a/shapes.py", "\r",
    "In `shapes.py`:", "<" * 50, "`" * 50, "\t" * 30, "\\ No newline at end of file", "rename from shapes.py",
    "…\u2028", "#" * 60,
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("\n".join))
def test_any_soup_of_pieces_is_applied_or_refused_by_name(text):
    with contextlib.suppress(e.PatchError):
        assert apply_patch(text, FILES) != FILES


def test_a_header_whose_second_line_leaves_the_indent_is_refused():
    with pytest.raises(e.PatchError):
        apply_patch("```\n   --- a/shapes.py\n+++ b/shapes.py", FILES)


def steps(text: str) -> int:
    """Lines of this package's code that are run to read and apply a text."""
    count = 0

    def line(frame, event, _):
        nonlocal count
        count += event == "line"
        return line

    before = sys.gettrace()
    sys.settrace(lambda frame, event, _: line if "patch" in frame.f_code.co_filename else None)
    try:
        with contextlib.suppress(e.PatchError):
            apply_patch(text, FILES)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("seed", range(30))
def test_long_replies_are_read_in_steps_that_grow_as_the_text_does(seed):
    rng = random.Random(seed)
    unit = "\n".join(rng.choices(PIECES, k=rng.randint(1, 4))) + "\n"
    head = "\n".join(rng.choices(PIECES, k=rng.randint(0, 3))) + "\n"
    short = unit * (1_000 // len(unit))
    assert steps(head + 16 * short) <= 20 * steps(head + short) + 200, (head, unit)


@pytest.mark.parametrize(
    "mark", ["```", "```x", "<<<<<<< SEARCH", "=======", "@@ -1 +1 @@", " ", "`", "<", "a/", "# ", "*** "]
)
def test_a_reply_of_marks_alone_is_refused(mark):
    for text in (mark * 20_000, f"{mark}\n" * 20_000, f"shapes.py\n<<<<<<< SEARCH\n{mark}\n" * 5_000):
        with pytest.raises(e.PatchError):
            apply_patch(text, FILES)


def test_quoted_paths_are_gits_alone():
    name = 'é "q"\t\\x.py'
    head = '--- "a/{0}"\n+++ "b/{0}"\n@@ -1 +1 @@\n-x\n+y\n'
    for quoted in ("\\303\\251.py", "é.py"):
        assert apply_patch(head.format(quoted), {"é.py": "x\n"}) == {"é.py": "y\n"}
    for quoted in (name, "\\q", "\\777", "x" + "(" * 5_000, '" ' + "-" * 50_000):
        with pytest.raises(e.PatchError):
            apply_patch(head.format(quoted), FILES)


def test_edits_are_read_without_their_files():
    [edit] = parse_edits(f"```\n### new/name.py\n{BODY}\n```")
    assert (edit.path, edit.search, edit.replace) == ("new/name.py", (OLD,), (NEW,))
