r"""A single expression from LaTeX: math-verify's parser (latex2sympy2_extended), without its surprises.

It adds a number to the number behind it (`2(3)` as 5), takes `n!!` for `(n!)!`, drops primes, and gives
`\frac{dy}{dx}` the value 0. Numbers are therefore never added unless they are a proper mixed number;
functions of several arguments and double factorials are read here; primes are part of a name; decimals
become exact fractions. What is absurdly large is refused before it is evaluated.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache, reduce

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, _Latex2Sympy
from sympy.core.function import AppliedUndef

from cascade_rl.verify.maths.answers import excess
from cascade_rl.verify.maths.grammar import CALLED, Beyond, read_expression
from cascade_rl.verify.maths.notation import ENDTEXT, TEXT, closing, without_thousands

MOST_BITS = 200_000  # of a number that is evaluated: some 60,000 digits
MOST_TERMS = 1000  # of a sum or product
LARGEST_BINOMIAL = 100_000
MOST_CALLS = 20  # of functions of several arguments and double factorials in one expression
# mixed numbers are rewritten here, and case tells variables apart
CONFIG = ConversionConfig(interpret_as_mixed_fractions=False, lowercase_symbols=False)


class Unreadable(Exception):
    """The text is no single expression, or one that is too large."""


_SCIENTIFIC = re.compile(r"(?<![A-Za-z0-9.}_])([0-9]+(?:\.[0-9]+)?)[eE]([+-]?[0-9]{1,3})(?![A-Za-z0-9.{])")
_DECIMAL = re.compile(r"(\^ ?)?([0-9]*)\.([0-9]+)")
_MIXED = re.compile(r"(?<![0-9.])([0-9]+) ?\\frac\{([0-9]+)\}\{([0-9]+)\}")
_BEFORE_MIXED = ("+", "-", "/", "(", "[", "{", "*", r"\cdot", "=")
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\overline ?\{([0-9]+)\}")
_SUBSCRIPT = re.compile(r"_ ?([0-9]) (?=[0-9])")
_LIMITS = re.compile(r"_ ?\{[^{}]*\}")
_PRIMES = re.compile(r"([A-Za-z])('+)")
# `A1` is a name, `x2` a product
_LABEL = re.compile(r"(?<![A-Za-z0-9\\])([A-Z])([0-9]+)")
_ACCENTS = re.compile(
    r"\\(vec|bar|hat|tilde|dot|ddot|overrightarrow) ?(?:\{ ?([A-Za-z]) ?\}|([A-Za-z])(?![A-Za-z]))"
)
# `1/2(3)` is read in two ways by those who write it
_QUOTIENT = re.compile(r"/ ?[0-9.]+ ?\(")
# a constant or a closed factor before a bracket is multiplied; the parser takes `\pi(3)` for a name
_FACTOR = re.compile(r"(\\pi|\\theta|[0-9]) ?(?=\()")
# what the parser reads in a surprising way, and what is structure: that is decided before
_REFUSED = re.compile(
    rf"[{TEXT}{ENDTEXT}=<>≤≥≠∪∩∈±∓,;:%?#&@\"$]|\\ldots|\\setminus|\\begin|\\end|\\pmod|[0-9] +[0-9]"
)
# a numeral in a base is structure; the parser would drop its base
_BASE = re.compile(r"[0-9]\}? ?_")
# the parser would take words for products of their letters
_WORDS = re.compile(
    r"(?<![A-Za-z\\])(?:and|or|if|for|where|when|then|not|but|is|with|all|any|else|otherwise|since|only)"
    r"(?![A-Za-z])"
)
_CALL = re.compile(r"\\?(?<![A-Za-z])(max|min|gcd|lcm) ?(?=\(|\\\{|\{)")
_DOUBLE = re.compile(r"!!(?!!)")
_INDEX = re.compile(r"_\{(\w)\}$")


class _Reader(_Latex2Sympy):  # type: ignore[misc]
    """The parser, with side by side always meaning a product."""

    def convert_postfix_list(self, arr: list[object], i: int = 0) -> object:
        """The parser's own, but for two numbers, which it adds as if they were a mixed number."""
        if i < len(arr) - 1:
            first = self.convert_postfix(arr[i])
            if isinstance(first, sympy.Integer):
                rest = self.convert_postfix_list(arr, i + 1)
                if isinstance(rest, sympy.Rational):
                    return first * rest
        return super().convert_postfix_list(arr, i)


def _exact(match: re.Match[str]) -> str:
    power, whole, digits = match.groups()
    fraction = rf"\frac{{{int(whole + digits)}}}{{{10 ** len(digits)}}}"
    return rf"^{{{fraction}}}" if power else f"({fraction})"


def _repeat(match: re.Match[str]) -> str:
    whole, fixed, period = match.groups()
    value = sympy.Rational(int((whole or "0") + fixed)) + sympy.Rational(int(period), 10 ** len(period) - 1)
    value /= 10 ** len(fixed)
    return rf"(\frac{{{value.p}}}{{{value.q}}})"


def _mixed(match: re.Match[str]) -> str:
    whole, above, below = match.groups()
    before = match.string[: match.start()].rstrip()
    alone = not before or before.endswith(_BEFORE_MIXED)
    if not alone or not 0 < int(above) < int(below):
        return match.group()
    return rf"({whole}+\frac{{{above}}}{{{below}}})"


def _scientific(match: re.Match[str]) -> str:
    return rf"({match[1]}\cdot 10^{{{int(match[2])}}})"


def _prime(match: re.Match[str]) -> str:
    return f"{match[1]}_{{{'p' * len(match[2])}}}"


def _plain(text: str) -> str:
    """A text in the spelling that the parser reads as it is meant."""
    text = _SCIENTIFIC.sub(_scientific, without_thousands(text.strip().replace("°", "")))
    text = text.replace(r"\|", "|").replace(r"\lg", r"\log_{10} ").replace(r"\bmod", r"\mod")
    text = _ACCENTS.sub(lambda m: f"{m[2] or m[3]}_{{{m[1]}}}", text)
    text = _LABEL.sub(r"\1_{\2}", _PRIMES.sub(_prime, text))
    text = _MIXED.sub(_mixed, _REPEATING.sub(_repeat, text))
    text = _DECIMAL.sub(_exact, text).removeprefix("+")
    return _SUBSCRIPT.sub(r"_{\1} ", text)


@lru_cache(maxsize=4096)
def parse(text: str) -> sympy.Expr:
    """The expression that a tidy text is; raises Unreadable."""
    if reason := excess(text):
        raise Unreadable(reason)
    found = _parse(_plain(text), 0)
    # an i is the imaginary unit unless it is the index of a sum
    if sympy.Symbol("i") in found.free_symbols and sympy.Symbol("i") not in found.atoms(sympy.Tuple):
        found = found.subs(sympy.Symbol("i"), sympy.I)
    _weigh(found)
    return found


def _parse(text: str, depth: int) -> sympy.Expr:
    if depth > MOST_CALLS:
        raise Unreadable("too many functions in each other")
    text, values = _calls(text, depth)
    if _QUOTIENT.search(text) and re.search(r"/ ?[0-9.]+ ?\([0-9. ]+\)", text):
        raise Unreadable("a quotient before a bracket: read in two ways")
    text = _FACTOR.sub(r"\1\\cdot ", text) if re.search(r"(?:\\pi|\\theta) ?\(", text) else text
    if not text or _REFUSED.search(_LIMITS.sub("", text)) or _WORDS.search(text) or _BASE.search(text):
        raise Unreadable("no single expression")
    if reason := excess(text) or _large_binomial(text):
        raise Unreadable(reason)
    try:
        return read_expression(text, {str(name): value for name, value in values.items()})
    except Beyond:
        return _by_parser(text, values)


def _by_parser(text: str, values: dict[sympy.Symbol, sympy.Expr]) -> sympy.Expr:
    """What the general parser makes of a text that the small grammar doesn't hold."""
    try:
        found = _Reader(config=CONFIG).parse(text)
    # the parser raises TypeError, SyntaxError and bare Exceptions: all mean unreadable
    except Exception as error:
        raise Unreadable(f"{type(error).__name__}: {error}".partition("\n")[0][:200]) from None
    # complex infinity passes every difference test: dividing by zero is no value
    if not isinstance(found, sympy.Expr) or found.has(sympy.zoo, sympy.nan):
        raise Unreadable(f"no single expression, but a {type(found).__name__}")
    # `f(2)` names a value: as a function it could not be evaluated at points; so does dy/dx
    found = found.replace(lambda e: isinstance(e, AppliedUndef), _named)
    found = found.replace(
        lambda e: isinstance(e, sympy.Derivative) and isinstance(e.expr, sympy.Symbol), _derivative
    )
    # `a_{n}` and `a_n` are one name
    indexed = {s: sympy.Symbol(_INDEX.sub(r"_\1", str(s))) for s in found.free_symbols if "_{" in str(s)}
    # the parser takes gamma for Euler's constant
    found = found.subs(indexed | values | {sympy.EulerGamma: sympy.Symbol("gamma")})
    return found


def _named(value: AppliedUndef) -> sympy.Expr:
    """The value of a function as a name of its own, or a product where the letter names no function."""
    name = str(value.func)
    if len(value.args) == 1 and (len(name) > 1 or name not in CALLED) and "_" not in name and name.islower():
        return sympy.Symbol(name) * value.args[0]
    return sympy.Symbol(str(value))


def _derivative(value: sympy.Derivative) -> sympy.Expr:
    return sympy.Integer(1) if (value.expr,) == value.variables else sympy.Symbol(str(value))


def _calls(text: str, depth: int) -> tuple[str, dict[sympy.Symbol, sympy.Expr]]:
    r"""`\max(a,b)` and `n!!` replaced by names, and what they stand for."""
    values: dict[sympy.Symbol, sympy.Expr] = {}

    def put(value: sympy.Expr) -> str:
        if len(values) >= MOST_CALLS:
            raise Unreadable("too many functions")
        name = f"Q_{{{9000 + 100 * depth + len(values)}}}"
        values[sympy.Symbol(name)] = value
        return f" {name} "

    while match := _CALL.search(text):
        start = match.end() + (text[match.end()] == "\\")
        end = closing(text, start)
        inner = "" if end is None else text[start + 1 : end].removesuffix("\\")
        arguments = [_parse(part, depth + 1) for part in _arguments(inner)]
        if end is None or not arguments:
            raise Unreadable("a function without arguments")
        text = text[: match.start()] + put(_combined(match[1], arguments)) + text[end + 1 :]
    while match := _DOUBLE.search(text):
        begin = _operand(text, match.start())
        value = _parse(text[begin : match.start()], depth + 1)
        text = text[:begin] + put(sympy.factorial2(value, evaluate=False)) + text[match.end() :]
    return text, values


def _arguments(inner: str) -> list[str]:
    parts, depth, at = [], 0, 0
    for i, char in enumerate(inner):
        depth += (char in "({[") - (char in ")}]")
        if char == "," and depth == 0:
            parts.append(inner[at:i])
            at = i + 1
    return [part.strip() for part in (*parts, inner[at:])]


def _combined(name: str, arguments: list[sympy.Expr]) -> sympy.Expr:
    if name in ("max", "min"):
        return (sympy.Max if name == "max" else sympy.Min)(*arguments)
    if all(a.is_Integer for a in map(sympy.simplify, arguments)):
        whole = [sympy.Integer(sympy.simplify(a)) for a in arguments]
        return sympy.Integer(reduce(sympy.igcd if name == "gcd" else sympy.ilcm, whole))
    # of variables: a function that is evaluated at whole numbers
    return sympy.Function(name)(*sorted(arguments, key=sympy.default_sort_key))


def _operand(text: str, end: int) -> int:
    """Where the operand of a factorial that stands at `end` begins."""
    i = end - 1
    while i >= 0 and text[i] == " ":
        i -= 1
    if i >= 0 and text[i] == ")":
        depth = 0
        for j in range(i, -1, -1):
            depth += (text[j] == ")") - (text[j] == "(")
            if depth == 0:
                return j
        raise Unreadable("a bracket without its partner")
    if match := re.search(r"(?:[0-9]+|[A-Za-z])$", text[: i + 1]):
        return match.start()
    raise Unreadable("a factorial of nothing")


def _large_binomial(text: str) -> str | None:
    """The parser evaluates binomials at once, so large ones are refused before."""
    large = any(int(n) > LARGEST_BINOMIAL for n in re.findall(r"[0-9]+", text))
    return "a large binomial coefficient" if large and "\\binom" in text else None


def _weigh(expression: sympy.Basic) -> float:
    """About how many bits the value of a constant has; raises Unreadable when they are too many."""
    # bottom up: what is small in its parts may still explode in their power
    parts = [_weigh(part) for part in expression.args] or [0.0]
    if expression.is_Rational:
        bits = (
            math.log2(abs(expression.p) or 1) + math.log2(expression.q)
            if abs(expression.p) < 1 << 1000
            else 1e3
        )
    # bits of the base times the exponent, or times the most that an exponent of so many bits can be
    elif isinstance(expression, sympy.Pow | sympy.exp):
        base, power = parts[0] if isinstance(expression, sympy.Pow) else 1.5, expression.args[-1]
        times = abs(float(power)) if power.is_Rational and parts[-1] < 60 else 2.0 ** min(parts[-1], 60.0)
        bits = base * max(times, 1.0) if power.is_number else 0.0
    elif isinstance(expression, sympy.factorial | sympy.factorial2 | sympy.binomial | sympy.gamma):
        bits = max(parts[0], 1.0) * 2.0 ** min(parts[0], 60.0)
    elif isinstance(expression, sympy.Sum | sympy.Product):
        bits = 0.0
        for _, low, high in expression.limits:
            if (high - low).is_number and not abs(sympy.N(high - low)) <= MOST_TERMS:
                raise Unreadable("a sum of too many terms")
    else:
        bits = sum(parts)
    if bits > MOST_BITS:
        raise Unreadable("a number of too many digits")
    return bits
