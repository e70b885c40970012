r"""Structured answers: each rule of docs/maths.md that is about notation, structure or extraction, with its tests.

Pairs are (gold, reply). `equal` is the whole verdict: strings and arithmetic first, then algebra.
"""

import asyncio

import pytest

from cascade_rl.domain import Services
from cascade_rl.domains import maths
from cascade_rl.testing import InlineVerifiers
from cascade_rl.types import Message, Mode, Problem, Rollout
from cascade_rl.verify.maths.algebra import judge
from cascade_rl.verify.maths.answers import final_answer, quick, tidy
from cascade_rl.verify.maths.sets import same_sets


def equal(gold, given):
    known = quick(gold, given)
    return judge(gold, given)["outcome"] == "right" if known is None else known


def reward(gold, reply):
    problem = Problem("p", "maths", (Message("user", "?"),), {"answer": gold, "bare": True}, Mode.INSTRUCT)
    return asyncio.run(
        maths.grade(problem, Rollout.of_text(reply), Services(verifiers=InlineVerifiers()))
    ).reward


def both(*pairs):
    """A pair each way."""
    return [*pairs, *((b, a) for a, b in pairs)]


def cases(*pairs):
    return pytest.mark.parametrize(("gold", "given"), pairs)


# --- thousands


@cases(
    *both(
        ("1000", "1,000 cm"), ("1000", r"1{,}000\%"), ("x = 1{,}000", "1000"), (r"1{,}000\pi", r"1000\pi"),
        ("(1000, 2)", "(1{,}000, 2)"), ("(1000, 2)", "(1,000, 2)"), ("11111100", r"11,\! 111,\! 100"),
        ("14916", "14{, }916"), ("1005", "1{,}000+5"), ("1234567.5", "1,234,567.5"),
        (r"\{1000, 2000\}", "1,000, 2,000"),
        (r"\frac{1,000}{3}", r"\frac{1000}{3}"), ("1234", r"1\,234"), ("1234", r"1\ 234"),
        ("98,118,122", "122, 118, 98"),
        ("x=1,234", "1234"), ("1000 < x < 2000", "1,000 < x < 2,000"), ("1000:3", "1,000:3"),
    )
)  # fmt: skip
def test_digits_are_grouped_beside_anything(gold, given):
    assert equal(gold, given)


@cases(
    ("1{,}234", "234, 1"), ("1,234", "234, 1"), ("1,234.5", "234.5, 1"), (r"1{,}000\text{ cm}", "0, 1"),
    (r"10{,}000\%", "0, 10"), ("0, 1", r"1{,}000\text{ cm}"), ("1234", "1, 234"), ("1234", "(1,234)"),
    ("(1,234)", "1234"),
    (r"\{1,234\}", "1234"), ("1,234", "1234, 0"), ("(1,234)", "(1, 243)"), ("0,100", "100"), ("1,23", "123"),
    ("1000", "1,0000"), ("(1,100)", "(1100)"), ("[1,234]", "1234"),
)  # fmt: skip
def test_a_grouped_number_is_no_list_of_its_groups(gold, given):
    assert not equal(gold, given)


# --- names


@cases(
    *both(
        ("(x,y)=(1,2)", "(1,2)"), ("(p,q)=(3,2)", "p=3,q=2"), ("(1,2)", "x=1, y=2"), ("(1,2)", "y=2, x=1"),
        ("x=1, y=2", "y=2, x=1"), ("AB=4, CD=5", "CD=5 \\text{ and } AB=4"), ("x=1, y=2", "(x,y)=(1,2)"),
        ("x=1, y=2", "1, 2"), ("x_1=5, x_2=7", "5, 7"), (r"\begin{cases}x=1\\y=2\end{cases}", "(1,2)"),
        (r"\begin{cases}x=1,\\y=2.\end{cases}", r"\begin{cases}x=1\\y=2\end{cases}"), ("x=1, x=2", "1, 2"),
        ("(x,y)=(1,2) \\text{ or } (x,y)=(3,4)", "(1,2), (3,4)"), ("x=1,y=2 \\text{ or } x=3,y=4", "(1,2),(3,4)"),
        ("x=1,y=2; x=3,y=4", "(3,4),(1,2)"), ("(a,b,c)=(1,2,3)", "c=3, a=1, b=2"),
        ("x=1,\\quad y=2", "x=1 and y=2"),
        ("m=3, b=5", "b=5, m=3"), ("(1,2)", "(y,x)=(2,1)"), ("(x,y)=(1,2)", "(y,x)=(2,1)"), ("x = 5", "5 = x"),
        ("x_1=1, x_2=2", "x=2, x=1"), ("(1,2)", r"\{(1,2)\}"), ("(1,2)", r"x=1 \\ y=2"),
        (r"(x,y) \in \{(1,2),(2,1)\}", "(2,1), (1,2)"), ("(0;1),(1;0)", "(1,0),(0,1)"),
    )
)  # fmt: skip
def test_named_values_compare_by_name(gold, given):
    assert equal(gold, given)


@cases(
    *both(
        ("(1,2)", "y=1, x=2"), ("x=1, y=2", "2, 1"), ("AB=4,CD=5", "5, 4"), ("(x,y)=(1,2)", "(2,1)"),
        ("x=1, y=2", "y=1, x=2"),
        ("(p,q)=(3,2)", "p=2,q=3"), ("(1,2)", "(y,x)=(1,2)"), ("x=1, y=2", "a=1, b=2"), ("x=1, y=2", "x=1"),
        ("x=4, y=5", "5, 4"),
        ("x=1, y=2", r"\{1, 2\}"), ("x=1,y=2 \\text{ or } x=3,y=4", "(1,4),(3,2)"), ("x=1", "y=1"),
        ("x=1, y=2", "[1,2]"),
        ("x=1,y=2 \\text{ or } x=3,y=4", "1,2,3,4"), ("(x,y)=(1,2)", "(x,z)=(1,2)"), ("x_1=5, x_2=7", "7, 5"),
        ("x=1, y=2", r"x=1 \text{ or } y=2"), ("(1,2)", r"x=1 \text{ or } y=2"), ("(1,2)", r"1 \text{ or } 2"),
        ("x=1, y=2, z=3", "1, 3, 2"), ("y=2, x=1", "2, 1"), (r"(0;1)", "(1;0)"),
    )
)  # fmt: skip
def test_other_names_or_another_order_are_another_answer(gold, given):
    assert not equal(gold, given)


@cases(
    ("5", "5=x"), ("6", "[ABC]=6"), (r"\frac14", r"P(X=2)=\frac14"), ("2x", r"\frac{dy}{dx}=2x"),
    ("7:32", "S_1:S_2=7:32"),
    ("S_1:S_2=7:32", "7:32"), (r"\frac{NO}{BO}=\frac{1}{\sqrt6}", r"\frac{1}{\sqrt6}"),
    (r"\frac12", r"\frac{a}{b}=\frac12"),
    ("809", "m+n = 809"), ("809", "m + n = 800 + 9 = 809"), ("60", r"m\angle ABC = 60^\circ"),
    (r"\frac14", r"\Pr[A]=\frac14"),
    ("11", "x = 11"), ("5", r"x = 2+3 = 5"), ("5", "AB = BC = 5"), (r"\frac35", r"\sin A = \frac35"),
    ("4000", "72000 / 18 = 4000"), ("4000", "72000 / 18 = 4000千克"),
    ("W(n)=1 \\text{ and } W(n)=-1", "W(x)=1orW(x)=-1"), ("10", r"f(2) = 10"), ("7", r"100a+b=7"),
)  # fmt: skip
def test_a_name_may_be_left_out(gold, given):
    assert equal(gold, given)


@cases(
    (r"\frac13", r"\frac13 \approx 0.333"), (r"\frac13", r"x = \frac13 \approx 0.33"),
    (r"\sqrt2", r"\sqrt2 \approx 1.414"), (r"\frac23", r"x = \frac23 \approx 0.67"), (r"2\pi", r"2\pi \approx 6.28"),
)  # fmt: skip
def test_a_value_may_be_followed_by_its_rounding(gold, given):
    assert equal(gold, given)


@cases(
    ("5", r"5 \approx 6"), ("203", r"203 \approx 204"), (r"\frac13", r"\frac13 \approx 0.5"), ("0.333", r"\frac13 \approx 0.333"),
    (r"\sqrt2", r"\sqrt2 \approx 1.6"), ("6", r"5 \approx 6"), ("3.14", r"\pi \approx 3.14"), ("x>3", r"x \approx 3"),
    ("11", r"x = \frac13 \approx 11"), ("5", r"5 \approx 5.5 = 6"),
)  # fmt: skip
def test_a_rounding_is_no_value_and_a_false_one_spoils_it(gold, given):
    assert not equal(gold, given)


@cases(
    ("11", "x = 7 = 11"), ("2", "k = 3+3 = 2"), ("11", "11 = 7"), ("5", "x+y=5"), ("5", "2+4=5"), ("5", "5=5"),
    ("a+b=5", "5"),
    ("5", "x = 5 = 6"), ("5", r"x = \sqrt{24} = 5"), ("11", "f(x) = 2+3 = 11"), ("A:B=2:3", "A"),
    ("A:B:C=1:2:3", "A"),
    ("A:B=2:3", "B:A=2:3"), ("5", "x = y + 5"), ("5", "5 = x = 6"), ("8", "8 = 4+5"),
)  # fmt: skip
def test_every_link_of_a_chain_must_hold(gold, given):
    assert not equal(gold, given)


# --- sets


@cases(
    *both(
        ("x>3", r"(3,\infty)"), ("x>3", "x>3"), ("x>3", "y \\in (3,+\\infty)"), (r"|x|\le 2", "[-2,2]"),
        (r"|x| \ge 5",
        r"(-\infty,-5]\cup[5,\infty)"), ("c>b>a", "a<b<c"), (r"\{x \mid 1<x<2\}", "(1,2)"),
        (r"\{x : x>1\}", "(1,+\\infty)"),
        (r"\{x \in \mathbb{R} \mid x \ne 0\}", r"\mathbb{R}\setminus\{0\}"),
        (r"(-2,2)\setminus\{0\}", r"(-2,0)\cup(0,2)"),
        (r"\mathbb{R}", r"\text{all real numbers}"), (r"\mathbb R", r"(-\infty,\infty)"),
        ("1<x<3", r"x>1 \text{ and } x<3"),
        ("(1,3)\\cup(3,5)", r"1<x<5, x\ne3"), ("x^2>1", "|x|>1"), ("x^2 \\le 9", "[-3,3]"),
        (r"(1,5)\cap(3,8)", "3<x<5"),
        ("x \\ge -1", r"x \geq -1, x \in \mathbb{R}"), (r"(-\infty,0)\cup(2,\infty)", "(-\\infty,0), (2,\\infty)"),
        ("x<1 \\text{ or } x>2", "x<1, x>2"), (r"[0,1]\setminus\{0\}", "(0,1]"), ("2x+1>7", "x>3"),
        ("2x+1>7", r"(3,\infty)"),
        (r"(-\sqrt3,0)\cup(0,\sqrt3)", r"(-\sqrt{3},\sqrt{3})\setminus\{0\}"), ("[1,2]\\cup[2,3]", "[1,3]"),
        ("|x-1|<3", "(-2,4)"),
        ("x<2 \\text{ and } x>5", r"\emptyset"), (r"\mathbb{R}-\{1\}", r"x\ne 1"), ("-2<-x<1", "(-1,2)"), ("x≠1, 2",
        r"\mathbb{R}\setminus\{1,2\}"), (r"\{1\}\cup\{2\}", r"\{1,2\}"), (r"(-\infty,\sqrt2]", r"x \le \sqrt2"),
        (r"\text{no solution}", r"\varnothing"), ("x>=1 and x<=1", r"\{1\}"),
        (r"(-\infty, a)\cup(b,\infty)", r"(b,\infty)\cup(-\infty,a)"),
    )
)  # fmt: skip
def test_sets_of_numbers_are_what_they_hold(gold, given):
    assert equal(gold, given)


@cases(
    *both(
        ("x>3", "y>3"), (r"x<3 \text{ or } x>5", r"x<3 \text{ and } x>5"),
        (r"x<2 \text{ and } x>5", r"x<2 \text{ or } x>5"),
        ("1<x<3", r"x>1 \text{ or } x<3"), (r"|x|\le 2", "(-2,2)"), (r"|x|<2", "[0,2)"), ("|x|>2", r"(2,\infty)"),
        ("a<b<c", "a<c<b"),
        (r"\{x \mid 1<x<2\}", "[1,2]"), (r"\mathbb{R}", r"\mathbb{Z}"),
        (r"\mathbb{R}\setminus\{0\}", r"\mathbb{R}"),
        (r"(1,5)\cap(3,8)", "(1,8)"), (r"(0,3)\setminus\{1\}", r"(0,3)\setminus\{2\}"), ("(1,2)", r"\{1,2\}"),
        ("x>3", "3"),
        (r"\{n \in \mathbb{Z} \mid 1<n<3\}", "(1,3)"), ("1<x<5, x \\in \\mathbb{Z}", "(1,5)"), ("x>3", "x<3"),
        ("2x>6", "x>2"),
        ("x^2>1", "x>1"), (r"x\ne 1", r"x = 1"), ("x<2 \\text{ and } x>5", "(2,5)"),
        ("[1,2]\\cup[2,3]", "[1,2)\\cup(2,3]"),
        (r"(-\infty, a)\cup(b,\infty)", r"(-\infty,b)\cup(a,\infty)"), ("x>a", "x>b"), ("-2x>6", "x>-3"),
        ("3<x", "3>x"),
        (r"x<a \text{ or } x>b", r"x<a \text{ and } x>b"), (r"x<1, x<2", r"x<2"),
        (r"(-\sqrt3,\sqrt3)", r"(-\sqrt2,\sqrt3)"),
    )
)  # fmt: skip
def test_other_sets_are_other_answers(gold, given):
    assert not equal(gold, given)


@cases((r"\{1,1,2\}", r"\{2,1\}"), (r"\{1,2\}", r"\{1, 2, 2\}"), (r"\{1,2\}", "2, 1"))
def test_a_set_has_each_member_once(gold, given):
    assert equal(gold, given)


@cases(("1,1,2", "1,2"), ("15, 15", "15"), ("15, 15", r"\{15\}"), ("1,2", "1,2,2"))
def test_a_list_has_as_many_as_it_says(gold, given):
    assert not equal(gold, given)


# --- ratios, options


@cases(
    *both(
        ("0:1:2", "0:3:6"),
        ("1:2", r"1 \text{ to } 2"),
        ("2:3", "4:6"),
        ("3:4", "3/4"),
        ("[2,4]", r"2\text{ to }4"),
    )
)
def test_proportional_ratios_are_one(gold, given):
    assert equal(gold, given)


@cases(
    *both(
        ("0:1:2", "0:5:7"),
        ("1:0:2", "3:0:5"),
        ("1:2:3", "1:2:4"),
        ("0:1", "1:0"),
        ("1:2:0", "1:2:3"),
        ("0:1:2", "1:1:2"),
    )
)
def test_ratios_with_zeros_are_compared_throughout(gold, given):
    assert not equal(gold, given)


@cases(
    ("B", "(B)"),
    ("(B)", "b"),
    (r"\text{(C)}", "C"),
    ("B", r"\textbf{(B) }12"),
    ("ABD", "A, B, D"),
    ("A, C", "AC"),
    ("BD", "B and D"),
    ("C", "C: 12"),
)
def test_options_are_letters_with_or_without_their_text(gold, given):
    assert equal(gold, given)


@cases(
    ("a", "(A)"),
    ("c", "(C)"),
    ("a", "A"),
    ("B", "C"),
    ("B", "(B) or (C)"),
    ("A", "A:B=2:3"),
    ("ABD", "A, B"),
    ("B", "A, B"),
    ("BD", "B or D"),
)
def test_an_option_is_one_only_where_the_gold_is(gold, given):
    assert not equal(gold, given)


# --- matrices, cases, conditions


M = r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"


@cases(
    *both(
        (M, r"\left[\begin{array}{cc}1&2\\3&4\end{array}\right]"),
        (M, r"\left[\begin{matrix}1&2\\3&4\end{matrix}\right]"),
        (M, "[[1,2],[3,4]]"), (M, r"\begin{bmatrix} 1 & 2 \\[2pt] 3 & 4 \\ \end{bmatrix}"), (M, "A=" + M),
        (r"\frac12" + M, r"\begin{pmatrix}\frac12&1\\\frac32&2\end{pmatrix}"), (M + "+" + M, "2" + M),
        ("-" + M, "-1" + M),
        (M + r"-\begin{pmatrix}1&0\\0&1\end{pmatrix}", r"\begin{pmatrix}0&2\\3&3\end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}",
        "(1,2)"), (r"\langle 1,2\rangle", "(1,2)"),
        (r"\left\langle 1,2,3\right\rangle", r"\begin{pmatrix}1\\2\\3\end{pmatrix}"),
        (r"\begin{vmatrix}a&b\\c&d\end{vmatrix}", r"\left|\begin{array}{cc}a&b\\c&d\end{array}\right|"),
    )
)  # fmt: skip
def test_matrices_are_one_in_any_environment(gold, given):
    assert equal(gold, given)


@cases(
    *both(
        (M, r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"), (M, r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"),
        (M, "[[1,3],[2,4]]"),
        (r"\frac12" + M, M), (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        (M + "+" + M, M),
        (M + "-" + M, M), (r"\begin{pmatrix}1\\2\end{pmatrix}", "(2,1)"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "[1,2]"), (M, "1,2,3,4"),
        (r"\langle 1,2\rangle", "(2,1)"), (M, M + M),
    )
)  # fmt: skip
def test_other_matrices_are_other_answers(gold, given):
    assert not equal(gold, given)


@cases(
    (r"\frac{n}{2}\text{ if }n\text{ is even}", r"n/2 \text{ if $n$ is even}"),
    (r"f(x)=\begin{cases} x, & x>0 \\ -x, & x\le 0\end{cases}",
    r"\begin{cases} -x & \text{if } x \le 0 \\ x & \text{if } x > 0 \end{cases}"),
    (r"2k\pi, k \in \mathbb{Z}", r"2k\pi\ (k\in\mathbb{Z})"), (r"2k\pi, k \in \mathbb{Z}", r"2k\pi"),
    (r"f(x)=cx", r"f(x)=cx \text{ for any } c\in\mathbb{R}"), (r"\begin{aligned}x&=3+4\\&=7\end{aligned}", "7"),
)  # fmt: skip
def test_conditions_are_compared_and_quantifiers_may_be_left_out(gold, given):
    assert equal(gold, given)


@cases(
    (r"\frac{n}{2}\text{ if }n\text{ is even}", r"\frac{n}{2}"),
    (r"\frac{n}{2}\text{ if }n\text{ is even}", r"\frac{n}{2}\text{ if }n\text{ is odd}"),
    (r"\begin{cases} x & x>0 \\ -x & x\le 0\end{cases}", r"\begin{cases} -x & x>0 \\ x & x\le 0\end{cases}"),
    (r"\begin{cases} x & x>0 \\ -x & x\le 0\end{cases}", r"\begin{cases} x & x>1 \\ -x & x\le 1\end{cases}"),
    (r"2k, k \in \mathbb{Z}", r"2k, k \in \mathbb{N}"), (r"\begin{cases} x & x>0 \\ -x & x\le 0\end{cases}", "x"),
)  # fmt: skip
def test_a_condition_may_not_be_left_out_or_changed(gold, given):
    assert not equal(gold, given)


# --- characters, styles, texts


@cases(
    *both(
        ("10^5", "10⁵"), ("x^5", "x⁵"), ("10^{-1}", "10⁻¹"), ("x_1", "x₁"), (r"\frac13", "⅓"), (r"\frac38", "⅜"),
        ("7/2", "3½"),
        ("x \\ge 3", "x ⩾ 3"), (r"\frac23", "2⁄3"), ("5", "\u200b5"), ("5", "５"), ("0.5", "０．５"),
        ("(1,2)", "（１，２）"),
        ("x=1", "x＝1"), (r"50\%", "50％"), ("1, 2", "1、2"), ("1, 2", "1 或 2"), ("1, 2", r"1 \text{ 或 } 2"),
        ("1, 2", "1；2"), ("5", "5。"),
        (r"\alpha+\beta", "α+β"), (r"[1,2)", "［1，2）"), (r"A \cup B", "A∪B"), (r"\mathbb{R}", "ℝ"),
        ("x^{10}", "x¹⁰"), ("1:2", "1：2"),
    )
)  # fmt: skip
def test_unicode_is_read_as_latex(gold, given):
    assert equal(gold, given)


@cases(("105", "10⁵"), ("x1", "x₁"), ("R", "ℝ"), ("31/2", "3½"), ("5", "⑥"), ("25", "2⁵"), ("12", "1、2"))
def test_folding_characters_changes_no_value(gold, given):
    assert not equal(gold, given)


@cases(
    *both(
        ("5", r"\color{red}{5}"), ("5", r"{\color{red}5}"), ("5", r"\textcolor{red}{5}"), ("5", r"\underline{5}"),
        ("5", r"{\bf 5}"),
        ("5", r"\large 5"), ("5", r"\mathbf{5}"), ("12", r"\boldsymbol{12}"), ("x+1", r"\mathbf{x+1}"),
        (r"\frac12", r"\sfrac{1}{2}"),
        ("5", r"\begin{aligned}5\end{aligned}"), ("5", r"\displaystyle 5"), ("5", r"\left. 5 \right."),
        ("1, 2", r"1,\qquad 2"),
        ("5", r"5 \tag{1}"), ("1.5\\times10^{-3}", "1.5x10^{-3}"), (r"2\sin x", "2sinx"),
        ("5", r"\colorbox{yellow}{5}"),
    )
)  # fmt: skip
def test_styles_say_nothing(gold, given):
    assert equal(gold, given)


@cases(
    *both(
        ("120", "C_{10}^{3}"), ("60", "A_5^3"), ("120", r"\binom{10}{3}"), ("10101_2", "(10101)_2"),
        ("4343_6", r"4343_{\text{six}}"),
        ("AB_{16}", r"\text{AB}_{16}"), ("720", "A_6^6"),
    )
)  # fmt: skip
def test_choices_and_bases_are_read(gold, given):
    assert equal(gold, given)


@cases(
    *both(
        (r"\text{May 5}", "May 5th"), (r"\text{May 5}", "5 May"), ("May 5, 2024", "2024-05-05"),
        ("12:30", r"12:30 \text{ PM}"),
        ("10:30 a.m.", r"\text{10:30 AM}"), ("15:00", "3:00 p.m."), ("H2O", r"\text{H}_2\text{O}"),
        ("CO_2", r"\mathrm{CO_2}"),
        ("CO_2", r"\ce{CO2}"), ("B12", r"\text{B12}"), (r"\text{June } 20", r"\text{June 20}"),
        ("Room 12", r"\text{Room 12}"),
        ("Hello123", r"\text{HELLO123}"), (r"\text{2nd}", "2nd"),
    )
)  # fmt: skip
def test_texts_are_compared_as_texts(gold, given):
    assert equal(gold, given)


@cases(
    *both(
        ("May 5", "May 6"), ("10:30 a.m.", "10:30 p.m."), ("12:30", "12:31"), ("H2O", "H2O2"), ("CO2", "Co2"),
        ("B12", "B13"), ("May 5", "5"),
        ("3:00", "15:30"), ("Room 12", "12"), ("2024-05-05", "2024-05-06"), ("B_{12}", "B_{1}2"),
    )
)  # fmt: skip
def test_other_texts_are_other_answers(gold, given):
    assert not equal(gold, given)


# --- what counts


@cases(
    ("1,2", r"\boxed{1}\quad\text{and}\quad\boxed{2}"), ("1,2", r"\boxed{1}\;\text{and}\;\boxed{2}"),
    ("1,2", r"\boxed{1}~\text{and}~\boxed{2}"),
    ("1,2", r"$\boxed{1}\,,\,\boxed{2}$"),
    ("3 \\text{ and } 5", r"**Answer:** $x = \boxed{3}$ and $y = \boxed{5}$"),
    ("204", r"\boxed{204}, \boxed{204}"), ("204", r"\boxed{203}? No, that is wrong: \boxed{204}"),
    ("12", r"\framebox{12}"),
    ("y=5, x=3", r"$x = \boxed{3}$, $y = \boxed{5}$"),
    ("5", r"\boxed{5}" + "\n\n" + r"So the answer is $\boxed{5}$."),
)  # fmt: skip
def test_boxes_side_by_side_are_one_list(gold, given):
    assert reward(gold, given) == 1


@cases(
    ("204", r"\boxed{203}, \boxed{204}"), ("204", r"\boxed{203} and \boxed{204}"), ("B", r"\boxed{A}, \boxed{B}"),
    ("204", r"\boxed{203}\boxed{204}"),
    ("204", r"$\boxed{203}$ or $\boxed{204}$"), ("204", r"\boxed{203} = \boxed{204}"),
    ("204", r"\boxed{203}" + "\n\n" + r"\boxed{204}"),
    ("204", r"x=\boxed{203}, y=\boxed{204}"), ("y=3, x=5", r"$x = \boxed{3}$, $y = \boxed{5}$"),
    ("204", r"\boxed{204}/\boxed{203}"),
    ("204", r"\boxed{204} (\boxed{203})"),
)  # fmt: skip
def test_different_boxes_side_by_side_answer_no_single_gold(gold, given):
    assert reward(gold, given) == 0


@cases(
    ("12", "The answer is 12. The solution is complete."), ("12", "The answer should be 12."), ("12", "Ans: 12"),
    ("12", "so\nx = 12"),
    ("42", "#### 42"), ("42", "<reasoning>6*7</reasoning><answer>42</answer>"), ("5", "答案：5"),
    ("5", "答案是5。"), ("5", "Ответ: 5"),
    ("12", "The answer is 12.\n\nThis result is easy to check."), ("12", "#### 12\nThe result is verified."),
    ("5", "答えは5"),
    ("12", "The answer is 12.\n\nNote: if the answer is wrong, tell me."),
    ("12", "Final Answer: 12\n\nLet me know if the solution is unclear!"),
    ("12", "Answer: 12\n\n(The solution is by symmetry.)"), ("12", "**Answer**: 12"),
    ("12", "**Final Answer:** 12"), ("5", "La respuesta... Respuesta: 5"),
)  # fmt: skip
def test_statements_without_a_box_count_where_that_is_asked_for(gold, given):
    assert reward(gold, given) == 1
    assert final_answer(given) is None


@cases(
    ("12", "The answer is 12. No: the answer is 13."), ("12", "The answer is 12. No, the answer is undefined."),
    ("12", "The answer is 12 or 13."),
    ("12", "The answer is 12. That answer is wrong."), ("12", "If the answer is 12, then 1=2."),
    ("12", "The answer is not 12."),
    ("12", "<answer>12</answer> <answer>13</answer>"),
    ("12", "<answer>12</answer> No, the answer is 13."), ("12", "The answer is 12.\n\nx = 13"),
    ("12", "The answer is 12.\n\n$13$"), ("12", "x = 13"),
    ("12", "The answer is 12. But this result is wrong."),
)  # fmt: skip
def test_a_statement_may_be_taken_back(gold, given):
    assert reward(gold, given) == 0


TRAPS = [
    "(" * 150 + ")" * 150, r"\frac" * 60, r"\sqrt" * 60, "{" * 300, r"\{" * 150, "(1,2)," * 50, "x=1," * 75, r"\text{if " * 40,
    "1,000" * 60, "a if " * 60, r"\begin{cases}" * 20, r"\begin{pmatrix}" * 18, "|x|<" * 70, "[[1],[" * 50,
    "∈" * 300, " and " * 60,
    "x∈Z," * 70, "1:" * 150, "±" * 300, "C_1^1" * 60, r"\mathrm{" * 37, r"\boxed{" * 40, "H2O" * 100, "May " * 75, "A: " * 100,
    "=" * 300, "x<" * 150, r"\setminus" * 33, "1" + " " * 298 + "x",
    r"\left" * 60, "$" * 300, "⅓" * 300, "１" * 300, "，" * 300,
]  # fmt: skip


@pytest.mark.timeout(60)
def test_no_notation_is_slow_to_read():
    """Each within what a linear reading takes: all of them, both ways, in far less than the limit."""
    for trap in TRAPS:
        text = trap[:300]
        assert isinstance(tidy(text), str)
        for other in ("1", "x>3", "(1,2)", r"\begin{pmatrix}1\\2\end{pmatrix}", text[::-1]):
            assert quick(text, other) in (True, False, None)
            assert quick(other, text) in (True, False, None)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [
        "the answer is ", "answer:", "\\boxed{1} and ", "#### ", "<answer>", "答案：", "if the answer is ",
        "x = ", "final " * 3, "**", "$",
        "\\boxed{", "\\boxed ", "\\[", "\\(", "answer" + " " * 50, "\\boxed{1}", "\\boxed{1}\\quad",
        "}\\boxed{2}{", ". ", "because ",
    ],
)  # fmt: skip
def test_no_reply_is_slow_to_search(piece):
    final_answer(piece * (100_000 // len(piece)), bare=True)


def test_two_lists_are_no_sets():
    from cascade_rl.verify.maths.compare import Arithmetic
    from cascade_rl.verify.maths.structure import read

    assert same_sets(read("1, 2"), read("1, 2"), Arithmetic()) is None
