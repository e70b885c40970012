"""A model in one worker: what training asks of it, and the kind whose weights the workers of a machine share.

The other kind, spread over several workers, is `sharding.Sharded`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor

from cascade_rl.model.decoder import views
from cascade_rl.model.network import Network, Shapes
from cascade_rl.model.products import Weight

P = ParamSpec("P")
ALL = slice(None)  # rows


class Model(ABC):
    """A network's weights in one worker: those that compute, in `dtype`, and where its gradients go.

    `shapes` are those of the config and of what a stage added (a score head). `optimizer` is this worker's
    share of whoever trains the model, kept here so that it goes when the model goes.

    A step of training calls `begin`, `run` for each micro-batch, `end`; then `gather`, `gradient` of what
    `owned` gave, `scatter`; then `refresh`. Over several GPUs all but `gradient` are collective: no worker
    may skip one.
    """

    def __init__(self, config: Network, shapes: Shapes, dtype: torch.dtype, trained: bool) -> None:
        self.config, self.shapes, self.dtype, self.trained = config, shapes, dtype, trained
        self.weights: dict[str, Weight] = {}
        self.optimizer: object = None

    @abstractmethod
    def refresh(self) -> None:
        """Take the master weights over into the copy that computes."""

    @abstractmethod
    def run(
        self,
        function: Callable[Concatenate[Mapping[str, Tensor], Network, P], Tensor],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> Tensor:
        """`function(weights, config, *arguments)`, with gradient."""

    @abstractmethod
    def begin(self, count: int) -> None:
        """Before the first of this worker's `count` micro-batches of a step."""

    @abstractmethod
    def end(self) -> None:
        """After the last one."""

    @abstractmethod
    def owned(self, owners: Sequence[Sequence[str]], whole: bool) -> dict[str, Tensor]:
        """The fp32 parameters that this worker's optimiser steps; `owners` are names by rank.

        Without `whole` parts of more parameters may come instead, where that saves gathering.
        """

    @abstractmethod
    def gather(self) -> None:
        """Before the optimisers look at gradients."""

    @abstractmethod
    def gradient(self, name: str, rows: slice = ALL) -> Tensor:
        """The gradient of what `owned` gave, summed over the workers.

        For its owner, once a step: it may be the model's own memory, and be scaled where it lies.
        """

    @abstractmethod
    def scatter(self) -> None:
        """After the optimisers' step."""


class Shared(Model):
    """Weights as one flat fp32 vector that all workers see, a flat gradient for each; one worker on a GPU.

    Without `grads` it is not trained. `gradient` sums in the order of ranks, so that as many workers give the
    same bits; from then on `grads[0]` holds that sum, until each worker's `begin` clears its own.
    """

    def __init__(
        self,
        config: Network,
        shapes: Shapes,
        flat: Tensor,
        grads: Sequence[Tensor],
        rank: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(config, shapes, dtype, bool(grads))
        self.flat, self.grads, self.rank = flat, grads, rank
        # in fp32 the masters compute; in bf16 each worker has a copy of its own, which `refresh` renews
        self._compute = flat if dtype is torch.float32 else flat.to(dtype)
        self._gradients = [views(each, shapes) for each in grads]
        own = self._gradients[rank] if grads else {}  # what this worker's micro-batches add to
        masters = views(flat, shapes)
        for name, computes in views(self._compute, shapes).items():
            self.weights[name] = Weight.of(computes, masters[name], own.get(name))
            self.weights[name].requires_grad_(bool(grads))

    @property
    def grad(self) -> Tensor:
        """This worker's own gradient, flat; only of a model that is trained."""
        return self.grads[self.rank]

    def refresh(self) -> None:
        """Nothing to do in fp32, where the master itself computes."""
        if self._compute is not self.flat:
            with torch.no_grad():
                self._compute.copy_(self.flat)

    def run(
        self,
        function: Callable[Concatenate[Mapping[str, Tensor], Network, P], Tensor],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> Tensor:
        """Called as it is."""
        return function(self.weights, self.config, *arguments, **named)

    def begin(self, count: int) -> None:
        """Whatever comes, this worker's gradient starts from nothing."""
        self.grad.zero_()

    def end(self) -> None:
        """Nothing to do: no other worker waits."""

    def owned(self, owners: Sequence[Sequence[str]], whole: bool) -> dict[str, Tensor]:
        """They are always `whole` here."""
        masters = views(self.flat, self.shapes)
        # views: what an optimiser steps is at once what all workers see
        return {name: masters[name].detach() for name in owners[self.rank]}

    def gather(self) -> None:
        """Nothing to do: all workers see all gradients."""

    def gradient(self, name: str, rows: slice = ALL) -> Tensor:
        """The first worker's, to which the others' are added in rank order."""
        first, *others = (each[name][rows] for each in self._gradients)
        for other in others:
            first.add_(other)  # in place: sums beside the gradients would be 4 bytes a weight more
        return first

    def scatter(self) -> None:
        """Nothing to do: the masters are shared."""
