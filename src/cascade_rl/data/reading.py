"""Sequences whose items are read from the disk, or put together, when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar, overload

import numpy as np

from cascade_rl.types import Problem

T = TypeVar("T")


class Read(Sequence[T]):
    """A sequence of which no item is held; whoever fills it in gives `_one`."""

    @abstractmethod
    def _one(self, index: int) -> T:
        """The item at a place that is there."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self._one(place) for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._one(index % len(self))


class Joined(Read[T]):
    """Sequences one behind the other; equal if they are."""

    def __init__(self, parts: Sequence[Sequence[T]]) -> None:
        self.parts = tuple(parts)
        self._ends = list(accumulate(map(len, self.parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Joined) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def _one(self, index: int) -> T:
        part = bisect_right(self._ends, index)
        return self.parts[part][index - (self._ends[part - 1] if part else 0)]


class Marked(Read[Problem]):
    """Problems on the disk whose marks (`disjoint.mark`) are at hand: [problems] uint64."""

    @property
    @abstractmethod
    def marks(self) -> np.ndarray:
        """One for each problem, in order."""
