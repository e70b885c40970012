"""Another value in the place of an expected one, drawn so that no rule about values tells the right one.

For a rule that weighs the two without an answer, the pair must be as likely in either order. So a new value
is drawn from what expected values look like: as many digits, the same sign, trailing zeros and decimals, the
same length and classes of characters, as sorted as before, greater as often as smaller; and it stands
elsewhere in the file about as often as expected values of the file do.
"""

from __future__ import annotations

import ast
import math
import random
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

# how often small numbers are expected in tests: 0 to 9
SMALL = (28, 30, 17, 10, 6, 4, 3, 2, 2, 2)
# Benford's law for the first digit of longer ones
FIRST = (30, 18, 12, 10, 8, 7, 6, 5, 4)
LETTERS = "eeettaaooiinnssrrhhlldduuccmmffppggwwyybbvvkkxjqz"
TRIES = 60
GAPS = (1, 1, 2)  # between neighbours: an error by one is near one of them whatever it is


def fair(value: Any) -> bool:
    """Whether a value has others of its own shape, so that a pair tells nothing.

    None, infinity and empty containers have none.
    """
    match value:
        case bool() | int():
            return True
        case float():
            return math.isfinite(value) and value != 0
        case complex():
            return fair(value.real) or fair(value.imag)
        case str():
            return any(c.isalnum() for c in value)
        case bytes():
            return fair(value.decode("latin-1"))
        case list() | tuple() | set() | frozenset():
            return any(map(fair, value))
        case dict():
            return any(map(fair, value.values()))
        case _:
            return False


def another(value: Any, rng: random.Random, pool: Sequence[Any] = ()) -> Any:
    """A value of the same kind that is not equal to the given one; `pool`: all that the file expects."""
    if not isinstance(value, bool) and (found := _from_pool(value, rng, pool)) is not None:
        return found
    fallback = None
    for _ in range(TRIES):
        drawn = _drawn(value, rng, pool)
        if drawn == value or type(drawn) is not type(value) or drawn in (math.inf, -math.inf):
            continue
        if not any(_same(drawn, other) for other in pool):
            return drawn
        fallback = drawn
    return fallback if fallback is not None else _unlike(value)


def neighbours(value: Any, count: int, rng: random.Random, pool: Sequence[Any] = ()) -> list[Any]:
    """The others of `count` numbers close to each other, of which `value` is any one by lot; or none.

    An object that is equal to whatever is near its own value, which may be wrong, is equal to these, too.
    They have as many digits, zeros at the end are kept from two on, and their gaps are drawn.
    """
    shape = _shape(value)
    # where a file's values stand in it more than once, one that does not would be told by that
    if shape is None or rng.random() < _again(value, pool):
        return []
    text, sign, head, number, tail, skipped = shape
    low, high = 10 ** (len(str(number)) - 1), 10 ** len(str(number))
    before = rng.randrange(count)
    row: list[int] = []
    for steps, way in ((before, -1), (count - 1 - before, 1)):
        at = number
        for _ in range(steps):
            at += way * rng.choice(GAPS)
            at += way * (at % skipped == 0)
            row.append(at)
    if not all(low <= n < high for n in row):
        return []
    rng.shuffle(row)
    kind = type(value)
    return [kind(f"{sign}{_pointed(f'{head}{n}{tail}', text)}") for n in row]


def _shape(value: Any) -> tuple[str, str, str, int, str, int] | None:
    """A number's text without its sign, the sign, its digits, and of what no neighbour is a multiple.

    The digits are zeros in front, a number, and zeros behind: two or more of them stay, one is a digit.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-12 < abs(value) < 1e15:
        return None
    text = repr(value).lstrip("-")
    digits = text.replace(".", "")
    if "e" in text or re.search(r"(\d)\1{3,}", digits):
        return None
    whole = "." not in text or text.endswith(".0")
    point = int(text.endswith(".0"))  # of a zero that is always there
    behind = len(digits) - len(digits.rstrip("0"))
    kept = behind if behind - point > 1 else point
    number = digits[: len(digits) - kept].lstrip("0")
    if len(number) < 2:
        return None
    head = digits[: len(digits) - len(digits.lstrip("0"))]
    # more zeros than before would tell a neighbour
    skipped = 100 if whole and kept == point else 10
    return text, "-" if value < 0 else "", head, int(number), "0" * kept, skipped


def _pointed(digits: str, like: str) -> str:
    """Digits with a point where another number has it."""
    whole, point, _ = like.partition(".")
    return digits[: len(whole)] + point + digits[len(whole) :]


def _again(value: Any, pool: Sequence[Any]) -> float:
    """How often values of this type stand in a file more than once."""
    alike = [other for other in pool if type(other) is type(value)]
    return sum(sum(map(other.__eq__, alike)) > 1 for other in alike) / len(alike) if alike else 0.0


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _from_pool(value: Any, rng: random.Random, pool: Sequence[Any]) -> Any:
    """A value of the file itself, as often as the file's values stand in it more than once."""
    others = [other for other in pool if type(other) is type(value) and other != value]
    if not others or rng.random() >= _again(value, pool):
        return None
    return rng.choice(others)


def _unlike(value: Any) -> Any:
    """Where no draw helps: what has no other of its shape."""
    match value:
        case float():
            return -value if math.isinf(value) else 1.0
        case str():
            return value + "a"
        case bytes():
            return value + b"a"
        case list() | tuple():
            return type(value)([*value, 0])
        case dict():
            return value | {f"x{len(value)}": 0}
        case set() | frozenset():
            return value | {f"x{len(value)}"}
        case int() | complex():
            return value + 1
        case _:
            return 0


def _drawn(value: Any, rng: random.Random, pool: Sequence[Any]) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return _whole(value, rng)
        case float():
            return _decimal(value, rng) if math.isfinite(value) else value
        case complex():
            if value.real and (not value.imag or rng.random() < 0.5):
                return complex(_decimal(value.real, rng), value.imag)
            return complex(value.real, _decimal(value.imag, rng))
        case str():
            return _text(value, rng, pool)
        case bytes():
            letters = [other.decode("latin-1") for other in pool if isinstance(other, bytes)]
            drawn = _text(value.decode("latin-1"), rng, letters)
            return drawn.encode("latin-1") if drawn.isascii() else value
        case list() | tuple():
            return type(value)(_row(list(value), rng))
        case dict() if value:
            fairs = [key for key in value if fair(value[key])] or list(value)
            key = rng.choice(fairs)
            return value | {key: another(value[key], rng)}
        case set() | frozenset() if value:
            row = sorted(value, key=repr)
            row[rng.randrange(len(row))] = another(rng.choice(row), rng)
            return type(value)(row)
        case _:
            return value


def _whole(value: int, rng: random.Random) -> int:
    if abs(value) < 10:
        drawn = rng.choices(range(10), SMALL)[0]
        # no zero for a negative number: it has no sign
        return drawn if value >= 0 else -max(drawn, 1)
    # Python writes no number of over 4,300 digits as a text
    if abs(value) >= 10**1000:
        return value + rng.choice((-1, 1)) * rng.randrange(1, 10**6)
    return int(_redrawn(str(abs(value)), rng)) * (1 if value > 0 else -1)


def _redrawn(digits: str, rng: random.Random) -> str:
    """Other digits: the zeros at the end stay, long runs of one digit stay, the first is no zero."""
    end = len(digits.rstrip("0"))
    kept = {i for run in re.finditer(r"(\d)\1{3,}", digits) for i in range(*run.span())}
    drawn = list(digits)
    places = [i for i in range(end) if i not in kept] or list(range(end))
    for i in places:
        first, last = i == 0, i == end - 1
        if first:
            drawn[i] = str(rng.choices(range(1, 10), FIRST)[0])
        else:
            # zero at the end would be one more trailing zero
            drawn[i] = str(rng.randrange(1 if last else 0, 10))
    return "".join(drawn)


def _decimal(value: float, rng: random.Random) -> float:
    text = repr(value)
    sign, rest = ("-", text[1:]) if text.startswith("-") else ("", text)
    mantissa, e, exponent = rest.partition("e")
    whole, point, decimals = mantissa.partition(".")
    if set(whole + decimals) <= {"0"}:
        return float(rng.choice(("0.5", "1.0", "2.0", "0.1", "0.25", "1.5")))
    if not decimals.strip("0"):
        # a whole number: drawn as such
        whole = str(_whole(int(whole), rng))
        return float(sign + whole + point + decimals + e + exponent)
    zeros = len(whole + decimals) - len((whole + decimals).lstrip("0"))
    drawn = "0" * zeros + _redrawn((whole + decimals)[zeros:], rng)
    return float(sign + drawn[: len(whole)] + point + drawn[len(whole) :] + e + exponent)


def _text(value: str, rng: random.Random, pool: Sequence[Any]) -> str:
    """A number in it, a character or the order of two words changed: as long as before, of the same sort."""
    numbers = [m for m in re.finditer(r"[0-9]+", value) if len(m[0]) < 40]
    words = list(re.finditer(r"[^\W\d_]{2,}", value))
    if numbers and (not words or rng.random() < 0.7):
        number = rng.choice(numbers)
        return value[: number.start()] + _number(number[0], rng) + value[number.end() :]
    if len(words) > 2 and rng.random() < 0.5:
        first, second = sorted(rng.sample(range(len(words)), 2))
        a, b = words[first], words[second]
        middle = value[a.end() : b.start()]
        swapped = value[: a.start()] + _cased(b[0], a[0]) + middle + _cased(a[0], b[0]) + value[b.end() :]
        return swapped
    places = [i for i, c in enumerate(value) if c.isalpha()] or list(range(len(value)))
    if not places:
        return value
    at = rng.choice(places)
    return value[:at] + _character(value[at], rng, pool) + value[at + 1 :]


def _cased(word: str, like: str) -> str:
    """A word with the first letter's case of another: where a sentence begins, it still does."""
    change = str.upper if like[:1].isupper() else str.lower
    return change(word[:1]) + word[1:]


def _number(digits: str, rng: random.Random) -> str:
    zeros = len(digits) - len(digits.lstrip("0"))
    if zeros == len(digits):
        return digits[:-1] + str(rng.choices(range(10), SMALL)[0])
    rest = digits[zeros:]
    new = str(_whole(int(rest), rng)) if len(rest) == 1 else _redrawn(rest, rng)
    return "0" * zeros + new


def _character(character: str, rng: random.Random, pool: Sequence[Any]) -> str:
    """One of the same class: the letters of the file's own texts as often as they stand there."""
    near = "".join(other for other in pool if isinstance(other, str))[:2000]
    if character.isascii() and character.isalpha():
        letters = LETTERS + "".join(c.lower() for c in near if c.isascii() and c.isalpha())
        drawn = rng.choice(letters)
        return drawn.upper() if character.isupper() else drawn
    if character.isascii():
        return rng.choice("-_.,:;/+*=! ")
    # a neighbour of its own alphabet
    kind = unicodedata.category(character)
    around = [chr(ord(character) + d) for d in (-3, -2, -1, 1, 2, 3) if 0 < ord(character) + d < 0x110000]
    alike = [c for c in around if unicodedata.category(c) == kind and c.isprintable()]
    return rng.choice(alike or [character])


def _row(row: list[Any], rng: random.Random) -> list[Any]:
    """A list with one value, the order, all values or the length changed, whichever its own rule allows."""
    if not row:
        return [0]
    if len(row) > 1 and all(_same(other, row[0]) for other in row):
        # all alike: another value would be the odd one out
        return row[:-1] if rng.random() < 0.5 else [*row, row[0]]
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in row)
    if numbers and len(row) > 2 and len({b - a for a, b in pairwise(row)}) == 1:
        return _progression(row, rng)
    rising = _rises(row)
    for _ in range(TRIES):
        drawn = list(row)
        at = rng.choice([i for i, x in enumerate(row) if fair(x)] or list(range(len(row))))
        drawn[at] = another(row[at], rng, ())
        if drawn != row and _rises(drawn) == rising:
            return drawn
    drawn = list(row)
    drawn[at] = another(row[at], rng, ())
    return drawn


def _progression(row: list[Any], rng: random.Random) -> list[Any]:
    step = row[1] - row[0]
    match rng.randrange(3):
        case 0:
            return row[:-1]
        case 1:
            return [*row, row[-1] + step]
        case _:
            shift = rng.choice((-1, 1)) * (abs(step) or 1)
            return [x + shift for x in row]


def _rises(row: Sequence[Any]) -> int | None:
    """1 for a sorted row, -1 for one sorted backwards, 0 for others; None when it can't be asked."""
    try:
        if all(a <= b for a, b in pairwise(row)):
            return 1
        return -1 if all(a >= b for a, b in pairwise(row)) else 0
    except TypeError:
        return None


def literal(node: ast.expr) -> Iterator[Any]:
    """The value of a literal expression, or nothing."""
    try:
        value = ast.literal_eval(node)
        # what can't be written again the same can't stand on both sides
        if ast.literal_eval(repr(value)) == value:
            yield value
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return
