"""Which file a line of a reply names: a heading, a comment, bold or quoted, in a fence's info, in a sentence.

A file that is there wins over every reading that cleans the text further, and a line that mentions two files
names none. Base names alone are not looked up: a path that is not the file's is a wrong path.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

LONGEST = 400  # characters of a line that may name a file; a longer one is a line of text
# of git with its settings: old and new, index, work tree, commit, object
LETTERS = "abiwco"

# signs before a path: of headings, comments, lists; then words before a colon
_SIGN = re.compile(r"(?:#{1,6}|//+|--|;+|/\*+|<!--|[*+>-](?=\s)|\d{1,3}[.)](?=\s))\s*")
_LABEL = re.compile(r"\**(?:file ?name|file ?path|file|path|in)\**\s?[:=]\**\s*", re.IGNORECASE)
_WORDS = re.compile(r"[\s:={}\"',()`*<>\[\]\u200b\ufeff：，、。（）「」《》]+")


def known_path(name: str, files: Collection[str]) -> str | None:
    """The file of this name: as it stands, else without `./` or git's letter before it."""
    if name in files:
        return name
    rest = name[2:]
    short = name.startswith("./") or (name[1:2] == "/" and name[0] in LETTERS)
    return rest if short and rest in files else None


def _readings(text: str) -> Iterator[str]:
    """The text as a path, cleaned of more and more of what people write around one."""
    yield text
    for _ in range(2):  # a heading in a list
        text = _SIGN.sub("", text, count=1) if _SIGN.match(text) else text
    text = text.removesuffix("-->").removesuffix("*/").strip()
    yield text
    text = _LABEL.sub("", text, count=1) if _LABEL.match(text) else text
    text = text.strip("`*\"'").rstrip(":").strip("`*\"' ")
    yield text


def named(line: str, files: Collection[str]) -> str | None:
    """The path that the line as a whole is; one that looks like a path where no such file is there."""
    text = line.strip()
    if not text or len(text) > LONGEST:
        return None
    *_, cleaned = readings = list(_readings(text))
    for reading in readings:
        if (path := known_path(reading, files)) is not None:
            return path
    # in a tag, a link, brackets, behind a label of whatever language: the one file that the words hold
    if not re.search(r"\s", text) and (path := mentioned(text, files)) is not None:
        return path
    # a name that is not there: a word with a slash or a dot, or behind the sign of a heading
    heading = text.startswith("#") and cleaned != text
    looks = not re.search(r"\s", cleaned) and (heading or re.search(r"[/.]\w|\w\.\w", cleaned))
    return cleaned if cleaned and looks else None


def mentioned(text: str, files: Collection[str]) -> str | None:
    """The one file that a sentence or a fence's info mentions; None where it is none or several."""
    if len(text) > LONGEST:
        return None
    words = (known_path(word.rstrip(".;"), files) for word in _WORDS.split(text))
    found = {path for path in words if path is not None}
    return found.pop() if len(found) == 1 else None
