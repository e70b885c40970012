"""Replies of any kind to repairs get a number: no exception, no null, and the judge is never asked about nothing."""

from __future__ import annotations

import asyncio
import math
import random
import re

import pytest
from hostile_replies import replies

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.protocols import Judgement
from cascade_rl.types import Message, Mode, Problem, Rollout, Verdict
from cascade_rl.verify.patches.appraise import unified_diff

SWE = load_domain("swe")
FILES = {
    "shapes.py": "def area(w, h):\n    return w + h\n\n\ndef edge(w):\n    return 4 * w\n",
    "lib/shop.py": "\ufeffdef price(n):\r\n    return n * 3\r\n# <<<<<<< SEARCH\r\n",
    "README.md": "Shapes\n=======\n\n```\narea\n```\n",
    "empty": "",
    "bare": "no newline",
}
CHANGES = (
    {"shapes.py": FILES["shapes.py"].replace("w + h", "w * h")},
    {"lib/shop.py": FILES["lib/shop.py"].replace("3", "4").replace("price", "cost"), "new/x.py": "x = 1\n"},
    {"README.md": FILES["README.md"].replace("area", "edge"), "bare": "none\n"},
)


def problems() -> list[Problem]:
    made = []
    for change in CHANGES:
        answer = {"files": FILES, "patch": unified_diff(FILES, FILES | change)}
        made.append(Problem("id", "swe", (Message("user", "Repair it."),), answer).in_mode(Mode.INSTRUCT))
    return made


PROBLEMS = problems()
GOLDS = [SWE.gold(problem) for problem in PROBLEMS] + [
    "shapes.py\n```\n<<<<<<< SEARCH\n    return w + h\n=======\n    return w * h\n>>>>>>> REPLACE\n```",
    "*** Begin Patch\n*** Update File: shapes.py\n@@ def area(w, h):\n-    return w + h\n+    return w * h\n*** End Patch",
]


def lines_mixed(rng: random.Random) -> str:
    """A right reply with lines dropped, doubled, swapped, taken from another, or with a line of a file put in."""
    lines = rng.choice(GOLDS).split("\n")
    others = rng.choice(GOLDS).split("\n") + rng.choice(list(FILES.values())).split("\n")
    for _ in range(rng.randint(1, 4)):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        change = rng.randrange(6)
        if change == 0 and len(lines) > 1:
            del lines[i]
        elif change == 1:
            lines.insert(j, lines[i])
        elif change == 2:
            lines[i], lines[j] = lines[j], lines[i]
        elif change == 3:
            lines[i] = rng.choice(others)
        elif change == 4:
            lines.insert(i, rng.choice(others))
        else:
            lines[i] = rng.choice(" +-#`\t\r@") + lines[i] if rng.random() < 0.5 else lines[i][1:]
    return rng.choice(["\n", "\n", "\n", "\r\n"]).join(lines)


def graded(problem: Problem, reply: str, services: Services) -> Verdict:
    """The verdict of one reply; nothing here waits, so that no loop is needed."""
    run = SWE.grade(problem, Rollout.of_text(reply), services)
    try:
        run.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the grader waits")


def check(verdict: Verdict, reply: str) -> None:
    assert isinstance(verdict.reward, float) and math.isfinite(verdict.reward), (verdict, reply)
    assert -1.0 <= verdict.reward <= 1.0


@pytest.mark.parametrize("part", range(5))
def test_fifty_thousand_replies_earn_numbers(part):
    rng = random.Random(part)
    given = [*replies(rng, 5_000, GOLDS), *(lines_mixed(rng) for _ in range(5_000))]
    rewards = []
    for reply in given:
        verdict = graded(rng.choice(PROBLEMS), reply, Services())
        check(verdict, reply)
        rewards.append(verdict.reward)
    # the fuzz reaches every kind of verdict
    assert min(rewards) == -1.0 and max(rewards) == 1.0 and 0.0 in rewards
    assert any(0 < reward < 1 for reward in rewards)


class Asked:
    """A judge that keeps what it was shown, and says one half."""

    def __init__(self) -> None:
        self.candidates: list[str] = []

    async def probability(self, messages) -> Judgement:
        text = messages[-1].content
        self.candidates.append(
            re.findall(r"BEGIN CANDIDATE PATCH \w+\n(.*?)\nEND CANDIDATE PATCH", text, re.DOTALL)[0]
        )
        text.encode()
        return Judgement(0.5)


def test_the_judge_is_never_asked_about_nothing():
    rng, judge = random.Random(9), Asked()
    services = Services(judge=judge)
    for reply in [*replies(rng, 1_000, GOLDS), *(lines_mixed(rng) for _ in range(2_000))]:
        check(graded(rng.choice(PROBLEMS), reply, services), reply)
    assert len(judge.candidates) > 100
    assert all(re.search(r"^[+-]|^(new|deleted) file", text, re.MULTILINE) for text in judge.candidates)


def test_a_judge_gets_text_that_can_be_sent():
    """Half of a surrogate pair in a golden file would make the judge's server refuse the question."""
    files = {"f": "a \ud800\nb\n"}
    answer = {"files": files, "patch": "--- a/f\n+++ b/f\n@@ -2 +2 @@\n-b\n+c\n"}
    problem = Problem("id", "swe", (Message("user", "Do."),), answer).in_mode(Mode.INSTRUCT)
    judge = Asked()
    reply = answer["patch"].replace("+c", "+d")
    assert asyncio.run(SWE.grade(problem, Rollout.of_text(reply), Services(judge=judge))).reward == 0.5
    assert len(judge.candidates) == 1
