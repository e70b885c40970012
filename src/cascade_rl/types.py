"""The nouns of the system: frozen records that flow from problem to report.

Records are never filled in later: a stage of the flow returns a new value. Rewards that could not be
computed are `None`, never zero.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol


class Mode(StrEnum):
    """How the model is asked to answer: with visible reasoning or directly."""

    THINKING = "thinking"
    INSTRUCT = "instruct"


class Split(StrEnum):
    """Which part of the cascade may see a problem; the parts are disjoint by prompt."""

    SFT = "sft"
    RL = "rl"
    VALIDATION = "validation"
    HELDOUT = "heldout"


class Stop(StrEnum):
    """Why a rollout ended: an end-of-sequence token, or the length limit."""

    END = "end"
    LENGTH = "length"


class Outcome(StrEnum):
    """What a verdict says about a reply, apart from its reward."""

    RIGHT = "right"
    PARTIAL = "partial"
    WRONG = "wrong"
    UNPARSEABLE = "unparseable"
    TIMEOUT = "timeout"
    GRADER_ERROR = "grader_error"


@dataclass(frozen=True, slots=True)
class Message:
    """A turn of system, user, assistant or tool; `form` is what its content was written from, if any."""

    role: str
    content: str
    form: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """A prompt with the answer that its grader needs; the answer is JSON and never shown to the policy.

    `id` is stable across machines and runs: it derives from domain and content (see `problem_id`).
    """

    id: str
    domain: str
    messages: tuple[Message, ...]
    answer: Any
    mode: Mode = Mode.THINKING
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.messages or self.messages[-1].role not in ("user", "tool"):
            raise ValueError(f"problem {self.id}: the last message must be the user's (or a tool's)")

    def in_mode(self, mode: Mode) -> Problem:
        """The same problem, asked in another mode; the id does not change."""
        return self if mode is self.mode else replace(self, mode=mode)

    @property
    def prompt_text(self) -> str:
        """All user text, without mode flags; what disjointness is judged by."""
        return "\n".join(m.content for m in self.messages if m.role == "user")

    def asked(self) -> list[Any]:
        """Id, messages and mode as JSON: what decides the prompt. An id alone may stay as its row changes."""
        return [self.id, [[m.role, m.content] for m in self.messages], str(self.mode)]


def problem_id(domain: str, content: Any) -> str:
    """A stable id of 16 hex digits from the domain and any JSON content."""
    # never change this: ids stand in the files of finished runs, and scores are paired by them
    text = json.dumps([domain, content], sort_keys=True, ensure_ascii=False)
    return f"{domain}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled reply: the sampled ids themselves, never re-tokenised text.

    `logprobs[t]` is the natural-log probability of `ids[t]` under the distribution it was drawn from (after
    temperature, top-k and top-p). `ids` has the end-of-sequence token when `stop` is END, `text` has not.
    `tokens` is how long the reply was, which a server may tell without ids: None if nobody knows, never 0.
    """

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    stop: Stop
    tokens: int | None = None

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.logprobs):
            raise ValueError(f"rollout has {len(self.ids)} ids but {len(self.logprobs)} log-probabilities")
        # a text of a server has no ids: how many tokens it had is its word, or unknown
        sampled = bool(self.ids or self.prompt_ids)
        if sampled and self.tokens is None:
            object.__setattr__(self, "tokens", len(self.ids))  # frozen, but nobody has seen it yet
        elif sampled and self.tokens != len(self.ids):
            raise ValueError(f"rollout has {len(self.ids)} ids, but it says {self.tokens} tokens")

    @classmethod
    def of_text(cls, text: str, stop: Stop = Stop.END, tokens: int | None = None) -> Rollout:
        """A reply that was not sampled here: text without ids; `tokens` if its server counted them."""
        return cls((), (), (), text, stop, tokens)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a grader says of one rollout; `reward` is None exactly when the grader itself failed."""

    reward: float | None
    outcome: Outcome
    parts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if (self.reward is None) != (self.outcome is Outcome.GRADER_ERROR):
            raise ValueError(f"reward {self.reward} does not fit outcome {self.outcome}")

    @classmethod
    def binary(cls, right: bool, note: str = "", **parts: float) -> Verdict:
        """Full reward for a right reply, none for a wrong one."""
        return cls(1.0 if right else 0.0, Outcome.RIGHT if right else Outcome.WRONG, parts, note)

    @classmethod
    def failed(cls, note: str) -> Verdict:
        """The grader could not judge: the reward is None and the sample is dropped and counted."""
        return cls(None, Outcome.GRADER_ERROR, {}, note)


@dataclass(frozen=True, slots=True)
class Group:
    """All rollouts of one problem with their verdicts: the unit of GRPO."""

    problem: Problem
    rollouts: tuple[Rollout, ...]
    verdicts: tuple[Verdict, ...]

    def __post_init__(self) -> None:
        if len(self.rollouts) != len(self.verdicts):
            counts = f"{len(self.rollouts)} rollouts, {len(self.verdicts)} verdicts"
            raise ValueError(f"{self.problem.id}: {counts}")


@dataclass(frozen=True, slots=True)
class StepReport:
    """The numbers of one training step; `metrics` holds only deterministic values, `seconds` the clock.

    `counts` is what happened in sandbox, verifiers and judge (`grading/services`), by the clock as well.
    """

    step: int
    metrics: Mapping[str, float]
    seconds: Mapping[str, float]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An exported model directory with its place in the lineage."""

    path: str
    stage: str
    step: int
    parent: str | None
    recipe_hash: str
    weights_hash: str


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over `n` held-out problems with `k` samples each, and its 95 % interval; all in [0, 1]."""

    mean: float
    low: float
    high: float
    n: int
    k: int


@dataclass(frozen=True, slots=True)
class ModeScore:
    """A benchmark in one mode: avg@k, greedy (None: not asked for), leak rate (`chat.leaks`), avg@k by id."""

    average: Score
    greedy: Score | None
    leak: float
    clipped: float
    mean_tokens: float
    per_problem: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BenchmarkScore:
    """One benchmark of a scorecard; `headline` is the mode that the report uses for it."""

    headline: Mode
    modes: Mapping[Mode, ModeScore]

    @property
    def score(self) -> Score:
        """The headline number: avg@k in the headline mode."""
        return self.modes[self.headline].average


@dataclass(frozen=True, slots=True)
class Scorecard:
    """All benchmarks after one stage."""

    stage: str
    benchmarks: Mapping[str, BenchmarkScore]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A problem in one mode with a teacher's reply, and its `form` (see Message).

    The reply is empty where the policy gives it once the stage starts.
    """

    problem: Problem
    reply: str
    form: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers (without reasoning) to one prompt."""

    problem: Problem
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the rows `read` of a table: bad, in another split, `empty` (a tie), or of this one.

    Of this split those whose id an earlier row has are `repeated`, the others `kept`; of them some are `used`
    (None: nobody drew), some `over` the length (None: no limit). `places` name the first bad rows and why.
    """

    source: str
    read: int
    bad: int
    places: tuple[str, ...]
    repeated: int
    elsewhere: int
    kept: int
    used: int | None = None
    beside: tuple[str, ...] = ()
    empty: int = 0
    over: int | None = None

    def line(self) -> str:
        """All counts in one line, and where the first bad rows are."""
        parts = [f"{self.read} rows read", f"{self.read - self.bad} mapped", f"{self.bad} bad"]
        parts += [f"{self.repeated} with an id that came before", f"{self.elsewhere} in another split"]
        parts += [f"{self.empty} without a preference"] if self.empty else []
        parts += [f"{self.over} over the length"] if self.over is not None else []
        used = f"{self.kept} to use" if self.used is None else f"{self.used} of {self.kept} used"
        where = f"; bad: {' | '.join(self.places)}" if self.places else ""
        return f"{self.source}: {', '.join([*parts, used, *self.beside])}{where}"


class StageData(Protocol):
    """What a stage trains on: a value with one face, whatever the kind of stage."""

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """What became of the rows of its tables, in the recipe's order."""

    def pools(self) -> tuple[Sequence[Problem], ...]:
        """Its problems, apart by data entry or by domain; all of a pool are of one domain."""

    def content(self) -> list[Any]:
        """JSON that differs when the data do."""

    def described(self) -> list[str]:
        """What it is, a line for each pool, for people."""

    def without(self, ids: Sequence[Collection[str]], *, over: bool = False) -> StageData:
        """The same without these ids of each pool, where graders are asked; `over`: these are too long."""


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """What SFT trains on."""

    items: Sequence[Demonstration]
    tallies: tuple[Tally, ...] = ()
    heldout: tuple[Demonstration, ...] = ()  # of a source of their own, to measure the loss on

    def pools(self) -> tuple[Sequence[Problem], ...]:
        """A pool a domain."""
        return _by_domain(item.problem for item in self.items)

    def content(self) -> list[Any]:
        """Prompts and replies."""
        return [[item.problem.asked(), item.reply] for item in (*self.items, *self.heldout)]

    def described(self) -> list[str]:
        """Counts by domain and mode."""
        counts = Counter((item.problem.domain, str(item.problem.mode)) for item in self.items)
        made = [f"{domain}, {mode}: {count} demonstrations" for (domain, mode), count in counts.items()]
        return made + [tally.line() for tally in self.tallies]

    def without(self, ids: Sequence[Collection[str]], *, over: bool = False) -> Demonstrations:
        """All of it: SFT imitates replies, and no grader is asked."""
        return self


@dataclass(frozen=True, slots=True)
class Pairs:
    """What a reward model trains on, and the pairs that it is measured by; all of one domain or source."""

    training: Sequence[Pair]
    heldout: Sequence[Pair]
    tallies: tuple[Tally, ...] = ()

    def pools(self) -> tuple[Sequence[Problem], ...]:
        """The prompts of the training pairs."""
        return _by_domain(pair.problem for pair in self.training)

    def content(self) -> list[Any]:
        """Prompts and both answers."""
        return [[p.problem.asked(), p.chosen, p.rejected] for p in (*self.training, *self.heldout)]

    def described(self) -> list[str]:
        """One line, and one for each table."""
        made = f"{self.training[0].problem.domain}: {len(self.training)} preference pairs"
        return [made, *(tally.line() for tally in self.tallies)]

    def without(self, ids: Sequence[Collection[str]], *, over: bool = False) -> Pairs:
        """All of it: the order of two answers is known without a grader."""
        return self


@dataclass(frozen=True, slots=True)
class Pools:
    """What RL draws its prompts from: a pool for each data entry of the stage, in the recipe's order."""

    entries: tuple[tuple[Problem, ...], ...]
    tallies: tuple[Tally, ...] = ()
    of: tuple[int, ...] = ()  # the number of each tally's entry: only tables have one

    def pools(self) -> tuple[tuple[Problem, ...], ...]:
        """A pool a data entry."""
        return self.entries

    def content(self) -> list[Any]:
        """Prompts and answers."""
        return [[problem.asked(), problem.answer] for pool in self.entries for problem in pool]

    def described(self) -> list[str]:
        """The size of each pool, and what became of the rows of each table."""
        sizes = [f"{pool[0].domain}: {len(pool)} problems" for pool in self.entries]
        return sizes + [tally.line() for tally in self.tallies]

    def without(self, ids: Sequence[Collection[str]], *, over: bool = False) -> Pools:
        """The same pools, each without its problems of these ids."""
        pools = zip(self.entries, ids, strict=True)
        entries = tuple(tuple(p for p in pool if p.id not in out) for pool, out in pools)
        told = zip(self.tallies, self.of, strict=True) if over else ()
        tallies = tuple(replace(t, over=len(ids[n]), used=len(entries[n])) for t, n in told)
        return replace(self, entries=entries, tallies=tallies if over else self.tallies)


def _by_domain(problems: Iterable[Problem]) -> tuple[tuple[Problem, ...], ...]:
    pools: dict[str, dict[str, Problem]] = {}
    for problem in problems:
        pools.setdefault(problem.domain, {})[problem.id] = problem  # once, if in two modes or several pairs
    return tuple(tuple(pool.values()) for pool in pools.values())
