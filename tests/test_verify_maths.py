r"""The last box is found whatever stands around it; numbers are compared as rationals, all else as text."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.verify.maths import equal, last_boxed, normalise, rational


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{18}", "18"),
        (r"first \boxed{1}, then \boxed{2}.", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\boxed{3}}", r"\boxed{3}"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"{ \boxed{5}", "5"),
        (r"} \boxed{5}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{}", ""),
        (r"\\boxed{5}", None),
        (r"\boxed 5", None),
        (r"\fboxed{5}", None),
        ("18", None),
        ("", None),
    ],
)
def test_last_boxed(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("given", "gold"),
    [
        ("18", "18"), (" 18. ", "18"), ("$18$", "18"), (r"\(18\)", "18"), ("+18", "18"), ("018", "18"),
        ("1,234", "1234"), ("1{,}234", "1234"), ("1,234,567.5", "1234567.5"), ("18.0", "18"), (".5", "0.5"),
        ("1/2", "0.5"), (r"\frac{1}{2}", "1/2"), (r"\dfrac12", "0.5"), (r"-\frac{3}{4}", "-0.75"),
        ("-3/4", "3/-4"), ("−5", "-5"), ("- 5", "-5"), (r"50\%", "50"), (r"\$12", "12"), (r"90^\circ", "90"),
        ("x = 4", "4"), (r"\text{Yes}", "yes"), (r"5\text{ }", "5"), (r"\left(1, 2\right)", "(1, 2)"),
        (r"\boxed{3}", "3"), ("x+1", "x+1"),
    ],
)  # fmt: skip
def test_equal(given, gold):
    assert equal(given, gold)


@pytest.mark.parametrize(
    ("given", "gold"),
    [
        ("18", "81"), ("", "0"), ("", ""), ("0.333", "1/3"), ("1/0", "1/0.0"), ("5", "-5"), ("1e3", "1000"),
        ("1,23", "123"), ("1,234", "1.234"), ("x", "X"), ("18 apples", "18"), ("1 2", "12"), ("٣", "3"),
        ("10, 20", "1020"), ("nan", "0"), ("9" * 5000, "9" * 4999),
    ],
)  # fmt: skip
def test_not_equal(given, gold):
    assert not equal(given, gold)


@given(st.fractions())
def test_a_rational_equals_each_of_its_spellings(value):
    sign = "-" if value < 0 else ""
    spellings = [f"{value}", f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"]
    assert [rational(normalise(s)) for s in spellings] == [value, value]
    assert equal(*spellings)


@given(st.integers(-(10**9), 10**9), st.integers(0, 6))
def test_a_decimal_is_the_rational_it_spells(n, places):
    digits = str(abs(n)).zfill(places + 1)
    text = ("-" if n < 0 else "") + digits[: len(digits) - places] + "." + digits[len(digits) - places :]
    assert rational(normalise(text)) == Fraction(n, 10**places)


@given(st.integers(), st.integers())
def test_integers_are_equal_as_numbers_only(a, b):
    assert equal(str(a), str(b)) == (a == b) == equal(str(b), str(a))


@given(st.text(alphabet="{}\\boxed 1/,.-$^", max_size=60), st.text(max_size=30))
def test_no_text_upsets_it(text, gold):
    assert equal(last_boxed(text) or text, gold) in (True, False)


@given(st.text(alphabet="{}boxed 1/,.-$^", max_size=60))
def test_a_box_at_the_end_is_found_behind_any_braces(text):
    assert last_boxed(text + r"\boxed{7}") == "7"


@pytest.mark.parametrize("text", ["\\boxed{" * 50_000, "{" * 200_000, "\\boxed" + " " * 200_000, "1," * 100_000])
def test_huge_text_is_read_in_linear_time(text):
    began = time.perf_counter()
    last_boxed(text)
    equal(text, "1")
    assert time.perf_counter() - began < 2
