"""Own pairs of answers, read from the disk one by one."""

from __future__ import annotations

import hashlib
import json
import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cascade_rl.data.disjoint import mark
from cascade_rl.data.reading import Marked, Read
from cascade_rl.data.shelf import Form, Kept, written
from cascade_rl.run.store import BYTE, LONG
from cascade_rl.sources.preferences import Preference
from cascade_rl.types import Message, Pair, Pairs, Problem, Split

# Where a reward model is measured: its training never sees these prompts.
HELDOUT = (Split.VALIDATION, Split.HELDOUT)


def _record(found: Preference, columns: Mapping[str, array[int]]) -> bytes:
    """A pair as JSON; whether it is held out, the mark of its prompt, and 128 bits of all of it."""
    messages = [written(message) for message in found.messages]
    record = json.dumps([messages, found.chosen, found.rejected], ensure_ascii=False).encode()
    # of a pair that stands twice the first row decides the side
    columns["heldout"].append(found.split in HELDOUT)
    columns["marks"].append(mark(found.pair("").problem.prompt_text))
    whole = hashlib.blake2b(record, digest_size=16).digest()
    columns["first"].append(int.from_bytes(whole[:8], "little"))
    columns["second"].append(int.from_bytes(whole[8:], "little"))
    return record


def preference_of(record: bytes) -> Preference:
    """The pair of a record."""
    messages, chosen, rejected = json.loads(record)
    return Preference(tuple(Message(*m) for m in messages), chosen, rejected)


PREFERENCES = Form({"heldout": BYTE, "marks": LONG, "first": LONG, "second": LONG}, _record)


def sides(kept: Kept, seed: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a table for training and those held out, in the order of the seed; each pair once."""
    columns = kept.store.columns
    whole = np.empty(len(kept.store), [("first", np.uint64), ("second", np.uint64)])
    whole["first"], whole["second"] = columns["first"], columns["second"]
    # the first of pairs that are alike
    distinct = np.sort(np.unique(whole, return_index=True)[1])
    order = array(LONG, distinct.astype(np.uint64).tobytes())
    random.Random(seed).shuffle(order)
    rows = np.frombuffer(order, np.uint64)
    held = columns["heldout"][rows].astype(bool)
    return rows[~held], rows[held]


class KeptPairs(Read[Pair]):
    """The pairs of these rows of a table: [pairs] uint64."""

    def __init__(self, kept: Kept, rows: np.ndarray) -> None:
        self._kept, self._rows = kept, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeptPairs) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(tuple(self.content()))

    @property
    def marks(self) -> np.ndarray:
        """The mark of each prompt, in order."""
        found: np.ndarray = self._kept.store.columns["marks"][self._rows]
        return found

    def first(self, count: int) -> KeptPairs:
        """The first `count` of them."""
        return KeptPairs(self._kept, self._rows[:count])

    def content(self) -> list[Any]:
        """What decides them: the table, and which of its rows come in which order."""
        order = hashlib.blake2b(self._rows.astype("<u8").tobytes(), digest_size=8).hexdigest()
        return [self._kept.tally.source, self._kept.content, order]

    def _one(self, index: int) -> Pair:
        found = preference_of(self._kept.store[int(self._rows[index])])
        return found.pair(self._kept.tally.source)


class Asked(Marked):
    """The problems of pairs."""

    def __init__(self, pairs: KeptPairs) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def marks(self) -> np.ndarray:
        """Those of the pairs."""
        return self._pairs.marks

    def _one(self, index: int) -> Problem:
        return self._pairs[index].problem


@dataclass(frozen=True, slots=True)
class OwnPairs(Pairs):
    """Pairs of own rows."""

    training: KeptPairs
    heldout: KeptPairs

    def pools(self) -> tuple[Sequence[Problem], ...]:
        """The prompts of the training pairs, each as often as it is asked."""
        return (Asked(self.training),)

    def content(self) -> list[Any]:
        """What decides both sides."""
        return [self.training.content(), self.heldout.content()]
