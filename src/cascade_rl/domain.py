"""A domain: where problems come from, how a reply is graded, and examples that prove the grader.

One file in `domains/` is one domain; its last line is `DOMAIN = Domain(...)`, and the file is its own
registration. A domain outside the package is loaded by its dotted module path. Domain modules import
no torch. A published `Benchmark` is asked and graded through a domain.

A source is what a recipe names: `builtin`, `file:rows.jsonl`, `reasoning-gym:chain_sum`. A domain maps the
form of each source to the function that makes its problems; which of them a text means is decided here, for
all domains.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.protocols import Judge, RewardModel, Sandbox, Verifiers
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.recipe.tables import AS_IT_IS, Reading
from cascade_rl.types import Mode, Problem, Rollout, Split, Tally, Verdict

# The key of a published problem's `meta` that holds its prompt in the words in which its domain trains on
# such rows, where it is asked in others: by it the proof of disjointness finds one that is trained on.
TRAINED_AS = "trained_as"


@dataclass(frozen=True, slots=True)
class Services:
    """What a grader may use beside the reply: each may be absent when the domain does not need it.

    limit_s  the most that one program or one judge's call may take, whatever the problem allows; kept by
             `grading/services.py`
    counts   what happened in them, such as timeouts and crashes; depends on the clock
    """

    sandbox: Sandbox | None = None
    reward_model: RewardModel | None = None
    verifiers: Verifiers | None = None
    judge: Judge | None = None
    limit_s: float = math.inf
    counts: Counter[str] = field(default_factory=Counter, compare=False)


def any_answer(answer: Any) -> None:
    """The check of a domain that takes every answer."""


def nobody(tally: Tally) -> None:
    """Who hears of a source's rows where nobody asks."""


@dataclass(frozen=True, slots=True)
class Example:
    """A reply with the benchmark reward that it must earn: the domain's own test vectors."""

    problem: Problem
    reply: str
    reward: float


Grade = Callable[[Problem, Rollout, Services], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a source: problems of one split, in the order of a seed.

    domain  whose problems they are; a source that many domains share reads its name and its `check_answer`
    source  the source as the recipe names it, for messages
    rest    what follows the colon: the path of `file:PATH`; "" in a source without a colon
    reading how rows become problems, where the source is a table
    tell    hears once what became of the rows of a table, before its first problem
    """

    domain: Domain
    source: str
    rest: str
    split: Split
    seed: int
    reading: Reading = AS_IT_IS
    tell: Callable[[Tally], None] = nobody

    def rng(self) -> random.Random:
        """A new generator that repeats for the split and the seed."""
        # a text is hashed alike in every process
        return random.Random(f"{self.split}/{self.seed}")


Maker = Callable[[Query], Iterator[Problem]]


@dataclass(frozen=True, slots=True)
class Domain:
    """One kind of problem.

    sources      from the form of a source to its maker. A form is what `cascade domains` shows: a name alone
                 (`builtin`), or a scheme, a colon and what a user puts there (`file:PATH`). A maker gives
                 problems without repeats, the same for the same query; it may be endless
    grade        the reward of RL
    examples     (problem, reply, reward earned from `score`): at least one full and one zero
    gold         a reply that earns full reward from `score`, in the problem's mode; None if unknown
    null         an empty or unchanged reply, which must earn nothing
    demonstrate  (problem, rng, fault_rate) -> a teacher's reply for SFT; with probability `fault_rate` it is
                 openly faulty
    amend        (problem, reply) -> the reply changed by rule until it earns more, or as it was: what a model
                 said, made a demonstration; whether it earns full marks is for `score` to say
    thought      a short thought on a problem, for thinking mode, where the reply is the model's own: what is
                 asked for, never the answer
    pairs        (problem, rng) -> (chosen, rejected) answers for a reward model
    score        the benchmark's verdict, where it differs from RL's reward (SWE runs the tests; alignment
                 knows the hidden preference)
    headline     the mode in which the report scores it
    needs        of `sandbox`, `verifiers`, `reward_model` those that its graders use
    judged       whether RL's reward is that of a judge model when there is one (`Services.judge`)
    check_answer raises AnswerError for an answer from outside that its graders can't use
    alternatives whether its answer is a short text, for which others may stand: then `cascade grade` takes a
                 list of golds, of which any is right
    """

    name: str
    summary: str
    sources: Mapping[str, Maker]
    grade: Grade
    examples: Callable[[], Iterable[Example]]
    gold: Callable[[Problem], str | None]
    # empty where nothing else is said; swe has a patch that changes nothing
    null: Callable[[Problem], str] = lambda problem: ""
    demonstrate: Callable[[Problem, random.Random, float], str] | None = None
    amend: Callable[[Problem, str], str] | None = None
    thought: Callable[[Problem], str] | None = None
    pairs: Callable[[Problem, random.Random], tuple[str, str]] | None = None
    score: Grade | None = None
    headline: Mode = Mode.THINKING
    needs: frozenset[str] = frozenset()
    judged: bool = False
    check_answer: Callable[[Any], None] = any_answer
    alternatives: bool = False

    def problems(
        self,
        source: str,
        split: Split,
        seed: int,
        reading: Reading = AS_IT_IS,
        tell: Callable[[Tally], None] = nobody,
    ) -> Iterator[Problem]:
        """Problems of a source without repeats, the same for the same arguments; perhaps endless.

        Raises InputError, which names the known sources, when this domain has no such source.
        """
        scheme, colon, rest = source.partition(":")
        # `packages` and `packages:NAME,...` are two forms: the colon is part of what is looked up
        makers = {form.partition(":")[:2]: maker for form, maker in self.sources.items()}
        maker = makers.get((scheme, colon))
        # An empty rest, as in `file:`, names nothing: left to the maker, it would be the current directory.
        if maker is None or (colon and not rest):
            raise InputError(f"{self.name} has no source {source!r}; known: {', '.join(self.sources)}")
        return maker(Query(self, source, rest, split, seed, reading, tell))

    @property
    def learned(self) -> bool:
        """Whether RL's reward comes from a reward model."""
        return "reward_model" in self.needs

    @property
    def benchmark_grade(self) -> Grade:
        """The grader that benchmarks use."""
        return self.score or self.grade


Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A published benchmark: where its rows are, how one is asked, and the protocol that its scores go by.

    One file in `benchmarks/` is one, and its last line is `BENCHMARK = Benchmark(...)`. What says how replies
    are drawn is the report's protocol (arXiv 2512.13607, evaluation) where nothing else is said; each
    of it can be replaced, and stands in the result.

    domain    the name of the domain whose benchmark grader scores, unless `grade` does
    sources   tables that hold the rows (`package:NAME/PATH`, `hub:ORG/NAME@REVISION#SPLIT`), the first that
              is there is taken; a user's own path goes before all
    problem   a raw row as a row of the domain: prompt or messages, answer, id, and `meta` with `group` where
              scores are also told for groups; None for a row that is not of this benchmark. Raises ValueError
              or KeyError for a row of another shape
    size      how many problems it has; another number is told aloud
    example   a raw row, for readers and tests; invented where its authors ask not to spread the real ones
    load      the raw rows of a source, where they lie in several files that have to be joined
    grade     a grader in place of the domain's
    answer    the short answer of a reply's answer text: what cons@k takes the majority of; None where there
              is no such thing
    also      what else its stored samples say (`scores/samples.Sample`), given each problem's `meta` by id
    missing   what to do where no source is there, if a source's own message does not say it
    yarn      the factor by which the positions of a model without long ones are stretched (arXiv 2309.00071)
    judged    whether a judge compares replies, so that one has to be named
    """

    name: str
    summary: str
    domain: str
    sources: tuple[str, ...]
    problem: Callable[[Row], Row | None]
    size: int
    example: Row
    citation: str
    licence: str
    metric: str = "accuracy"
    k: int = 1
    mode: Mode = Mode.THINKING
    temperature: float = 0.6
    top_p: float = 0.95
    max_prompt_tokens: int = 32_768
    max_response_tokens: int = 65_536
    yarn: float = 2.0
    load: Callable[[str], Iterable[Row]] | None = None
    grade: Grade | None = None
    answer: Callable[[Problem, str], str | None] | None = None
    also: Callable[[Sequence[Any], Mapping[str, Mapping[str, Any]]], Mapping[str, Any]] | None = None
    missing: str = ""
    judged: bool = False


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A fixed set of held-out problems of one domain; `spec` says how replies to them are drawn."""

    spec: BenchmarkSpec
    domain: Domain
    problems: tuple[Problem, ...]
    tallies: tuple[Tally, ...] = ()

    def __post_init__(self) -> None:
        if not self.problems:
            raise InputError(f"benchmark {self.name}: needs problems, has none")
        repeated = len(self.problems) - len({problem.id for problem in self.problems})
        if repeated:
            raise InputError(f"benchmark {self.name}: {repeated} problems have an id that came before")

    @property
    def name(self) -> str:
        """Its name in the recipe and in all files."""
        return self.spec.name

    @property
    def headline(self) -> Mode:
        """The mode that is compared over stages: that of the recipe, else the domain's own."""
        return self.spec.mode or self.domain.headline

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that are measured, the headline among them."""
        return tuple(Mode) if self.spec.both_modes else (self.headline,)
