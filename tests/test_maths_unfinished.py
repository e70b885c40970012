"""A calculation that is left to do is no answer where a number was asked for."""

from __future__ import annotations

import asyncio

import pytest

from cascade_rl.chat import thinking_reply
from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.types import Message, Problem, Rollout
from cascade_rl.verify.maths.unfinished import unfinished

LEFT_TO_DO = [
    ("144", "57 + 87"), ("144", "57+87"), ("144", r"57 \cdot 2 + 30"), ("144", r"12^2"), ("144", r"12^{2}"),
    ("12", r"\sqrt{144}"), ("144", "2(60+12)"), ("144", r"12 \times 12"), ("144", "12×12"), ("61", "24705/405"),
    ("61", r"\frac{24705}{405}"), ("61", "(24705)/(405)"), ("2", "gcd(4, 6)"), ("2", r"\gcd(4, 6)"), ("6", "3!"),
    ("12", "lcm(4,6)"), ("-6", "4 - 10"), ("-6", "(4) - (10)"), ("7.5", "5 + 2.5"), ("8.0", "16/2"),
    ("1,440", "720*2"), ("144", "144 = 57 + 87"), ("5", "2 - -3"), ("8", "2**3"), ("144", r"{57}+{87}"),
    ("3", "17 mod 7"), ("9", r"\sum_{i} 3"), ("7", "10 apples - 3 apples"), ("12", r"3 \times{} 4"),
]  # fmt: skip
FINISHED = [
    ("144", "144"), ("144", "57 + 87 = 144"), ("144", r"x = 144"), ("144", "144 apples"), ("-6", "-6"), ("28", r"28^\circ"),
    ("28", r"28^{\circ}"), ("1440", "1,440"), ("1440", "1 440"), ("15", r"15 \text{ years-old}"), ("5", r"\$5"), ("5", "$5$"),
    ("50", r"50\%"), ("0.5", "1/2"), ("0.5", r"\frac{1}{2}"), ("7.25", "29/4"), ("144", r"\mathbf{144}"), ("12", "12 km/h"),
    ("12", r"12\text{ minutes}"), ("6", "+6"), ("3", "maximum 3"), ("2", "two"), ("12", "12 square-feet"), ("4", "x=4"),
    ("23", "(23)"), ("1/2", "3/6"), ("x+1", "1+x"), ("8.0 + 3.0i", "7+1+3i"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "given"), LEFT_TO_DO)
def test_left_to_do(gold, given):
    assert unfinished(gold, given)


@pytest.mark.parametrize(("gold", "given"), FINISHED)
def test_finished(gold, given):
    assert not unfinished(gold, given)


def test_both_verdicts_of_the_domain_refuse_a_copied_question():
    maths = load_domain("maths")

    def rewards(problem: Problem, boxed: str, services: Services):
        rollout = Rollout.of_text(thinking_reply("", rf"\boxed{{{boxed}}}"))
        return [
            asyncio.run(verdict(problem, rollout, services)).reward for verdict in (maths.grade, maths.score)
        ]

    services = Services(verifiers=ProcessVerifiers(1))
    asked = Problem("1", "maths", (Message("user", "57 + 87?"),), "144", meta={"plain": True})
    anyhow = Problem("2", "maths", (Message("user", "57 + 87?"),), "144")
    assert rewards(asked, "57 + 87", services) == [0.0, 0.0]
    assert rewards(asked, "57 + 87 = 144", services) == rewards(asked, "144", services) == [1.0, 1.0]
    # where nothing was said of the form, an equal value is right
    assert rewards(anyhow, "57 + 87", services) == [1.0, 1.0]
