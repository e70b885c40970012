r"""One spelling for what LaTeX and plain text write in many: the first step of reading a mathematical answer.

`tidy` turns `\dfrac12`, `1{,}000`, `\left( \right)`, `x<=3` or `sqrt(3)` into one form with these
conventions: relations, unions and plus-minus are single characters (≤ ≥ ≠ ∪ ∩ ± ∓ ∈), angle brackets are
⟨ and ⟩, text from `\text{...}` stands between `TEXT` and `ENDTEXT`, fractions and roots have braced
arguments. Every rule is a pattern without nested repetition, and brackets are matched in one pass.
"""

from __future__ import annotations

import re

from cascade_rl.verify.maths.characters import ENDTEXT, TEXT, plain_characters
from cascade_rl.verify.maths.styles import without_styles
from cascade_rl.verify.maths.thousands import without_groups, without_said_groups

__all__ = ["ENDTEXT", "TEXT", "closing", "partners", "squeezed", "tidy", "without_thousands"]

_SYMBOLS = {
    "le": "≤", "leq": "≤", "leqslant": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "ne": "≠", "neq": "≠",
    "lt": "<", "gt": ">", "cup": "∪", "cap": "∩", "pm": "±", "mp": "∓", "in": "∈", "times": r"\cdot ",
    "cdot": r"\cdot ", "div": "/", "ast": r"\cdot ", "varnothing": r"\emptyset ", "infin": r"\infty ",
    "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "dbinom": r"\binom", "tbinom": r"\binom",
    "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[", "rbrack": "]", "lvert": "|", "rvert": "|", "vert": "|",
    "mid": "|", "colon": ":", "lor": " or ", "vee": " or ", "land": " and ", "wedge": " and ", "imath": "i",
    "qquad": " ", "quad": " ", "displaystyle": " ", "textstyle": " ", "limits": "", "left": "", "right": "",
    "big": "", "Big": "", "bigl": "", "bigr": "", "Bigl": "", "Bigr": "", "bigg": "", "Bigg": "",
    "dots": r"\ldots ", "cdots": r"\ldots ", "degree": r"^\circ", "backslash": r"\setminus ",
    "langle": "⟨", "rangle": "⟩", "to": r"\to ", "sfrac": r"\frac", "nicefrac": r"\frac",
    "smallsetminus": r"\setminus ", "notin": r"\notin ", "R": r"\mathbb{R}", "Z": r"\mathbb{Z}",
    "reals": r"\mathbb{R}", "colonequals": "=", "space": " ", "enspace": " ", "thinspace": " ", "ldotp": ".",
    "approx": "≈",
    "biggl": "", "biggr": "", "Biggl": "", "Biggr": "", "middle": "", "nolimits": "", "displaylimits": "",
}  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+) ?|\\\\")
_SPACING = re.compile(r"(?<!\\)\\[,;:> /]")
# `\\$` is money, `$` begins and ends mathematics
_DOLLARS = re.compile(r"(\\\$)|\$|(?<!\\)\\[()\[\]]")
_DEGREES = re.compile(r" ?\^ ?(?:\\circ|\{ ?\\circ ?\})")
_ANGLE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?\^ ?(?:\\circ|\{ ?\\circ ?\})")
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
_CHOOSE = re.compile(r"\{([^{}]*)\\choose([^{}]*)\}")
_MODULUS = re.compile(r"\(? ?\\p?mod ?\{?([0-9A-Za-z]+)\}?\)?")
_OPERATOR = re.compile(r"\\operatorname\*? ?\{ ?([A-Za-z]+) ?\}")
_ASCII_FUNCTIONS = re.compile(
    r"(?<![A-Za-z\\])(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|pi|theta|lambda)"
    r"(?=[^A-Za-z]|$)"
)
_INFINITY = re.compile(r"(?<![A-Za-z\\])(?:infinity|infty|inf|oo)(?![A-Za-z])")
_ROOT = re.compile(r"(?<![A-Za-z\\])sqrt ?(?=[({0-9])|\\sqrt ?(?=\()")
_LONG_EXPONENT = re.compile(r"\^ ?(?=\(|[0-9]{2})")
_MARKS = re.compile(r"\*\*(?=\s|$)|(?<!\S)\*\*(?=\S)")
_THOUSANDS = re.compile(r"(?<![0-9.,_])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")

# of a number that belongs to no command, power or product
_IDLE_BRACES = re.compile(r"(^|[-+=(\[,&:;<>≤≥] ?)\{ ?([0-9]+(?:\.[0-9]+)?) ?\}(?! ?[\^{0-9])")
_IDLE_SPACE = re.compile(r"(?<![0-9]) +| +(?![0-9])")
_NUMBER_SYSTEM = re.compile(r"\\(?:mathbb|Bbb) ?\{? ?([RZNQC])(?![A-Za-z]) ?\}?")
# combinations and permutations, of numbers only: with letters C and A may be names
_CHOSEN = re.compile(r"(?<![A-Za-z\\])([CAP]) ?_ ?\{?([0-9]{1,4})\}? ?\^ ?\{?([0-9]{1,4})\}?(?![0-9])")
_CHOSEN_BEFORE = re.compile(r"(?:\{ ?\})?[_^] ?\{?([0-9]{1,4})\}? ?C ?_ ?\{?([0-9]{1,4})\}?(?![0-9])")
# a bracket or text as the digits, and a word as the base: `(10101)_2`, `4343_{\text{six}}`
_BASED = re.compile(
    rf"(?:\( ?(?P<digits>[0-9A-F]+) ?\)|{TEXT} ?(?P<text>[0-9A-F]+) ?{ENDTEXT}"
    rf"|(?P<bare>(?<![A-Za-z0-9])[0-9A-F]+))"
    rf" ?_ ?(?:\{{? ?{TEXT} ?(?P<word>[a-z]+) ?{ENDTEXT} ?\}}?|\{{? ?(?P<base>[0-9]{{1,2}}) ?\}}?)(?![0-9])"
)
_BASES = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12", "sixteen": "16",
}  # fmt: skip
# never products: `2sinx`, `1.5x10^3`
_GLUED_FUNCTION = re.compile(
    r"(?<![A-Za-z\\])(arcsin|arccos|arctan|sin|cos|tan|cot|ln|log)([a-z])(?![A-Za-z])"
)
_TIMES_TEN = re.compile(r"(?<=[0-9]) ?[xX] ?(?=10 ?\^)")
_GLUED_CHOICE = re.compile(r"(?<=[0-9)\}])(or|and)(?=[A-Za-z(\\0-9-])")


def partners(text: str) -> dict[int, int]:
    r"""Of each bracket that is closed where it is; kinds may differ, `\{` counts as a bracket of its own."""
    opened: list[int] = []
    found: dict[int, int] = {}
    for i, char in enumerate(text):
        if char in "({[⟨":
            opened.append(i)
        elif char in ")}]⟩" and opened:
            found[opened.pop()] = i
    return found


def closing(text: str, start: int) -> int | None:
    """Where the bracket that opens at `start` closes, if it does."""
    return partners(text).get(start)


def _brace(text: str, pattern: re.Pattern[str], head: str) -> str:
    """Brace the parenthesis or number after each match: `sqrt(3)` becomes `\\sqrt{3}`."""
    matches = list(pattern.finditer(text))
    if not matches:
        return text
    parts, at, pairs = [], 0, partners(text)
    for match in matches:
        if match.start() < at:
            continue
        end = pairs.get(match.end()) if text[match.end() : match.end() + 1] in ("(", "{") else None
        if end is None and (digits := re.compile(r"[0-9]+").match(text, match.end())):
            inner, end = digits.group(), digits.end() - 1
        elif end is None:
            continue
        else:
            inner = text[match.end() + 1 : end]
        parts += [text[at : match.start()], head, "{", inner, "}"]
        at = end + 1
    return "".join(parts) + text[at:]


def _arguments(text: str) -> str:
    r"""Brace the arguments of `\frac12`, `\frac{1}2` and `\sqrt2`."""
    matches = list(_TAKES_ARGUMENTS.finditer(text))
    if not matches:
        return text
    parts, at, pairs = [], 0, partners(text)
    for match in matches:
        if match.start() < at:
            continue
        end, wanted, done = match.end(), 1 if match[1] == "sqrt" else 2, []
        for _ in range(wanted):
            found = _argument(text, end, pairs)
            if found is None:
                break
            inner, end = found
            done.append(inner)
        if len(done) == wanted:
            parts += [text[at : match.start()], match.group(), *done]
            at = end
    return "".join(parts) + text[at:]


_TAKES_ARGUMENTS = re.compile(r"\\(frac|binom|sqrt)(?![A-Za-z])")
_TOKEN = re.compile(r"\\[A-Za-z]+|[0-9A-Za-z]")


def _argument(text: str, start: int, pairs: dict[int, int]) -> tuple[str, int] | None:
    """One argument with its braces, and where it ends; the root's index in brackets goes before it."""
    while text[start : start + 1] == " ":
        start += 1
    if text[start : start + 1] == "[" and start in pairs:
        rest = _argument(text, pairs[start] + 1, pairs)
        return rest and (text[start : pairs[start] + 1] + rest[0], rest[1])
    if text[start : start + 1] == "{":
        if start not in pairs:
            return None
        return "{" + _arguments(text[start + 1 : pairs[start]]) + "}", pairs[start] + 1
    token = _TOKEN.match(text, start)
    return token and ("{" + token.group() + "}", token.end())


def _command(match: re.Match[str]) -> str:
    name = match[1]
    if name is None:
        return match.group()
    return _SYMBOLS.get(name, match.group())


def _plain(text: str) -> str:
    """The ASCII spellings of relations, functions and powers, in LaTeX's."""
    text = text.replace("<=", "≤").replace(">=", "≥").replace("!=", "≠").replace("\\%", "%")
    text = re.sub(r"(?<=\S)\*\*(?=\S)", "^", text)
    text = re.sub(r" ?\* ?", r"\\cdot ", text)
    text = _INFINITY.sub(r"\\infty ", text)
    text = _TIMES_TEN.sub(r"\\cdot ", _GLUED_CHOICE.sub(r" \1 ", text))
    text = _GLUED_FUNCTION.sub(r"\\\1 \2", text)
    return _ASCII_FUNCTIONS.sub(lambda m: "\\" + m[1] + " ", text)


def _chosen(match: re.Match[str]) -> str:
    kind, n, k = match.groups()
    if kind == "C":
        return rf"\binom{{{n}}}{{{k}}}"
    # more than there are can't be arranged; that stays what it was
    return rf"\frac{{{n}!}}{{{int(n) - int(k)}!}}" if int(k) <= int(n) else match.group()


def _based(match: re.Match[str]) -> str:
    base = match["base"] or _BASES.get(match["word"])
    digits = match["digits"] or match["text"] or match["bare"]
    # C_2 is a name
    numeral = base and (len(digits) > 1 or digits.isdigit())
    return f"{digits}_{{{base}}}" if numeral else match.group()


def tidy(text: str) -> str:
    """The answer in one spelling; see the module."""
    text = _MARKS.sub("", plain_characters(text))
    # thousands parted by thin spaces, before the other spaces are evened out
    text = without_said_groups(text)
    text = _SPACING.sub(" ", text)
    text = _DOLLARS.sub(lambda m: "$" if m[1] else "", text)
    if "\\" in text:
        text = _NUMBER_SYSTEM.sub(r"\\mathbb{\1}", text)
        text = _COMMAND.sub(_command, without_styles(text))
        # of a function the angle must be in radians; alone, the sign is a unit
        if _TRIGONOMETRY.search(text):
            text = _ANGLE.sub(r"(\\frac{\1\\pi }{180})", text)
        text = _OPERATOR.sub(r"\\\1 ", _DEGREES.sub("°", text))
        text = _MODULUS.sub(f"{TEXT}mod \\1{ENDTEXT}", _CHOOSE.sub(r"\\binom{\1}{\2}", text))
    if "_" in text:
        text = _CHOSEN_BEFORE.sub(r"\\binom{\1}{\2}", _CHOSEN.sub(_chosen, text))
        text = _BASED.sub(_based, text)
    text = _plain(text)
    text = _arguments(_brace(text, _ROOT, r"\sqrt"))
    if "{" in text:
        text = _IDLE_BRACES.sub(r"\1\2", text)
    # LaTeX would raise to the first digit only; `2^10` in plain text means ten
    text = _brace(text, _LONG_EXPONENT, "^")
    text = re.sub(r"\^ ?-([0-9]+)", r"^{-\1}", text)
    text = " ".join(text.split()).rstrip(" ,;")
    # the full stop of a sentence, not a decimal point without digits
    return without_groups(text.removesuffix(".").strip())


def squeezed(text: str) -> str:
    """Without spaces, except those between digits, which keep numbers apart."""
    return _IDLE_SPACE.sub("", text).removeprefix("+")


def without_thousands(text: str) -> str:
    """Numbers such as `1,234,567` without their commas."""
    return _THOUSANDS.sub(lambda m: m.group().replace(",", ""), text)
