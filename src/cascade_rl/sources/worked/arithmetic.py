"""Sums on paper: each operation as true lines of arithmetic, negative numbers by positive ones.

    205-838=-(838-205)        larger minus smaller, then the sign
    859+400=1259              859+467, one place of the second number at a time
    1259+60=1319
    1319+7=1326

Numbers are Decimals, which keep the places that they were written with.
"""

from __future__ import annotations

import ast
import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction

LITERAL = re.compile(r"-?\d+(?:\.\d+)?")
ZERO = Decimal(0)
MOST_DIGITS = 24  # of a result; Decimal is exact up to 28


class Unworkable(Exception):
    """A step that is none: a division with a rest, a number beyond all paper."""


def number(text: str) -> Fraction | None:
    """The value of a number in figures, commas allowed; None of anything else."""
    plain = text.strip().replace(",", "")
    return Fraction(plain) if LITERAL.fullmatch(plain) else None


def decimal(text: str) -> Decimal:
    """The same for paper; Unworkable of anything else."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise Unworkable(f"{text!r:.40} is no number") from None


def tree(text: str) -> ast.expr:
    """An expression as Python reads it; Unworkable where it can't."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        raise Unworkable(f"{text!r:.40} is no expression") from None


def said(value: Decimal) -> str:
    """A number as it is written, without an exponent."""
    return f"{value:f}"


def places(value: Decimal) -> list[Decimal]:
    """A whole number as hundreds, tens and ones, those that are not zero: 507 as 500 and 7."""
    digits = str(int(value))
    return [Decimal(int(d) * 10 ** (len(digits) - 1 - i)) for i, d in enumerate(digits) if d != "0"]


class Paper:
    """Lines of working, written as operations are done; each operation gives its result.

    fine    sums of large whole numbers are done one place at a time
    """

    def __init__(self, fine: bool) -> None:
        self.fine = fine
        self.lines: list[str] = []

    def plus(self, a: Decimal, b: Decimal) -> Decimal:
        """A sum; a negative second number is taken away."""
        result = a + b
        if len(result.as_tuple().digits) > MOST_DIGITS:
            raise Unworkable("too many digits")
        asked = f"{said(a)}{'-' if b < 0 else '+'}{said(abs(b))}"
        # (what is done with two numbers of which none is negative, and whether the sign turns)
        if (a < 0) == (b < 0):
            x, sign, y, turned = abs(a), "+", abs(b), a < 0
        else:
            x, sign, y = max(abs(a), abs(b)), "-", min(abs(a), abs(b))
            turned = result < 0
        x, y = _aligned(x, y)
        inner = f"{said(x)}{sign}{said(y)}"
        shown = f"-({inner})" if turned else inner
        parts = self._parts(x, y)
        if parts:
            self.lines += [f"{asked}={shown}"] if shown != asked else []
            total = x
            for part in parts:
                step = total + part if sign == "+" else total - part
                self.lines.append(f"{said(total)}{sign}{said(part)}={said(step)}")
                total = step
            self.lines += [f"{asked}={said(result)}"] if turned else []
        else:
            middle = [shown] if shown != asked else []
            self.lines.append("=".join([asked, *middle, said(result)]))
        return result

    def _parts(self, x: Decimal, y: Decimal) -> list[Decimal]:
        """The second number by its places, where that is easier than the whole; else nothing."""
        if not (self.fine and _whole(x, y)) or max(x, y) < 100:
            return []
        found = places(y)
        return found if len(found) > 1 else []

    def minus(self, a: Decimal, b: Decimal) -> Decimal:
        """A difference."""
        return self.plus(a, -b)

    def times(self, a: Decimal, b: Decimal) -> Decimal:
        """A product of whole numbers, the one with fewer places taken apart unless it has one only."""
        if not _whole(a, b):
            raise Unworkable("a product of decimals")
        result = a * b
        if len(result.as_tuple().digits) > MOST_DIGITS:
            raise Unworkable("too many digits")
        asked = f"{said(a)}*{said(b) if b >= 0 else f'({said(b)})'}"
        x, y = abs(a), abs(b)
        if len(places(x)) < len(places(y)):
            x, y = y, x
        parts = places(y)
        if len(parts) < 2:
            self.lines.append(f"{asked}={said(result)}")
            return result
        products = [x * part for part in parts]
        shown = f"{'-' if result < 0 else ''}{said(abs(a))}*{said(abs(b))}"
        self.lines += [f"{asked}={shown}"] if shown != asked else []
        self.lines += [f"{said(x)}*{said(p)}={said(x * p)}" for p in parts]
        total = products[0]
        for product in products[1:]:
            # never by places again: what is added has zeros at its end already
            self.lines.append(f"{said(total)}+{said(product)}={said(total + product)}")
            total += product
        self.lines += [f"{asked}={said(result)}"] if result < 0 else []
        return result

    def over(self, a: Decimal, b: Decimal) -> Decimal:
        """A quotient without a rest, place by place: what goes into the number is taken away from it."""
        if b == 0 or not _whole(a, b) or a % b != 0:
            raise Unworkable("a division with a rest")
        result = a / b
        asked = f"{said(a)}/{said(b) if b >= 0 else f'({said(b)})'}"
        left, by = abs(a), abs(b)
        if left >= 100 and by > 1 and abs(result) > 1:
            for part in places(abs(result)):
                taken = by * part
                rest = "" if taken == left else f", {said(left)}-{said(taken)}={said(left - taken)}"
                self.lines.append(f"{said(by)}*{said(part)}={said(taken)}{rest}")
                left -= taken
        self.lines.append(f"{asked}={said(result)}")
        return result


def _whole(*values: Decimal) -> bool:
    return all(value == value.to_integral_value() for value in values)


def _aligned(x: Decimal, y: Decimal) -> tuple[Decimal, Decimal]:
    """Both with the same places behind the point."""
    lowest = min(_exponent(x), _exponent(y), 0)
    unit = Decimal(1).scaleb(lowest)
    return x.quantize(unit), y.quantize(unit)


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise Unworkable("no finite number")
    return exponent
