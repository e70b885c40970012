"""Whatever a candidate's run says, in report, output or exit code, its verdict is a number: 50,000 replies.

The sandbox is a fake: the golden repair's run is told as it is, every other one forges what it likes. It takes about
6 s on one core.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter

from hostile_replies import replies
from test_patch_fuzz import FILES, GOLDS, lines_mixed

from cascade_rl.domain import Services
from cascade_rl.domains import swe
from cascade_rl.grading import suites
from cascade_rl.protocols import Execution, Program
from cascade_rl.testing import FakeSandbox
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout
from cascade_rl.verify.patches.appraise import unified_diff
from cascade_rl.verify.suites.repository_tests import REPORT

COUNT = 50_000
TEST = """from shapes import area, edge


class TestShapes:
    def test_area(self):
        assert area(12, 12) == 144

    def test_edge(self):
        assert edge(3) == 12
"""
RIGHT = FILES["shapes.py"].replace("w + h", "w * h")
PATCH = unified_diff(FILES, FILES | {"shapes.py": RIGHT})
VALUES = {"test_area": "144", "test_edge": "12"}
ANSWER = {
    "files": FILES,
    "patch": PATCH,
    "tests": {
        "fail_to_pass": ["tests/test_shapes.py::TestShapes::test_area"],
        "pass_to_pass": ["tests/test_shapes.py::TestShapes::test_edge"],
    },
    "test_files": {"tests/test_shapes.py": TEST},
    "timeout_s": 20,
}
PROBLEM = Problem("id", "swe", (Message("user", "Repair it."),), ANSWER, Mode.INSTRUCT)


def asked(program: Program) -> list[tuple[str, str, bool]]:
    """The tests of a run as JUnit names them, and whether each expects the right value."""
    found = []
    for node_id in json.loads(program.stdin)["arguments"]:
        path, _, rest = node_id.partition("::")
        if rest:
            *owners, name = rest.split("::")
            text = program.files[path].partition(f"def {name}(")[2]
            place = ".".join([path.removesuffix(".py").replace("/", "."), *owners])
            expected = re.search(r"== (\S+)", text)
            found.append((place, name, expected is not None and expected[1] == VALUES.get(name)))
    return found


def report_of(rows: list[tuple[str, str, str]]) -> str:
    cases = "".join(f'<testcase classname="{c}" name="{n}">{inner}</testcase>' for c, n, inner in rows)
    return f"<testsuites><testsuite>{cases}</testsuite></testsuites>"


def told_truly(program: Program) -> Execution:
    rows = [(c, n, "" if right else "<failure/>") for c, n, right in asked(program)]
    return Execution("", "", 1, files={REPORT: report_of(rows)})


KINDS = ("passes", "fails", "guesses", "states", "broken", "others", "nothing", "ends")


class Forger:
    """Runs as a candidate may make them look, without knowing an answer; `lies` counts the kinds."""

    def __init__(self, seed: int) -> None:
        self.rng, self.lies = random.Random(seed), Counter[str]()
        self.noise = list(replies(self.rng, 400, ["<testsuites/>"]))

    def __call__(self, program: Program) -> Execution:
        if program.files["shapes.py"] == RIGHT:
            return told_truly(program)
        kind = self.rng.choice(KINDS)
        self.lies[kind] += 1
        given = getattr(self, kind)(asked(program))
        if isinstance(given, Execution):
            return given
        code = self.rng.choice([1, 1, 1, 0, 2, -9, 255])
        return Execution(
            self.rng.choice(self.noise), self.rng.choice(self.noise), code, files={REPORT: given}
        )

    def passes(self, rows: list) -> str:
        return report_of([(c, n, "") for c, n, _ in rows])

    def fails(self, rows: list) -> str:
        return report_of([(c, n, "<failure/>") for c, n, _ in rows])

    def guesses(self, rows: list) -> str:
        """One copy of each test passes: by lot, the right one in one of four or more."""
        lucky = {name: self.rng.choice([c for c, n, _ in rows if n == name]) for _, name, _ in rows}
        return report_of([(c, n, "" if lucky[n] == c else "<failure/>") for c, n, _ in rows])

    def states(self, rows: list) -> str:
        inner = [
            "",
            "<failure/>",
            "<error/>",
            "<skipped/>",
            "<failure/><skipped/>",
            "<x/>",
            "&#0;",
            "<failure",
        ]
        return report_of([(c, n, self.rng.choice(inner)) for c, n, _ in rows])

    def broken(self, rows: list) -> str:
        text = self.states(rows)
        for _ in range(self.rng.randint(1, 4)):
            at = self.rng.randrange(len(text))
            text = text[:at] + self.rng.choice(self.noise)[:50] + text[at + self.rng.randint(0, 40) :]
        return text

    def others(self, rows: list) -> str:
        mixed = [*rows, *self.rng.choices(rows, k=3), ("tests.test_x", "test_y", True)]
        self.rng.shuffle(mixed)
        return report_of([(c, n, self.rng.choice(["", "<failure/>"])) for c, n, _ in mixed])

    def nothing(self, rows: list) -> str:
        return self.rng.choice(["", *self.noise, "<a>" * 5_000, "<!DOCTYPE x [<!ENTITY y 'z'>]><a>&y;</a>"])

    def ends(self, rows: list) -> Execution:
        given = {REPORT: self.passes(rows)} if self.rng.random() < 0.5 else {}
        late = self.rng.random() < 0.5
        limit = self.rng.choice(["cpu", "wall"]) if late else self.rng.choice([None, "memory", "output"])
        return Execution("", "", self.rng.choice([1, -9, 0]), late, files=given, limit=limit)


def test_fifty_thousand_replies_and_forged_runs_earn_numbers(monkeypatch):
    monkeypatch.setattr(suites.secrets, "randbits", random.Random(0).getrandbits)
    rng, forger = random.Random("forged"), Forger(1)
    wrong = FILES["shapes.py"].replace("w + h", "w - h")
    repairs = [unified_diff(FILES, FILES | {"shapes.py": f"{wrong}# {i}\n"}) for i in range(50)]
    given = [*replies(rng, COUNT - 8_000, [*GOLDS, PATCH]), *(lines_mixed(rng) for _ in range(2_000))]
    given += [rng.choice(repairs) for _ in range(5_700)] + [PATCH] * 300
    rng.shuffle(given)
    services = Services(sandbox=FakeSandbox(forger))
    honest, forged = Counter[Outcome](), Counter[Outcome]()
    suites._SUITES.clear()

    async def all_of_them() -> None:
        for text in given:
            lies = forger.lies.total()
            verdict = await swe.score(PROBLEM, Rollout.of_text(text), services)
            assert verdict.reward in (0.0, 1.0), (text[:500], verdict)
            (forged if forger.lies.total() > lies else honest)[verdict.outcome] += 1
            assert text != PATCH or verdict.reward == 1.0
            services.sandbox.programs.clear()  # a long list of them would fill the memory

    asyncio.run(all_of_them())
    assert honest.total() + forged.total() == COUNT and min(forger.lies[kind] for kind in KINDS) > 300
    assert honest[Outcome.RIGHT] > 300
    # a guess is right once in 64, two tests in eight copies each, and of eight kinds one guesses
    assert forged[Outcome.WRONG] > 4_000 and forged[Outcome.RIGHT] < 20, (forged, honest)
