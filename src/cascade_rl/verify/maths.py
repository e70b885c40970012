r"""Judge the final answer of a maths reply: the last `\boxed{}`, compared exactly.

Numbers (integers, decimals, fractions, LaTeX fractions) are compared as rationals, so `0.5`, `1/2` and
`\frac{1}{2}` are one answer and `0.333` is not `1/3`; anything else is compared as normalised text. This is
deliberately thin: no algebra, no sets, no units. The reward of math RL in the report is such a rule-based
verifier over the last box after `</think>` (arXiv 2512.13607, Math RL).
"""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST_NUMBER = 200  # characters; beyond that a number is compared as text, which costs nothing

_BRACES = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)
_NOISE = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\[,;:!> ]|\\[()\[\]]|\^\\circ|\^\{\\circ\}|\\?\$|\\?%|°")
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|mbox|boxed)\s*\{([^{}]*)\}")
_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:\{?,\}?[0-9]{3})+(?![0-9])")
_DECIMAL = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_NUMBER = re.compile(rf"([+-]?)({_DECIMAL})(?:/([+-]?)({_DECIMAL}))?")
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}\s*\{([^{}]*)\}|([0-9])\s*([0-9]))")


def last_boxed(text: str) -> str | None:
    r"""The content of the `\boxed{}` that closes last, braces matched; None when no box is complete."""
    found, opened = None, []
    for match in _BRACES.finditer(text):
        token = match.group()
        if token == "}":
            start = opened.pop() if opened else None
            if start is not None:
                found = text[start : match.start()]
        elif token == "{":
            opened.append(None)
        elif token.endswith("{") and token.startswith("\\boxed"):
            opened.append(match.end())
    return found


def normalise(text: str) -> str:
    """The answer without dollar signs, spacing commands, text wrappers, thousands separators or a final stop."""
    text = _NOISE.sub("", text.replace("−", "-"))
    for _ in range(3):  # wrappers may be nested, but not endlessly
        text = _WRAPPED.sub(r"\1", text)
    text = _FRACTION.sub(lambda m: f"{m[1] or m[3]}/{m[2] or m[4]}", text)
    text = " ".join(text.split())
    text = _THOUSANDS.sub(lambda m: re.sub(r"[{},]", "", m.group()), text)
    text = re.sub(r"^[A-Za-z] ?= ?", "", text).removesuffix(".")
    return re.sub(r"^[+-] (?=[0-9.])", lambda m: m.group()[0], text.strip())


def rational(text: str) -> Fraction | None:
    """The number that a normalised answer spells, or None."""
    if len(text) > LONGEST_NUMBER:
        return None
    match = _NUMBER.fullmatch(text.replace(" / ", "/"))
    if not match:
        return None
    sign, above, sign_below, below = match.groups()
    value = Fraction(above) / Fraction(below) if below and Fraction(below) else None if below else Fraction(above)
    return -value if value is not None and (sign == "-") != (sign_below == "-") else value


def equal(given: str, gold: str) -> bool:
    """Whether two answers are the same number or, failing that, the same text; words may differ in case."""
    given, gold = normalise(given), normalise(gold)
    a, b = rational(given), rational(gold)
    if a is not None and b is not None:
        return a == b
    if len(gold) > 1 and gold.replace(" ", "").isalpha():
        return given.casefold() == gold.casefold()
    return bool(gold) and given == gold
