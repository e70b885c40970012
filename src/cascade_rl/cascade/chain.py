"""A stage as a chain of jobs: where one ends and the next begins, and which prompts each of them asks.

An engine elsewhere has one length, one temperature and one list of prompts a job. So a job ends where a
sub-stage of the curriculum does, and where the epoch filter has to see how the problems of an epoch fared.
The prompts are drawn by the pool that our own engine draws from, so that both ask the same ones in the same
order.

Over the border of two jobs go the weights alone: optimiser and schedule begin anew, which is why a schedule
that is not constant is refused where there are several. No state is saved: a resumed run draws again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cascade_rl.backends.verl.job import Link
from cascade_rl.recipe import FullPhase, RLStage, Stage
from cascade_rl.train.pool import PromptPool
from cascade_rl.types import Group, Pools, Problem, StageData

# The groups of the steps from the first number up to the second, as they were graded.
Outcomes = Callable[[int, int], Sequence[Group]]


def chain(stage: Stage, data: StageData, seed: int, outcomes: Outcomes) -> Iterator[Link]:
    """The links of a stage in order; the next is asked for once the last is trained, its outcomes known."""
    if not isinstance(stage, RLStage) or not isinstance(data, Pools):
        yield Link(0, 0, stage.planned_steps, None, data)
        return
    pool = PromptPool(stage, data.entries, seed)
    number = 0
    for start, end, rule in stage.phases():
        step = start
        while step < end:
            until, asked = _drawn(pool, stage, rule, step, end)
            yield Link(number, step, until, rule, data, tuple(asked))
            pool.record(outcomes(step, until))
            number, step = number + 1, until


def _drawn(
    pool: PromptPool, stage: RLStage, rule: FullPhase, step: int, end: int
) -> tuple[int, list[Problem]]:
    """The prompts of the steps from `step` up to where the job ends, and that step."""
    asked: list[Problem] = []
    for number in range(step, end):
        before = pool.state()
        drawn = pool.draw(stage.prompts_per_step, rule.data)
        # who is in the next epoch depends on how the last one went, of which these steps are a part
        if number > step and stage.filter.kind == "epoch" and _epochs(pool.state()) != _epochs(before):
            pool.restore(before)
            return number, asked
        asked += drawn
    if stage.filter.kind == "batch":
        # what fills up a batch whose groups had no signal: as much as every round would ask at most
        for _ in range((stage.filter.max_rounds - 1) * (end - step)):
            asked += pool.draw(stage.prompts_per_step, rule.data)
    return end, asked


def _epochs(state: dict[str, list[dict[str, int]]]) -> list[int]:
    return [source["epoch"] for source in state["sources"]]
