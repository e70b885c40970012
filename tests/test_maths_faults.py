r"""What the maths grader once read wrongly: products, domains, whole numbers, and whose fault a verdict is."""

import asyncio
import random

import pytest
import sympy

from cascade_rl.domain import Services
from cascade_rl.domains import maths
from cascade_rl.testing import InlineVerifiers
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout
from cascade_rl.verify.maths.algebra import equal as same_expressions
from cascade_rl.verify.maths.algebra import judge
from cascade_rl.verify.maths.answers import quick

x = sympy.Symbol("x")


def grade(gold, reply):
    problem = Problem("p", "maths", (Message("user", "?"),), gold, Mode.INSTRUCT)
    return asyncio.run(maths.grade(problem, Rollout.of_text(reply), Services(verifiers=InlineVerifiers())))


def equal(gold, answer):
    known = quick(gold, answer)
    return judge(gold, answer)["outcome"] == "right" if known is None else known


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2(3)", "6"), ("(6)(7)", "42"), ("6(7)", "42"), ("3(4)(5)", "60"), ("-2(3)", "-6"),
        (r"100\left(\frac34\right)", "75"),
        (r"3\frac{8}{2}", "12"), (r"3\frac12", "3.5"), (r"-3\frac12", "-3.5"), (r"3(\frac12)", "1.5"),
        (r"10(\frac35)", "6"), ("2(2/3)", "4/3"),
        ("2(3)+1", "7"), ("x+2(3)", "x+6"), ("2{3}", "6"), ("(3)2", "6"), (r"5\cdot 3\frac12", "17.5"),
        (r"2(3)^2", "18"), (r"\pi(3)", r"3\pi"),
        (r"x(x)", "x^2"), (r"2x(3)", "6x"), (r"\frac12(4)", "2"), (r"2^3(4)", "32"), (r"\frac{2(3)}{4}", "1.5"),
        (r"\sqrt{2(8)}", "4"), ("3!(2)", "12"),
    ],
)  # fmt: skip
def test_what_stands_side_by_side_is_multiplied(text, value):
    assert equal(value, text) and equal(text, value)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("5", "2(3)"), ("13", "6(7)"), ("403/4", r"100\left(\frac34\right)"), ("7", r"3\frac{8}{2}"),
        ("6", "1/2(3)"),
    ],
)  # fmt: skip
def test_numbers_are_not_added_to_what_follows(gold, answer):
    assert not equal(gold, answer)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [("-2", r"\sqrt[3]{-8}"), (r"\sqrt[3]{-x}", r"-\sqrt[3]{x}"), ("i", r"\sqrt{-1}"), (r"|a+bi|",
    r"\sqrt{a^2+b^2}"), (r"x^2", "|x|^2")],
)  # fmt: skip
def test_equal_where_both_are_real(gold, answer):
    assert equal(gold, answer) and equal(answer, gold)


UNEQUAL = [
    ("|x|+|y|", "|x+y|"), (r"\sqrt{x^2y^2}", "xy"), (r"\frac{|ab|}{ab}", "1"), (r"\arcsin x", r"-\arcsin|x|"),
    ("|a|+|b|+|c|", "|a+b+c|"),
    (r"\frac{|a|}{a}+\frac{|b|}{b}", r"2\frac{|a|}{a}"), (r"\sqrt{x^2}y", r"x\sqrt{y^2}"), ("||x|-|y||", "|x-y|"),
    ("|xy|", "xy"), (r"\max(x,y)", "x"),
    (r"|x|\sqrt{1-x^2}", r"-x\sqrt{1-x^2}"), (r"\lfloor n/2\rfloor", r"\lceil n/2\rceil-1"),
    (r"\lfloor x \rfloor", r"\lceil x\rceil-1"),
    (r"\lfloor x\rfloor+\lfloor -x\rfloor", "-1"), (r"\lceil\log_2 n\rceil", r"\lfloor\log_2 n\rfloor+1"),
    (r"\lceil\sqrt n\rceil", r"\lfloor\sqrt n\rfloor+1"),
    (r"\lfloor x+\frac67\rfloor", r"\lceil x+\frac67\rceil-1"),
    (r"\lfloor 3x+\frac15\rfloor", r"\lceil 3x+\frac15\rceil-1"),
    (r"\lfloor x^3+\frac12\rfloor", r"\lceil x^3+\frac12\rceil-1"), (r"(2n-1)!!", r"((2n-1)!)!"), ("x'", "x"),
    (r"f'(x)", "f(x)"), ("0", r"\frac{dy}{dx}"),
    (r"\min(a,b)", r"\max(a,b)"), ("x", r"\max(x,-500)"), ("A", "A1"), ("2A", "A2"), ("x", r"|x+10^4|-10^4"),
    ("n!", r"n!+\lfloor n/40\rfloor"), (r"\gcd(m,n)", "1"), (r"n \bmod 2", "0"), ("xy", "x y z"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer"), UNEQUAL)
def test_different_somewhere_is_different(gold, answer):
    assert not equal(gold, answer)
    assert not equal(answer, gold)


def test_domains_of_expressions():
    assert equal("x", r"\frac{x^2}{x}") and equal(r"\frac{x^2}{x}", "x")
    assert not equal("|x|", r"(\sqrt{x})^2") and not equal("|x|", r"x+0\sqrt{x}")
    assert not equal("|x|", r"x+0\cdot e^{e^{-9x}}")  # too large to compute where it would be wrong
    assert not equal(r"\ln x^2", r"2\ln(-x)") and not equal(r"\ln x^2", r"2\ln x")
    assert equal(r"\sqrt{ab}", r"\sqrt{a}\sqrt{b}") and equal(r"\sqrt{6ab}", r"\sqrt{2a}\sqrt{3b}")
    assert equal(r"\ln(ab)", r"\ln a+\ln b") and not equal(r"\ln|x|", r"\ln x")
    assert equal(r"\arcsin(x-5)", r"-\arcsin(5-x)") and not equal(r"\arcsin(x-5)", r"\arcsin(5-x)")


def test_letters_of_whole_numbers():
    assert equal(r"\lfloor \frac{n+1}{2}\rfloor", r"\lceil\frac{n}{2}\rceil")
    assert not equal(r"\lfloor \frac{x+1}{2}\rfloor", r"\lceil\frac{x}{2}\rceil")
    assert equal("(-1)^n", r"\cos(n\pi)") and not equal("(-1)^n", r"\cos(2n\pi)")
    assert equal(r"\frac{n!}{(n-2)!}", "n(n-1)") and equal("n(n-1)", r"\frac{n!}{(n-2)!}")
    assert equal(r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}") and not equal(
        r"\sum_{k=1}^{n} k", r"\frac{n(n-1)}{2}"
    )
    assert equal(r"(2n-1)!!", r"\frac{(2n)!}{2^n n!}") and equal(r"\binom{n}{2}", r"\frac{n(n-1)}{2}")


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\max(x,y)", r"\max(y,x)"), (r"\min(m,n)", r"\min\{m,n\}"), (r"\gcd(m,n)", r"\gcd(n,m)"),
        ("12", r"\operatorname{lcm}(4,6)"), ("6", r"\gcd(12,18)"),
        (r"\lg 2", r"\log_{10} 2"), (r"\|v\|", "|v|"), ("15", "5!!"), (r"2^{8^{16}}", "2^{(8^{16})}"),
        ("2", r"17 \bmod 5"), ("7", r"\max(3, 7)"),
        ("1606938044258990275541962092341162602522202993782792835301376", "2^{200}"), (r"\vec v", r"\vec{v}"),
        (r"|x-y|", r"\max(x,y)-\min(x,y)"),
    ],
)  # fmt: skip
def test_notation_that_is_read(gold, answer):
    assert grade(gold, rf"\boxed{{{answer}}}").reward == 1


def test_what_is_undecided_is_wrong():
    # functions that nothing here evaluates, and a difference that algebra can't simplify
    assert not same_expressions(sympy.besselj(0, x), sympy.airyai(x))
    assert same_expressions(sympy.besselj(0, 2 * x), sympy.besselj(0, x + x))
    assert grade(r"\zeta", r"\boxed{\infty-\infty}").reward == 0
    assert grade(r"\infty", r"\boxed{\infty-\infty}").reward == 0


SPOILERS = [
    r"\max=11", "?=11", r"\foo=11", "2^{999999}=11", r"\max = \frac{1}{0}", r"\sqrt{}=11", r"\foo", "((((",
    "9^{9^9}", r"\max=10, \min=20", r"\frac{1}{0}",
    r"\binom{10^9}{500000000}", r"x=\foo", r"\foo < x", r"(\foo, 1)", r"\{\foo\}", r"1:\foo",
    r"\begin{pmatrix}\foo\end{pmatrix}", r"\pm\foo",
    r"5\text{ \foo}", r"\infty=\infty", "1_{99}", r"[\foo, 1)", r"\foo \cup (1,2)", "0/0", r"\ln 0",
    "x" * 250, "(" * 200, "1" * 299, r"\frac{" * 20,
]  # fmt: skip
GOLDS = [
    "10", r"\frac{\sqrt{3}}{2}", "10, 20", "x=11", "(1,2)", r"\{1,2\}", "x^2+1", "1:2",
    r"\begin{pmatrix}1\\2\end{pmatrix}", "x>3", r"(1,2)\cup(3,4)",
    r"5\text{ cm}", r"\$5", "50\\%", r"\text{even}", "A", r"\max(a,b)", "y=2x+1", r"1\pm\sqrt2", "1010_2",
    r"[ABC]=6", r"\mathbb{R}", r"5\text{ widget}",
]  # fmt: skip


@pytest.mark.parametrize("gold", GOLDS)
def test_no_reply_makes_its_own_verdict_null(gold):
    assert [reply for reply in SPOILERS if grade(gold, rf"\boxed{{{reply}}}").reward is None] == []
    mixed = [rf"\boxed{{{gold}={spoiler}}}" for spoiler in SPOILERS]
    mixed += [rf"\boxed{{{spoiler}, {gold}}}" for spoiler in SPOILERS]
    assert [reply for reply in mixed if grade(gold, reply).reward is None] == []


PIECES = r"""\frac \sqrt { } ( ) [ ] , 1 2 12 x y n ^ _ \text{ or and } = < \le \pm \cup \in \{ \} \% \$ . / - + & \\
    ( ) : ; | 
    \infty \mathbb{R} ! !! \max( \gcd( \lfloor \rfloor \begin{pmatrix} \end{pmatrix} cm \circ 万
    \int \sum_ \lim dx \mathrm{m} e i \ln \sin ' \bmod"""


def test_soup_never_makes_a_verdict_null():
    """Replies made of pieces of notation, and golds with pieces put in, against readable golds."""
    rng = random.Random(0)
    pieces = PIECES.split()
    for n in range(1500):
        gold = rng.choice(GOLDS)
        if n % 2:
            reply = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 8)))
        else:
            at = rng.randint(0, len(gold))
            reply = gold[:at] + rng.choice(pieces) + gold[at:]
        verdict = grade(gold, rf"\boxed {{{reply}}}")
        assert verdict.reward in (0.0, 1.0), (gold, reply, verdict)


def test_a_gold_that_cannot_be_read_is_null_unless_the_reply_is_the_very_same():
    assert grade(r"\foo + 1", r"\boxed{\foo + 1}").reward == 1
    assert grade(r"\foo + 1", r"\boxed{2}").outcome is Outcome.GRADER_ERROR
