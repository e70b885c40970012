"""What computes over a flat vector of weights: the interface that training, sampling and files go through.

There are two ways: `decoder.DecoderConfig`, our fused decoder, and `modules.ModuleConfig`, transformers' own
modules. `choice.network_of` picks one; nobody else asks which it is.

Shapes: M tokens of a pack, m of its branches, H hidden, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

from cascade_rl.model.packed import Pack
from cascade_rl.protocols import SamplingRule

Shapes = Mapping[str, tuple[int, ...]]  # of parameters by name, in the order of the flat vector


@dataclass(frozen=True, slots=True)
class Size:
    """What the cost model rests on.

    matrices  numbers of the layers' matrices that a token passes
    head      numbers of the matrix that reads logits out
    beyond    of `matrices`, those that a shared prefix does not pass: behind the last attention
    layers    layers that attend
    width     numbers of a token's queries in a layer
    cached    numbers of a token's keys, or of its values, in a layer
    wide      rows of the widest matrix of a layer
    """

    matrices: int
    head: int
    beyond: int
    layers: int
    width: int
    cached: int
    wide: int


class Sized(Protocol):
    """Whatever can say what a token costs: a network, or a shape that a plan knows without one."""

    def size(self) -> Size:
        """What a token costs."""


@dataclass(frozen=True, slots=True)
class Network(ABC):
    """The shape of a model, and how it computes over weights that others hold.

    vocab          ids that have a row in the embedding
    hidden         numbers of a token between layers
    max_positions  the most tokens of a text that the model was made for
    """

    vocab: int
    hidden: int
    max_positions: int

    BY: ClassVar[str]  # who computes, in words
    SHARES: ClassVar[bool] = True  # whether rows that begin alike compute that part once

    @abstractmethod
    def special(self) -> tuple[str, ...]:
        """What is unusual about it, in words."""

    def described(self, raw: Mapping[str, Any]) -> str:
        """A line on who computes the model with this config.json, and what is unusual about it."""
        parts = ", ".join((str(raw.get("model_type")), *self.special()))
        return f"model: family {parts}; computed by {self.BY}"

    def key(self) -> dict[str, str]:
        """What of it a run's keys hold beside the recipe: a saved state is read by its own layout alone."""
        return {}

    # ------------------------------------------------------------ parameters

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters and their shapes, in the order of the flat vector.

        Saved states are flat vectors: another order would read them wrongly, without a word.
        """

    @abstractmethod
    def names(self) -> dict[str, list[tuple[str, int]]]:
        """For each parameter the names of transformers' own that it holds, with their rows, from the top."""

    @abstractmethod
    def fixed(self) -> frozenset[str]:
        """Parameters that no optimiser steps."""

    @abstractmethod
    def is_matrix(self, name: str) -> bool:
        """Whether Muon takes it: a matrix that neither is looked up in nor reads the final state out."""

    @abstractmethod
    def by_token(self) -> tuple[str, ...]:
        """The parameters that have a row for each id."""

    @abstractmethod
    def reading_out(self) -> tuple[str, ...]:
        """Parameters that, multiplied by a factor, multiply the logits by it, or nearly so."""

    @abstractmethod
    def widened(self, vocab: int) -> Network:
        """The same with another number of ids."""

    @abstractmethod
    def adapted(self, targets: Sequence[str]) -> list[str]:
        """transformers' names of the weights that adapters of `targets` are for.

        Raises InputError of a target that it has not, or if it has no place for adapters.
        """

    @abstractmethod
    def turned(self, name: str) -> bool:
        """Whether a projection is stored [in, out]; nearly all are [out, in]."""

    # ------------------------------------------------------------ files

    @abstractmethod
    def tensors(self, flat: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The weights by the names that Hugging Face's files have them under."""

    @abstractmethod
    def file_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of these, as far as they are known before the files are read."""

    @abstractmethod
    def flat(self, state: Mapping[str, Tensor], where: str = "the model") -> Tensor:
        """The flat fp32 vector of a file's tensors.

        Raises InputError that names what is missing or wrong, and `where`.
        """

    @abstractmethod
    def head_only(self) -> dict[str, tuple[int, ...]]:
        """Names in files, and shapes, of what a reward model leaves out: what reads logits alone."""

    @abstractmethod
    def classifier(self, raw: Mapping[str, Any]) -> str:
        """transformers' class of a reward model, of the model with this config.json.

        Raises InputError where the family has none.
        """

    @abstractmethod
    def rope_theta(self) -> float:
        """The base of RoPE; raises InputError where there is no single one."""

    # ------------------------------------------------------------ computing

    @abstractmethod
    def prove(self, flat: Tensor, *, short: bool = False) -> None:
        """Raise InputError where it does not compute as it must, tried with these weights.

        `short`: in bf16, too.
        """

    @abstractmethod
    def check(self, tokens: int) -> None:
        """Raise InputError for a text of so many tokens, if it is too long to be computed rightly."""

    @abstractmethod
    def states(self, weights: Mapping[str, Tensor], packed: Pack, recompute: bool = False) -> Tensor:
        """Hidden states [m, H], fp32, of the branches of a pack, in its order, behind the last norm.

        With `recompute` layers keep only what they begin with, and run again for the gradient.
        """

    @abstractmethod
    def scored(self, weights: Mapping[str, Tensor], packed: Pack, recompute: bool = False) -> Tensor:
        """What `logits` and `logprobs` read, a row for each token of the branches [m, H or V]."""

    @abstractmethod
    def logits(self, weights: Mapping[str, Tensor], scored: Tensor) -> Tensor:
        """Logits [m, V] in fp32."""

    @abstractmethod
    def logprobs(
        self, weights: Mapping[str, Tensor], scored: Tensor, targets: Tensor, rule: SamplingRule
    ) -> Tensor:
        """log p of the targets [m] under the rule that they were drawn by, in fp32."""

    @abstractmethod
    def laid_out(self, weights: Mapping[str, Tensor], *, layers: bool) -> AbstractContextManager[None]:
        """Inside, weights do not change, so that they may be prepared once for many products."""

    @abstractmethod
    def size(self) -> Size:
        """What a token costs."""
