r"""A quantity: an expression, and the unit, thing or sign that stands behind or before it.

What is no unit of the list, no counted thing and no number in words stays as it stands and equals nothing but
itself: `2 is wrong` isn't 2, and a gold answer with such a text is still a gold answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

from cascade_rl.verify.maths.dimensions import (
    BY_SYMBOL,
    NEVER_RAW,
    conversions,
    one_unit,
    pairs,
    plain_unit,
    same_unit,
    scaled,
    unit_of,
)
from cascade_rl.verify.maths.notation import ENDTEXT, TEXT
from cascade_rl.verify.maths.numbers import rational
from cascade_rl.verify.maths.unit_table import BARRED, NUMBER_WORDS, SINGULAR

# three letters and no bracket: `sin(` and `ab` are mathematics
WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}(?![A-Za-z(])")
OPAQUE = "?"  # begins a unit that is no unit: other text, which may not be left out


class Quantity(Protocol):
    """An expression with what was taken off it; see `measured`."""

    @property
    def text(self) -> str:
        """The expression alone."""
        ...

    @property
    def unit(self) -> str:
        """Its unit, or nothing."""
        ...

    @property
    def percent(self) -> bool:
        """Whether it was a percentage."""
        ...


def same_quantities(gold: Quantity, given: Quantity, equal: Callable[[str, str], bool]) -> bool:
    """Whether two quantities are one; `equal` compares their numbers.

    A unit may be left out on either side. Where both say one, they must measure the same, and the values
    are compared in one unit: 100 cm is 1 m.
    """
    if OPAQUE in gold.unit[:1] + given.unit[:1]:
        return gold.unit == given.unit and equal(gold.text, given.text)
    if (gold.percent and given.unit) or (gold.unit and given.percent):
        return False
    unit, other, number, text = gold.unit, given.unit, gold.text, given.text
    # `5 m` may be a product: it is 5 metres beside a unit, and a reply's is beside a gold without letters
    if other and not unit and (letter := ambiguous(number)):
        number, unit = letter
    elif not other and not re.search("[A-Za-z]", number) and (letter := ambiguous(text)):
        text, other = letter
    if unit and other:
        if unit == other and unit.startswith("mod ") and _congruent(number, text, unit[4:]):
            return True
        return any(equal(scaled(number, a), scaled(text, b)) for a, b in conversions(unit, other))
    if equal(number, text):
        return True
    if gold.percent == given.percent:
        return False
    # 50% is 50 as it stands, and 0.5 when one side says percent
    a, b = (f"\\frac{{{s.text}}}{{100}}" if s.percent else s.text for s in (gold, given))
    return equal(a, b)


def _congruent(gold: str, given: str, modulus: str) -> bool:
    a, b, n = rational(gold), rational(given), rational(modulus)
    return None not in (a, b, n) and bool(n) and (Fraction(a or 0) - Fraction(b or 0)) % Fraction(n or 1) == 0


_PERCENT = re.compile(
    r"(?:%|percent|per cent|percentage(?: points?)?|pct|pp)(?: of (?P<of>[a-z ]+))?", re.IGNORECASE
)
_MONEY_SIGNS = r"US\$|R\$|A\$|C\$|[$€£¥₹₩₽]"
_MONEY = re.compile(
    rf"([-+]?) ?{TEXT}? ?({_MONEY_SIGNS}|(?:Rs\.?|USD|EUR|GBP|RMB|CNY|INR|CAD|AUD)"
    rf"(?= ?{ENDTEXT}? ?[0-9])) ?{ENDTEXT}? ?(?=[-+0-9.\\(])"
)
_NUMBER = r"(?:[-+]? ?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?)(?: ?/ ?[0-9]+)?"
_NUMBER += r"(?: ?\\cdot 10 ?\^ ?(?:\{-?[0-9]+\}|[0-9]))?|[-+]?(?:[0-9]+ ?)?\\frac\{[0-9]+\}\{[0-9]+\})"
# letters behind a plain number; behind an expression only after a space, and no single one
_RAW = re.compile(
    rf"({_NUMBER})( ?)((?:[A-Za-z°$€£¥₹₩₽µμΩ℃℉%]|\\(?:mu|Omega)(?![A-Za-z])"
    rf"|[^\x00-\xff{TEXT}{ENDTEXT}≤≥≠∪∩∈±∓])(?:[^+=<>&_|!\[\],;:]*))"
)
_RAW_AFTER = re.compile(
    r"(.*?[0-9)}\]]|.*?\\pi) ([A-Za-z]{2,}(?: ?\^ ?\{?[23]\}?)?(?:[ /][A-Za-z]{2,}| ?/ ?s)*)"
)
_LETTERS = re.compile(rf"{TEXT} ?([A-Za-z]{{1,2}}) ?{ENDTEXT}")
_AMBIGUOUS = re.compile(rf"({_NUMBER}) ([A-Za-z])(?: ?\^ ?\{{?([23])\}}?)?")


def measured(text: str) -> tuple[str, str, bool]:
    """An expression without its unit or percent sign, the unit, and whether it was a percent sign."""
    text = text.strip()
    money = ""
    if match := _MONEY.match(text):
        money, text = match[2].rstrip("."), match[1] + text[match.end() :].strip()
    number, tail, raw = _parted(text)
    if not tail:
        return _opaque(text) if not money else (text, money, False)
    plain = plain_unit(tail)
    if number[-1:] in ("%", "°"):
        number, plain = number[:-1].strip(), number[-1] + ("" if number[-1] == "°" else " ") + plain
    if re.fullmatch("mod (?:[0-9]+|[A-Za-z])", plain) and not money:
        return number, plain, False
    if (mixed := _mixed(number, tail)) and not money:
        return *mixed, False
    number, plain = _with_number_words(number, plain)
    if not plain:
        return number, money, False
    if (match := _PERCENT.fullmatch(plain)) and not money and not _barred(match["of"]):
        return number, "", True
    if money:
        # `$10 USD` says it twice; `$5 per hour` goes on
        full = plain if same_unit(money, plain) else f"{money} {plain}"
        return (number, full, False) if unit_of(full) else _opaque(f"{text} {TEXT}{money}{ENDTEXT}")
    if raw and not _plausible_raw(number, plain, raw):
        return text, "", False
    if unit_of(plain) or (plain.casefold() in SINGULAR and rational(number) == 1):
        return number, plain, False
    return _opaque(text)


_BEGINS = re.compile(rf"[-+]? ?(?:{TEXT}? ?(?:{_MONEY_SIGNS}|Rs\b) ?{ENDTEXT}? ?)?[-+]?[0-9.]")


def quantity(text: str) -> tuple[str, str, bool] | None:
    """`measured`, of a plain number with a unit, thing or sign that is known; None of all else."""
    if not _BEGINS.match(text):
        return None
    number, unit, percent = measured(text)
    if not (unit or percent) or unit[:1] == OPAQUE or rational(number) is None:
        return None
    return number, unit, percent


def _barred(words: str | None) -> bool:
    return bool(words) and any(word in BARRED for word in str(words).split())


def _parted(text: str) -> tuple[str, str, str]:
    """A number or expression, what stands behind it, and how: nothing for text, else the space before it."""
    depth = 0
    for i, char in enumerate(text):
        if char == TEXT and depth == 0 and i and text[i - 1] not in "_^":
            start = i
            for command in (r"\mu", r"\Omega"):
                if text[:i].rstrip().endswith(command):
                    start = len(text[:i].rstrip()) - len(command)
            return text[:start].strip(), text[start:], ""
        if text.startswith(rf"\frac{{{TEXT}", i) and depth == 0 and i:
            return text[:i].strip(), text[i:], ""
        depth += (char in "({[") - (char in ")}]")
    if match := _RAW.fullmatch(text):
        return match[1].strip(), match[3], match[2] or "-"
    if match := _RAW_AFTER.fullmatch(text):
        return match[1].strip(), match[2], "after"
    if text.endswith(("%", "°")) or text.endswith(("€", "£", "¥")):
        return text[:-1].strip(), text[-1], ""
    return text, "", ""


def _plausible_raw(number: str, plain: str, how: str) -> bool:
    """Whether letters behind a number without `\\text` are a unit rather than variables."""
    words = [word for word in re.findall(r"[A-Za-z]+", plain) if word != "a"]
    if not words or not plain.isascii():
        return True
    if any(len(word) == 1 for word in words):
        # `5 m/s` and `5 kg m`, but `5m/s` and `5 m` are as likely products
        return how == " " and len(words) > 1 and all(one_unit(word) for word in words)
    if len(words) == 1 and len(words[0]) == 2:
        return words[0] not in NEVER_RAW and words[0] in BY_SYMBOL
    return how != "after" or all(len(word) > 2 or word in BY_SYMBOL for word in words)


def _opaque(text: str) -> tuple[str, str, bool]:
    """Text that is no unit stays, as something that can't be left out; one or two letters are variables."""
    text = _LETTERS.sub(r" \1", text)
    start = text.find(TEXT)
    if start <= 0 or text[start - 1] in "_^{(":
        return text, "", False
    return text[:start].strip(), OPAQUE + "".join(text[start:].split()).casefold(), False


def _with_number_words(number: str, plain: str) -> tuple[str, str]:
    """`2` and `million dollars` become `2000000` and `dollars`."""
    while True:
        # 千克 is a kilogram, though 千 is a thousand
        if not plain.isascii() and unit_of(plain):
            return number, plain
        word, _, rest = plain.partition(" ")
        if not word.isascii() and word not in NUMBER_WORDS:
            cut = next((n for n in (2, 1) if word[:n] in NUMBER_WORDS), 0)
            word, rest = word[:cut], (word[cut:] + " " + rest).strip()
        factor = NUMBER_WORDS.get(word.casefold()) or NUMBER_WORDS.get(word.casefold().removesuffix("s"))
        if not word or factor is None:
            return number, plain
        if word == "k" and rest:
            return number, plain
        plain = rest.removeprefix("of ")
        if factor in ("^2", "^3", "!"):
            value = rational(number)
            power = int(factor[1:]) if factor != "!" else 0
            number = str(value**power) if power and value is not None else f"({number}){factor}"
        else:
            value, times = rational(number), rational(factor)
            number = (
                str(value * times)
                if value is not None and times is not None
                else rf"({number})\cdot {factor}"
            )


_PART = re.compile(rf" ?{TEXT}([^{ENDTEXT}]*){ENDTEXT} ?([0-9]+(?:\.[0-9]+)?)?")


def _mixed(number: str, tail: str) -> tuple[str, str] | None:
    """`3 hours 20 minutes` in its last unit."""
    parts = list(_PART.finditer(tail))
    if len(parts) not in (2, 3) or "".join(p.group() for p in parts).strip() != tail.strip():
        return None
    amounts = [number, *(p[2] for p in parts[:-1])]
    units = [plain_unit(p[1]) for p in parts]
    total = Fraction(0)
    for amount, unit in zip(amounts, units, strict=True):
        value = rational(amount or "")
        alike = pairs(unit, units[-1])
        if value is None or value < 0 or not alike or parts[-1][2]:
            return None
        total += value * alike[0][0].factor / alike[0][1].factor
    return str(total), units[-1]


def ambiguous(text: str) -> tuple[str, str] | None:
    """`5 m` as 5 and `m`, where that letter is a unit; it may be a product as well."""
    match = _AMBIGUOUS.fullmatch(text.strip())
    if not match or match[2] not in BY_SYMBOL:
        return None
    return match[1], match[2] + (f"^{match[3]}" if match[3] else "")
