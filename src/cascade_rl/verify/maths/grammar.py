r"""A small grammar of LaTeX expressions, read at once; what it lacks is left to the general parser.

It holds what nearly all answers are made of: numbers, letters with an index, Greek, sums, products,
quotients and powers, `\frac`, `\sqrt`, `\binom`, |x|, floors and ceilings, factorials and the usual
functions, in a fraction of a millisecond. Binding is that of the general parser, which reads the rest
(integrals, sums, limits, unknown functions) in tens of milliseconds: side by side binds tighter than a
slash, so `1/2x` is 1/(2x). Nothing is evaluated here, since a power tower would never end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

import sympy


class Beyond(Exception):
    """The text is not of this grammar; the general parser may know more."""


_TOKEN = re.compile(r" *(\\[A-Za-z]+|[0-9]+|[A-Za-z]|[-+*/^_(){}\[\]|!])")
_FUNCTIONS = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec,
    "csc": sympy.csc,
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "sinh": sympy.sinh, "cosh": sympy.cosh,
    "tanh": sympy.tanh, "exp": sympy.exp, "ln": sympy.log, "log": sympy.log,
}  # fmt: skip
_INVERSE = {"sin": sympy.asin, "cos": sympy.acos, "tan": sympy.atan}
_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi "
    "psi omega varphi varepsilon vartheta Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega"
)
_GREEK = frozenset(_LETTERS.split())
# a bracket behind one of these may hold the argument of a function
CALLED = frozenset("fghpquvwFGHPQTSRUVWLKMNABCDEXYZ")
_OPENING = {"(": ")", "{": "}", "[": "]"}


def read_expression(text: str, values: Mapping[str, sympy.Expr]) -> sympy.Expr:
    """The expression of a text, `values` standing for names in it; raises Beyond."""
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise Beyond
        tokens.append(match[1])
        at = match.end()
    grammar = _Grammar(tokens, values)
    found = grammar.sum(False)
    if grammar.at != len(tokens):
        raise Beyond
    return found


def product(*factors: sympy.Expr) -> sympy.Expr:
    """A product that is not worked out, but for whole numbers and fractions alone."""
    if len(factors) == 1:
        return factors[0]
    if all(factor.is_Rational for factor in factors):
        return sympy.Mul(*factors)
    return sympy.Mul(*factors, evaluate=False)


def quotient(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """A quotient that is not worked out, but for two whole numbers."""
    if b == 0:
        raise Beyond
    if a.is_Integer and b.is_Integer:
        return sympy.Rational(a, b)
    return sympy.Mul(a, sympy.Pow(b, -1, evaluate=False), evaluate=False)


def negative(a: sympy.Expr) -> sympy.Expr:
    """The opposite, worked out of numbers only."""
    return -a if a.is_Rational else sympy.Mul(sympy.Integer(-1), a, evaluate=False)


class _Tokens:
    """Tokens that are used up one after the other."""

    def __init__(self, tokens: list[str], values: Mapping[str, sympy.Expr]) -> None:
        self.tokens, self.values, self.at = tokens, values, 0

    def peek(self) -> str:
        """The next token, or nothing at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        """The next token, which is used up."""
        token = self.peek()
        self.at += 1
        return token

    def want(self, token: str) -> None:
        """Use up a token that must stand here."""
        if self.take() != token:
            raise Beyond

    def beyond(self) -> NoReturn:
        """Leave it to the general parser."""
        raise Beyond


class _Names(_Tokens):
    """Numbers, and letters with their indices."""

    def name(self, token: str) -> sympy.Expr:
        """A number, or a letter, in itself."""
        if token.isdigit():
            return sympy.Integer(int(token))
        if token in ("e", "i"):
            return sympy.E if token == "e" else sympy.I
        if token == r"\pi":
            return sympy.pi
        if token == r"\infty":
            return sympy.oo
        bare = token.removeprefix("\\")
        if len(bare) == 1 or bare in _GREEK:
            return sympy.Symbol(bare)
        raise Beyond

    def letter(self, token: str) -> sympy.Expr:
        """A number, or a letter with its index."""
        if not token or not (token.isalnum() or token.startswith("\\")):
            raise Beyond
        after = self.peek()
        if (token in CALLED or token == r"\Gamma") and after == "(":
            raise Beyond  # perhaps a function
        if token == "d" and after.isalpha():
            raise Beyond  # perhaps a differential
        if after != "_":
            return self.name(token)
        self.take()
        return self.indexed(token)

    def indexed(self, token: str) -> sympy.Expr:
        """A letter with an index, which is part of its name."""
        self.name(token)
        index = [self.take()]
        if index[0] == "{":
            index = []
            while (part := self.take()) != "}":
                if not part or part in "{^_":
                    raise Beyond
                index.append(part)
        text = "".join(index)
        if not text or not re.fullmatch(r"[A-Za-z0-9+-]+", text) or self.peek() == "(":
            raise Beyond
        bare = token.removeprefix("\\")
        full = f"{bare}_{{{text}}}"
        return (
            self.values[full]
            if full in self.values
            else sympy.Symbol(f"{bare}_{text}" if len(text) == 1 else full)
        )


class _Grammar(_Names):
    """A descent through the tokens; `bars` says whether a bar would close an absolute value."""

    def sum(self, bars: bool) -> sympy.Expr:
        """Terms with their signs."""
        terms = [self.term(bars)]
        while self.peek() in ("+", "-"):
            terms.append(negative(self.term(bars)) if self.take() == "-" else self.term(bars))
        return terms[0] if len(terms) == 1 else sympy.Add(*terms, evaluate=False)

    def term(self, bars: bool) -> sympy.Expr:
        """Factors joined by signs of multiplication and division, from left to right."""
        if self.peek() in ("+", "-"):
            return negative(self.term(bars)) if self.take() == "-" else self.term(bars)
        found = self.juxtaposed(bars)
        while self.peek() in ("*", "/", r"\cdot"):
            sign = self.take()
            minus = self.peek() == "-"
            if minus:
                self.take()
            other = self.juxtaposed(bars)
            other = negative(other) if minus else other
            found = quotient(found, other) if sign == "/" else product(found, other)
        return found

    def starts(self, bars: bool) -> bool:
        """Whether another factor begins here."""
        token = self.peek()
        if token == "|":
            return not bars
        if token.startswith("\\"):
            return token not in (r"\rfloor", r"\rceil", r"\cdot")
        return bool(token) and (token.isalnum() or token in _OPENING)

    def juxtaposed(self, bars: bool) -> sympy.Expr:
        """Factors side by side."""
        factors = [self.powered(bars)]
        while self.starts(bars):
            factors.append(self.powered(bars))
        return product(*factors)

    def powered(self, bars: bool) -> sympy.Expr:
        """A factor with its factorials or its exponent."""
        token = self.peek()
        if token[:1] == "\\" and token[1:] in _FUNCTIONS:
            return self.function(self.take()[1:], bars)
        found = self.atom(token)
        if self.peek() == "!":
            self.take()
            if self.peek() in ("!", "^"):
                raise Beyond
            return sympy.factorial(found, evaluate=False)
        if self.peek() != "^":
            return found
        power = self.exponent()
        if self.peek() in ("!", "^", "_"):
            raise Beyond
        if found is sympy.E:
            return sympy.exp(power, evaluate=False)
        return sympy.Pow(found, power, evaluate=False)

    def exponent(self) -> sympy.Expr:
        """What stands behind a `^`: in braces, or a single sign."""
        self.want("^")
        if self.peek() == "{":
            self.take()
            found = self.sum(False)
            self.want("}")
            return found
        token = self.peek()
        if not token.isalnum() and token not in (r"\pi",):
            raise Beyond
        return self.name(self.take())

    def atom(self, token: str) -> sympy.Expr:
        """A number, name, bracket, fraction, root, binomial, absolute value, floor or ceiling."""
        if token in _OPENING:
            return self.enclosed(token, _OPENING[token])
        if token == "|":
            self.take()
            found = self.sum(True)
            self.want("|")
            return sympy.Abs(found, evaluate=False)
        if token in (r"\lfloor", r"\lceil"):
            found = self.enclosed(token, "\\r" + token[2:])
            return (sympy.floor if token == r"\lfloor" else sympy.ceiling)(found, evaluate=False)
        if token == r"\frac":
            self.take()
            return quotient(self.enclosed("{", "}"), self.enclosed("{", "}"))
        if token == r"\binom":
            self.take()
            above, below = self.enclosed("{", "}"), self.enclosed("{", "}")
            return sympy.binomial(above, below, evaluate=False)
        if token == r"\sqrt":
            self.take()
            index = self.enclosed("[", "]") if self.peek() == "[" else sympy.Integer(2)
            inverse = quotient(sympy.Integer(1), index)
            return sympy.Pow(self.enclosed("{", "}"), inverse, evaluate=False)
        return self.letter(self.take())

    def enclosed(self, opening: str, closing: str) -> sympy.Expr:
        """An expression in brackets."""
        self.want(opening)
        found = self.sum(False)
        self.want(closing)
        return found

    def function(self, name: str, bars: bool) -> sympy.Expr:
        """A function with its power, its base and its argument."""
        kind, power, base = _FUNCTIONS[name], None, None
        if name == "log":
            base = sympy.Integer(10)
            if self.peek() == "_":
                self.take()
                base = self.enclosed("{", "}") if self.peek() == "{" else self.name(self.take())
        if self.peek() == "^":
            power = self.exponent()
            if power == -1:
                kind, power = _INVERSE.get(name) or self.beyond(), None
        argument = self.argument(bars)
        found = kind(argument, base, evaluate=False) if base is not None else kind(argument, evaluate=False)
        return found if power is None else sympy.Pow(found, power, evaluate=False)

    def argument(self, bars: bool) -> sympy.Expr:
        """A bracket, or factors side by side up to the next function."""
        if self.peek() == "(":
            found = self.enclosed("(", ")")
            if self.peek() in ("^", "!"):
                raise Beyond
            return found
        factors = [self.powered(bars) if self.peek()[1:] not in _FUNCTIONS else self.beyond()]
        while self.starts(bars) and self.peek()[1:] not in _FUNCTIONS:
            factors.append(self.powered(bars))
        if self.peek() in ("/", "*", r"\cdot"):
            raise Beyond
        return product(*factors)
