"""Thoughts for rows of reasoning-gym: the short regular calculation that leads to the answer.

    3 dogs, 12 ants            3 dogs: 3*4=12
                               12 ants: 12*6=72, 12+72=84

A thought is worked out from the question alone, and kept only where it arrives at the row's own answer.
Lines are close to what is written on paper: running sums, one place of a number at a time where the whole is
too much at once. The detail is what fits: the finest that has at most `FINE` pieces, else the coarsest, if it
has at most `MOST`; a piece is about a token of a tokenizer that reads each digit alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from cascade_rl.sources.worked.arithmetic import number
from cascade_rl.sources.worked.counted import bits, legs, letters
from cascade_rl.sources.worked.divisors import greatest, least
from cascade_rl.sources.worked.equations import equation
from cascade_rl.sources.worked.stories import relations, told
from cascade_rl.sources.worked.sums import angles, calculation, decimals, product

FINE, MOST = 120, 160
# a digit, a word or six letters of it, what stands between
PIECE = re.compile(r"\d|[A-Za-z]{1,6}|\n|[^\sA-Za-z\d]+")

Row = Mapping[str, Any]
# (row, whether large numbers are taken apart by their places) -> the lines and what they arrive at
Worked = tuple[list[str], Fraction]

SETS: Mapping[str, Callable[[Row, bool], Worked | None]] = {
    "aiw": relations,
    "basic_arithmetic": calculation,
    "chain_sum": calculation,
    "count_bits": bits,
    "decimal_chain_sum": decimals,
    "gcd": greatest,
    "gsm_symbolic": told,
    "lcm": least,
    "leg_counting": legs,
    "letter_counting": letters,
    "products": product,
    "simple_equations": equation,
    "simple_geometry": angles,
}


def pieces(text: str) -> int:
    """About how many tokens a text has."""
    return len(PIECE.findall(text))


def thought(name: str, row: Row) -> str | None:
    """The worked thought for a row of a set in `SETS`.

    None where the steps do not lead to the row's answer, or only by more than a small model can say.
    """
    for fine, most in ((True, FINE), (False, MOST)):
        worked = SETS[name](row, fine)
        if worked is None or worked[1] != number(str(row["answer"])):
            continue
        text = "\n".join(worked[0])
        if pieces(text) <= most:
            return text
    return None
