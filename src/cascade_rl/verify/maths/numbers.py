r"""Numbers without algebra: integers, decimals, fractions, mixed and repeating ones, thousands, words, bases.

Values are exact rationals, so `0.5`, `1/2` and `\frac{1}{2}` are one number and `0.333` is not `1/3`.
"""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST_NUMBER = 400  # characters; beyond that nothing is a number
LARGEST_POWER = 400  # of ten, in `1e5`

_DECIMAL = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?"
_NUMBER = re.compile(rf"([+-]?) ?({_DECIMAL})(?: ?/ ?([+-]?)({_DECIMAL}))?")
_FRACTION = re.compile(rf"([+-]?) ?\\frac\{{ ?([+-]?) ?({_DECIMAL}) ?\}}\{{ ?([+-]?) ?({_DECIMAL}) ?\}}")
_MIXED = re.compile(
    r"([+-]?) ?([0-9]+)(?: |\\ )?(?:\\frac\{ ?([0-9]+) ?\}\{ ?([0-9]+) ?\}|(?<= )([0-9]+) ?/ ?([0-9]+))"
)
_REPEATING = re.compile(
    r"([+-]?) ?([0-9]*)\.([0-9]*)\\(?:overline|bar|dot) ?\{? ?([0-9]+) ?\}?(?:\\ldots|\.\.\.)?"
)
# groups of three throughout: `1,23` is a list, `12 34` nothing
_THOUSANDS = re.compile(r"[+-]? ?[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+|(?: [0-9]{3})+)(?:\.[0-9]+)?")
_BASED = re.compile(r"([0-9A-Z]+)_(?:\{ ?\(?([0-9]{1,2})\)? ?\}|([0-9]{1,2}))")

_TO_NINETEEN = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: value for value, word in enumerate(_TO_NINETEEN.split())}
_WORDS |= {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
_SCALES = {"thousand": 1000, "million": 10**6, "billion": 10**9}


def _power(text: str) -> Fraction | None:
    """The value of a decimal with an optional power of ten, unless that is out of all proportion."""
    digits, _, power = text.lower().partition("e")
    if power and abs(int(power)) > LARGEST_POWER:
        return None
    value = Fraction(digits)
    return value * Fraction(10) ** int(power) if power else value


def _ratio(above: str, below: str, negative: bool) -> Fraction | None:
    a, b = _power(above), _power(below)
    if a is None or not b:
        return None
    return -a / b if negative else a / b


def rational(text: str) -> Fraction | None:
    r"""The number that a tidy answer spells, or None: `-3/4`, `1,234.5`, `1e5`, `3 1/2`, `0.\overline{3}`."""
    if len(text) > LONGEST_NUMBER or not any("0" <= c <= "9" for c in text):
        return None
    if text.isascii() and text.isdigit():
        return Fraction(int(text))
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "").replace(" ", "")
    if match := _NUMBER.fullmatch(text):
        sign, above, sign_below, below = match.groups()
        return _ratio(above, below or "1", (sign == "-") != (sign_below == "-"))
    if match := _FRACTION.fullmatch(text):
        *signs, above, sign_below, below = match.group(1, 2, 3, 4, 5)
        return _ratio(above, below, [*signs, sign_below].count("-") % 2 == 1)
    return _mixed(match) if (match := _MIXED.fullmatch(text)) else _repeating(text)


def _mixed(match: re.Match[str]) -> Fraction | None:
    sign, whole, *parts = match.groups()
    above, below = (int(p) for p in parts if p is not None)
    # only a proper fraction makes a mixed number: `3 5/2` stays unread
    if not 0 < above < below:
        return None
    value = int(whole) + Fraction(above, below)
    return -value if sign == "-" else value


def _repeating(text: str) -> Fraction | None:
    match = _REPEATING.fullmatch(text)
    if not match:
        return None
    sign, whole, fixed, period = match.groups()
    # a period of n digits is a fraction of 10^n - 1
    nines: int = 10 ** len(period) - 1
    shift: int = 10 ** len(fixed)
    value = (Fraction(int((whole or "0") + fixed)) + Fraction(int(period), nines)) / shift
    return -value if sign == "-" else value


def based(text: str) -> tuple[int, int] | None:
    """Value and base of a numeral such as `1010_2`; None when it is not one."""
    match = _BASED.fullmatch(text)
    if not match or len(text) > LONGEST_NUMBER:
        return None
    base = int(match[2] or match[3])
    if not 2 <= base <= 36:
        return None
    try:
        return int(match[1], base), base
    except ValueError:
        return None


def from_words(text: str) -> int | None:
    """The whole number that English words spell, such as `twenty-one` or `three hundred and five`."""
    total, group, before = 0, 0, ""
    words = text.lower().replace("-", " ").split()
    for word in words:
        if word in _WORDS:
            # what may follow in the same group: "twenty one", never "five six", which lists two numbers
            free = 100 if group % 100 == 0 else 10 if group % 10 == 0 and group % 100 >= 20 else 0
            if not _WORDS[word] < free or before == "zero" or (word == "zero" and before):
                return None
            group += _WORDS[word]
        elif word == "hundred" and 0 < group < 10:
            group *= 100
        elif word in _SCALES and group and (not total or total % (_SCALES[word] * 1000) == 0):
            total, group = total + group * _SCALES[word], 0
        elif word != "and" or before not in ("hundred", *_SCALES):
            return None
        before = word
    return total + group if before in ("hundred", *_WORDS, *_SCALES) else None
