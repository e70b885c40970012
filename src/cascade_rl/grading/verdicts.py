"""Grade replies so that a verdict always comes: whatever a grader does, a run goes on.

A grader that raises, that is cancelled from within, that never ends or whose reward is no number has failed:
its verdict is null with the reason, never a zero. It is asked once more first, since a worker may have been
killed. Notes are kept on one line, visible and of bounded length, whatever a grader writes: they stand in
journals, on terminals and on the report's page. All graders share one event loop in one thread, which lives
as long as the process: processes that a thread started may be set to die with it (PR_SET_PDEATHSIG), and
connections belong to their loop.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from cascade_rl.domain import Grade, Services
from cascade_rl.errors import ClusterLost
from cascade_rl.grading.clock import deadline
from cascade_rl.types import Outcome, Problem, Rollout, Verdict
from cascade_rl.verify.told import one_line

# A backstop for graders without limits of their own; while a sandbox works, which has such, it stands still.
DEADLINE_S = 300.0
# Verdicts under way at once: they keep workers and a remote judge busy, and few have to wait in line.
SLOTS = 64

T = TypeVar("T")


async def verdict_of(grade: Grade, problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """The verdict on one reply; null with the reason when the grader failed twice."""
    verdict = await _once(grade, problem, rollout, services)
    if verdict.reward is None:
        # told in timings.jsonl: a grader that often needs it is about to fail for good
        services.counts["asked_again"] += 1
        verdict = await _once(grade, problem, rollout, services)
    note = one_line(str(verdict.note))
    return verdict if note == verdict.note else replace(verdict, note=note)


async def _once(grade: Grade, problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    try:
        async with deadline(DEADLINE_S):
            verdict = await grade(problem, rollout, services)
    except TimeoutError as error:
        return Verdict.failed(
            f"TimeoutError: {error}" if str(error) else f"no verdict within {DEADLINE_S:.0f} s"
        )
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # it is the grading itself that shall end
        return Verdict.failed("the grader was cancelled by something that it waited for")
    except ClusterLost:
        raise  # no verdict of anything can be given any more: the run ends, and goes on where it stopped
    except SystemExit as error:  # it would end the thread that grades, and the run would wait for ever
        return Verdict.failed(f"the grader raised SystemExit: {error}")
    except Exception as error:  # a fault of the grader, told as one; see the module's docstring
        return Verdict.failed(f"the grader raised {type(error).__name__}: {error}")
    # graders are users' code, whatever their annotations say
    if not isinstance(verdict, Verdict):
        return Verdict.failed(f"the grader returned {type(verdict).__name__}, not a Verdict")
    if verdict.reward is not None and not math.isfinite(verdict.reward):
        return Verdict(None, Outcome.GRADER_ERROR, verdict.parts, f"the reward is {verdict.reward}")
    return verdict


async def verdicts_here(
    grade: Grade, pairs: Sequence[tuple[Problem, Rollout]], services: Services
) -> tuple[Verdict, ...]:
    """The verdicts on (problem, reply) pairs, all at once on the running loop.

    A learned reward makes one batch of them.
    """
    return tuple(await asyncio.gather(*(verdict_of(grade, p, r, services) for p, r in pairs)))


class GradingThread:
    """One event loop in one daemon thread; `slots` verdicts are under way at once."""

    def __init__(self, slots: int) -> None:
        self._loop = asyncio.new_event_loop()
        self.slots, self._slots = slots, asyncio.Semaphore(slots)
        threading.Thread(target=self._loop.run_forever, name="grading", daemon=True).start()

    def widen(self, slots: int) -> None:
        """Have at least so many verdicts under way from now on."""
        more = slots - self.slots
        self.slots = max(self.slots, slots)
        for _ in range(more):
            self._loop.call_soon_threadsafe(self._slots.release)

    def submit(
        self, grade: Grade, pairs: Sequence[tuple[Problem, Rollout]], services: Services
    ) -> Future[tuple[Verdict, ...]]:
        """Begin to grade (problem, reply) pairs; the future holds their verdicts in order."""
        return self.begin(self.graded(grade, pairs, services))

    async def graded(
        self, grade: Grade, pairs: Sequence[tuple[Problem, Rollout]], services: Services
    ) -> tuple[Verdict, ...]:
        """The verdicts on (problem, reply) pairs, in order; to be awaited on the thread's own loop."""
        return tuple(await asyncio.gather(*(self._one(grade, p, r, services) for p, r in pairs)))

    async def _one(self, grade: Grade, problem: Problem, rollout: Rollout, services: Services) -> Verdict:
        async with self._slots:
            return await verdict_of(grade, problem, rollout, services)

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin any work that grades."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of any work that grades; must not be called from the loop itself."""
        return self.begin(work).result()


@cache
def grading_thread() -> GradingThread:
    """The one thread of this process that grades."""
    return GradingThread(SLOTS)


def grade_all(
    grade: Grade, pairs: Sequence[tuple[Problem, Rollout]], services: Services, *, learned: bool = False
) -> tuple[Verdict, ...]:
    """The verdicts on (problem, reply) pairs, in order.

    A `learned` reward is computed in the calling thread, as one batch: it runs on the workers that also
    sample, and their pipes belong to one thread. Must not be called from inside a running event loop.
    """
    if learned:
        return asyncio.run(verdicts_here(grade, pairs, services))
    return grading_thread().submit(grade, pairs, services).result()
