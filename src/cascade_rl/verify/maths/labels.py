"""Left sides that only name what is on the right: `x`, `f(x)`, `AB`, `P(X=2)`, `m+n`."""

from __future__ import annotations

import re

from cascade_rl.verify.maths.characters import ENDTEXT, TEXT
from cascade_rl.verify.maths.notation import squeezed

_GREEK = r"\\(?:alpha|beta|gamma|delta|theta|lambda|mu|nu|rho|sigma|tau|phi|varphi|omega|Omega|Delta) ?"
# one letter, up to four capitals, Greek, a word with a vowel, text; with index, prime or arguments
_NAME = re.compile(
    rf"(?:m? ?\\(?:angle|triangle|overline|vec|hat|bar|max|min) ?\{{?[A-Za-z ]*\}}?"
    rf"|\|?[A-Z]{{1,4}}\|?|[a-z]|{_GREEK}|\[[A-Z]{{2,8}}\]"
    rf"|{TEXT}[^{ENDTEXT}]+{ENDTEXT}|(?=[a-z]*+[aeiou])[a-z]{{3,}})"
    r" ?(?:_ ?(?:\{[^{}]*\}|\w))?(?:\^\{-1\})?'*(?: ?\([A-Za-z0-9, ]*\))?"
)
# of what is between the brackets nothing is asked: an event, a condition
_CHANCE = re.compile(
    rf"(?:\\?Pr|P|E|Var|\\mathbb\{{[PE]\}}|{TEXT}(?:P|Pr|E|Var){ENDTEXT}) ?(?:\([^()]*\)|\[[^\[\]]*\])"
)
_DERIVATIVE = re.compile(r"\\frac\{ ?d ?[a-z]? ?\}\{ ?d ?[a-z] ?\} ?[a-z]?(?:\([a-z]\))?")
_RATIO_OF_NAMES = re.compile(r"\\frac\{ ?([A-Z]{2}|[A-Z]_\w) ?\}\{ ?([A-Z]{2}|[A-Z]_\w) ?\}")
_FUNCTION_OF_NAME = re.compile(rf"\\(?:sin|cos|tan|cot) ?\(?(?:{_GREEK}|[A-Z]|\\angle ?[A-Z]{{1,3}})\)?")
# what problems ask for: `m+n`, `100a+b`, `\frac{a}{b}`; with x, y or z it would be an equation, and with one
# letter too: of `n^2=5` and `10n=5` the value of n is another
_QUANTITY = re.compile(r"[0-9a-wABD-Z^+ {}()-]{3,30}|\\frac\{[a-w]\}\{[a-w]\}|[a-w]{2}")
_PAIR = re.compile(r"\(([^()]+)\)")
_ARGUMENT = re.compile(r" ?\([a-z]\)$")
_INDEX = re.compile(r"_ ?\{ ?(\w+) ?\}")
# letters that come in their order wherever they name values together
_FAMILIES = ("abcd", "xyzw", "pqrs", "mnk", "uvw", "ABCD", "XYZ", "PQRS", "MN")


def is_label(text: str) -> bool:
    """Whether the left side of `x = 5` only names the right one: `x`, `f(x)`, `AB`, `area`, not `xy`."""
    text = text.strip()
    if len(text) > 80:
        return False
    if _NAME.fullmatch(text) or _CHANCE.fullmatch(text) or _DERIVATIVE.fullmatch(text):
        return True
    if _RATIO_OF_NAMES.fullmatch(text) or _FUNCTION_OF_NAME.fullmatch(text):
        return True
    parts = re.split(r" ?: ?", text)
    return 2 <= len(parts) <= 4 and all(_NAME.fullmatch(part) for part in parts)


def is_quantity(text: str) -> bool:
    """Whether a left side asks for a number, as `m+n` does; of a gold answer it would be an equation."""
    letters = set(filter(str.isalpha, text.replace(r"\frac", "")))
    return _QUANTITY.fullmatch(text.strip()) is not None and len(letters) > 1


def names_of(text: str) -> tuple[str, ...]:
    """The names in `(x,y)`; none for anything else."""
    match = _PAIR.fullmatch(text.strip())
    parts = [part.strip() for part in match[1].split(",")] if match else []
    return tuple(map(name, parts)) if 2 <= len(parts) <= 8 and all(_NAME.fullmatch(p) for p in parts) else ()


def name(text: str) -> str:
    """A name in one spelling; `f(x)` is f."""
    return squeezed(_INDEX.sub(r"_\1", _ARGUMENT.sub("", text.strip())))


def in_order(names: tuple[str, ...]) -> tuple[int, ...] | None:
    """The places of names in the order in which a row without names would have them, if they have one."""
    letters = "".join(names)
    indexed = [re.fullmatch(r"([A-Za-z])_([0-9]{1,2})", n) for n in names]
    if all(indexed) and len({m[1] for m in indexed if m}) == 1:
        keys = [int(m[2]) for m in indexed if m]
    elif len(letters) == len(names) and (
        family := next((f for f in _FAMILIES if set(letters) <= set(f)), None)
    ):
        keys = [family.index(letter) for letter in letters]
    else:
        return None
    return tuple(sorted(range(len(keys)), key=keys.__getitem__))
