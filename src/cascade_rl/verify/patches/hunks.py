"""Apply the sections of a diff to files in memory.

A hunk's lines must stand in the file exactly, at the line that it names or at one place only within
`FARTHEST` lines of it (`git apply` and `patch` take the nearest of several, `patch` forgives context). Only
how lines end, a byte order mark and a forgotten note about a missing newline are forgiven, and the file's own
kept. Nothing is written to disk, so no path or link can lead out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, islice

from cascade_rl.verify.patches.diffs import Hunk, Section, lettered
from cascade_rl.verify.patches.errors import (
    FileExists,
    NoMatch,
    Overlap,
    SeveralMatches,
    UnknownFile,
    UnsafePath,
)
from cascade_rl.verify.patches.names import LETTERS
from cascade_rl.verify.patches.text import BOM, Page, Pages, Splice, bare, end_of, spliced

FARTHEST = 200  # lines between where a hunk says it belongs and where it may be found


def check_path(path: str) -> None:
    """Raises UnsafePath unless the path is relative, plain and stays inside the repository."""
    parts = path.split("/")
    if not path or path.startswith("/") or {"", ".", ".."} & set(parts) or re.search(r"[\0-\x1f\\]", path):
        raise UnsafePath(f"{path!r}: not a path inside the repository")
    # hooks and configuration there are run by git itself
    if ".git" in parts:
        raise UnsafePath(f"{path!r}: git's own files are out of bounds")
    if re.search(r"[\ud800-\udfff]", path) or len(path) > 1_000 or max(map(_size, parts)) > 255:
        raise UnsafePath(f"{path[:80]!r}: no file can have this name")


def _size(part: str) -> int:
    return len(part.encode())


def changed_by(
    sections: Sequence[Section], pages: Pages
) -> tuple[dict[str, list[Splice]], dict[str, str | None]]:
    """Splices of files that stay where they are; and files made, moved or (None) removed, by path."""
    placed: dict[str, list[Splice]] = {}
    whole: dict[str, str | None] = {}
    for section in sections:
        source, target = _ends(section, pages)
        touched = {path for path in (source, target) if path is not None}
        # sections are applied to the files as they were: a second one would undo the first
        if touched & (placed.keys() | whole.keys()):
            raise Overlap(f"{target or source}: two sections claim this file")
        page = Page("") if source is None else pages[source]
        splices = _placed(section.hunks, page, source or target or "")
        if source == target and source is not None:
            placed[source] = splices
            continue
        text = spliced(page, splices, source or target or "")
        # a removal quotes the whole file; a remainder means that it was made for another version
        if target is None and text and not section.whole:
            raise NoMatch(f"{source}: it is to be removed, but lines would be left")
        if source is not None and section.moves != "copy":
            whole[source] = None
        if target is not None:
            whole[target] = text
    return placed, whole


def _ends(section: Section, pages: Pages) -> tuple[str | None, str | None]:
    """The file that a section reads and the one that it writes, both checked."""
    source, target = _paths(section, pages)
    for path in (source, target):
        if path is not None:
            check_path(path)
    if source is not None and target is not None and source != target and section.moves is None:
        source = target = (
            target if target in pages.files else source
        )  # `diff -u old new` names one file twice
    # a file that has no line before the diff, and is not there, is a new one
    if source is not None and source not in pages.files and source == target and _starts_empty(section):
        source = None
    if source is not None and source not in pages.files:
        raise UnknownFile(f"{source}: no such file")
    if target is not None and target != source and target in pages.files:
        raise FileExists(f"{target}: there is such a file already")
    return source, target


def _starts_empty(section: Section) -> bool:
    return [hunk.start for hunk in section.hunks] == [0] and not section.hunks[0].old


def _paths(section: Section, pages: Pages) -> tuple[str | None, str | None]:
    """The two paths without git's letters; with them where only that file is there."""
    given = (section.old, section.new)
    short = tuple(None if path is None else _short(path) for path in given)
    said = section.lettered
    if said is None:
        one = next(path for path in given if path is not None)
        # of a file made or removed: by git's custom, unless its settings are known to be others
        said = lettered(*given) if all(given) else one[:2] in ("a/", "b/")  # type: ignore[arg-type]
    first, second = (short, given) if said else (given, short)
    wrong = first[0] is not None and first[0] not in pages.files and second[0] in pages.files
    old, new = second if wrong else first
    return old and old.removeprefix("./"), new and new.removeprefix("./")


def _short(path: str) -> str:
    return path[2:] if path[1:2] == "/" and path[0] in LETTERS else path


def _placed(hunks: Sequence[Hunk], page: Page, path: str) -> list[Splice]:
    """Where the hunks belong, with the lines that they leave there."""
    found: list[tuple[int, Hunk, bool]] = []
    drift = 0
    for hunk in hunks:
        at, exact = _find(hunk, page, drift, path)
        if hunk.start is not None:
            # later hunks move along with earlier ones that were found elsewhere
            drift = at - _expected(hunk)
        found.append((at, hunk, exact))
    loose = not all(exact for _, _, exact in found)
    splices = []
    for at, hunk, exact in found:
        literal = exact and (not loose or bool(hunk.old))
        new = hunk.new if literal else _refitted(hunk, page, at)
        splices.append(Splice(at, len(hunk.old), tuple(new), kept=not literal))
    return splices


def _expected(hunk: Hunk) -> int:
    """The index that a hunk names; one without old lines comes after line `start`."""
    start = hunk.start or 0
    return start - 1 if hunk.old else start


def _find(hunk: Hunk, page: Page, drift: int, path: str) -> tuple[int, bool]:
    """Where a hunk belongs, and whether its old lines stand there exactly, ends included."""
    if hunk.start is None:
        return _find_free(hunk, page, path)
    expected = _expected(hunk) + drift
    if not hunk.old:
        if not 0 <= expected <= page.count:
            raise NoMatch(f"{path}: there is no line {expected}")
        return expected, True
    old = hunk.old
    near = page.lines_like(bare(old[0].removeprefix(BOM)), expected - FARTHEST, expected + FARTHEST)
    for exact in (True, False):
        if 0 <= expected < page.count and _stands(old, page, expected, exact):
            return expected, exact
        found = list(islice((at for at in near if _stands(old, page, at, exact)), 2))
        if len(found) > 1:
            raise SeveralMatches(
                f"{path}: the hunk at line {hunk.start} matches at lines {found[0] + 1}, {found[1] + 1}"
            )
        if found:
            return found[0], exact
    raise NoMatch(
        f"{path}: the lines of the hunk at line {hunk.start} don't stand within {FARTHEST} lines of it"
    )


def _find_free(hunk: Hunk, page: Page, path: str) -> tuple[int, bool]:
    """Where a hunk without numbers belongs: its old lines stand at one place, or at one behind its anchor."""
    search = [bare(text) for text in hunk.old]
    anchors = page.stripped.get(hunk.anchor, []) if hunk.anchor else []
    if not search:
        if len(anchors) != 1:
            raise NoMatch(f"{path}: a hunk with new lines alone does not say where they belong")
        return anchors[0] + 1, False
    places = (
        at
        for at in page.places(search)
        if at + len(search) <= page.count and (not hunk.ends or at + len(search) == page.count)
    )
    found = list(islice(places, 2))
    if len(found) > 1 and len(anchors) == 1:
        found = list(islice((at for at in chain(found, places) if at >= anchors[0]), 1))
    if not found:
        raise NoMatch(f"{path}: the lines of a hunk don't stand in the file")
    if len(found) > 1:
        raise SeveralMatches(f"{path}: a hunk matches at lines {found[0] + 1}, {found[1] + 1}")
    return found[0], False


def _stands(old: Sequence[str], page: Page, at: int, exact: bool) -> bool:
    """Whether the old lines of a hunk stand at a line, exactly or but for how they end."""
    if at + len(old) > page.count:
        return False
    if exact:
        # the first line is compared alone first: most places differ there
        return page.lines[at] == old[0] and page.lines[at : at + len(old)] == old
    texts = [bare(text) for text in old]
    texts[0] = texts[0].removeprefix(BOM)
    # said to have no newline, it must have none
    return page.bare[at : at + len(old)] == texts and all(
        text.endswith("\n") or not page.lines[at + i].endswith("\n") for i, text in enumerate(old)
    )


def _refitted(hunk: Hunk, page: Page, at: int) -> list[str]:
    """The new lines of a hunk, with the ends that the file has there."""
    new: list[str] = []
    added: list[str] = []
    run = i = at  # the lines that are being replaced
    for sign, text in (*hunk.signed, (" ", "")):
        if sign == "+":
            added.append(text)
        elif sign == "-":
            i += 1
        else:
            fitted = page.refitted(run, i - run, [bare(line) for line in added])
            # only a line that is said to have no newline has none
            new += [
                line if said.endswith("\n") else bare(line) for said, line in zip(added, fitted, strict=True)
            ]
            if i < at + len(hunk.old):
                new.append(page.bare[i] + (end_of(page.lines[i]) or page.usual))
            added, i = [], i + 1
            run = i
    return new
