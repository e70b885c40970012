"""Texts as people are told them: on one line, with every character visible, and of bounded length.

Notes of verdicts stand in journals, on a terminal and on the report's page, and hold what a model wrote:
control characters, halves of characters and marks of direction would garble or forge what is around them.
"""

from __future__ import annotations

import json

LONGEST_NOTE = 500  # characters: six lines of a terminal
LONGEST_QUOTE = 60  # an answer inside of a note
_POINTERS = set("~^-_= ")


def cut(text: str, most: int) -> str:
    """The text, or its start and its end with `…` between: at most `most` characters."""
    if len(text) <= most:
        return text
    # the end is a third: there an exception stands after its traceback, and the unit after a number
    tail = (most - 1) // 3
    return f"{text[: most - 1 - tail]}…{text[-tail:] if tail else ''}"


def visible(text: str) -> str:
    r"""The text with what can't be printed as its escape, such as `\x1b`, `\ud800` or `\u200b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(text: str, most: int = LONGEST_QUOTE) -> str:
    """A text in quotation marks; backslashes stay single, since most that are quoted are LaTeX's."""
    # cut before: a reply may have any length. And after: an escape is longer than its character.
    return f"'{cut(visible(cut(text, most)), most)}'"


def one_line(text: str, most: int = LONGEST_NOTE) -> str:
    """A note as it is kept: its lines joined by ` | `, without those that only point at a place above."""
    if len(text) <= most and text.isprintable():
        return text
    lines = (" ".join(line.split()) for line in cut(text, 4 * most).splitlines())
    # parsers draw `~~~^` below a text: on one line it would point at nothing
    return cut(" | ".join(visible(line) for line in lines if not set(line) <= _POINTERS), most)


def json_fault(error: json.JSONDecodeError) -> str:
    """What is wrong with a line that is no JSON, and where: `the line ends early, after '{"a": 1'`."""
    text = error.doc.rstrip()
    # a string without its end is told by its start, which may be far before
    if error.pos >= len(text) or error.msg.startswith("Unterminated"):
        return f"the line ends early, after {quoted(text[-40:])}"
    where = f"column {error.pos + 1}, at {quoted(text[error.pos :][:20])}"
    more = "more follows the object; want one a line" if error.msg == "Extra data" else error.msg.lower()
    return f"{more}: {where}"
