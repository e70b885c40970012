r"""The answer that counts is found whatever stands around it, and arithmetic in process is exact.

Values are checked against Python's fractions, and answers against their own rewriting: whitespace, notation, order.
"""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.verify.maths.answers import excess, final_answer, last_boxed, quick, rational, tidy
from cascade_rl.verify.maths.numbers import from_words


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
        (r"\fbox{204}", "204"),
        (r"\boxed{1} \fbox{2}", "2"),
        (r"\boxed 204", "204"),
        (r"\boxed \frac12", r"\frac12"),
        (r"\boxed{5}, put in \boxed as asked", "5"),
        (r"\boxed 6 is not \boxed{5}", "5"),
        (r"\\boxed{5}", None),
        (r"\boxed18}", None),
        (r"\boxed 18}", None),
        (r"in \boxed as asked", None),
        (r"\fboxed{5}", None),
        ("18", None),
        ("", None),
    ],
)
def test_last_boxed(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        (r"\boxed{113}, \boxed{204}", "113, 204"),
        (r"\boxed{1} and \boxed{2}", "1, 2"),
        (r"$\boxed{1}$, $\boxed{2}$, and $\boxed{3}$", "1, 2, 3"),
        (r"\boxed{1}. No, it is \boxed{2}", "2"),
        (r"\boxed{\boxed{3}}", r"\boxed{3}"),
    ],
)
def test_adjacent_boxes_are_a_list_as_well(text, joined):
    assert final_answer(text).joined == joined


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("the answer is 204", "204"),
        ("The final answer is: 5.", "5"),
        ("The answer is B.", "B"),
        ("Answer: $x+1$", "$x+1$"),
        ("so the answer is **5** because it is prime", "5"),
        ("The answer is 4. No: the answer is 5.", "5"),
        ("work\n\n#### 12", "12"),
        ("**5**", "5"),
        (r"\[5\]", "5"),
        (r"so\n\(5\)".replace(r"\n", "\n"), "5"),
        ("$5$", "5"),
        ("1+1\n2", "2"),
        ("no idea but 204 appears here", None),
        ("I count 3 apples and 4 pears.", None),
        ("", None),
    ],
)
def test_a_bare_answer_counts_only_where_that_is_asked_for(text, stated):
    found = final_answer(text, bare=True)
    assert (found and found.last) == stated
    assert final_answer(text) is None


def test_a_box_goes_before_what_is_bare():
    assert final_answer(r"The answer is \boxed{5}. The answer is 6.", bare=True).last == "5"


SAME = [
    ("18", "18"), (" 18. ", "18"), ("$18$", "18"), (r"\(18\)", "18"), ("+18", "18"), ("018", "18"), ("1,234", "1234"),
    ("1{,}234", "1234"), (r"1\,234", "1234"), (r"11,\!111,\!100", "11111100"), ("1 234 567", "1234567"),
    ("1,234,567.5", "1234567.5"), ("18.0", "18"), (".5", "0.5"), ("1/2", "0.5"), (r"\frac{1}{2}", "1/2"),
    (r"\dfrac12", "0.5"), (r"-\frac{3}{4}", "-0.75"), ("-3/4", "3/-4"), ("−5", "-5"), ("- 5", "-5"), (r"50\%", "50"),
    (r"50\%", "0.5"), (r"\$12", "12"), (r"90^\circ", "90"), ("x = 4", "4"), (r"\text{Yes}", "yes"), (r"5\text{ }", "5"),
    (r"\left(1, 2\right)", "(1, 2)"), (r"\boxed{3}", "3"), ("x+1", "x+1"), ("1e5", "100000"), ("1.5e-3", "0.0015"),
    ("3 1/2", "7/2"), (r"3\frac12", "3.5"), (r"0.\overline{3}", "1/3"), (r"1.2\overline{34}", "611/495"),
    ("seven", "7"), (r"\text{twenty-one}", "21"), ("three hundred and five", "305"), ("two thousand", "2000"),
    ("18 apples", "18"), (r"5\text{ cm}", "5"), ("5 cm", r"5 \text{ centimeters}"), ("5 dollars", r"\$5"),
    ("1010_2", "1010_{2}"), ("42_{10}", "42"), (r"\varnothing", r"\emptyset"), (r"\{\}", r"\emptyset"), ("(B)", "B"),
    (r"\textbf{(B) }12", "B"), (r"\textbf{(B) }12", "12"), (r"\text{B}", "B"), ("2,1", "1, 2"), (r"\{2, 1\}", "1,2"),
    (r"1 \text{ or } 2", "1,2"), (r"\pm 3", "3, -3"), ("x=1, x=2", "1,2"), ("(3,\\infty)", "x>3"), ("3<x", "x>3"),
    ("x>3", "(3,+\\infty)"), (r"1\le x\le 2", "[1,2]"), ("[1,2]", r"2\ge x\ge 1"), ("x<1 \\text{ or } x>2",
    r"(-\infty,1)\cup(2,\infty)"), (r"x\ne 3", r"(-\infty,3)\cup(3,\infty)"), (r"\mathbb{R}", r"(-\infty,\infty)"),
    ("98,118,122", "122, 118, 98"), ("x \\in [0,1]", "[0,1]"), ("D=(0,1)", "(0,1)"), ("12:00", "12:00"),
]  # fmt: skip
DIFFERENT = [
    ("18", "81"), ("", "0"), ("0.333", "1/3"), ("0.33333333", "1/3"), ("5", "-5"), ("1,23", "123"),
    ("1,234", "1.234"), ("x", "X"), ("10, 20", "1020"), ("9" * 5000, "9" * 4999), ("5 m", "5 cm"),
    ("52_8", "42"), ("1010", "1010_2"), ("1010_2", "1010_3"), ("12:00", "1:00"), ("(1,2)", "(2,1)"), ("(0,1)", "[0,1)"),
    ("[1,2]", "(1,2)"), ("x>3", "[3,\\infty)"), ("x>=3", "x>3"), ("x<3", "x>3"), ("1,2", "1"), ("1", "1,2"),
    ("1,1,2", "1,2,2"), ("2021", r"\pm 2021"), (r"\textbf{(C) }12", "B"), ("C", "B"), ("even", "odd"), ("no", "yes"),
    ("1010_2", "1010"), ("5=5", "5"), ("0=0", "0"), (r"\infty", r"-\infty"), ("6", "5"),
    (r"\begin{pmatrix}2\\1\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"), ("eleven", "12"), ("1e5", "1e6"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "gold"), SAME)
def test_equal_without_algebra(given, gold):
    assert quick(gold, given) is True


@pytest.mark.parametrize(("given", "gold"), DIFFERENT)
def test_different_without_algebra(given, gold):
    assert quick(gold, given) is False


@pytest.mark.parametrize(
    ("gold", "given"),
    [
        ("12", r"6\times 7"),
        (r"2\sqrt3", r"\sqrt{12}"),
        ("5", "x+y=5"),
        ("1/3", "0.333..."),
        ("3", "٣"),
        ("e", "2.718"),
    ],
)
def test_what_takes_algebra_is_left_open(gold, given):
    assert quick(gold, given) in (None, False)


@pytest.mark.parametrize(
    ("gold", "given"),
    [
        ("5", r"5 \text{ or } 6"), ("5", r"5 \text{ or 6}"), ("5", r"5\text{ (or 6)}"), ("5", "5 or 6"), ("5", "5 not six"),
        ("5", "5, 6"), ("5", r"\{5, 6\}"), ("5", "x=6=5"), ("5", "x=5, x=6"), ("5", r"\pm 5"), ("5", "5 / 6"), ("5", "five six"),
        ("7", "three four"), ("11", "five six"), ("7", "seven or eight"), ("yes", "yes or no"), ("B", "(B) or (C)"),
        ("B", "B, C"), ("B", "(B) 12 (C) 13"), ("B", r"\text{(B) and (C)}"), ("12", "(B) 12 or 13"),
        ("x>3", r"x>3 \text{ or } x<3"),
        ("100", "one hundred two hundred"), ("20", "twenty zero zero"),
    ],
)  # fmt: skip
def test_hedging_earns_nothing(gold, given):
    assert not quick(gold, given)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("zero", 0), ("nineteen", 19), ("ninety-nine", 99), ("one hundred", 100), ("two hundred and one", 201),
        ("three thousand and twelve", 3012), ("one million two hundred thousand five hundred and forty-two", 1200542),
        ("hundred", None), ("and one", None), ("one and", None), ("ten one", None), ("twenty twelve", None), ("", None),
        ("five thousand million", None), ("seven apples", None),
    ],
)  # fmt: skip
def test_numbers_in_words(words, value):
    assert from_words(words) == value


@given(st.fractions())
def test_a_rational_equals_each_of_its_spellings(value):
    sign = "-" if value < 0 else ""
    spellings = [f"{value}", f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"]
    assert [rational(tidy(s)) for s in spellings] == [value, value]
    assert quick(*spellings)


@given(st.integers(-(10**9), 10**9), st.integers(0, 6))
def test_a_decimal_is_the_rational_it_spells(n, places):
    digits = str(abs(n)).zfill(places + 1)
    text = ("-" if n < 0 else "") + digits[: len(digits) - places] + "." + digits[len(digits) - places :]
    assert rational(tidy(text)) == Fraction(n, 10**places)


@given(
    st.integers(0, 99),
    st.lists(st.integers(0, 9), max_size=4),
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
)
def test_a_repeating_decimal_is_the_limit_of_its_digits(whole, fixed, period):
    head = f"{whole}." + "".join(map(str, fixed))
    value = rational(f"{head}\\overline{{{''.join(map(str, period))}}}")
    long = Fraction(head + "".join(map(str, period)) * 20)
    assert 0 <= value - long <= Fraction(1, 10 ** (len(fixed) + 20 * len(period)))


@given(st.integers(), st.integers())
def test_integers_are_equal_as_numbers_only(a, b):
    assert quick(str(a), str(b)) == (a == b) == quick(str(b), str(a))
    assert quick(f"{a:,}", f"{b}") == (a == b)


numbers = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.fractions(-100, 100, max_denominator=50).map(str),
    st.decimals(-100, 100, places=2).map(str),
)


@given(st.lists(numbers, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_sets_have_no_order_and_keep_their_members(items, rng):
    shuffled = rng.sample(items, len(items))
    for left, right in (("", ""), (r"\{", r"\}")):
        gold, given_ = (left + ", ".join(x) + right for x in (items, shuffled))
        assert quick(gold, given_) is True
        wrong = [str(Fraction(shuffled[0]) + 1), *shuffled[1:]]
        assert quick(gold, left + ", ".join(wrong) + right) is False


@given(numbers, numbers)
def test_a_pair_keeps_its_order(a, b):
    equal = Fraction(a) == Fraction(b)
    assert quick(f"({a}, {b})", f"({b},{a})") is equal
    assert quick(f"[{a}, {b})", f"[{a},{b})") is True
    assert quick(f"[{a}, {b})", f"({a},{b})") is False


def spaced(text: str, rng: random.Random) -> str:
    """The text with spaces where they mean nothing."""
    wide = "".join(c + (rng.choice(["", " ", r"\, "]) if c in "+-=(),<>" else "") for c in text)
    return rng.choice(["{}", "${}$", r"\({}\)", " {} ", r"\displaystyle {}", "{}."]).format(wide)


@given(st.sampled_from([gold for _, gold in SAME]), st.randoms(use_true_random=False))
def test_whitespace_and_delimiters_mean_nothing(gold, rng):
    if "\\text" not in gold and "1,234" not in gold:
        assert quick(gold, spaced(gold, rng)) is True


@given(st.sampled_from([p for p in SAME + DIFFERENT if "\\text" not in "".join(p)]))
def test_the_order_of_arguments_does_not_matter(pair):
    assert quick(*pair) == quick(*reversed(pair))


@given(st.text(alphabet="{}\\boxed 1/,.-$^", max_size=60), st.text(max_size=30))
def test_no_text_upsets_it(text, gold):
    found = final_answer(text, bare=True)
    assert quick(gold, found.last if found else text) in (True, False, None)


PIECES = r"""\frac \sqrt { } ( ) [ ] , 1 2 12 x ^ _ \text{ or and = < \le \pm \cup \in \{ \} % $ . / - + & \\ \boxed{ B (B) :
    ; | \infty \mathbb{R} e5 \overline{ seven cm ! \begin{pmatrix} \end{pmatrix} ² ٣"""
pieces = st.sampled_from(PIECES.split())


@given(st.lists(pieces, max_size=40).map("".join), st.lists(pieces, max_size=12).map("".join))
def test_no_notation_upsets_it_and_every_text_equals_itself(text, other):
    assert quick(text, text) is bool(text)
    assert quick(other, text) in (True, False, None)
    assert excess(text) is None or isinstance(excess(text), str)


@given(st.text(alphabet="{}boxed 1/,.-$^", max_size=60))
def test_a_box_at_the_end_is_found_behind_any_braces(text):
    assert last_boxed(text + r"\boxed{7}") == "7"


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 50_000,
        "{" * 200_000,
        "\\boxed" + " " * 200_000,
        "1," * 100_000,
        "1 " * 50_000,
        "\\" * 99_999,
    ],
)
@pytest.mark.timeout(20)
def test_huge_text_is_read_to_the_end(text):
    final_answer(text, bare=True)
    assert quick("1", text) is False


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x+" * 200 + "x", "401 characters"),
        ("(" * 31 + "x" + ")" * 31, "31 nested brackets"),
        ("9^{9^{9^9}}", "a tower of 3 exponents"),
        ("x+" + "7" * 251, "a number of more than 250 digits"),
        ("10^{2^n-n-1}", None),
        ("x^2+y^2+z^{10}", None),
    ],
)
def test_what_is_too_large_is_named(text, reason):
    assert excess(text) == reason
