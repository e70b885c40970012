"""A domain: where problems come from, how a reply is graded, and examples that prove the grader.

One file in `domains/` is one domain; its last line is `DOMAIN = Domain(...)`, and the file is its own
registration. A domain outside the package is loaded by its dotted module path. Domain modules import
no torch.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import pkgutil
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cascade_rl.protocols import Judges, RewardModel, Sandbox, YesNoJudge
from cascade_rl.types import Mode, Problem, Rollout, Split, Stop, Verdict


@dataclass(frozen=True, slots=True)
class Services:
    """What a grader may use beside the reply: each may be absent when the domain does not need it.

    limit_s  the most that one program or one judge's call may take, whatever the problem allows; kept by `services.py`
    counts   what happened in them, such as timeouts and crashes; depends on the clock
    """

    sandbox: Sandbox | None = None
    reward_model: RewardModel | None = None
    judges: Judges | None = None
    patch_judge: YesNoJudge | None = None
    limit_s: float = math.inf
    counts: Counter[str] = field(default_factory=Counter, compare=False)


class AnswerError(ValueError):
    """The answer of a problem is not what the domain's grader wants; the message says what it wants."""


def any_answer(answer: Any) -> None:
    """The check of a domain that takes every answer."""


@dataclass(frozen=True, slots=True)
class Example:
    """A reply with the benchmark reward that it must earn: the domain's own test vectors."""

    problem: Problem
    reply: str
    reward: float


Grade = Callable[[Problem, Rollout, Services], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Domain:
    """One kind of problem.

    problems     (source, split, seed) -> an iterator of problems without repeats; it may be endless
    grade        the reward of RL
    examples     (problem, reply, reward earned from `score`): at least one full and one zero
    gold         a reply that earns full reward from `score`, in the problem's mode; None if unknown
    null         an empty or unchanged reply, which must earn nothing
    demonstrate  (problem, rng, fault_rate) -> a teacher's reply for SFT; with probability `fault_rate` it is
                 openly faulty
    pairs        (problem, rng) -> (chosen, rejected) answers for a reward model
    score        the benchmark's verdict, where it differs from RL's reward (SWE runs the tests; alignment
                 knows the hidden preference)
    headline     the mode in which the report scores it
    needs        of `sandbox`, `judges`, `reward_model` those that its graders use
    judged       whether RL's reward is that of a judge model when there is one (`Services.patch_judge`)
    check_answer raises AnswerError for an answer from outside that its graders can't use
    """

    name: str
    summary: str
    problems: Callable[[str, Split, int], Iterator[Problem]]
    grade: Grade
    examples: Callable[[], Iterable[Example]]
    gold: Callable[[Problem], str | None]
    null: Callable[[Problem], str] = lambda problem: ""
    demonstrate: Callable[[Problem, random.Random, float], str] | None = None
    pairs: Callable[[Problem, random.Random], tuple[str, str]] | None = None
    score: Grade | None = None
    headline: Mode = Mode.THINKING
    sources: tuple[str, ...] = field(default=("builtin",))
    needs: frozenset[str] = frozenset()
    judged: bool = False
    check_answer: Callable[[Any], None] = any_answer

    @property
    def learned(self) -> bool:
        """Whether RL's reward comes from a reward model."""
        return "reward_model" in self.needs

    @property
    def benchmark_grade(self) -> Grade:
        """The grader that benchmarks use."""
        return self.score or self.grade


SPLIT_SHARES = ((Split.SFT, 0.50), (Split.RL, 0.25), (Split.VALIDATION, 0.05), (Split.HELDOUT, 0.20))


def split_of(key: str) -> Split:
    """The split that a prompt belongs to, from a hash of its text: disjoint by construction, on every machine."""
    digest = hashlib.blake2b(key.encode(), digest_size=8, person=b"split").digest()
    u = int.from_bytes(digest, "big") / 2**64
    for split, share in SPLIT_SHARES:
        u -= share
        if u < 0:
            return split
    return Split.HELDOUT


def stream(
    make: Callable[[random.Random], Problem], split: Split, seed: int, *, patience: int = 20_000
) -> Iterator[Problem]:
    """Problems drawn by `make`, those of `split` only, none twice; ends when `patience` draws bring nothing new."""
    rng = random.Random(f"{split}/{seed}")
    seen: set[str] = set()
    idle = 0
    while idle < patience:
        problem = make(rng)
        idle += 1
        if problem.id in seen or split_of(problem.prompt_text) is not split:
            continue
        seen.add(problem.id)
        idle = 0
        yield problem


def reply_rollout(text: str, stop: Stop = Stop.END) -> Rollout:
    """A rollout that carries only text, for grading replies which were not sampled here."""
    return Rollout((), (), (), text, stop)


def domain_names() -> list[str]:
    """The domains that the package ships, by name."""
    import cascade_rl.domains as package

    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def load_domain(name: str) -> Domain:
    """The domain of a shipped name (`maths`) or of a dotted module path (`my_lab.chemistry`).

    Raises ValueError naming the known domains when there is none, or when the module has no DOMAIN.
    """
    path = name if "." in name else f"cascade_rl.domains.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(error.name + ".")):
            known = ", ".join(domain_names())
            raise ValueError(
                f"no domain {name!r}; known: {known}; or give the dotted path of a module with a DOMAIN"
            ) from None
        raise
    domain = getattr(module, "DOMAIN", None)
    if not isinstance(domain, Domain):
        raise ValueError(f"module {path} has no DOMAIN; end it with `DOMAIN = Domain(...)`")
    return domain
