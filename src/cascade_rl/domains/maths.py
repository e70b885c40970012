r"""Maths with a final answer in `\boxed{}`: short sums and word problems, or installed and own problem sets.

The built-in problems are made to be learnt from scratch by a model of a few million parameters: two or three
steps on integers from 0 to 30, one line of thought a step. Bare sums follow precedence: products first, then
from left to right. The teacher is made imperfect on purpose, see `demonstrate`.

Reward: 1 for the right last box after the think block, else 0 (arXiv 2512.13607, Math RL). Where a number is
asked for (`meta.plain`), a calculation in the box is none: it may copy the question. An answer that
algebra can't finish in time earns 0 with the outcome `timeout`: it is the reply's expression that is
pathological; so is one that ends its verifier twice. Only a gold answer that can't be read or evaluated
alone gives no reward: a reply never makes its own verdict void.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cascade_rl.chat import compose_reply, split_reply, thinking_reply
from cascade_rl.domain import Domain, Example, Query, Services
from cascade_rl.errors import AnswerError
from cascade_rl.sources.gym import gym_rows
from cascade_rl.sources.maps import in_a_box
from cascade_rl.sources.shared import SHARED
from cascade_rl.sources.splits import drawn
from cascade_rl.sources.stories import story
from cascade_rl.types import Message, Outcome, Problem, Rollout, Verdict, problem_id
from cascade_rl.verify.maths import answers as verify
from cascade_rl.verify.maths.told import answered, wanted
from cascade_rl.verify.maths.unfinished import unfinished
from cascade_rl.verify.told import quoted

# verifiers by their path: `services.verifiers` imports them in its workers, and nobody here needs sympy
JUDGE, PROBE = "cascade_rl.verify.maths.algebra:judge", "cascade_rl.verify.maths.algebra:probe"
JUDGE_S, PROBE_S = 2.5, 0.5  # together the 3 s that a verdict may take
# the most that a step may give: the sum of two digits
LARGEST = 18
# share of a faulty teacher's replies
RAMBLING = 0.3
MEND = (
    "does answer hold the whole solution? map: gsm8k, or map: math, or "
    "answer: {column: answer, after: '####'}"
)
NAMES = ("Ann", "Ben", "Eva", "Sam", "Tom", "Mia")
THINGS = ("apples", "books", "cards", "coins", "eggs", "pens")
GAINS, LOSSES = ("buys", "finds", "gets"), ("loses", "sells", "gives away")

Terms = Sequence[int | str]  # numbers and operators in turn: [7, "+", 5, "*", 3]


def work(terms: Terms) -> tuple[list[str], list[int]]:
    """The steps as text, such as `5*3=15`, and the result of each: products first, then left to right."""
    rest: list[int | str] = list(terms)
    steps: list[str] = []
    results: list[int] = []
    while len(rest) > 1:
        # at most one product: `_draw_terms` sees to it, so that precedence is all there is to know
        i = rest.index("*") if "*" in rest else 1
        a, sign, b = rest[i - 1 : i + 2]
        assert isinstance(a, int) and isinstance(b, int)  # numbers and signs stand in turn
        value = a * b if sign == "*" else a + b if sign == "+" else a - b
        rest[i - 1 : i + 2] = [value]
        steps.append(f"{a}{sign}{b}={value}")
        results.append(value)
    return steps, results


def _draw_terms(rng: random.Random, *, product_first: bool) -> Terms:
    """Two or three operations, at most one of them a small product, with every result from 0 to `LARGEST`."""
    while True:
        # mostly two, so that most problems are within a tiny model's reach
        operations = rng.choice((2, 2, 2, 3))
        signs = [rng.choice("+-") for _ in range(operations)]
        at = rng.choice((None, None, 0 if product_first else rng.randrange(operations)))
        numbers = [rng.randint(1, 9) for _ in range(operations + 1)]
        if at is not None:
            signs[at] = "*"
            numbers[at], numbers[at + 1] = rng.randint(2, 4), rng.randint(2, 4)
        terms: list[int | str] = [numbers[0]]
        for sign, number in zip(signs, numbers[1:], strict=True):
            terms += [sign, number]
        if all(0 <= value <= LARGEST for value in work(terms)[1]):
            return terms


def _story(terms: Terms, rng: random.Random) -> str:
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    start = f"{terms[0]} {things}"
    events = terms[1:]
    if events[0] == "*":
        start, events = f"{terms[0]} bags of {terms[2]} {things}", terms[3:]
    told = [
        f"{rng.choice(GAINS if s == '+' else LOSSES)} {n}"
        for s, n in zip(events[::2], events[1::2], strict=True)
    ]
    tale = " and ".join([start, *told]) if len(told) == 1 else f"{start}, {' and '.join(told)}"
    return f"{name} has {tale}. How many {things} does {name} have now?"


def make(rng: random.Random) -> Problem:
    """A sum or a story."""
    family = rng.choice(("sum", "story"))
    terms = _draw_terms(rng, product_first=family == "story")
    prompt = f"Compute {' '.join(map(str, terms))}." if family == "sum" else _story(terms, rng)
    steps, results = work(terms)
    meta = {"family": family, "steps": len(steps), "terms": list(terms)}
    return _problem(prompt, str(results[-1]), meta)


def _problem(prompt: str, answer: str, meta: dict[str, Any]) -> Problem:
    return Problem(problem_id("maths", prompt), "maths", (Message("user", prompt),), answer, meta=meta)


def from_gym(query: Query) -> Iterator[Problem]:
    """Problems of the package reasoning-gym, in turn from each data set named.

    Of the sets in `sources/worked` those of the SFT split have a thought that leads to the answer; of others
    the thought is what the package says, mostly nothing.
    """
    for row in gym_rows(query):
        meta = {"family": row.name, "thought": row.thought, "plain": True}
        yield _problem(row.prompt, row.answer, meta)


def make_story(rng: random.Random) -> Problem:
    """A word problem of primary school, with the steps to its answer."""
    told = story(rng)
    meta = {"family": told.schema, "thought": "\n".join(told.lines), "plain": True}
    return _problem(in_a_box(told.text), told.answer, meta)


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """Full reward for the right last box of the answer; what stands in no box doesn't count.

    The gold answer is a text, or `{"answer": text, "bare": whether an answer without a box counts}`. Built-in
    problems are judged by arithmetic alone; for others `services.verifiers` must be there as soon as an
    answer takes algebra.
    """
    return await _verdict(problem, rollout, services, bare=False)


async def score(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """The same, but a bare final answer counts as well, except for our own problems, which ask for a box."""
    return await _verdict(problem, rollout, services, bare="family" not in problem.meta)


async def _verdict(problem: Problem, rollout: Rollout, services: Services, *, bare: bool) -> Verdict:
    answer = split_reply(rollout.text, problem.mode).answer
    if answer is None:
        return Verdict(0.0, Outcome.UNPARSEABLE, note="no answer after the think block")
    if isinstance(problem.answer, dict):
        bare = problem.answer.get("bare", bare)
    gold, found = _gold_text(problem), verify.final_answer(answer, bare=bare)
    if found is None:
        lacking = "no \\boxed{} and no stated answer" if bare else "no \\boxed{}"
        note = f"{lacking} in the reply, which ends with {quoted(answer.strip()[-60:])}; {wanted(gold)}"
        return Verdict(0.0, Outcome.UNPARSEABLE, note=note)
    # a question that is copied into the box has the value of its answer
    if problem.meta.get("plain") and unfinished(gold, found.last):
        note = f"{quoted(found.last)} is a calculation that is left to do; {wanted(gold)}"
        return Verdict.binary(False, note)
    # two readings of the boxes: the last alone, or adjacent ones as a list, for golds that are lists
    known = {given: verify.quick(gold, given) for given in (found.last, found.joined)}
    note = answered(gold, found, joined=known[found.joined] is True and known[found.last] is not True)
    # "terms" marks a built-in problem, whose numbers need no algebra: what isn't settled is wrong
    if True in known.values() or None not in known.values() or "terms" in problem.meta:
        return Verdict.binary(True in known.values(), note)
    return await _by_algebra(gold, [given for given, equal in known.items() if equal is None], services, note)


def _gold_text(problem: Problem) -> str:
    given = problem.answer["answer"] if isinstance(problem.answer, dict) else problem.answer
    return verify.gold_text(str(given))


async def _by_algebra(gold: str, readings: Sequence[str], services: Services, note: str) -> Verdict:
    """A killable verifier's; what it can't do is the reply's fault unless the gold is too much."""
    # the gold first: a reply is never blamed for what the problem can't settle
    if reason := verify.excess(gold):
        return Verdict.failed(f"the gold answer {quoted(gold)} is too large to judge: {reason}")
    if reason := verify.excess(readings[0]):
        return Verdict(0.0, Outcome.UNPARSEABLE, note=f"{note}, too large to judge: {reason}")
    # raised: the null verdict then says what the setup lacks
    if services.verifiers is None:
        raise ValueError(
            f"maths needs verifiers to compare {quoted(readings[0])} with {quoted(gold)}: "
            "Services(verifiers=...)"
        )
    judgement = await services.verifiers.call(JUDGE, gold, *readings, deadline_s=JUDGE_S)
    if judgement.fault:
        # whose fault is it, after the verifiers' own second try? the gold answer's, if that alone fails, too
        alone = await services.verifiers.call(PROBE, gold, deadline_s=PROBE_S)
        if alone.fault:
            return Verdict.failed(f"the gold answer {quoted(gold)} can't be evaluated: {alone.note}")
        if judgement.fault == "timeout":
            return Verdict(0.0, Outcome.TIMEOUT, note=f"{note}: {judgement.note}")
        return Verdict(0.0, Outcome.UNPARSEABLE, note=f"{note}: it ends its verifier: {judgement.note}")
    outcome, why = judgement.value["outcome"], judgement.value["note"]
    if outcome == "gold":
        return Verdict.failed(f"the gold answer {quoted(gold)} can't be read: {why}")
    if outcome == "unparseable":
        return Verdict(0.0, Outcome.UNPARSEABLE, note=f"{note}: {why}")
    return Verdict.binary(outcome == "right", note)


def _reply(problem: Problem, steps: Sequence[str], answer: str) -> str:
    return compose_reply(problem.mode, "\n".join(steps), f"\\boxed{{{answer}}}")


def gold(problem: Problem) -> str:
    """Each step on a line, then the box."""
    terms = problem.meta.get("terms")
    steps = work(terms)[0] if terms else [problem.meta.get("thought", "")]
    return _reply(problem, steps, _gold_text(problem))


def _stop_early(terms: Terms, rng: random.Random) -> tuple[list[str], int]:
    """Leave out the last step and answer with what was reached."""
    steps, results = work(terms)
    return steps[:-1], results[-2]


def _wrong_sign(terms: Terms, rng: random.Random) -> tuple[list[str], int] | None:
    """Work on with another sign at one place; None where that is impossible."""
    # no negative numbers, which the small world has nowhere
    right, chances = work(terms)[1][-1], []
    for i in range(1, len(terms), 2):
        sign = "-" if terms[i] == "+" else "+"
        steps, results = work([*terms[:i], sign, *terms[i + 1 :]])
        if min(results) >= 0 and results[-1] != right:
            chances.append((steps, results[-1]))
    return rng.choice(chances) if chances else None


FAULTS: tuple[Callable[[Terms, random.Random], tuple[list[str], int] | None], ...] = (
    _stop_early,
    _wrong_sign,
)


def demonstrate(problem: Problem, rng: random.Random, fault_rate: float) -> str:
    """The gold reply, or with probability `fault_rate` one that stops a step early or takes a wrong sign.

    A faulty teacher (`fault_rate` above 0) also rambles in 3 of 10 replies, right or wrong: each step is
    repeated as a check, so that the thought is twice as long. Problems whose steps aren't known are
    demonstrated by gold.
    """
    terms = problem.meta.get("terms")
    if not terms:
        return gold(problem)
    steps, results = work(terms)
    answer = results[-1]
    if rng.random() < fault_rate:
        steps, answer = rng.choice(FAULTS)(terms, rng) or _stop_early(terms, rng)
    # the gold teacher does not ramble, so demonstrations at rate 0 are clean in form as well
    if fault_rate > 0 and rng.random() < RAMBLING:
        steps = [line for step in steps for line in (step, f"check: {step}")]
    return _reply(problem, steps, str(answer))


def examples() -> Iterator[Example]:
    """Vectors of the grader."""
    problem = _problem(
        "Compute 7 + 5 * 3 - 4.", "18", {"family": "sum", "steps": 3, "terms": [7, "+", 5, "*", 3, "-", 4]}
    )
    yield Example(problem, gold(problem), 1.0)
    yield Example(problem, thinking_reply("", r"First \boxed{22}, then \boxed{\frac{36}{2}}."), 1.0)
    yield Example(problem, thinking_reply("5*3=15\n7+15=22", r"\boxed{22}"), 0.0)
    yield Example(problem, thinking_reply("", "18"), 0.0)
    yield Example(problem, r"<think>\boxed{18}", 0.0)
    asked = _problem("Compute 57 + 87.", "144", {"family": "chain_sum", "plain": True})
    yield Example(asked, thinking_reply("57+87=144", r"\boxed{57 + 87 = 144}"), 1.0)
    yield Example(asked, thinking_reply("", r"\boxed{57 + 87}"), 0.0)


def check_answer(answer: Any) -> None:
    """The gold answer is a text, alone or as `answer` of an object; a number is taken as one.

    One that no reply could give, such as a whole solution, is refused: it would pass for the gold in every
    proof of the grader, and every right reply would earn nothing.
    """
    gold = answer.get("answer") if isinstance(answer, dict) else answer  # a bool is an int to Python
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        raise AnswerError(f"want the gold answer as a text, such as '\\frac{{1}}{{2}}', not {answer!r:.60}")
    if why := verify.implausible(str(gold)):
        raise AnswerError(f"no reply could give {gold!r:.60}: {why}; {MEND}")


DOMAIN = Domain(
    name="maths",
    summary=r"sums and word problems with a final answer in \boxed{}",
    sources={
        "builtin": drawn(make),
        "stories": drawn(make_story),
        "reasoning-gym:NAME[,NAME...]": from_gym,
        **SHARED,
    },
    grade=grade,
    examples=examples,
    gold=gold,
    demonstrate=demonstrate,
    score=score,
    needs=frozenset({"verifiers"}),
    check_answer=check_answer,
    alternatives=True,
)
