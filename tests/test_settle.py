"""A stage's data are finished before the stage begins: what is left out, what is told of it, and what a resume reads."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from tiny import toy_problem

from cascade_rl.data.settle import fitting, settle
from cascade_rl.domain import Domain, Services
from cascade_rl.errors import StageError
from cascade_rl.recipe import PreflightSpec, RLStage, digest
from cascade_rl.types import Demonstration, Demonstrations, Pair, Pairs, Pools, Problem, Verdict

STAGE = RLStage(name="rl", kind="rl", steps=2, lr=1e-3, data=[{"domain": "toy"}])
ALL = PreflightSpec(problems=8, max_bad=0.5)


class Grader:
    """A domain whose gold earns nothing on some problems; counts what it was asked."""

    def __init__(self, *bad: int) -> None:
        self.bad, self.asked = {toy_problem(n).id for n in bad}, Counter[str]()

    async def grade(self, problem: Problem, rollout, services: Services) -> Verdict:
        self.asked[problem.id] += 1
        return Verdict.binary(rollout.text == "gold" and problem.id not in self.bad)

    def domains(self) -> dict[str, Domain]:
        return {"toy": Domain("toy", "a toy", {}, self.grade, examples=list, gold=lambda p: "gold")}


def settled(folder, made, grader: Grader, spec: PreflightSpec = ALL):
    return settle(STAGE, made, folder, spec, grader.domains(), Services(), lambda what: None)


def pools(*numbers: int) -> Pools:
    return Pools((tuple(toy_problem(n) for n in numbers),))


def test_what_quarantine_takes_is_neither_told_nor_hashed(tmp_path):
    found = settled(tmp_path, pools(1, 2, 3, 4), Grader(2, 4))
    assert found.data == pools(1, 3)
    assert found.described == ["toy: 2 problems", "left out by pre-flight: 2 problems"]
    assert (
        found.hash
        == digest(
            [[[p.id, [["user", p.prompt_text]], "thinking"], p.answer] for p in map(toy_problem, (1, 3))]
        )
        == digest(pools(1, 3).content())
    )
    assert found.hash != digest(pools(1, 2, 3, 4).content())


def test_data_without_faults_are_told_and_hashed_as_they_were_made(tmp_path):
    made = pools(1, 2)
    found = settled(tmp_path, made, Grader())
    assert (found.data, found.described, found.hash) == (made, ["toy: 2 problems"], digest(made.content()))


def test_a_resume_reads_the_outcome_and_asks_no_grader(tmp_path):
    first = settled(tmp_path, pools(1, 2, 3), Grader(2))
    other = Grader(1)  # what a flaky grader would say the next time
    assert settled(tmp_path, pools(1, 2, 3), other) == first
    assert not other.asked


def test_other_data_are_looked_at_anew_until_a_stage_has_begun_with_them(tmp_path):
    settled(tmp_path, pools(1, 2, 3), Grader(2))
    again = Grader()
    assert settled(tmp_path, pools(1, 2), again).data == pools(1, 2) and again.asked
    (tmp_path / "stage.json").write_text("{}")
    before = (tmp_path / "preflight.json").read_bytes()
    with pytest.raises(StageError, match="was started with other data; --accept-changes sets it"):
        settled(tmp_path, pools(1, 2, 3), Grader())
    assert (tmp_path / "preflight.json").read_bytes() == before, "nothing is lost"


@pytest.mark.parametrize("stored", [{"domains": [], "disjoint": "as proven"}, {}, []])
def test_what_is_no_pre_flight_of_these_pools_is_done_again(tmp_path, stored):
    (tmp_path / "preflight.json").write_text(json.dumps(stored))
    (tmp_path / "stage.json").write_text("{}")
    assert settled(tmp_path, pools(1, 2), Grader(1)).data == pools(2)


def test_the_pre_flight_of_an_older_version_is_believed(tmp_path):
    """It does not say for which data it is; if they were others, the stage's key is another one."""
    report = {"domain": "toy", "tried": 2, "quarantined": {toy_problem(2).id: "no"}, "without_gold": 0}
    (tmp_path / "preflight.json").write_text(json.dumps({"domains": [report], "disjoint": "as proven"}))
    (tmp_path / "stage.json").write_text("{}")
    grader = Grader()
    assert settled(tmp_path, pools(1, 2), grader).data == pools(1) and not grader.asked


def test_a_pool_without_a_problem_that_can_be_told_is_an_error_and_not_kept(tmp_path):
    with pytest.raises(StageError, match="left no problem of a pool"):
        settled(tmp_path, pools(1), Grader(1), PreflightSpec(problems=8, max_bad=1.0))
    assert list(tmp_path.iterdir()) == []


def test_too_many_faults_stop_the_stage_before_anything_is_written(tmp_path):
    with pytest.raises(StageError, match=r"pre-flight failed on 3 of 4 problems of toy; the first is .*gold"):
        settled(tmp_path, pools(1, 2, 3, 4), Grader(1, 2, 3))
    assert list(tmp_path.iterdir()) == []


def test_only_a_sample_is_tried_and_the_rest_stays(tmp_path):
    grader = Grader(1, 9)
    found = settled(tmp_path, pools(*range(10)), grader, PreflightSpec(problems=4, max_bad=0.5))
    assert found.data == pools(0, *range(2, 10)) and len(grader.asked) == 4


def test_imitation_and_pairs_need_no_verdict_on_their_problems(tmp_path):
    for name, made in (
        ("sft", Demonstrations(tuple(Demonstration(toy_problem(n), "x") for n in (1, 2, 3)))),
        ("rm", Pairs(tuple(Pair(toy_problem(n), "a", "b") for n in (1, 2, 3)), ())),
    ):
        assert settled(tmp_path / name, made, Grader(2)).data == made


# ---------------------------------------------------------------- prompts


def test_long_prompts_are_left_out_and_told_by_pool():
    made = Pools((tuple(toy_problem(n, "a") for n in range(6)), tuple(toy_problem(n, "b") for n in range(4))))
    long = {problem.id for problem in (*made.entries[0][:2], made.entries[1][3])}
    data, notes = fitting("rl", [7, 7], made, lambda problem: 8 if problem.id in long else 7)
    assert data.pools() == (made.entries[0][2:], made.entries[1][:3])
    assert notes == [
        "rl: 2 of 6 prompts over 7 tokens are left out",
        "rl: 1 of 4 prompts over 7 tokens are left out",
    ]
    assert fitting("sft", [], made, lambda problem: 10**9) == (made, [])


def test_each_pool_has_a_limit_of_its_own():
    """SWE RL of the report reads prompts of 16K, then of 24K: the long ones are for the second phase alone."""
    made = Pools((tuple(toy_problem(n, "a") for n in range(6)), tuple(toy_problem(n, "b") for n in range(4))))
    data, notes = fitting("rl", [3, 8], made, lambda problem: int(problem.messages[0].content[-2]) + 1)
    assert [len(pool) for pool in data.pools()] == [3, 4]
    assert notes == ["rl: 3 of 6 prompts over 3 tokens are left out"]


def test_an_id_of_two_pools_is_left_out_of_the_one_where_it_is_wrong(tmp_path):
    """Ids of files may repeat: two files of one stage both begin with 1."""
    one = tuple(toy_problem(n) for n in (1, 2))
    twins = tuple(replace(toy_problem(n, series="b"), id=mine.id) for n, mine in enumerate(one))
    made = Pools((one, twins))
    data, _ = fitting("rl", [7, 7], made, lambda problem: 8 if problem == twins[0] else 7)
    assert data == Pools((one, twins[1:]))
    grader = Grader()
    right = grader.grade

    async def wrong_on_one(problem: Problem, rollout, services: Services) -> Verdict:
        return Verdict.failed("broken") if problem == one[1] else await right(problem, rollout, services)

    grader.grade = wrong_on_one
    assert settled(tmp_path, made, grader).data == Pools((one[:1], twins))


def test_a_pool_of_long_prompts_only_is_an_error():
    with pytest.raises(StageError, match="rl: every prompt is longer than max_prompt_tokens: 7; raise it"):
        fitting("rl", [7], pools(1, 2), lambda problem: 8)


def test_each_prompt_is_looked_at_once_however_many_are_long(monkeypatch):
    """It compared every prompt with every long one: minutes for the pools of real data."""
    made, counts = pools(*range(3000)), Counter[str]()
    same = Problem.__eq__

    def compared(self, other):
        counts["compared"] += 1
        return same(self, other)

    def length(problem):
        counts["measured"] += 1
        return int(problem.id[-1], 16)

    monkeypatch.setattr(Problem, "__eq__", compared)
    data, _ = fitting("rl", [7], made, length)
    assert 1000 < len(data.pools()[0]) < 2000
    assert counts["measured"] == 3000 and counts["compared"] <= 3000
