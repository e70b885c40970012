"""Open what graders use: sandbox, verifiers and judge, counted and closed in one place.

All stand behind small wrappers, whatever implements them: these count what happens and, of sandbox and
verifiers, keep a caller's limit. A judge model has a time limit of its own, which its recipe says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from cascade_rl.domain import Services
from cascade_rl.errors import InputError
from cascade_rl.grading.clock import stopped
from cascade_rl.grading.on_ray import opened_on_ray
from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.protocols import Execution, Judge, Judgement, Program, Standing
from cascade_rl.recipe.prompts import JudgeSpec
from cascade_rl.remote.address import named_key
from cascade_rl.remote.client import Terms
from cascade_rl.remote.judge import HttpJudge
from cascade_rl.remote.ray_services import RaySandbox, RayVerifiers
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.types import Message

KNOWN = ("sandbox", "verifiers", "reward_model")


@contextmanager
def open_services(
    needs: frozenset[str],
    workers: int | None = None,
    limit_s: float = math.inf,
    unsafe: bool = False,
    ray: str | None = None,
) -> Iterator[Services]:
    """The services that `needs` names, but for a reward model, which its run adds; they end with the context.

    workers  processes for each, on each machine; its cores if None
    limit_s  the most seconds that one program or one verifier's call may take, where the problem allows more
    unsafe   run programs even where nothing isolates them
    ray      the Ray cluster that verifies and runs programs, as `remote/ray_cluster.py` knows it; None: here

    Raises SandboxUnavailable when a sandbox is needed and nothing isolates.
    """
    if unknown := needs - set(KNOWN):
        raise InputError(f"no service {', '.join(sorted(unknown))}; a domain may need {', '.join(KNOWN)}")
    counts: Counter[str] = Counter()
    with (
        _opened_here(needs, workers, unsafe)
        if ray is None
        else opened_on_ray(ray, needs, workers, unsafe) as opened
    ):
        sandbox, verifiers = opened
        yield Services(
            sandbox=_CountedSandbox(sandbox, counts, limit_s) if sandbox else None,
            verifiers=_CountedVerifiers(verifiers, counts, limit_s) if verifiers else None,
            limit_s=limit_s,
            counts=counts,
        )


@contextmanager
def _opened_here(
    needs: frozenset[str], workers: int | None, unsafe: bool
) -> Iterator[tuple[ZygoteSandbox | None, ProcessVerifiers | None]]:
    sandbox = ZygoteSandbox(workers, unsafe=unsafe) if "sandbox" in needs else None
    verifiers = ProcessVerifiers(workers) if "verifiers" in needs else None
    try:
        if sandbox:
            # at once: a machine that isolates nothing is refused before a model is loaded
            sandbox.start()
        yield sandbox, verifiers
    finally:
        for service in (sandbox, verifiers):
            if service:
                service.close()


def judge_spec(settings: Mapping[str, Any], source: str) -> JudgeSpec:
    """The judge that `source` (a file, an option) describes; InputError, which names it, if it is none."""
    try:
        return JudgeSpec.model_validate(settings)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"{source}: the judge: {wrong}") from None


def with_judge(services: Services, spec: JudgeSpec) -> Services:
    """The services with a judge model, counted; InputError when its address or its key can't be used."""
    # by name: recipes and stage.json lie about, and a key must stand in neither
    key = named_key(spec.api_key_variable, "the judge's") if spec.api_key_variable else None
    terms = Terms(timeout_s=spec.timeout_s)
    judge = HttpJudge(spec.url, spec.model, api_key=key, terms=terms, max_tokens=spec.judge_tokens)
    return replace(services, judge=_CountedJudge(judge, services.counts))


def standing(services: Services) -> Standing | None:
    """How strongly programs are kept in; None where there is no sandbox."""
    return services.sandbox.standing() if services.sandbox else None


@dataclass(frozen=True, slots=True)
class _CountedSandbox:
    inner: ZygoteSandbox | RaySandbox
    counts: Counter[str]
    limit_s: float

    def standing(self) -> Standing:
        return self.inner.standing()

    async def run(self, program: Program) -> Execution:
        # a program of several turns has the limit for each, which its grader has kept
        if program.turns is None and program.timeout_s > self.limit_s:
            program = replace(program, timeout_s=self.limit_s)
        self.counts["programs"] += 1
        with stopped():
            execution = await self.inner.run(program)
        self.counts["program_timeouts"] += execution.timed_out
        self.counts["sandbox_failures"] += execution.error is not None
        # A total so far, as the others are: whoever wants a step's takes a difference.
        self.counts["sandbox_workers_replaced"] = self.inner.counters["respawns"]
        _count_losses(self.inner, self.counts)
        return execution


@dataclass(frozen=True, slots=True)
class _CountedJudge:
    inner: Judge
    counts: Counter[str]

    async def probability(self, messages: Sequence[Message]) -> Judgement:
        return self._counted(await self.inner.probability(messages))

    async def answer(self, messages: Sequence[Message], max_tokens: int) -> Judgement:
        # two long texts may take longer than any verdict; each attempt has the judge's own limit
        with stopped():
            found = await self.inner.answer(messages, max_tokens)
        return self._counted(found)

    def _counted(self, found: Judgement) -> Judgement:
        self.counts["judge_calls"] += 1
        if found.fault:
            self.counts["judge_timeouts" if found.fault == "timeout" else "judge_failures"] += 1
        return found


@dataclass(frozen=True, slots=True)
class _CountedVerifiers:
    inner: ProcessVerifiers | RayVerifiers
    counts: Counter[str]
    limit_s: float

    async def call(self, function: str, *arguments: Any, deadline_s: float = 3.0) -> Judgement:
        self.counts["verifier_calls"] += 1
        # the call's own deadline is kept where it is worked on; nodes may be lost and found meanwhile
        with stopped() if isinstance(self.inner, RayVerifiers) else nullcontext():
            found = await self.inner.call(function, *arguments, deadline_s=min(deadline_s, self.limit_s))
        if found.fault:
            self.counts["verifier_timeouts" if found.fault == "timeout" else "verifier_crashes"] += 1
        self.counts["verifier_workers_replaced"] = self.inner.counts.get("replaced", 0)
        _count_losses(self.inner, self.counts)
        return found


def _count_losses(inner: object, counts: Counter[str]) -> None:
    if isinstance(inner, RaySandbox | RayVerifiers):
        for name, total in inner.cluster.losses.items():
            counts[name] = total
