"""Fakes for testing a domain, a grader or a loop without a model: shipped, so that users test their own.

No torch here. Like httpx's MockTransport, each fake takes the behaviour as a function or a table and keeps a
list of what it was asked.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cascade_rl.protocols import Execution, Finished, Judgement, Program, Sampling, Standing
from cascade_rl.types import Message, Problem, Rollout, StepReport, Stop

END_ID = 256  # ids are the bytes of the text; this one ends a reply

Reply = str | Sequence[str]


def text_rollout(text: str, max_new_tokens: int = 1_000_000, prompt: str = "") -> Rollout:
    """A rollout of one id per byte and an end id, cut at the limit as a sampler would cut it."""
    whole = (*text.encode(), END_ID)
    ids = whole[:max_new_tokens]
    stop = Stop.END if len(ids) == len(whole) else Stop.LENGTH
    # a cut may fall inside a character: its bytes are left out of the text, as a tokenizer does
    kept = text if stop is Stop.END else bytes(ids).decode(errors="ignore")
    # log p = 0: what is scripted was certain
    return Rollout(tuple(prompt.encode()), ids, (0.0,) * len(ids), kept, stop)


class ScriptedSampler:
    """A `Sampler` that says what it is told: a function of the problem, or a table from problem ids.

    A reply is a text, or a sequence of texts of which sample i takes number i, starting over at the end.
    Greedy sampling takes the first. `asked` holds (ids of the problems, sampling) of every call.
    """

    def __init__(self, replies: Callable[[Problem], Reply] | Mapping[str, Reply]) -> None:
        self._replies = replies
        self.asked: list[tuple[tuple[str, ...], Sampling]] = []

    def sample(
        self, problems: Sequence[Problem], sampling: Sampling, finished: Finished | None = None
    ) -> list[tuple[Rollout, ...]]:
        """`n` rollouts for each problem; replies longer than the limit are cut."""
        self.asked.append((tuple(problem.id for problem in problems), sampling))
        groups = []
        for index, problem in enumerate(problems):
            groups.append(self._group(problem, sampling))
            if finished:
                finished(index, groups[-1])
        return groups

    def sample_many(
        self, asked: Sequence[tuple[Sequence[Problem], Sampling]]
    ) -> list[list[tuple[Rollout, ...]]]:
        """One request after the other."""
        return [self.sample(problems, sampling) for problems, sampling in asked]

    def _group(self, problem: Problem, sampling: Sampling) -> tuple[Rollout, ...]:
        reply = self._reply(problem)
        texts = [reply] if isinstance(reply, str) else list(reply)
        chosen = (texts[i % len(texts)] for i in range(sampling.n))
        return tuple(text_rollout(text, sampling.max_new_tokens, problem.prompt_text) for text in chosen)

    def _reply(self, problem: Problem) -> Reply:
        if not isinstance(self._replies, Mapping):
            return self._replies(problem)
        if problem.id not in self._replies:
            raise KeyError(f"no scripted reply for problem {problem.id}: {problem.prompt_text[:80]!r}")
        return self._replies[problem.id]


class FakeSandbox:
    """A `Sandbox` that runs nothing: a fixed execution, a standard output, or a function of the program.

    `programs` holds what it was asked to run.
    """

    def __init__(self, result: Execution | str | Callable[[Program], Execution | str] = "") -> None:
        self._result = result
        self.programs: list[Program] = []

    def standing(self) -> Standing:
        """The best level: what runs nothing lets nothing out."""
        return Standing("full", "runs nothing")

    async def run(self, program: Program) -> Execution:
        """What the script says; a text stands for the output of a program that ended well."""
        self.programs.append(program)
        result = self._result(program) if callable(self._result) else self._result
        return Execution(result, "", 0) if isinstance(result, str) else result


class InlineVerifiers:
    """`Verifiers` that call the function here and now: for tests of a grader, without processes.

    Nothing can be killed, so a call that takes longer than its deadline is a timeout only once it has ended.
    `asked` holds (function, arguments) of every call.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    async def call(self, function: str, *arguments: Any, deadline_s: float = 3.0) -> Judgement:
        """What `module:name` returns; arguments and result are passed through JSON, as between processes."""
        # a tuple becomes a list here as it does between processes: better seen in a test
        sent = json.loads(json.dumps(arguments))
        self.asked.append((function, arguments))
        module, _, name = function.partition(":")
        began = time.monotonic()
        try:
            value = json.loads(json.dumps(getattr(importlib.import_module(module), name)(*sent)))
        except Exception as error:
            return Judgement(fault="crash", note=f"{type(error).__name__}: {error}"[:500])
        late = time.monotonic() - began > deadline_s
        return (
            Judgement(fault="timeout", note=f"no answer within {deadline_s:g} s")
            if late
            else Judgement(value)
        )


class FakeRewardModel:
    """A `RewardModel` from a function of messages and answer, or a constant; `asked` holds what it scored."""

    def __init__(self, score: float | Callable[[Sequence[Message], str], float] = 0.0) -> None:
        self._score = score
        self.asked: list[tuple[tuple[Message, ...], str]] = []

    async def score(self, messages: Sequence[Message], answer: str) -> float:
        """The scripted score."""
        self.asked.append((tuple(messages), answer))
        return float(self._score(messages, answer) if callable(self._score) else self._score)


class ScriptedJudge:
    """A `Judge` whose texts are a function of the messages; one that is a Judgement is given as it is.

    `asked` holds the messages of every question. Its probability of yes is 1 where it writes `YES`, else 0.
    """

    def __init__(self, write: Callable[[Sequence[Message]], str | Judgement]) -> None:
        self._write = write
        self.asked: list[tuple[Message, ...]] = []

    async def probability(self, messages: Sequence[Message]) -> Judgement:
        """Certain either way."""
        found = await self.answer(messages, 1)
        return found if found.fault else Judgement(float(found.value == "YES"))

    async def answer(self, messages: Sequence[Message], max_tokens: int) -> Judgement:
        """What the script says."""
        self.asked.append(tuple(messages))
        written = self._write(messages)
        return written if isinstance(written, Judgement) else Judgement(written)


class QuietScreen:
    """A `Screen` that shows nothing; `notes` holds what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str, index: int, count: int) -> None:
        """Nothing."""

    def step(self, report: StepReport, total: int, phase: str) -> None:
        """Nothing."""

    def waiting(self, what: str, share: float | None = None) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)

    def scores(self, found: Mapping[str, Any], verdicts: Mapping[tuple[str, str], str]) -> None:
        """Nothing."""
