r"""One spelling for what LaTeX and plain text write in many: the first step of reading a mathematical answer.

`tidy` turns `\dfrac12`, `1{,}000`, `\left( \right)`, `x<=3` or `sqrt(3)` into one form with these
conventions: relations, unions and plus-minus are single characters (≤ ≥ ≠ ∪ ∩ ± ∓ ∈), text from `\text{...}`
stands between `TEXT` and `ENDTEXT`, fractions and roots have braced arguments. Every rule is a pattern
without nested repetition, and callers cap the length, since matching brackets takes quadratic time at worst.
"""

from __future__ import annotations

import re

# private use characters: no answer can hold them, since `_CHARACTERS` takes them out first
TEXT, ENDTEXT = "\ue000", "\ue001"

_CHARACTERS = str.maketrans(
    {
    "−": "-", "–": "-", "—": "-", "×": r"\cdot ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/",
    "π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt", "≦": "≤", "≧": "≥", "∅": r"\emptyset ", "°": r"^\circ",
    "²": "^2", "³": "^3", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "θ": r"\theta ",
    "ℝ": r"\mathbb{R}", "（": "(", "）": ")", "，": ",", "：": ":", "’": "'", "\u00a0": " ", "~": " ",
    "⟨": r"\langle ", "⟩": r"\rangle ", TEXT: "", ENDTEXT: "",
}
)  # fmt: skip
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
}  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+) ?|\\\\")
# only before three digits and no fourth: `1\,000` is a number, `1\,2` two
_GROUPED_SPACE = re.compile(r"(?<=[0-9])(?:\\[,;:> ]|\{ ?\})(?=[0-9]{3}(?![0-9]))|\\!")
_SPACING = re.compile(r"(?<!\\)\\[,;:> /]")
# `\\$` is money, `$` begins and ends mathematics
_DOLLARS = re.compile(r"(\\\$)|\$|(?<!\\)\\[()\[\]]")
_DEGREES = re.compile(r" ?\^ ?(?:\\circ|\{ ?\\circ ?\})")
_ANGLE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?\^ ?(?:\\circ|\{ ?\\circ ?\})")
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
_CHOOSE = re.compile(r"\{([^{}]*)\\choose([^{}]*)\}")
_MODULUS = re.compile(r"\(? ?\\p?mod ?\{?([0-9A-Za-z]+)\}?\)?")
# an upright letter behind a number is a unit's
_UPRIGHT = re.compile(r"(?<=[0-9})])( ?)\\mathrm ?\{ ?([mgshLNJWVKCFATH]) ?\}")
_FONT = re.compile(r"\\(?:mathrm|mathbf|mathit|mathsf|boldsymbol|bm|boxed|fbox|mathcal) ?\{([^{}]*)\}")
_TEXT_FONT = re.compile(r"\\(?:text|textbf|textit|textrm|textnormal|textsf|mbox|hbox|emph) ?\{([^{}]*)\}")
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

_IDLE_SPACE = re.compile(r"(?<![0-9]) +| +(?![0-9])")


def closing(text: str, start: int) -> int | None:
    """Where the bracket that opens at `start` closes, if it does; `\\{` counts as a bracket of its own."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] in "({[":
            depth += 1
        elif text[i] in ")}]":
            depth -= 1
            if depth == 0:
                return i
    return None


def _brace(text: str, pattern: re.Pattern[str], head: str) -> str:
    """Brace the parenthesis or number after each match: `sqrt(3)` becomes `\\sqrt{3}`."""
    parts, at = [], 0
    for match in pattern.finditer(text):
        if match.start() < at:
            continue
        end = closing(text, match.end()) if match.end() < len(text) and text[match.end()] in "({" else None
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
    parts, at = [], 0
    for match in re.finditer(r"\\(frac|binom|sqrt)(?![A-Za-z])", text):
        if match.start() < at:
            continue
        end, wanted, done = match.end(), 1 if match[1] == "sqrt" else 2, []
        for _ in range(wanted):
            found = _argument(text, end)
            if found is None:
                break
            inner, end = found
            done.append(inner)
        if len(done) == wanted:
            parts += [text[at : match.start()], match.group(), *done]
            at = end
    return "".join(parts) + text[at:]


def _argument(text: str, start: int) -> tuple[str, int] | None:
    """One argument with its braces, and where it ends; the root's index in brackets goes before it."""
    while start < len(text) and text[start] == " ":
        start += 1
    if start >= len(text):
        return None
    if text[start] == "[" and (end := closing(text, start)) is not None:
        rest = _argument(text, end + 1)
        return rest and (text[start : end + 1] + rest[0], rest[1])
    if text[start] == "{":
        end = closing(text, start)
        return None if end is None else ("{" + _arguments(text[start + 1 : end]) + "}", end + 1)
    token = re.compile(r"\\[A-Za-z]+|[0-9A-Za-z]").match(text, start)
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
    text = _ASCII_FUNCTIONS.sub(lambda m: "\\" + m[1] + " ", text)
    return text


def tidy(text: str) -> str:
    """The answer in one spelling; see the module."""
    text = _MARKS.sub("", text.translate(_CHARACTERS))
    # thousands parted by thin spaces, before the other spaces are evened out
    text = _GROUPED_SPACE.sub("", text).replace("{,}", ",")
    text = _SPACING.sub(" ", text)
    text = _DOLLARS.sub(lambda m: "$" if m[1] else "", text)
    if "\\" in text:
        text = _COMMAND.sub(_command, text)
        # of a function the angle must be in radians; alone, the sign is a unit
        if _TRIGONOMETRY.search(text):
            text = _ANGLE.sub(r"(\\frac{\1\\pi }{180})", text)
        text = _OPERATOR.sub(r"\\\1 ", _DEGREES.sub("°", text))
        text = _MODULUS.sub(f"{TEXT}mod \\1{ENDTEXT}", _CHOOSE.sub(r"\\binom{\1}{\2}", text))
        text = _UPRIGHT.sub(f"\\1{TEXT}\\2{ENDTEXT}", text)
        for _ in range(3):  # fonts may be nested, but not endlessly
            # a font around one sign is that sign; around more it is a word, such as a unit
            text = _FONT.sub(lambda m: m[1] if len(m[1].strip()) <= 1 else TEXT + m[1] + ENDTEXT, text)
            text = _TEXT_FONT.sub(
                lambda m: TEXT + m[1].replace(TEXT, "").replace(ENDTEXT, "") + ENDTEXT, text
            )
    text = _plain(text)
    text = _arguments(_brace(text, _ROOT, r"\sqrt"))
    # LaTeX would raise to the first digit only; `2^10` in plain text means ten
    text = _brace(text, _LONG_EXPONENT, "^")
    text = re.sub(r"\^ ?-([0-9]+)", r"^{-\1}", text)
    text = " ".join(text.split()).rstrip(" ,;")
    # the full stop of a sentence, not a decimal point without digits
    return text.removesuffix(".").strip()


def squeezed(text: str) -> str:
    """Without spaces, except those between digits, which keep numbers apart."""
    return _IDLE_SPACE.sub("", text).removeprefix("+")


def without_thousands(text: str) -> str:
    """Numbers such as `1,234,567` without their commas."""
    return _THOUSANDS.sub(lambda m: m.group().replace(",", ""), text)
