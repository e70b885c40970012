"""Replies of own conversations as demonstrations, read from the disk; mixtures with taught ones."""

from __future__ import annotations

import json
import random
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cascade_rl.data.disjoint import mark
from cascade_rl.data.reading import Joined, Marked, Read
from cascade_rl.data.shelf import Form, Kept, written
from cascade_rl.run.store import BYTE, LONG, WORD
from cascade_rl.sources.chats import Chat
from cascade_rl.types import Demonstration, Demonstrations, Message, Mode, Problem

MODES = tuple(Mode)  # by their number in the column


def _record(found: Chat, columns: Mapping[str, array[int]]) -> bytes:
    """A conversation as JSON; how many replies it has, and of each the mark of its prompt and its mode."""
    columns["replies"].append(len(found.replies))
    for asked in found.demonstrations("", last=False):
        columns["marks"].append(mark(asked.problem.prompt_text))
        columns["modes"].append(MODES.index(asked.problem.mode))
    messages = [written(message) for message in found.messages]
    replies = [[place, str(mode)] for place, mode in found.replies]
    return json.dumps([messages, replies], ensure_ascii=False).encode()


def chat_of(record: bytes) -> Chat:
    """The conversation of a record."""
    messages, replies = json.loads(record)
    return Chat(tuple(Message(*m) for m in messages), tuple((place, Mode(mode)) for place, mode in replies))


CHATS = Form({"replies": WORD, "marks": LONG, "modes": BYTE}, _record)


class Replies(Read[Demonstration]):
    """At most `wanted` replies of a table, conversation by conversation in the order of the seed.

    With `last` the last one of each conversation. `total` says how many there are, `rows` how many
    conversations they are of. In memory are 16 bytes a conversation.
    """

    def __init__(self, kept: Kept, seed: str, wanted: int, *, last: bool) -> None:
        self._kept, self._seed, self._last = kept, seed, last
        replies = kept.store.columns["replies"]
        self.total = len(replies) if last else int(replies.sum(dtype=np.uint64))
        order = array(LONG, range(len(replies)))
        random.Random(seed).shuffle(order)
        rows = np.frombuffer(order, np.uint64)
        ends = np.cumsum(np.ones(len(rows), np.uint64) if last else replies[rows], dtype=np.uint64)
        # turns of a conversation stay together: only the last one that is needed may lose some
        self.rows = min(len(rows), int(np.searchsorted(ends, wanted)) + 1)
        self._rows, self._ends = rows[: self.rows].copy(), ends[: self.rows].copy()
        self._wanted = min(wanted, self.total)
        self._read: tuple[int, Sequence[Demonstration]] = (-1, ())

    def __len__(self) -> int:
        return self._wanted

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Replies) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(tuple(self.content()))

    @property
    def source(self) -> str:
        """Where they are from."""
        return self._kept.tally.source

    def content(self) -> list[Any]:
        """What decides them: the rows of the table, and which of them come in which order."""
        return [self.source, self._kept.content, self._seed, self._last, self._wanted]

    def counts(self) -> Counter[tuple[str, str]]:
        """How many there are by source and mode."""
        numbers, first, counts = np.unique(
            self._kept.store.columns["modes"][self._places()], return_index=True, return_counts=True
        )
        # in the order in which they come, as of taught ones
        found = sorted(zip(first, numbers, counts, strict=True))
        return Counter({(self.source, str(MODES[number])): int(count) for _, number, count in found})

    def marks(self) -> np.ndarray:
        """The mark of each prompt, in order: [replies] uint64."""
        found: np.ndarray = self._kept.store.columns["marks"][self._places()]
        return found

    def _places(self) -> np.ndarray:
        """The place of each reply in the columns of replies."""
        replies = self._kept.store.columns["replies"]
        starts = np.cumsum(replies, dtype=np.uint64) - replies
        if self._last:
            lasts: np.ndarray = (starts + replies - np.uint64(1))[self._rows]
            return lasts
        counts = np.diff(self._ends, prepend=np.uint64(0))
        begins = np.repeat(starts[self._rows] - (self._ends - counts), counts.astype(np.int64))
        places: np.ndarray = (begins + np.arange(len(begins), dtype=np.uint64))[: self._wanted]
        return places

    def _one(self, index: int) -> Demonstration:
        place = int(np.searchsorted(self._ends, np.uint64(index), "right"))
        # replies of a conversation follow each other: it is read once for all of them
        if self._read[0] != place:
            found = chat_of(self._kept.store[int(self._rows[place])])
            self._read = (place, found.demonstrations(self.source, last=self._last))
        return self._read[1][index - (int(self._ends[place - 1]) if place else 0)]


class Prompts(Marked):
    """The problems of replies."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def marks(self) -> np.ndarray:
        """Those of the replies."""
        return self._replies.marks()

    def _one(self, index: int) -> Problem:
        return self._replies[index].problem


@dataclass(frozen=True, slots=True)
class Mixture(Demonstrations):
    """Demonstrations of which some are replies of own conversations; `items` are those of `parts`."""

    parts: tuple[Demonstrations | Replies, ...] = ()

    def pools(self) -> tuple[Sequence[Problem], ...]:
        """Of own replies a pool a table, each prompt as often as it is asked."""
        return tuple(
            pool
            for part in self.parts
            for pool in (part.pools() if isinstance(part, Demonstrations) else (Prompts(part),))
        )

    def content(self) -> list[Any]:
        """Prompts and replies of teachers; of own replies what decides them."""
        found: list[Any] = []
        for part in self.parts:
            found += part.content() if isinstance(part, Demonstrations) else [part.content()]
        return found + Demonstrations(self.heldout).content()

    def described(self) -> list[str]:
        """Counts by domain or source and mode."""
        counts = Counter[tuple[str, str]]()
        for part in self.parts:
            counts.update(part.counts() if isinstance(part, Replies) else _counts(part.items))
        made = [f"{domain}, {mode}: {count} demonstrations" for (domain, mode), count in counts.items()]
        return made + [tally.line() for tally in self.tallies]


def _counts(items: Sequence[Demonstration]) -> Counter[tuple[str, str]]:
    return Counter((item.problem.domain, str(item.problem.mode)) for item in items)


def mixture(parts: Sequence[Sequence[Demonstration]], tallies: Sequence[Any]) -> Demonstrations:
    """What SFT trains on, in the order of the recipe's data."""
    items: Joined[Demonstration] = Joined(parts)
    if not any(isinstance(part, Replies) for part in parts):
        return Demonstrations(tuple(items), tuple(tallies))
    whole = tuple(part if isinstance(part, Replies) else Demonstrations(tuple(part)) for part in parts)
    return Mixture(items, tuple(tallies), parts=whole)
