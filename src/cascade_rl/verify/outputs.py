"""Whether what a program printed is what it should have printed.

Lines are compared without trailing blanks, and trailing empty lines do not count; within a line the words are
compared as text, so runs of blanks are equal. Only where the expected word is written as a float (with a
point or an exponent) may the printed number differ, by 1e-6 absolutely or relatively: an expected integer
must be printed as that integer.
"""

from __future__ import annotations

import re
from decimal import Decimal

FLOAT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d{1,4})?")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
LONGEST_NUMBER = 400  # characters; longer words must agree as text
TOLERANCE = Decimal("1e-6")


def same_output(given: str, expected: str) -> bool:
    """Whether a standard output agrees with the expected one."""
    ours, theirs = _lines(given), _lines(expected)
    return len(ours) == len(theirs) and all(map(_same_line, ours, theirs))


def _lines(text: str) -> list[str]:
    # a program may write the line ends of another system
    return text.replace("\r\n", "\n").rstrip().split("\n")


def _same_line(given: str, expected: str) -> bool:
    if given == expected:
        return True
    ours, theirs = given.split(), expected.split()
    return len(ours) == len(theirs) and all(map(_same_word, ours, theirs))


def _same_word(given: str, expected: str) -> bool:
    if given == expected:
        return True
    if (
        max(len(given), len(expected)) > LONGEST_NUMBER
        or not FLOAT.fullmatch(expected)
        or not NUMBER.fullmatch(given)
    ):
        return False
    # exact, so that the tolerance does not depend on how floats round
    a, b = Decimal(given), Decimal(expected)
    return abs(a - b) <= TOLERANCE * max(Decimal(1), abs(a), abs(b))


def difference(given: str, expected: str, room: int = 60) -> str:
    """The first line that is not as expected, shortened."""
    ours, theirs = _lines(given), _lines(expected)
    for number, (a, b) in enumerate(zip(ours, theirs, strict=False), 1):
        if not _same_line(a, b):
            return f"line {number}: expected {shorten(b, room)}, got {shorten(a, room)}"
    return f"expected {len(theirs)} lines, got {len(ours)}"


def shorten(value: object, room: int = 60) -> str:
    """A value as its `repr`, with the middle left out when it is long."""
    text = repr(value)
    return text if len(text) <= room else f"{text[: room * 2 // 3]} ... {text[-(room // 4) :]}"
