"""Whatever a policy replies, a problem with a readable gold gets a number: 50,000 hostile replies a domain.

Domains without a sandbox: maths, multiple choice, tools, following and alignment (its benchmark, and RL's score by a reward
model that answers); coding and swe have files of their own. A null would let a reply that deserves 0 dodge it.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import cycle, islice

from hostile_replies import replies
from instruction_cases import CASES

from cascade_rl.domain import Services
from cascade_rl.domains import alignment, following, maths, multiple_choice, tools
from cascade_rl.testing import FakeRewardModel, InlineVerifiers
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Split, Verdict

COUNT = 50_000
MODES = (Mode.INSTRUCT, Mode.THINKING)
Grade = Callable[[Problem, Rollout, Services], Awaitable[Verdict]]


def outcomes(
    grade: Grade, problems: list[Problem], golds: list[str], services: Services, seed: str
) -> Counter[Outcome]:
    """How the replies were judged, each on the next of the problems and in either mode."""
    found: Counter[Outcome] = Counter()

    async def judge_all() -> None:
        for problem, reply in zip(cycle(problems), replies(random.Random(seed), COUNT, golds), strict=False):
            verdict = await grade(problem, Rollout.of_text(reply), services)
            assert verdict.reward is not None and math.isfinite(verdict.reward), (
                problem.answer,
                reply[:300],
                verdict.note,
            )
            found[verdict.outcome] += 1

    asyncio.run(judge_all())
    assert found.total() == COUNT and found[Outcome.GRADER_ERROR] == 0
    return found


def problem(domain: str, answer: object, mode: Mode) -> Problem:
    return Problem("p", domain, (Message("user", "?"),), answer, mode)


GOLDS = (
    "12", "-3", r"\frac{403}{4}", "0.75", r"2\sqrt{3}", r"x^2+2x+1", r"\frac{\sqrt{3}}{2}+x^2", "(1,2)", "[0,1)", r"\{1,2,3\}",
    "x=1, y=2", r"x<3 \text{ or } x>5", r"5\text{ cm}", r"\$10", r"20\%", "1:2:3", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
    r"\text{May 5}", "1010_2", "y=2x+1", r"\max(a,b)", r"\lfloor n/2\rfloor", r"3+4i", "1{,}234", "B",
)  # fmt: skip


def test_maths_gives_a_number_to_any_reply():
    asked = [problem("maths", gold, mode) for gold in GOLDS for mode in MODES]
    golds = [rf"\boxed{{{gold}}}" for gold in GOLDS] + [f"The answer is ${gold}$." for gold in GOLDS[:8]]
    services = Services(verifiers=InlineVerifiers())
    found = outcomes(maths.score, asked, golds, services, "maths")
    assert found[Outcome.RIGHT] > 20 and found[Outcome.UNPARSEABLE] > 10_000


def test_multiple_choice_gives_a_number_to_any_reply():
    golds = ["\\boxed{B}", "Answer: B", "The answer is (B), since A is wrong.", '{"answer": "B"}', "答案：B"]
    answers = ("B", {"answer": "B", "choices": 4}, {"answer": "(K)", "choices": 12})
    asked = [problem("multiple_choice", answer, mode) for answer in answers for mode in MODES]
    found = outcomes(multiple_choice.grade, asked, golds, Services(), "choice")
    assert found[Outcome.RIGHT] > 500 and found[Outcome.UNPARSEABLE] > 20_000


def test_tools_gives_a_number_to_any_reply():
    asked = list(islice(tools.DOMAIN.problems("builtin", Split.RL, 0), 60))
    asked += [replace(asked[0], answer=asked[0].answer | {"calls": "any"})]
    asked = [one.in_mode(mode) for one in asked for mode in MODES]
    # without its thought, a reply is right in one mode and mutated in both
    golds = [tools.gold(one.in_mode(Mode.INSTRUCT)) or "" for one in asked[:-2]]
    assert outcomes(tools.grade, asked, golds, Services(), "tools")[Outcome.UNPARSEABLE] > 10_000
    # of one problem, so that a right reply is met
    found = outcomes(tools.score, asked[:2], golds[:2], Services(), "tools")
    assert found[Outcome.RIGHT] > 100 and found[Outcome.WRONG] > 10_000


def test_following_gives_a_number_to_any_reply():
    rows = [{"instruction_id_list": [case.id], "kwargs": [case.kwargs]} for case in CASES]
    asked = [problem("following", row, mode) for row in rows for mode in MODES]
    services = Services(verifiers=InlineVerifiers())
    found = outcomes(following.grade, asked, [case.good for case in CASES], services, "following")
    assert found[Outcome.RIGHT] > 500 and found[Outcome.WRONG] > 20_000


def test_alignment_gives_a_number_to_any_reply():
    asked = list(islice(alignment.DOMAIN.problems("builtin", Split.RL, 0), 40))
    asked += list(islice(alignment.DOMAIN.problems("chat", Split.RL, 0), 40))
    golds = [alignment.gold(one) or "" for one in asked]
    found = outcomes(alignment.score, asked, golds, Services(), "alignment")
    assert found[Outcome.WRONG] > 20_000
    # RL's: the reward model is asked for whatever was replied
    model = Services(reward_model=FakeRewardModel(lambda messages, answer: len(answer) / 1000))
    assert outcomes(alignment.grade, asked, golds, model, "alignment")[Outcome.PARTIAL] == COUNT
