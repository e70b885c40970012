"""A recipe as text in which each line that somebody may want to change has its reason beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

WIDTH = 100  # columns: a reason that does not fit beside its line stands above it


@dataclass(frozen=True, slots=True)
class Line:
    """A key with its value and the reason for it, which may be empty.

    A value is plain (written in flow style), a block of lines, or a list of blocks.
    """

    key: str
    value: object
    why: str = ""


Block = Sequence[Line]


def commented(block: Block, head: Sequence[str] = ()) -> str:
    """The block as YAML, below the paragraphs of `head` as comments."""
    lines = [line for paragraph in head for line in _comment(paragraph, "")]
    return "\n".join([*lines, *_block(block, "")]) + "\n"


def _block(block: Block, indent: str) -> Iterator[str]:
    for line in block:
        if isinstance(line.value, tuple) and _is_block(line.value):
            yield from _comment(line.why, indent)
            yield f"{indent}{line.key}:"
            yield from _block(line.value, indent + "  ")
        elif isinstance(line.value, list) and line.value and all(map(_is_block, line.value)):
            yield from _comment(line.why, indent)
            yield f"{indent}{line.key}:"
            for item in line.value:
                yield from _item(item, indent + "  ")
        else:
            yield from _beside(f"{indent}{line.key}: {_plain(line.value)}", line.why, indent)


def _is_block(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(line, Line) for line in value)


def _item(block: Block, indent: str) -> Iterator[str]:
    """An item of a list: the first line that is no comment has the dash."""
    dashed = False
    for text in _block(block, indent + "  "):
        if not dashed and not text.lstrip().startswith("#"):
            text, dashed = f"{indent}- {text[len(indent) + 2 :]}", True
        yield text


def _beside(text: str, why: str, indent: str) -> Iterator[str]:
    why = _printable(why)
    if why and len(text) + len(why) + 4 <= WIDTH:
        yield f"{text}  # {why}"
        return
    yield from _comment(why, indent)
    yield text


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(_printable(text), WIDTH - len(indent) - 2):
        yield f"{indent}# {line}"


def _printable(text: str) -> str:
    """Reasons quote rows, which may hold anything; YAML refuses control characters, also in comments."""
    return "".join(character if character.isprintable() else " " for character in text)


def _plain(value: object) -> str:
    """A value in one line of YAML, letters as they are where that reads back as the value."""
    plain, escaped = (
        yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=as_it_is)
        for as_it_is in (True, False)
    )
    # a few marks end a line, but only for those who read
    text: str = plain if yaml.safe_load(plain) == value else escaped
    return text.removesuffix("\n").removesuffix("\n...")
