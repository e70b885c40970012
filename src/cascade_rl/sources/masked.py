"""A text without its numbers: problems that differ in numbers alone belong in one split."""

from __future__ import annotations

import re

UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORD = rf"(?:{'|'.join((*UNITS, *TENS, 'hundred', 'thousand', 'million'))})"
# figures with their commas and points, and words with what joins them: "one hundred and twenty-five"
NUMBER = re.compile(rf"\d(?:[\d.,]*\d)?|\b{_WORD}(?:(?:[ -]|\sand\s){_WORD})*\b")


def masked(text: str) -> str:
    """The text in small letters, each number (in figures or words) as `#`, blanks as one."""
    return " ".join(NUMBER.sub("#", text.lower()).split())
