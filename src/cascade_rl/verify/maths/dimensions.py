r"""Units behind a number: which text is one, what it measures, and whether two quantities are one.

A unit is a word of a written list (`unit_table`), or a product, quotient or power of such words; a
thing that is counted is a plural noun. Neither may be guessed: text that is none of both is kept as it
stands, and equals nothing but itself, so that `2 is wrong` isn't 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from cascade_rl.verify.maths.notation import ENDTEXT, TEXT
from cascade_rl.verify.maths.numbers import rational
from cascade_rl.verify.maths.unit_table import (
    BARRED,
    COUNTERS,
    IRREGULAR,
    NAMES,
    NO_THING,
    PREFIX_NAMES,
    PREFIXES,
    SYMBOLS,
    TAILS,
    WORDS,
)

LONGEST_UNIT = 80  # characters


@dataclass(frozen=True, slots=True)
class Unit:
    """A factor, the power of pi in it, and the powers of what it is measured in."""

    factor: Fraction
    pi: int
    powers: tuple[tuple[str, int], ...]

    def __mul__(self, other: Unit) -> Unit:
        powers = dict(self.powers)
        for base, power in other.powers:
            powers[base] = powers.get(base, 0) + power
        kept = tuple(sorted((b, p) for b, p in powers.items() if p))
        return Unit(self.factor * other.factor, self.pi + other.pi, kept)

    def to(self, power: int) -> Unit:
        """The unit raised to a power."""
        return Unit(self.factor**power, self.pi * power, tuple((b, p * power) for b, p in self.powers))


_ONE = Unit(Fraction(1), 0, ())
Units = tuple[Unit, ...]  # what a name may mean


def _defined(text: str) -> Unit:
    """The unit that a definition such as `1000 g m s^-2` gives."""
    unit = _ONE
    for word in text.split():
        if word[0].isdigit():
            unit *= Unit(Fraction(word), 0, ())
        elif word == "pi":
            unit *= Unit(Fraction(1), 1, ())
        else:
            base, _, power = word.partition("^")
            unit *= Unit(Fraction(1), 0, ((base, int(power or 1)),))
    return unit


def _entries(table: str) -> list[str]:
    return [entry.strip() for line in table.splitlines() for entry in line.split("|") if entry.strip()]


def _symbols() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for entry in _entries(SYMBOLS):
        name, definition = entry.split(" = ")
        symbol, unit = name.rstrip("*"), _defined(definition)
        found[symbol] = unit
        if name.endswith("*"):
            for prefix, power in PREFIXES.items():
                found.setdefault(prefix + symbol, Unit(Fraction(10) ** power, 0, ()) * unit)
    # whole symbols go before prefixed ones: `min` is no milli-inch, `cd` no centi-day
    found |= {e.split(" = ")[0].rstrip("*"): _defined(e.split(" = ")[1]) for e in _entries(SYMBOLS)}
    return found


def _names(symbols: dict[str, Unit]) -> dict[str, Units]:
    found: dict[str, Units] = {}
    for entry in _entries(NAMES):
        symbol, _, names = entry.partition(":")
        for name in names.split():
            found[name] = (symbols[symbol],)
            for prefix, sign in PREFIX_NAMES.items():
                found[prefix + name] = (Unit(Fraction(10) ** PREFIXES[sign], 0, ()) * symbols[symbol],)
    for entry in _entries(WORDS):
        meant, _, names = entry.partition(":")
        units = []
        for text in meant.split():
            symbol, _, power = text.partition("^")
            units.append(symbols[symbol].to(int(power or 1)))
        for name in names.split():
            found[name] = tuple(units)
    return found


BY_SYMBOL = _symbols()
_NAMES = _names(BY_SYMBOL)
_RAW_PAIRS = (
    "cm mm km kg mg ml mL dL ft in yd mi lb oz Hz Pa kW kJ kN kV mA mV dB GB MB KB TB eV ha pt qt ms ly"
)
# no unit behind a bare number: too likely a product of variables, or another word
NEVER_RAW = {s for s in BY_SYMBOL if len(s) == 2} - set(_RAW_PAIRS.split())


def one_unit(word: str) -> Units | None:
    """What a single word may mean as a unit."""
    if word in BY_SYMBOL and word not in _NAMES:
        return (BY_SYMBOL[word],)
    folded = word if word in _NAMES else word.casefold()
    for name in (folded, folded.removesuffix("s") if len(folded) > 3 else folded):
        if name in _NAMES:
            return _NAMES[name]
    if len(word) > 1:
        # `KM`, `Kg`, `ML`: capitals by habit; never where a symbol has its own case
        for name in (folded, folded[:1] + word[1:].upper(), folded[:-1] + folded[-1:].upper()):
            if name in BY_SYMBOL:
                return (BY_SYMBOL[name],)
    return None


_PHRASES = (
    ("light year", "lightyear"), ("nautical mile", "nauticalmile"), ("fluid ounce", "fluidounce"),
    ("fl. oz", "fluidounce"), ("fl oz", "fluidounce"), ("metric ton", "metricton"),
    ("pounds sterling", "poundsterling"), ("pound sterling", "poundsterling"),
    ("astronomical unit", "astronomicalunit"), ("degrees celsius", "degreecelsius"),
    ("degree celsius", "degreecelsius"), ("degrees fahrenheit", "degreefahrenheit"),
    ("US dollar", "dollar"), ("degree fahrenheit", "degreefahrenheit"), ("degrees kelvin", "kelvin"),
    ("degrees C", "celsius"), ("degrees F", "fahrenheit"), ("° C", "°C"), ("° F", "°F"),
    ("years old", "year"), ("year old", "year"), ("degrees Celsius", "degreecelsius"),
    ("degrees Fahrenheit", "degreefahrenheit"), ("sq.", "square"),
)  # fmt: skip
_TOKEN = re.compile(
    r" *(?:(?P<per>/|÷|(?:per|每|a|an|each|every)(?![^ ()]))|(?P<times>[·*.×]|-(?=[A-Za-z]))"
    r"|\^ ?(?P<power>-?[1-9])|(?P<after>squared|cubed)(?![A-Za-z])|(?P<before>square|cubic|sq|cu)(?= )"
    r"|(?P<bracket>[()])|(?P<word>(?:[A-Za-z$]+|[^\x00-\x7f·×÷每]+(?:[CFKm](?![a-z]))?)"
    r"(?P<digit>[23](?![0-9]))?))"
)


def plain_unit(text: str) -> str:
    """Text without marks and LaTeX: `m\\cdot s^{-2}` becomes `m·s^-2`."""
    text = text.replace(TEXT, " ").replace(ENDTEXT, "").replace(r"\cdot", "·").replace(r"\mu", "µ")
    text = text.replace("μ", "µ").replace(r"\Omega", "Ω").replace("Ω", "Ω").replace(r"^\circ", "°")
    text = re.sub(r"\\frac ?\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", text)
    text = re.sub(r"\^ ?\{ ?(-?[0-9]) ?\}", r"^\1", text).replace("⁻¹", "^-1").replace("⁻²", "^-2")
    return " ".join(text.replace("µ ", "µ").replace("{", "").replace("}", "").split()).strip(" .,~")


@lru_cache(maxsize=4096)
def unit_of(text: str) -> Units:
    """What plain text may mean as a unit: `m/s^2`, `kilometers per hour`, `dollars per day`; or nothing."""
    if not text or len(text) > LONGEST_UNIT:
        return ()
    for phrase, word in sorted(_PHRASES, key=lambda pair: -len(pair[0])):
        text = text.replace(phrase, word)
    return _product(text) or _things(text)


def _product(text: str) -> Units:
    """Products, quotients and powers of units; after a slash or `per` only the next one is divided by."""
    found: list[Unit] = [_ONE]
    at, sign, before, inner, turned = 0, 1, 1, 0, False
    factors: list[list[Unit]] = []
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            return ()
        at, kind = match.end(), match.lastgroup
        if kind == "per":
            # `a` and `an` part only what was counted: "an hour" alone is no unit
            if turned or (not factors and match["per"] != "/"):
                return ()
            sign, turned = -1, True
        elif kind == "bracket":
            inner += 1 if match["bracket"] == "(" else -1
            if inner not in (0, 1):
                return ()
            turned = False if inner else turned
            sign = 1 if not inner else sign
        elif kind == "before":
            before = 2 if match["before"].startswith("sq") else 3
        elif kind in ("power", "after"):
            if not factors:
                return ()
            power = int(match["power"] or (2 if match["after"] == "squared" else 3))
            factors[-1] = [u.to(power) for u in factors[-1]]
        elif kind in ("word", "digit"):
            word = match["word"].removesuffix(match["digit"] or "")
            units = one_unit(word) or (_thing(word) if factors and sign < 0 else ())
            if not units:
                return ()
            power = sign * before * int(match["digit"] or 1)
            factors.append([u.to(power) for u in units])
            before, turned = 1, False
            sign = sign if inner else 1
    for factor in factors:
        found = [a * b for a in found for b in factor][:8]
    return tuple(found) if factors and not inner and not turned else ()


def _thing(word: str) -> Units:
    """A counted thing as a unit of its own, singular and plural being one."""
    word = word.casefold()
    if word in BARRED or not word.isalpha() or len(word) < 3:
        return ()
    stem = re.sub(r"ies$", "y", word)
    stem = re.sub(r"(?<=[sxzh])es$|(?<![su])s$", "", stem)
    return (Unit(Fraction(1), 0, ((f"#{stem}", 1),)),)


def _is_plural(word: str) -> bool:
    """A plural noun by its form: `apples`, `boxes`, `people`; never `less`, `plus`, `is`."""
    return word in IRREGULAR or (
        len(word) >= 4
        and word.endswith("s")
        and word[-2] not in "sui"
        and any(c in "aeiouy" for c in word)
        and word.removesuffix("s") not in BARRED
    )


def _things(text: str) -> Units:
    """What is counted: up to two words and a plural noun, with what may follow it; or a Chinese counter."""
    if text[0] in COUNTERS and not any(c in NO_THING for c in text) and len(text) <= 8:
        return (Unit(Fraction(1), 0, ((f"#{text[1:] or text}", 1),)),) if not text.isascii() else ()
    words = text.casefold()
    for tail in TAILS:
        words = words.removesuffix(f" {tail}")
    words, _, whole = words.partition(" of ")
    words, _, purpose = words.partition(" to ")
    words, _, each = words.partition(" per ")
    counted = words.split()
    rest = [w for w in f"{whole} {purpose}".split() if w not in ("the", "a", "an")]
    if (
        not 1 <= len(counted) <= 3
        or len(rest) > 4
        or not all(w.isascii() and w.isalpha() for w in counted + rest)
    ):
        return ()
    adjectives = [w for w in counted[:-1] if w not in ("more", "fewer", "less", "different", "square")]
    if any(w in BARRED for w in adjectives + rest + counted[-1:]) or any(len(w) < 3 for w in adjectives):
        return ()
    if not _is_plural(counted[-1]):
        return ()
    [thing] = _thing(counted[-1])
    if not each:
        return (thing,)
    return tuple(thing * unit.to(-1) for unit in _product(each) or _thing(each))


def same_unit(gold: str, given: str) -> bool:
    """Whether two units measure the same, in whatever size."""
    return gold == given or bool(pairs(gold, given))


def pairs(gold: str, given: str) -> list[tuple[Unit, Unit]]:
    return [(a, b) for a in unit_of(gold) for b in unit_of(given) if a.powers == b.powers]


def conversions(gold: str, given: str) -> list[tuple[str, str]]:
    """What the two numbers are multiplied by before they are compared, for each way to read the units."""
    if gold == given:
        return [("1", "1")]
    found = []
    for a, b in pairs(gold, given):
        pi = min(a.pi, b.pi)
        found.append((_factor(a, pi), _factor(b, pi)))
    # what both may mean alike goes first
    return sorted(set(found), key=lambda pair: pair[0] != pair[1])


def _factor(unit: Unit, pi: int) -> str:
    if unit.pi == pi:
        return str(unit.factor)
    return rf"\frac{{{unit.factor.numerator}}}{{{unit.factor.denominator}}}\cdot \pi^{{{unit.pi - pi}}}"


def scaled(text: str, factor: str) -> str:
    """A number times a factor: a number again where both are."""
    if factor == "1":
        return text
    number, times = rational(text), rational(factor)
    if number is not None and times is not None:
        return str(number * times)
    if times is not None:
        factor = rf"\frac{{{times.numerator}}}{{{times.denominator}}}"
    return rf"({text})\cdot {factor}"
