"""The seams where an implementation may be exchanged, the only Protocols, and the records that pass them.

Sampler      draws replies from the policy
Sandbox      runs untrusted programs
Verifiers    runs verifier functions in processes that can be killed
RewardModel  scores replies
Judge        answers questions about replies, with yes or no or in words
Screen       is told how a run goes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cascade_rl.types import Message, Problem, Rollout, StepReport


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """Which distribution tokens are drawn from, given the logits; temperature 0 is greedy.

    Filters come in the order of transformers: temperature, `top_k` (0 is off), `top_p`, and `min_p`, which
    keeps tokens at least that share as likely as the likeliest (arXiv 2407.01082; 0 is off).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0

    def truncates(self, vocab: int) -> bool:
        """Whether some of `vocab` tokens may not be drawn."""
        return self.top_p < 1 or 0 < self.top_k < vocab or self.min_p > 0


WHOLE = SamplingRule()  # the model's own distribution
GREEDY = SamplingRule(temperature=0.0)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How replies are drawn: `n` per prompt, at most `max_new_tokens` long, each token by the `rule`.

    `seed` is a tuple such as (run seed, stage, step): with the problem id and the rollout's index it
    derives the generator of each row, so a reply does not depend on what else is in the batch.
    """

    n: int
    max_new_tokens: int
    rule: SamplingRule = WHOLE
    # no limit: whoever trains or evaluates gives its own
    max_prompt_tokens: int = 1_000_000
    seed: tuple[int | str, ...] = (0,)


# (index of the problem, its n rollouts)
Finished = Callable[[int, tuple[Rollout, ...]], None]


class Sampler(Protocol):
    """Draws replies from the current policy."""

    def sample(
        self, problems: Sequence[Problem], sampling: Sampling, finished: Finished | None = None
    ) -> list[tuple[Rollout, ...]]:
        """`n` rollouts for each problem, in the order of the problems.

        `finished(index, rollouts)` hears of each group once, as early as the sampler can, while others still
        decode; it returns at once and may be called from any thread, one call at a time for each index.
        """
        ...

    def sample_many(
        self, asked: Sequence[tuple[Sequence[Problem], Sampling]]
    ) -> list[list[tuple[Rollout, ...]]]:
        """What `sample` gives for each request; together they may share steps."""
        ...


@dataclass(frozen=True, slots=True)
class Turns:
    """Parts of a program that each have a time of their own, told by the lines that it prints.

    A turn ends with a whole line of `mark`, a blank, the turn's number (from -1 up to count - 1, in order),
    a blank and anything; a turn of more than each_s seconds of processor time ends the program. The sandbox
    looks from outside: nothing in the program can put it off but printing what is read as the turn's end.
    """

    mark: str
    count: int
    each_s: float


@dataclass(frozen=True, slots=True)
class Program:
    """Something to run: files laid out in a scratch directory, the one to start, and its standard input.

    An entry that is a compiled program (ELF) is executed, any other is Python; one named *.pyc is a
    marshalled code object of the interpreter that runs. Text stands for its UTF-8 bytes, and escaped bytes
    ("surrogateescape") for themselves.

    timeout_s  of processor time; a program that sleeps is ended by a clock that allows more
    profile    `code`: one process, no fork, no packages. `tests`: a repository's tests, which may fork and
               which see the installed distributions named in `packages`, with what those require, read-only
    collect    files that a program of profile `tests` leaves behind and that come back in `Execution.files`
    turns      parts with a time of their own each; None: there is only timeout_s, for the whole
    """

    files: Mapping[str, str]
    entry: str
    stdin: str = ""
    timeout_s: float = 4.0
    memory_mb: int = 1024
    profile: str = "code"
    collect: tuple[str, ...] = ()
    packages: tuple[str, ...] = ("pytest",)
    turns: Turns | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """What a program did.

    exit_code  negative for a signal
    error      set when the sandbox itself failed
    limit      the limit that it met: `cpu` or `wall` (then `timed_out`), `output`, `memory`; None if none
    cpu_s      the processor time that it took
    """

    stdout: str
    stderr: str
    exit_code: int
    timed_out: bool = False
    error: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    limit: str | None = None
    # not compared: equal programs give equal executions, but not equal times
    cpu_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """How strongly a sandbox keeps programs in.

    level   `full`, `lockdown`, `limits` or `none`: the first two isolate (docs/sandbox.md). A stage that was
            started at one does not go on at a weaker one
    walls   what keeps programs in, in a few words
    advice  what each better level lacks and how to enable it; empty at the best one
    """

    level: str
    walls: str
    advice: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """One line for the screen and the run's records."""
        return f"sandbox: {self.level} ({self.walls})"


class Sandbox(Protocol):
    """Runs untrusted programs. The expected answer is never handed to it."""

    def standing(self) -> Standing:
        """The level in force; starts what has to be started to know it.

        Raises SandboxUnavailable when nothing isolates and it was not told to run programs all the same.
        """
        ...

    async def run(self, program: Program) -> Execution:
        """Run to the end or to the limit; equal programs give equal results."""
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a verifier function returned, or why there is nothing: `timeout`, or `crash` with a note."""

    value: Any = None
    fault: str | None = None
    note: str = ""


class Verifiers(Protocol):
    """Runs verifier functions (pure text to JSON values) in processes that can be killed."""

    async def call(self, function: str, *arguments: Any, deadline_s: float = 3.0) -> Judgement:
        """Call `function`, such as `cascade_rl.verify.maths.answers:equal`, on JSON arguments.

        Never raises for what the function does.
        """
        ...


class RewardModel(Protocol):
    """Scores replies; higher is better, the scale is free."""

    async def score(self, messages: Sequence[Message], answer: str) -> float:
        """The score of `answer` (without reasoning) as the reply to `messages`."""
        ...


class Judge(Protocol):
    """A model that answers questions: with yes or no, or in words."""

    async def probability(self, messages: Sequence[Message]) -> Judgement:
        """The probability, in [0, 1], that the answer to the last message is yes.

        Never raises for what the model does.
        """
        ...

    async def answer(self, messages: Sequence[Message], max_tokens: int) -> Judgement:
        """What it writes in answer to the last message, as likely as it can; a fault if that was cut short.

        Never raises for what the model does.
        """
        ...


class Screen(Protocol):
    """Is told how a run goes. Nothing depends on what it does with it."""

    def stage(self, name: str, index: int, count: int) -> None:
        """Stage number `index` (from 0) of `count` begins."""
        ...

    def step(self, report: StepReport, total: int, phase: str) -> None:
        """A training step of `total` ended; `phase` names the part of the curriculum, if there is one."""
        ...

    def waiting(self, what: str, share: float | None = None) -> None:
        """Something other than training takes its time; `share` of it, from 0 to 1, is done."""
        ...

    def note(self, text: str) -> None:
        """Something to be read."""
        ...

    def scores(self, found: Mapping[str, Any], verdicts: Mapping[tuple[str, str], str]) -> None:
        """The content of matrix.json so far, and the gate's verdicts by (stage, benchmark)."""
        ...
