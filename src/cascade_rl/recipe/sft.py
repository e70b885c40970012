"""Supervised fine-tuning, as a recipe says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from cascade_rl.recipe.base import Fraction, Positive, Problems, Strict
from cascade_rl.recipe.heldout import RowsKey
from cascade_rl.recipe.stage import Able, Entry, OwnRows, StageSpec, in_epochs, planned
from cascade_rl.recipe.tables import BadRows, MapKey, is_none, one_of, reading_of, table_only
from cascade_rl.types import Mode, Split


class SFTData(Strict):
    """A share of the SFT mixture: demonstrations of one domain, in one mode or (parallel) in both.

    `fault_rate` makes the teacher openly imperfect: that share of its replies carries a systematic fault.
    """

    domain: str
    source: str = "builtin"
    map: MapKey = None
    split: str | None = None
    bad_rows: BadRows = None
    weight: Annotated[float, Field(gt=0)] = 1.0
    fault_rate: Fraction = 0.0
    modes: Annotated[list[Mode], Field(min_length=1)] = Field(default_factory=lambda: [Mode.THINKING])


class ChatData(Strict):
    """A share of the SFT mixture: the replies of a user's own conversations, which need no domain.

    `targets`: the loss is on all assistant turns, or on the last of each conversation. The mode of a turn is
    thinking where a thought stands there, else instruct. `split` says which rows are SFT's; else all are.
    """

    source: Annotated[str, AfterValidator(table_only)]
    map: Annotated[str | dict[str, Any], BeforeValidator(one_of("openai-chat", "sharegpt", "nemotron-sft"))]
    # left out of the record where it is not given, so that it is no change of older runs
    split: Annotated[str | None, Field(exclude_if=is_none)] = None
    weight: Annotated[float, Field(gt=0)] = 1.0
    targets: Literal["last", "all"] = "all"
    bad_rows: BadRows = None


def _tag(raw: object) -> str:
    """Which of the two an entry is: without a domain its rows hold the replies."""
    if isinstance(raw, Mapping):
        return "own" if "source" in raw and "domain" not in raw else "taught"
    return "own" if isinstance(raw, ChatData) else "taught"


# The tags stand in pydantic's places, where `faults` leaves them out.
DATA_TAGS = ("own", "taught")
OwnEntry = Annotated[ChatData, Tag("own")]
TaughtEntry = Annotated[SFTData, Tag("taught")]
AnyData = Annotated[OwnEntry | TaughtEntry, Discriminator(_tag)]


def _is_drop(value: object) -> bool:
    return value == "drop"


class SFTStage(StageSpec):
    """Supervised fine-tuning on `samples` demonstrations, of teachers or own, for `steps` or `epochs`.

    `too_long`: samples over `max_tokens` are dropped, or their replies cut off there without an end mark.
    """

    claim = 1  # below RL's: what a domain can do after SFT is where its RL stage begins

    kind: Literal["sft"]
    data: Annotated[list[AnyData], Field(min_length=1)]
    samples: Positive
    # 256 and 16K: the report's first SFT stage (arXiv 2512.13607, table 14); the second has 32K
    batch_size: Positive = 256
    steps: Positive | None = None
    epochs: Positive | None = None
    max_tokens: Positive = 16384
    heldout: RowsKey = None
    # left out of the record where it is as ever, so that it is no change of older runs
    too_long: Annotated[Literal["drop", "cut"], Field(exclude_if=_is_drop)] = "drop"

    @model_validator(mode="after")
    def _length(self) -> SFTStage:
        planned(self.steps, self.epochs, self.samples, self.batch_size)
        return self

    @property
    def planned_steps(self) -> int:
        """Optimiser steps of the whole stage."""
        return planned(self.steps, self.epochs, self.samples, self.batch_size)

    def entries(self) -> list[Entry]:
        """Prompts that the teacher answers."""
        return [
            Entry(f"stages.{self.name}.data.{d.domain}", d.domain, d.source, Split.SFT, reading_of(d))
            for d in self.data
            if isinstance(d, SFTData)
        ]

    def own_rows(self) -> list[OwnRows]:
        """The entries without a domain, and what is held out."""
        rows = [
            OwnRows(f"stages.{self.name}.data.{place}", d.source, d.map, d.bad_rows, d.split, chats=True)
            for place, d in enumerate(self.data)
            if isinstance(d, ChatData)
        ]
        held = self.heldout
        if held and held.source and held.map:
            rows.append(
                OwnRows(f"stages.{self.name}.heldout", held.source, held.map, held.bad_rows, None, chats=True)
            )
        return rows

    def asked_modes(self) -> list[tuple[str, frozenset[Mode]]]:
        """Those of its teachers' replies; of own rows the replies say it."""
        taught = [(place, data) for place, data in enumerate(self.data) if isinstance(data, SFTData)]
        return [(f"stages.{self.name}.data.{place}.modes", frozenset(data.modes)) for place, data in taught]

    def batch(self) -> tuple[str, int, int]:
        """Demonstrations."""
        return "batch_size", self.batch_size, self.samples

    def may_share(self, other: StageSpec) -> bool:
        """SFT stages may repeat each other's prompts, as the report's second does with its general data.

        And those of pairs: to imitate the chosen answers of a file and then to learn from all of it what is
        better is the most usual way, and a reward model is measured on pairs of its own.
        """
        return isinstance(other, SFTStage) or other.trains == "reward_model"

    def lacking(self, domains: Mapping[str, Able], earlier: Sequence[StageSpec]) -> Problems:
        """Domains without a teacher."""
        used = [domains[entry.domain] for entry in self.entries()]
        return [
            (f"stages.{self.name}.data.{domain.name}", "this domain has no demonstrations")
            for domain in used
            if domain.demonstrate is None
        ]

    def shrunk(self) -> Self:
        """Two batches of at most eight demonstrations."""
        batch = min(self.batch_size, 8)
        held = self.heldout and self.heldout.model_copy(update={"every": 1, "most": 8})
        update = {"epochs": None, "batch_size": batch, "samples": batch * 2, "heldout": held}
        return super().shrunk().model_copy(update=update)

    def explained(self) -> list[str]:
        """Updates and epochs."""
        told = [in_epochs(self.planned_steps, self.batch_size, self.samples, "demonstrations")]
        told += self.rate_told()
        if held := self.heldout:
            what = held.source or f"{held.share:.1%} of them, which are not trained on"
            told.append(f"held-out loss every {held.every} steps, on {what}: at most {held.most} replies")
        return told
