r"""Whether an answer is a calculation that is left to do, where a plain number was asked for.

`\boxed{57 + 87}` has the value of 144, and who is asked for 57 + 87 has copied the question. Covered are
signs of operations between numbers (perhaps of things) or brackets, powers, roots and functions; a quotient
is an answer where the gold is no integer (`1/2` for 0.5). Units, degrees, signs and commas of thousands
are no operations.
"""

from __future__ import annotations

import re

LITERAL = re.compile(r"-?\d+(?:,\d{3})*(\.\d*[1-9]\d*)?(?:\.0*)?")
# what an operation stands between: a number (perhaps of things) or a bracket, and another
LEFT, RIGHT = r"[\d)}\]]\s*(?:[A-Za-z]+\s+)?", r"\s*[-\d(\\{\[]"
DONE_LATER = re.compile(
    rf"{LEFT}(?:[-+*×·]|\\(?:times|cdot|ast|pm)(?![a-z]))\{{?\}}?{RIGHT}"
    rf"|{LEFT}(?:\^|\*\*)(?!\s*\{{?\s*\\circ)|\d!|√"
    r"|\\?(?<![a-z])(?:sqrt|gcd|lcm|mod|min|max|sum|prod|binom|count)(?![a-z])"
)
QUOTIENT = re.compile(rf"{LEFT}(?:/|÷|\\div(?![a-z])){RIGHT}|\\[dtc]?frac")


def unfinished(gold: str, given: str) -> bool:
    """Whether `given` is to be worked out still, where `gold` is a number in figures."""
    number = LITERAL.fullmatch(gold.strip())
    if number is None:
        return False
    # of `57 + 87 = 144` what it comes to
    sides = [side for side in given.split("=") if re.search(r"\d", side)]
    answer = sides[-1] if sides else given
    if DONE_LATER.search(answer):
        return True
    return number[1] is None and QUOTIENT.search(answer) is not None
