"""Whether what a program printed is what it should have printed.

Lines are compared without trailing blanks, and trailing empty lines do not count; within a line the words are
compared as text, so runs of blanks are equal. Where the expected word is written as a float (with a point or
an exponent) the printed number may differ, by 1e-6 absolutely or relatively. An expected integer must be
printed as that integer; zeros behind a point are no difference (`3.0` for `3`, as judges that compare
decimals have it). Yes and no count in any case: statements allow it so often that their judges ignore it, and
no knowledge is gained by it.

Outputs of any size take time in proportion to their length: no more lines and words of them are looked at
than were expected.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator
from decimal import Decimal

FLOAT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d{1,4})?")
INTEGER, WHOLE = re.compile(r"[+-]?\d+"), re.compile(r"([+-]?\d+)\.0*")
YES_NO = ("yes", "no")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
LONGEST_NUMBER = 400  # characters; longer words must agree as text
TOLERANCE = Decimal("1e-6")


def same_output(given: str, expected: str) -> bool:
    """Whether a standard output agrees with the expected one."""
    ours, theirs = _trimmed(given), _trimmed(expected)
    return ours.count("\n") == theirs.count("\n") and all(map(_same_line, _lines(ours), _lines(theirs)))


def _trimmed(text: str) -> str:
    # a program may write the line ends of another system
    return text.replace("\r\n", "\n").rstrip()


def _lines(text: str) -> Iterator[str]:
    """The lines one by one: of an output of millions only those up to the first difference are made."""
    begin = 0
    while (end := text.find("\n", begin)) >= 0:
        yield text[begin:end]
        begin = end + 1
    yield text[begin:]


def _same_line(given: str, expected: str) -> bool:
    if given == expected:
        return True
    theirs = expected.split()
    ours = given.split(None, len(theirs))
    return len(ours) == len(theirs) and all(map(_same_word, ours, theirs))


def _same_word(given: str, expected: str) -> bool:
    if given == expected:
        return True
    if max(len(given), len(expected)) > LONGEST_NUMBER:
        return False
    if expected.lower() in YES_NO:
        return given.lower() == expected.lower()
    if INTEGER.fullmatch(expected):
        whole = WHOLE.fullmatch(given)
        return whole is not None and whole[1] == expected
    if not FLOAT.fullmatch(expected) or not NUMBER.fullmatch(given):
        return False
    # exact, so that the tolerance does not depend on how floats round
    a, b = Decimal(given), Decimal(expected)
    return abs(a - b) <= TOLERANCE * max(Decimal(1), abs(a), abs(b))


def difference(given: str, expected: str, room: int = 60) -> str:
    """The first line that is not as expected, shortened."""
    ours, theirs = _trimmed(given), _trimmed(expected)
    for number, (a, b) in enumerate(zip(_lines(ours), _lines(theirs), strict=False), 1):
        if not _same_line(a, b):
            return f"line {number}: expected {shorten(b, room)}, got {shorten(a, room)}"
    lines = theirs.count("\n") + 1, ours.count("\n") + 1
    return f"expected {lines[0]} lines, got {lines[1]}"


class _Short(reprlib.Repr):
    """The beginning of a `repr`: as much of a value as a note has room for, whatever its size and depth."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 8
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 80
        self.maxstring = self.maxlong = self.maxother = 400


def shorten(value: object, room: int = 60) -> str:
    """A value as its `repr`, with the middle left out when it is long."""
    # a long text is cut here, from both ends
    if isinstance(value, str):
        value = value if len(value) <= 4 * room else value[: 2 * room] + value[-2 * room :]
        text = repr(value)
    else:
        text = _Short().repr(value)
    return text if len(text) <= room else f"{text[: room * 2 // 3]} ... {text[-(room // 4) :]}"
