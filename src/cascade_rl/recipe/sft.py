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


def _is_teacher(value: object) -> bool:
    return value == "teacher"


class SFTData(Strict):
    """A share of the SFT mixture: demonstrations of one domain, in one mode or (parallel) in both.

    `fault_rate` makes the teacher openly imperfect: that share of its replies carries a systematic fault.
    `replies: policy` has the model imitate its own, see `OwnReplies`.
    """

    domain: str
    source: str = "builtin"
    map: MapKey = None
    split: str | None = None
    bad_rows: BadRows = None
    weight: Annotated[float, Field(gt=0)] = 1.0
    fault_rate: Fraction = 0.0
    modes: Annotated[list[Mode], Field(min_length=1)] = Field(default_factory=lambda: [Mode.THINKING])
    # left out of the record where it is as ever, so that it is no change of older runs
    replies: Annotated[Literal["teacher", "policy"], Field(exclude_if=_is_teacher)] = "teacher"

    @model_validator(mode="after")
    def _faultless(self) -> SFTData:
        if self.replies == "policy" and self.fault_rate:
            raise ValueError("fault_rate is a teacher's, without effect with replies: policy; remove it")
        return self


class OwnReplies(Strict):
    """How the policy answers the prompts of `replies: policy` as a stage begins, and what is imitated.

    `rollouts` replies of at most `max_tokens` to a prompt, in instruct mode; one that is cut off is never
    imitated. `keep`: the first that earns full marks by the domain's benchmark rule (`right`: prompts without
    one are left out), the `best` by that rule, or the `first`, which asks no grader. Training on what the
    model says already teaches a mode or a form without unlearning the rest (arXiv 2402.13669).
    """

    rollouts: Positive = 4
    max_tokens: Positive = 512
    temperature: Annotated[float, Field(ge=0)] = 0.6
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    keep: Literal["right", "best", "first"] = "right"


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
    `own_replies` says how the policy answers where an entry has `replies: policy`.
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
    own_replies: Annotated[OwnReplies | None, Field(exclude_if=is_none)] = None

    @model_validator(mode="before")
    @classmethod
    def _fill_own(cls, raw: object) -> object:
        data = raw.get("data") if isinstance(raw, Mapping) else None
        if not isinstance(raw, Mapping) or not isinstance(data, list) or "own_replies" in raw:
            return raw
        asked = any(isinstance(entry, Mapping) and entry.get("replies") == "policy" for entry in data)
        return {**raw, "own_replies": {}} if asked else raw

    @model_validator(mode="after")
    def _own(self) -> SFTStage:
        if self.own_replies and not any(self._asks_policy(entry) for entry in self.data):
            raise ValueError("own_replies: no effect without an entry that says replies: policy; remove it")
        return self

    @staticmethod
    def _asks_policy(entry: ChatData | SFTData) -> bool:
        return isinstance(entry, SFTData) and entry.replies == "policy"

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
        found = [(f"stages.{self.name}.data.{place}.modes", frozenset(data.modes)) for place, data in taught]
        if self.own_replies:
            found.append((f"stages.{self.name}.own_replies", frozenset({Mode.INSTRUCT})))
        return found

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
        """Domains without a teacher, or without the thought that goes before a reply of the policy's."""
        found: Problems = []
        for entry in self.data:
            if not isinstance(entry, SFTData):
                continue
            path, domain = f"stages.{self.name}.data.{entry.domain}", domains[entry.domain]
            if not self._asks_policy(entry):
                if domain.demonstrate is None:
                    found.append((path, "this domain has no demonstrations"))
            elif Mode.THINKING in entry.modes and domain.thought is None:
                text = (
                    "no thought is written before the policy's replies in this domain; set modes: [instruct]"
                )
                found.append((path, text))
        return found

    def shrunk(self) -> Self:
        """Two batches of at most eight demonstrations."""
        batch = min(self.batch_size, 8)
        held = self.heldout and self.heldout.model_copy(update={"every": 1, "most": 8})
        update: dict[str, Any] = {"epochs": None, "batch_size": batch, "samples": batch * 2, "heldout": held}
        if own := self.own_replies:
            # an untrained model is seldom right and seldom done in so few tokens: nothing would be left
            update["own_replies"] = own.model_copy(update={"rollouts": 1, "max_tokens": 48, "keep": "first"})
        return super().shrunk().model_copy(update=update)

    def explained(self) -> list[str]:
        """Updates and epochs."""
        told = [in_epochs(self.planned_steps, self.batch_size, self.samples, "demonstrations")]
        told += self.rate_told()
        if own := self.own_replies:
            prompts = sum(1 for entry in self.data if self._asks_policy(entry))
            told.append(
                f"{prompts} of its entries imitate the policy's own replies, {own.keep} of {own.rollouts} to "
                f"a prompt, of at most {own.max_tokens} tokens"
            )
        if held := self.heldout:
            what = held.source or f"{held.share:.1%} of them, which are not trained on"
            told.append(f"held-out loss every {held.every} steps, on {what}: at most {held.most} replies")
        return told
