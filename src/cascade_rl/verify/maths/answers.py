r"""Judge the final answer of a maths reply: the last `\boxed{}`, compared exactly with the gold answer.

Three steps. `final_answer` finds what counts. `quick` settles equal strings, numbers, words and what is made
of them in process, within microseconds. What takes algebra goes to `algebra.judge`, in a process that
can be killed. `excess` keeps what is absurdly large from either. Equality is exact: `0.333` is not `1/3`,
`3.14159` is not `\pi`, and `2^{-98}` is not `2^{-99}`; that departs from math-verify, which rounds. The
report rewards Math RL by such a rule over the last box after `</think>` (arXiv 2512.13607).
"""

from __future__ import annotations

import re
from functools import lru_cache

from cascade_rl.verify.maths.compare import Arithmetic, Undecided, same_texts
from cascade_rl.verify.maths.extract import Boxes, boxes, last_boxed
from cascade_rl.verify.maths.kinds import Words
from cascade_rl.verify.maths.notation import squeezed, tidy
from cascade_rl.verify.maths.numbers import rational
from cascade_rl.verify.maths.statements import bare_answer
from cascade_rl.verify.maths.structure import read

__all__ = [
    "Boxes",
    "excess",
    "final_answer",
    "gold_text",
    "implausible",
    "last_boxed",
    "quick",
    "rational",
    "tidy",
]

LONGEST_ANSWER = 300  # characters
DEEPEST_NESTING = 30
LONGEST_LITERAL = 250  # digits of a number inside an expression
DEEPEST_TOWER = 2  # exponents of exponents
LONGEST_GOLD = 200  # characters; the longest of MATH-500, AIME and HMMT have fewer than 100
MOST_WORDS = 8  # of a gold that is words, such as a name; more are a sentence, which no reply repeats
_ARITHMETIC = Arithmetic()
# a gold answer comes back with every reply of its group
tidied = lru_cache(maxsize=2048)(tidy)


def final_answer(text: str, *, bare: bool = False) -> Boxes | None:
    """What a reply (without its thought) answers: its last box, or if `bare` also a statement at its end."""
    found = boxes(text)
    # a box goes before a bare statement, wherever it stands
    if found is None and bare and (stated := bare_answer(text)):
        return Boxes(stated, stated)
    return found


def gold_text(answer: str) -> str:
    """A gold answer without the box, and the few words around it, that a data set may have left on it."""
    found = boxes(answer) if len(answer) <= LONGEST_GOLD else None
    return answer if found is None else found.joined


def excess(text: str) -> str | None:
    """What is too large about an answer for algebra, or None."""
    if len(text) > LONGEST_ANSWER:
        return f"{len(text)} characters"
    depth = deepest = highest = 0
    open_powers: list[int] = []
    for i, char in enumerate(text):
        if char in "({[":
            depth += 1
            # "^{" or "^ {"; a bracket that belongs to no power is no floor of the tower
            if text[max(0, i - 2) : i].rstrip().endswith("^"):
                open_powers.append(depth)
        elif char in ")}]":
            if open_powers and open_powers[-1] == depth:
                open_powers.pop()
            depth -= 1
        elif char == "^":
            highest = max(highest, len(open_powers) + 1)
        deepest = max(deepest, depth)
    if deepest > DEEPEST_NESTING:
        return f"{deepest} nested brackets"
    if highest > DEEPEST_TOWER:
        return f"a tower of {highest} exponents"
    if any(len(digits) > LONGEST_LITERAL for digits in re.findall(r"[0-9]+", text)):
        return f"a number of more than {LONGEST_LITERAL} digits"
    return None


def implausible(gold: str) -> str | None:
    """Why no reply could plausibly give this gold answer, or None.

    Most often it is a whole solution where its last line was meant.
    """
    if len(gold) > LONGEST_GOLD:
        return f"it has {len(gold)} characters"
    if "####" in gold:
        return "it holds '####'"
    gold = gold_text(gold)
    plain = tidy(gold)
    if not plain:
        return "it is empty"
    answer = read(plain)
    if isinstance(answer, Words) and len(answer.text.split()) > MOST_WORDS:
        return f"it is a sentence of {len(answer.text.split())} words"
    if gold.count("{") - gold.count("\\{") != gold.count("}") - gold.count("\\}"):
        return "its braces do not match"
    return None


def quick(gold: str, given: str) -> bool | None:
    """Whether two answers are equal, where strings and arithmetic can tell; None where it takes algebra."""
    if not given.strip():
        return False
    if given == gold or given.strip() == gold.strip():
        return True
    # too long for the patterns of `tidy`; numbers up to the limit of `rational` still compare
    if len(given) > LONGEST_ANSWER or len(gold) > LONGEST_ANSWER:
        number, other = rational(gold.strip()), rational(given.strip())
        return False if number is None or other is None else number == other
    ours, theirs = tidied(gold), tidied(given)
    # signs and spaces only: no answer
    if not ours or not theirs:
        return False
    if squeezed(ours) == squeezed(theirs):
        return True
    try:
        return same_texts(ours, theirs, _ARITHMETIC)
    except Undecided:
        return None
