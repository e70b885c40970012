"""The reward model's stage, as a recipe says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cascade_rl.recipe.base import Positive, Problems
from cascade_rl.recipe.heldout import PairsKey
from cascade_rl.recipe.hub_name import named_model
from cascade_rl.recipe.prompts import FullPhase
from cascade_rl.recipe.stage import Able, Entry, OwnRows, StageSpec, in_epochs, planned
from cascade_rl.recipe.tables import PAIR_MAPS, BadRows, is_none, one_of, table_only
from cascade_rl.types import Mode, Split


class RewardModelStage(StageSpec):
    """A scalar head on a last hidden state, trained on preference pairs (Bradley-Terry).

    Of the policy, or of the model `init` with a shape and a tokenizer of its own.
    `pairs_from`: `domain` takes the domain's own pairs; `samples` lets the policy answer each prompt
    `sample_rollouts` times and pairs its best with its worst answer by the domain's benchmark rule. With a
    `map` the pairs stand in the rows of `source`, at most `pairs` of them are used, and no domain is asked.
    """

    trains = "reward_model"
    referred = ("domain", "source", "map")

    kind: Literal["reward_model"]
    # What it is trained from, if not the policy: the report's is Qwen2.5-72B-Instruct (section 4.2). Left out
    # of the record where it is not given, as what follows: so it is no change of older runs.
    init: Annotated[Annotated[str, AfterValidator(named_model)] | None, Field(exclude_if=is_none)] = None
    domain: str | None = "alignment"
    source: str = "builtin"
    # left out of the record where it is not given, so that it is no change of older runs
    map: Annotated[
        str | dict[str, Any] | None,
        BeforeValidator(one_of(*PAIR_MAPS, None)),
        Field(exclude_if=is_none),
    ] = None
    split: Annotated[str | None, Field(exclude_if=is_none)] = None
    bad_rows: Annotated[BadRows, Field(exclude_if=is_none)] = None
    pairs_from: Literal["domain", "samples"] = "domain"
    sample_rollouts: Annotated[int, Field(ge=2)] | None = None
    sample_tokens: Positive | None = None
    # sizes of this package, for small models; the report has 82K pairs
    pairs: Positive = 2000
    heldout_pairs: Positive = 300
    # the report's (arXiv 2512.13607, section 4.2), which trains one epoch: more made it worse
    batch_size: Positive = 256
    steps: Positive | None = None
    epochs: Positive | None = None
    max_tokens: Positive = 4096
    heldout: PairsKey = None

    @model_validator(mode="before")
    @classmethod
    def _fill_own(cls, raw: object) -> object:
        if not isinstance(raw, Mapping) or raw.get("map") is None:
            return raw
        return {"domain": None, **raw}

    @model_validator(mode="after")
    def _trained_here(self) -> RewardModelStage:
        if self.engine == "verl":
            raise ValueError(
                "engine: verl has no trainer of reward models; remove it: this package trains it"
            )
        return self

    @model_validator(mode="after")
    def _own(self) -> RewardModelStage:
        if self.map is None:
            for key in ("bad_rows", "split"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} has no effect without a map; remove it")
            if self.domain is None:
                raise ValueError("without a map, whose pairs stand in rows, a domain is needed")
        elif self.domain is not None or self.pairs_from == "samples":
            raise ValueError("with a map the pairs stand in the rows: remove domain and pairs_from")
        elif self.split == "all":
            raise ValueError("split: all would hold no pair out; say hash, or the column that says which")
        else:
            table_only(self.source)
        return self

    @model_validator(mode="before")
    @classmethod
    def _fill_samples(cls, raw: object) -> object:
        if not isinstance(raw, Mapping) or raw.get("pairs_from") != "samples":
            return raw
        rollouts, tokens = raw.get("sample_rollouts") or 4, raw.get("sample_tokens") or 256
        return {**raw, "sample_rollouts": rollouts, "sample_tokens": tokens}

    @model_validator(mode="after")
    def _length(self) -> RewardModelStage:
        extra = [key for key in ("sample_rollouts", "sample_tokens") if getattr(self, key) is not None]
        if self.pairs_from == "domain" and extra:
            raise ValueError(f"{', '.join(extra)}: no effect unless pairs_from is samples; remove it")
        planned(self.steps, self.epochs, self.pairs, self.batch_size)
        return self

    @property
    def planned_steps(self) -> int:
        """Optimiser steps of the whole stage."""
        return planned(self.steps, self.epochs, self.pairs, self.batch_size)

    def entries(self) -> list[Entry]:
        """Prompts of RL, where a reward model is asked; its held-out pairs are on validation prompts."""
        if self.domain is None:
            return []
        return [Entry(f"stages.{self.name}.data.{self.domain}", self.domain, self.source, Split.RL)]

    def own_rows(self) -> list[OwnRows]:
        """Its source, if a map reads it."""
        if self.map is None:
            return []
        path = f"stages.{self.name}.source"
        return [OwnRows(path, self.source, self.map, self.bad_rows, self.split, chats=False)]

    def asked_modes(self) -> list[tuple[str, frozenset[Mode]]]:
        """Instruct for the policy's own answers; what a reward model reads has no mode."""
        samples = self.pairs_from == "samples"
        return [(f"stages.{self.name}.pairs_from", frozenset({Mode.INSTRUCT}))] if samples else []

    def batch(self) -> tuple[str, int, int]:
        """Pairs."""
        return "batch_size", self.batch_size, self.pairs

    def outside(self) -> str | None:
        """Its own base."""
        return self.init

    def sampled(self) -> list[FullPhase]:
        """The policy's own answers, untruncated and at temperature 1, if the pairs are made of them."""
        if self.sample_tokens is None:
            return []
        return [FullPhase(max_prompt_tokens=self.max_tokens, max_response_tokens=self.sample_tokens)]

    def may_share(self, other: StageSpec) -> bool:
        """Reward models may be trained on the same prompts."""
        return other.trains == "reward_model"

    def lacking(self, domains: Mapping[str, Able], earlier: Sequence[StageSpec]) -> Problems:
        """A domain without preference pairs."""
        if self.domain is None or domains[self.domain].pairs is not None:
            return []
        return [(f"stages.{self.name}.domain", f"domain {self.domain} has no preference pairs")]

    def shrunk(self) -> Self:
        """Two batches of at most eight pairs, and eight held out."""
        return super().shrunk().model_copy(update=_small(self))

    def explained(self) -> list[str]:
        """Updates and epochs."""
        told = [in_epochs(self.planned_steps, self.batch_size, self.pairs, "preference pairs")]
        told += self.rate_told() + ([f"trained from {self.init}, not from the policy"] if self.init else [])
        if self.heldout:
            told.append(
                f"held-out loss every {self.heldout.every} steps, on {self.heldout_pairs} pairs at most"
            )
        return told


def _small(stage: RewardModelStage) -> dict[str, Any]:
    """What a smoke test changes beside what it changes in every stage."""
    batch = min(stage.batch_size, 8)
    update: dict[str, Any] = {
        "epochs": None,
        "batch_size": batch,
        "pairs": batch * 2,
        "heldout_pairs": 8,
    }
    if stage.heldout:
        update["heldout"] = stage.heldout.model_copy(update={"every": 1})
    if stage.sample_tokens is not None:
        update["sample_tokens"] = min(stage.sample_tokens, 48)
    return update
