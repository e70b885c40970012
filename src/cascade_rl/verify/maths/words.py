"""Answers that are words: names, dates, times of day, chemical formulas, numbers spelt out."""

from __future__ import annotations

import re

from cascade_rl.verify.maths.characters import ENDTEXT, TEXT
from cascade_rl.verify.maths.kinds import Answer, Clock, Many, Scalar, Words
from cascade_rl.verify.maths.numbers import from_words
from cascade_rl.verify.maths.units import WORD

_MARKS = str.maketrans("", "", TEXT + ENDTEXT)
_TEXTS = re.compile(f"{TEXT}[^{ENDTEXT}]*{ENDTEXT}")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z' -]+")
# `Room 12`, `Hello123`: words with a number behind, which no expression is
_NUMBERED = re.compile(r"(?:[A-Z][a-z]{2,}[a-z' ]*?) ?[0-9]{1,4}")
_LETTERS_AND_DIGITS = re.compile(r"[A-Za-z0-9]{2,}")
_PROSE = 3  # so many words, and it is a sentence
_SHORT_WORDS = {"no", "up", "or"}
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH = "(" + "|".join(rf"{m[:3]}(?:{m[3:]})?" if m != "may" else "may" for m in _MONTHS) + r")\.?"
_DAY = r"([0-9]{1,2})(?:st|nd|rd|th)?"
_DATES = (
    re.compile(rf"(?P<month>{_MONTH}) (?P<day>{_DAY})(?:,? (?P<year>[0-9]{{4}}))?"),
    re.compile(rf"(?P<day>{_DAY})(?: of)? (?P<month>{_MONTH})(?:,? (?P<year>[0-9]{{4}}))?"),
)
_ISO_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2}) ?(?:([ap])\.? ?m\.?)?|([0-9]{1,2}) ?([ap])\.? ?m\.?")
_REALS = re.compile(
    r"(?:(?:all|any|every|the|set of|the set of(?: all)?) )?(?:the )?(?:reals|real numbers?(?: [a-z])?)"
    r"|all real [a-z]"
)
_NO_ELEMENT = {"no solution", "no solutions", "no real solution", "no real solutions", "empty set"}
_ELEMENTS = (
    "He|Li|Be|Ne|Na|Mg|Al|Si|Cl|Ar|Ca|Sc|Ti|Cr|Mn|Fe|Co|Ni|Cu|Zn|Ga|Ge|As|Se|Br|Kr|Rb|Sr|Zr|Nb|Mo|Ru|Rh|Pd|Ag"
    "|Cd|In|Sn|Sb|Te|Xe|Cs|Ba|La|Ce|Os|Ir|Pt|Au|Hg|Tl|Pb|Bi|[HBCNOFPSKVYIWU]"
)
_FORMULA = re.compile(rf"(?:(?:{_ELEMENTS})[0-9]*+){{2,12}}")


# `B and D`, as right options
_OPTIONS = re.compile(r"[A-K](?:(?:, ?| and | or |, and )[A-K])+")


def lists_options(text: str) -> bool:
    """Whether a text is a list of capital letters such as `B and D`."""
    return _OPTIONS.fullmatch(unmarked(text).strip()) is not None


def unmarked(text: str) -> str:
    """The text without the marks of text in it."""
    return text.translate(_MARKS)


def words(text: str) -> Words | Clock | Scalar | Many | None:
    """Words, a date, a time, a number in words or a letter in text; None for mathematics."""
    # the names of environments are no words
    if "\\begin" in text:
        return None
    plain = " ".join(unmarked(text).split())
    if (known := _dated(plain.casefold().strip(" ."))) is not None:
        return known
    inside = _TEXTS.sub("", text).strip(" .,()") if TEXT in text else text
    if TEXT in text and not inside:
        plain = plain.strip(" .,()") if not any(map(str.isdigit, plain)) else plain
        if len(plain) <= 1 or not any(map(str.isalpha, plain)):
            return Scalar(plain)
    elif TEXT in text and _NUMBERED.fullmatch(plain):
        return Words(plain.casefold())
    elif _NUMBERED.fullmatch(text):
        return Words(text.casefold())
    elif not _PLAIN.fullmatch(text) or not (WORD.search(text) or text.lower() in _SHORT_WORDS):
        return Words(plain.casefold()) if len(WORD.findall(plain)) >= _PROSE else None
    return _said(plain)


def _said(plain: str) -> Words | Scalar | Many | None:
    if (number := from_words(plain)) is not None:
        return Scalar(str(number))
    folded = plain.casefold()
    if _REALS.fullmatch(folded):
        return Scalar(r"\mathbb{R}")
    if folded.removeprefix("the ") in _NO_ELEMENT:
        return Many((), braced=True)
    return Words(folded.removeprefix("the ")) if any(map(str.isalpha, plain)) else None


def _dated(folded: str) -> Words | Clock | None:
    """A date in one spelling, or a time of day."""
    if not any(map(str.isdigit, folded)):
        return None
    if match := _TIME.fullmatch(folded):
        hour, minute = int(match[1] or match[4]), int(match[2] or 0)
        # else it is a ratio
        return Clock(hour, minute, match[3] or match[5] or "") if hour <= 24 and minute < 60 else None
    if match := _ISO_DATE.fullmatch(folded):
        return Words(f"date {int(match[2])} {int(match[3])} {match[1]}")
    for pattern in _DATES:
        if match := pattern.fullmatch(folded):
            month = next(i for i, name in enumerate(_MONTHS, 1) if name.startswith(match["month"][:3]))
            return Words(
                f"date {month} {int(re.sub('[a-z]+', '', match['day']))} {match['year'] or ''}".strip()
            )
    return None


def same_clocks(gold: Clock, given: Answer) -> bool:
    """Whether two times of day are one; `3:00` leaves open which half it is in, `3` even more."""
    if isinstance(given, Scalar) and gold.half and not given.unit and given.text.isdigit():
        given = Clock(int(given.text), 0)
    if not isinstance(given, Clock):
        return False
    if gold.minute != given.minute:
        return False
    if gold.half and given.half:
        return (gold.hour % 12, gold.half) == (given.hour % 12, given.half)
    if gold.half == given.half:
        return gold.hour == given.hour
    said, open_ = (gold, given) if gold.half else (given, gold)
    # 15:00 is 3 pm; 3:00 may be
    return open_.hour in (said.hour, said.hour % 12 + (12 if said.half == "p" else 0))


def same_labels(gold: str, given: str) -> bool:
    r"""Whether two tidy texts are one formula, or one name such as `B12` and `\text{B12}`."""
    ours, theirs = unmarked(gold).strip(), unmarked(given).strip()
    if ours != gold or theirs != given:
        a, b = ours.casefold(), theirs.casefold()
        mixed = any(map(str.isdigit, a)) and any(map(str.isalpha, a))
        if a == b and mixed and _LETTERS_AND_DIGITS.fullmatch(a):
            return True
    if not ("H" <= ours[:1] <= "Z" or "A" <= ours[:1] <= "G"):
        return False
    formula = _formula(ours)
    return formula is not None and formula == _formula(theirs)


def _formula(text: str) -> str | None:
    if len(text) > 60:
        return None
    plain = re.sub(r"_ ?\{? ?([0-9]+) ?\}?", r"\1", text).replace(" ", "")
    return plain if _FORMULA.fullmatch(plain) else None
