"""What every kind of stage answers for itself, so that nobody asks which kind it is.

A new kind is a file beside this one, with a class that fills in what is abstract here and says what is
otherwise than the defaults, and its name in `kinds.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

from cascade_rl.recipe.base import Problems
from cascade_rl.recipe.prompts import FullPhase
from cascade_rl.recipe.tables import AS_IT_IS, BadRows, Reading
from cascade_rl.recipe.training import Training
from cascade_rl.types import Mode, Split

# The longest reply of a smoke test, in tokens: enough to show that the path is walked.
SMOKE_TOKENS = 32


class Entry(NamedTuple):
    """Problems that a recipe draws, with the path of the place where it says so (for messages)."""

    path: str
    domain: str
    source: str
    split: Split
    reading: Reading = AS_IT_IS


class OwnRows(NamedTuple):
    """Rows that hold what a stage trains on, `chats` or pairs, so that no domain is asked."""

    path: str
    source: str
    map: str | Mapping[str, Any]
    bad_rows: BadRows
    split: str | None
    chats: bool


class Able(Protocol):
    """What a stage asks of a domain; see `cascade_rl.domain.Domain`, which a recipe does not know."""

    @property
    def name(self) -> str: ...

    @property
    def demonstrate(self) -> object | None:
        """What makes a teacher's replies; None if nothing does."""

    @property
    def thought(self) -> object | None:
        """What writes the thought before a reply that the policy gave without one; None if nothing does."""

    @property
    def pairs(self) -> object | None:
        """What makes preference pairs; None if nothing does."""

    @property
    def learned(self) -> bool:
        """Whether RL's reward comes from a reward model."""

    @property
    def judged(self) -> bool:
        """Whether RL's reward is that of a judge model when there is one."""


class StageSpec(Training, ABC):
    """A stage of the cascade. A kind also has the fields `kind` (its tag for the reader) and `steps`.

    trains    the model whose weights the stage changes; one that trains another leaves the policy as it came
    claim     of the stages with a benchmark's domain the last one with the highest claim is its own stage; 0
              claims none
    referred  optional keys that other parts of the recipe are checked against
    """

    trains: ClassVar[Literal["policy", "reward_model"]] = "policy"
    claim: ClassVar[int] = 0
    referred: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def planned_steps(self) -> int:
        """Optimiser steps of the whole stage."""

    @abstractmethod
    def entries(self) -> list[Entry]:
        """The problems that it draws."""

    def own_rows(self) -> list[OwnRows]:
        """The files of a user's own that it trains on without a domain."""
        return []

    @abstractmethod
    def batch(self) -> tuple[str, int, int]:
        """The key of its batch size, that size, and how many distinct items there are at most."""

    @abstractmethod
    def explained(self) -> list[str]:
        """What it will do, in words: samples, updates and tokens at most."""

    def rate_told(self) -> list[str]:
        """Where the learning rate stands at the stage's end, if its schedule goes on beyond."""
        if self.schedule_steps is None:
            return []
        return [
            f"{self.schedule} schedule over {self.schedule_steps} steps: the stage does the first of them"
        ]

    def domains(self) -> list[str]:
        """The names of its domains, each once, in the recipe's order."""
        return list(dict.fromkeys(entry.domain for entry in self.entries()))

    def sampled(self) -> list[FullPhase]:
        """The rules by which it samples replies; none if it samples nothing."""
        return []

    def asked_modes(self) -> list[tuple[str, frozenset[Mode]]]:
        """The modes that it asks its model in, each with the path of the key that says so."""
        return []

    def longest(self) -> int:
        """The most tokens that a prompt and its reply have together; 0 if it samples nothing."""
        return max((rule.max_prompt_tokens + rule.max_response_tokens for rule in self.sampled()), default=0)

    def reward_model_among(self, earlier: Sequence[StageSpec]) -> str | None:
        """The earlier stage whose reward model it asks; None if it asks none."""
        return None

    def adds_scores(self) -> bool:
        """Whether it asks a reward model beside its domains' own verdicts."""
        return False

    def outside(self) -> str | None:
        """The name of a model from outside the run that it works with; None if there is none."""
        return None

    def prompt_limit(self) -> int | None:
        """The most tokens of a prompt on which every phase of training the policy can sample.

        None if it trains another model or samples nothing.
        """
        if self.trains != "policy":
            return None
        # the least of all phases: a prompt is in the pool from the first phase to the last
        return min((rule.max_prompt_tokens for rule in self.sampled()), default=None)

    def drawn(self, rule: FullPhase, pools: int) -> list[int]:
        """The numbers of the `pools` of its data that a phase draws from: all, if it can't say otherwise."""
        return list(range(pools))

    def fewest(self, sizes: Sequence[int]) -> int:
        """How many prompts there are to draw from, in the phase that has the fewest; `sizes` of the pools."""
        drawn = [sum(sizes[n] for n in self.drawn(rule, len(sizes))) for rule in self.sampled()]
        return min(drawn, default=sum(sizes))

    def prompt_limits(self, pools: int) -> list[int]:
        """The most tokens of a prompt of each pool: what every phase that draws from it can sample on.

        Empty where prompts have no limit, see `prompt_limit`.
        """
        least = self.prompt_limit()
        if least is None:
            return []
        rules = [(rule.max_prompt_tokens, self.drawn(rule, pools)) for rule in self.sampled()]
        return [min((most for most, drawn in rules if n in drawn), default=least) for n in range(pools)]

    def may_share(self, other: StageSpec) -> bool:
        """Whether it allows a prompt to stand in `other`, too; it is enough if one of the two does."""
        return False

    def shrunk(self) -> Self:
        """The same stage cut down to a smoke test: two steps, saved after each."""
        return self.model_copy(update={"steps": 2, "save_every": 1, "warmup_steps": 0})

    def dangling(self, earlier: Sequence[StageSpec]) -> Problems:
        """What it says of earlier stages that is not so."""
        return []

    def lacking(self, domains: Mapping[str, Able], earlier: Sequence[StageSpec]) -> Problems:
        """What it asks in vain of its domains (by name) and of earlier stages, and keys that have no use."""
        return []

    @classmethod
    def stripped(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """A raw stage whose keys don't go together, cut down to what it can't be without or others refer to.

        What is left is valid, so that a reader can go on to check the rest of the recipe.
        """
        # `steps` stands for all keys of length, which may be what does not go together
        wanted = {key for key, field in cls.model_fields.items() if field.is_required()} | {*cls.referred}
        return {key: value for key, value in raw.items() if key in wanted} | {"steps": 1}

    @classmethod
    def for_second_engine(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """A raw stage with the defaults that hold when another engine than the trainer samples replies."""
        return raw


def planned(steps: int | None, epochs: int | None, items: int, batch_size: int) -> int:
    """Optimiser steps of a stage that says either `steps` or `epochs`; raises ValueError if it doesn't."""
    if steps is not None and epochs is None:
        return steps
    if steps is None and epochs is not None:
        # Batches run on over the end of an epoch, so what is rounded off is missed once, at the very end.
        return max(1, items // batch_size) * epochs
    raise ValueError("give either steps or epochs, not both and not neither")


def in_epochs(steps: int, batch_size: int, items: int, what: str) -> str:
    """Updates on a fixed set of items, in words."""
    return f"{steps} updates of {batch_size} {what}: {steps * batch_size / items:.2g} epochs of {items}"
