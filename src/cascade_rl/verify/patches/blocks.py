"""SEARCH/REPLACE edits in the text of a reply: marks, fences, and the file that is meant.

What real models write around the three marks is forgiven: fences of backticks or tildes, indented or absent;
the path within the block, above it or in the fence's info; several edits under one path; marks of five to
nine signs (as aider does). What the edit says is not: a block that does not close was perhaps cut off, text
beside an edit is perhaps another one, and SEARCH must have text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cascade_rl.verify.patches.errors import SeveralMatches, Unparseable
from cascade_rl.verify.patches.names import mentioned, named
from cascade_rl.verify.patches.text import BOM, Page, Pages

# conflict markers, as Agentless and SWE-RL ask for them
SEARCH, DIVIDER, REPLACE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
MOST_DIVIDERS = 16  # lines of one edit that could be its divider
ABOVE = 6  # lines of text above a fence that may name the file


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines to find in a file and the lines to put in their place."""

    path: str
    search: tuple[str, ...]
    replace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fence:
    """The line that opens a block: its sign, how often, what is written behind it, and where."""

    sign: str
    count: int
    info: str
    at: int


def fence_of(line: str, at: int) -> Fence | None:
    """The fence that a line is, of three backticks or tildes at least, at any indent."""
    text = line.strip()
    sign = text[:1]
    if sign not in ("`", "~") or not text.startswith(3 * sign):
        return None
    info = text.lstrip(sign)
    # three backticks around a word in a sentence open nothing
    return None if sign == "`" and "`" in info else Fence(sign, len(text) - len(info), info.strip(), at)


def closes(fence: Fence, line: str) -> bool:
    """Whether a line closes a block."""
    text = line.strip()
    return len(text) >= fence.count and not text.strip(fence.sign)


def after_line(fence: Fence | None, line: str, at: int) -> Fence | None:
    """The block that is open behind a line."""
    if fence is not None and closes(fence, line):
        return None
    found = fence_of(line, at)
    # within a block only one with an info is taken for a new one: the block before was not closed
    return found if found is not None and (fence is None or found.info) else fence


def search_mark(line: str, files: Collection[str]) -> tuple[int, str] | None:
    """How many signs a SEARCH mark has, and the file that it names or nothing; None for other lines."""
    text = line.strip()
    if not text.startswith(5 * "<"):
        return None
    rest = text.lstrip("<")
    signs, word, name = len(text) - len(rest), *rest.strip().partition("SEARCH")[1:]
    path = named(name, files) if name[:1] in (" ", ":") else None
    right = rest.strip().startswith("SEARCH") and (path is not None or name in ("", ">"))
    return (signs, path or "") if word and right and signs <= 9 else None


def replace_mark(line: str) -> bool:
    """Whether a line ends an edit."""
    text = line.strip()
    rest = text.lstrip(">")
    return 5 <= len(text) - len(rest) <= 9 and rest.strip() == "REPLACE"


def read_edit(
    lines: Sequence[str], at: int, floor: int, fence: Fence | None, pages: Pages, last: str | None
) -> tuple[Edit, int]:
    """The edit whose SEARCH mark stands at `at`, and the index of the line behind its REPLACE mark.

    `floor` is the line behind the edit before, `last` the file of that edit.
    """
    mark = search_mark(lines[at], pages.files)
    assert mark is not None
    path = mark[1] or _path_above(lines, at, floor, fence, pages.files) or last
    if path is None:
        raise Unparseable(f"line {at + 1}: the edit does not name its file first")
    end = next((i for i in range(at + 1, len(lines)) if _marked(lines[i], pages.files)), len(lines))
    if end == len(lines) or not replace_mark(lines[end]):
        raise Unparseable(f"line {at + 1}: no {REPLACE!r} where one is due")
    body = [line.removesuffix("\r") for line in lines[at + 1 : end]]
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    dividers = _dividers(body, mark[0], indent, at)
    page = pages[path] if path in pages.files else None
    search, replace = _settled(body, dividers, indent, page, f"line {at + 1}")
    if fence is not None:
        _check_end(lines, end + 1, fence, pages.files)
    return Edit(path, tuple(search), tuple(replace)), end + 1


def _marked(line: str, files: Collection[str]) -> bool:
    return replace_mark(line) or search_mark(line, files) is not None


def _dividers(body: Sequence[str], signs: int, indent: str, at: int) -> list[int]:
    """The lines of an edit that could divide SEARCH from REPLACE."""
    wanted = {before + "=" * n for before in ("", indent) for n in (7, signs)}
    found = [i for i, line in enumerate(body) if line.rstrip() in wanted]
    if not found:
        raise Unparseable(f"line {at + 1}: no {DIVIDER!r} where one is due")
    if len(found) > MOST_DIVIDERS:
        raise Unparseable(f"line {at + 1}: {len(found)} lines could be the divider of this edit")
    return found


def _settled(
    body: list[str], dividers: Sequence[int], indent: str, page: Page | None, where: str
) -> tuple[list[str], list[str]]:
    """SEARCH and REPLACE, by what stands in the file where the text alone leaves it open.

    Of several dividers the last whose SEARCH stands there: a shorter SEARCH would be its beginning. Of an
    indented edit the lines as they are, or without the indent; both would be ambiguous.
    """
    body[0] = body[0].removeprefix(BOM)
    readings = [body]
    if indent and all(line.startswith(indent) or not line.strip() for line in body):
        readings.insert(0, [line.removeprefix(indent) for line in body])
    found = []
    for lines in readings:
        fits = (d for d in reversed(dividers) if _stands(lines[:d], page))
        if (divider := next(fits, None)) is not None:
            found.append((lines[:divider], lines[divider + 1 :]))
    if len(found) > 1:
        raise SeveralMatches(f"{where}: SEARCH stands in the file with and without its indent")
    # none stands there: the error will say so of the plainest reading
    search, replace = found[0] if found else (readings[0][: dividers[0]], readings[0][dividers[0] + 1 :])
    if not any(line.strip() for line in search):
        raise Unparseable(f"{where}: SEARCH is empty")
    return search, replace


def _stands(search: Sequence[str], page: Page | None) -> bool:
    """Whether lines with some text stand in a file."""
    return page is not None and any(map(str.strip, search)) and next(page.places(search), None) is not None


def _check_end(lines: Sequence[str], at: int, fence: Fence, files: Collection[str]) -> None:
    """Raises Unparseable unless a fenced edit is followed by its fence or by another edit."""
    rest = (line for line in lines[at : at + 400] if line.strip())
    following = next(rest, "")
    if closes(fence, following) or search_mark(following, files):
        return
    if following and named(following, files) and search_mark(next(rest, ""), files):
        return
    raise Unparseable(f"line {at}: the block must close behind the edit, or go on with another one")


def _path_above(
    lines: Sequence[str], at: int, floor: int, fence: Fence | None, files: Collection[str]
) -> str | None:
    """The file that is named above an edit: in its block, in the fence's info, or above the fence."""
    texts: list[str] = []
    for i in range(at - 1, floor - 1, -1):
        if fence is not None and i == fence.at:
            if (path := mentioned(fence.info, files)) is not None:
                return path
            fence = None
        elif fence_of(lines[i], i):
            break  # the end of another block
        elif lines[i].strip():
            if (path := named(lines[i], files)) is not None and (path in files or not texts):
                return path
            if fence is not None:
                raise Unparseable(f"line {at + 1}: text between the file's name and {SEARCH!r}")
            texts.append(lines[i])
            if len(texts) == ABOVE:
                break
    # no line is a path: perhaps a sentence mentions one
    return next(filter(None, (mentioned(text, files) for text in texts)), None)
