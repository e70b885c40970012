"""Units behind a number: which text is one, and what it is called."""

from __future__ import annotations

import re

from cascade_rl.verify.maths_notation import ENDTEXT, TEXT
from cascade_rl.verify.maths_numbers import rational

# three letters and no bracket: `sin(` and `ab` are mathematics
WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}(?![A-Za-z(])")
_KNOWN_UNITS = {
    "meter": "m", "metre": "m", "centimeter": "cm", "centimetre": "cm", "millimeter": "mm", "kilometer": "km",
    "kilometre": "km", "inche": "in", "inch": "in", "feet": "ft", "foot": "ft", "yard": "yd", "mile": "mi",
    "gram": "g", "kilogram": "kg", "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h",
    "liter": "l", "litre": "l", "milliliter": "ml", "dollar": "$", "usd": "$", "cent": "cents", "degree": "°",
    "pound": "lb", "ounce": "oz",
}  # fmt: skip
_SHORT_UNITS = {
    *_KNOWN_UNITS.values(),
    "mg",
    "kmh",
    "mph",
    "km/h",
    "m/s",
    "n",
    "j",
    "w",
    "v",
    "k",
    "c",
    "f",
    "pa",
    "hz",
}
# digits and words of choice: a hedge must not pass as a unit
_NO_UNIT = re.compile(
    r"[^A-Za-z°$µ/·^ .-]|\b(?:or|and|not|but|to|if|maybe|possibly|perhaps|either)\b", re.IGNORECASE
)
_TEXT_UNIT = re.compile(rf"(.*[0-9A-Za-z)}}\]!]) ?{TEXT}([^{ENDTEXT}]*){ENDTEXT} ?(?:\^ ?\{{?([23])\}}?)?")
_RAW_UNIT = re.compile(r"(.*[0-9)}\]])( ?)([A-Za-z]+(?:[ /][A-Za-z]+)*)\.? ?(?:\^ ?\{?([23])\}?)?")


def _is_unit(text: str) -> bool:
    """Whether text behind a number may be left out; another answer, such as `or 6`, may not."""
    return text.startswith("mod ") or not _NO_UNIT.search(text)


def _unit(text: str, power: str | None) -> str:
    """A unit's usual symbol; `square meters` becomes `m2`."""
    text = text.strip(" .").casefold()
    for word, exponent in (("square ", "2"), ("cubic ", "3"), ("sq ", "2"), ("cu ", "3")):
        if text.startswith(word):
            text, power = text.removeprefix(word), exponent
    text = _KNOWN_UNITS.get(text.removesuffix("s"), text)
    return text + (power or "")


def measured(text: str) -> tuple[str, str, bool]:
    """An expression without its unit or percent sign, the unit, and whether it was a percent sign."""
    text = text.lstrip("€£¥").strip()
    if text.endswith("%"):
        return text[:-1].strip(), "", True
    if (match := _TEXT_UNIT.fullmatch(text)) and _is_unit(match[2]):
        unit = _unit(match[2], match[3])
        return match[1].strip(), "" if unit == "percent" else unit, unit == "percent"
    if (match := _RAW_UNIT.fullmatch(text)) and _is_unit(match[3]):
        head, space, raw, power = match.groups()
        unit, number = _unit(raw, power), rational(head.strip()) is not None
        # a short unit only behind a plain number: behind an expression its letters are variables
        known = raw.casefold() in _SHORT_UNITS or unit.rstrip("23") in _SHORT_UNITS
        if (len(raw) > 2 and space and WORD.search(raw)) or (known and number):
            return head.strip(), "" if unit == "percent" else unit, unit == "percent"
    return text, "", False
