r"""Quantities: units of a written list, money, things that are counted, numbers in words; and what is none.

The factors of the list are checked against sympy's own table of units, verdicts against corpora and laws.
"""

import json
import random
from fractions import Fraction
from pathlib import Path

import pytest
import sympy.physics.units as si
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Rational, pi

from cascade_rl.verify.maths.algebra import judge
from cascade_rl.verify.maths.answers import quick, tidy
from cascade_rl.verify.maths.dimensions import BY_SYMBOL, unit_of
from cascade_rl.verify.maths.unit_table import BARRED, NUMBER_WORDS
from cascade_rl.verify.maths.units import measured


def equal(gold, answer):
    known = quick(gold, answer)
    return judge(gold, answer)["outcome"] == "right" if known is None else known


CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "cases" / "maths_units.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("case", [c for c in CASES if c["equal"]], ids=lambda c: f"{c['gold']} {c['answer']}")
def test_quantities_that_are_one(case):
    assert equal(case["gold"], case["answer"])


@pytest.mark.parametrize(
    "case", [c for c in CASES if not c["equal"]], ids=lambda c: f"{c['gold']} {c['answer']}"
)
def test_quantities_that_differ(case):
    assert not equal(case["gold"], case["answer"])


def test_a_gold_with_text_that_is_no_unit_is_readable_and_equals_itself():
    assert judge(r"5\text{ widget}", "5")["outcome"] == "wrong"
    assert equal(r"5\text{ widget}", r"5 \text{widget}")
    assert judge(r"\frac{n}{2}\text{ if }n\text{ is even}", r"\frac{n}{2}")["outcome"] == "wrong"


OF_SYMPY = {
    "m": si.meter, "g": si.gram, "s": si.second, "A": si.ampere, "K": si.kelvin, "mol": si.mole, "N": si.newton,
    "J": si.joule, "W": si.watt, "Pa": si.pascal, "Hz": si.hertz, "V": si.volt, "Ω": si.ohm, "F": si.farad, "T": si.tesla,
    "Wb": si.weber, "H": si.henry, "C": si.coulomb, "L": si.liter, "min": si.minute, "h": si.hour, "day": si.day,
    "in": si.inch, "ft": si.foot, "yd": si.yard, "mi": si.mile, "ly": si.lightyear,
    "au": si.astronomical_unit, "lb": si.pound, "atm": si.atmosphere, "psi": si.psi, "ha": si.hectare, "t": si.tonne,
    "km": si.kilometer, "cm": si.centimeter, "mm": si.millimeter, "kg": si.kilogram, "mg": si.milligram, "ms": si.millisecond,
}  # fmt: skip


@pytest.mark.parametrize("symbol", OF_SYMPY)
def test_factors_and_dimensions_are_those_of_sympy(symbol):
    unit = BY_SYMBOL[symbol]
    base = si.meter**0
    for name, power in unit.powers:
        base *= OF_SYMPY[name] ** power
    ratio = si.convert_to(
        OF_SYMPY[symbol] / base, [si.meter, si.gram, si.second, si.ampere, si.kelvin, si.mole]
    )
    ratio = si.convert_to(ratio, [si.kilogram, si.meter, si.second, si.ampere]).simplify()
    ours = Rational(unit.factor.numerator, unit.factor.denominator) * pi**unit.pi
    # sympy keeps a few of them as decimals
    assert abs(float(ratio / ours) - 1) < 1e-6, (ratio, ours)


def test_every_dimensioned_pair_converts_and_every_other_pair_differs():
    """Between any two units of one dimension a value is converted; between others it is never the same."""
    rng = random.Random(0)
    symbols = [
        s
        for s, u in BY_SYMBOL.items()
        if s not in ("ordinal", "mu_area", "jin", "p", "jiao", "fen") and len(unit_of(s)) == 1
    ]
    for _ in range(3000):
        a, b = rng.choice(symbols), rng.choice(symbols)
        x, y = unit_of(a)[0], unit_of(b)[0]
        value = Fraction(rng.randint(1, 40), rng.choice((1, 2, 4)))
        gold, plain = rf"{value}\text{{ {a}}}", rf"{value}\text{{ {b}}}"
        if x.powers != y.powers or x.pi != y.pi:
            assert not equal(gold, plain), (gold, plain)
            continue
        converted = value * x.factor / y.factor
        assert equal(gold, rf"{converted}\text{{ {b}}}"), (gold, converted, b)
        assert equal(gold, plain) == (x.factor == y.factor)


@pytest.mark.parametrize(
    "word", sorted(BARRED - set(NUMBER_WORDS) - {"percent", "i", "radians", "percents", "in"})
)
def test_barred_words_are_nothing_that_is_counted(word):
    assert not equal("5", rf"5\text{{ {word}}}")
    assert not equal("5", rf"5\text{{ {word} apples}}") or word in ("more", "fewer", "less")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abcdefghimnoprstuvwxyz .-/^23", max_size=12), st.integers(2, 99))
def test_no_text_behind_a_number_makes_another_number_of_it(tail, value):
    """Whatever stands behind it, what counts is that number, a multiple of it that words say, or nothing."""
    text, unit, percent = measured(tidy(rf"{value}\text{{{tail}}}"))
    if (
        unit
        and unit[0] != "?"
        and not percent
        and not any(w.rstrip("s") in NUMBER_WORDS for w in tail.split())
    ):
        assert text == str(value)
    assert not equal(str(value + 1), rf"{value}\text{{{tail}}}") or any(
        w.rstrip("s") in NUMBER_WORDS for w in tail.split()
    )
