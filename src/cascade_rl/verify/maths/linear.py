r"""Linear expressions of one name with rational numbers, such as `2x-1`: what they are solved for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from cascade_rl.verify.maths.notation import squeezed
from cascade_rl.verify.maths.numbers import rational

LONGEST = 60  # characters
_COMMANDS = re.compile(r"\\[A-Za-z]+")
_VARIABLE = re.compile(r"[a-df-zA-Z]")
_TERMS = re.compile(r"[+-]?[^+-]+")
_TERM = re.compile(
    r"([+-]?)((?:[0-9]+(?:\.[0-9]+)?(?:/[0-9]+)?|\\frac\{[0-9]+\}\{[0-9]+\})?)(?:\\cdot)?"
    r"([a-zA-Z])(?:/([0-9]+))?"
)


@dataclass(frozen=True, slots=True)
class Linear:
    """`slope * name + constant`."""

    slope: Fraction
    name: str
    constant: Fraction

    def solved(self, value: str) -> str:
        """Where it takes a value."""
        number = rational(value)
        if number is not None:
            return str((number - self.constant) / self.slope)
        return rf"\frac{{({value})-({self.constant})}}{{{self.slope}}}"

    def around(self, distance: str) -> tuple[str, str]:
        """The two places where it has this absolute value; the lower one first unless that is negative."""
        middle, scale = -self.constant / self.slope, abs(self.slope)
        number = rational(distance)
        if number is not None:
            return str(middle - number / scale), str(middle + number / scale)
        return rf"({middle})-\frac{{{distance}}}{{{scale}}}", rf"({middle})+\frac{{{distance}}}{{{scale}}}"


def is_constant(text: str) -> bool:
    """Whether a text has no variable: letters other than e."""
    return bool(text) and "|" not in text and not _VARIABLE.search(_COMMANDS.sub("", text))


def linear(text: str) -> Linear | None:
    """The linear expression that a text is, or None."""
    text = squeezed(text).replace(" ", "")
    if not 0 < len(text) <= LONGEST:
        return None
    slope, constant, names = Fraction(0), Fraction(0), set()
    terms = _TERMS.findall(text)
    if "".join(terms) != text:
        return None
    for term in terms:
        if (number := rational(term)) is not None:
            constant += number
        elif match := _TERM.fullmatch(term):
            factor = rational(match[2]) if match[2] else Fraction(1)
            if factor is None:
                return None
            slope += (-factor if match[1] == "-" else factor) / int(match[4] or 1)
            names.add(match[3])
        else:
            return None
    return Linear(slope, names.pop(), constant) if len(names) == 1 and slope else None
