"""What a stage trains on as token ids, on the disk: encoded once, in order, then read batch by batch.

A sample is two lists of ids, such as prompt and reply, or chosen and rejected. Those that are too long are
counted here, so that how many there are is known before the first step, and steps follow from their numbers.
The store lies in the stage's folder while it trains; a resume finds it there and encodes nothing again.
"""

from __future__ import annotations

import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from cascade_rl.errors import InputError, Interrupted, StageError
from cascade_rl.model.taught import Fitted, Ids
from cascade_rl.recipe import digest
from cascade_rl.run.folder import TOKENS
from cascade_rl.run.store import WORD, Store, open_store, writing
from cascade_rl.train.stage_run import S, StageRun
from cascade_rl.types import Problem

CHUNK = 1024  # items that are encoded together: the tokenizer spreads them over the processor's cores

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Encoding(Generic[T]):
    """How items become samples.

    encode  the ids of several items
    fit     what of a sample is trained on
    asked   the problem of an item, under whose domain or source it is counted
    """

    encode: Callable[[Sequence[T]], Sequence[Ids]]
    fit: Callable[[Ids], Fitted]
    asked: Callable[[T], Problem]


class Samples:
    """Samples on the disk; `lines` says what was done to how many of each source."""

    def __init__(self, store: Store, code: str) -> None:
        self._store, self._code = store, code
        self.lines = tuple(f"{source}: {n} {remark}" for remark, source, n in store.facts["remarks"])

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, index: int) -> Ids:
        ids = array(self._code, self._store[index]).tolist()
        start = int(self._store.columns["starts"][index])
        return ids[:start], ids[start:]


@contextmanager
def encoded(run: StageRun[S], items: Sequence[T], encoding: Encoding[T], limit: int) -> Iterator[Samples]:
    """The samples of a stage, encoded now or found where an interrupted try of it left them.

    `limit` is the most tokens of one, which with the stage's settings decides what `fit` does. They are
    removed when the stage has ended. Raises StageError when none is left, Interrupted when asked to stop.
    """
    folder, tokenizer = run.book.folder / TOKENS, run.world.tokenizer
    code = "H" if tokenizer.size <= 1 << 16 else WORD
    key = digest([run.key, limit, code, tokenizer.hash()])
    # a stage without a key knows nothing of an earlier try
    store = open_store(folder, key) if run.key else None
    if store is None:
        _write(run, items, encoding, code, key)
        store = open_store(folder, key)
    if store is None:
        raise StageError(
            f"{folder} can't be read right after it was written: the disk loses what it is given"
        )
    samples = Samples(store, code)
    for line in samples.lines:
        run.screen.note(f"{run.stage.name}: {line}")
    if not len(samples):
        raise StageError(f"{run.stage.name}: nothing of it fits into {limit} tokens; raise max_tokens")
    try:
        yield samples
    # a stage that failed is begun anew with other settings, one that was stopped goes on with the same
    except StageError:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _ids(run: StageRun[S], part: Sequence[T], encoding: Encoding[T]) -> Sequence[Ids]:
    """The ids of some items; StageError names the first that the model's template can't write."""
    try:
        return encoding.encode(part)
    except InputError:
        for item in part:
            try:
                encoding.encode([item])
            except InputError as error:
                asked = encoding.asked(item)
                text = " ".join(asked.prompt_text.split())
                raise StageError(f"{run.stage.name}: {asked.domain}, {text!r:.60}: {error}") from None
        raise


def _write(run: StageRun[S], items: Sequence[T], encoding: Encoding[T], code: str, key: str) -> None:
    remarks = Counter[tuple[str, str]]()
    with writing(run.book.folder / TOKENS, {"starts": WORD}) as writer:
        for start in range(0, len(items), CHUNK):
            if start:
                run.screen.waiting(f"tokenising: {start:,} of {len(items):,} samples", start / len(items))
            if start and run.stop_asked():
                raise Interrupted(f"stopped while the samples of {run.stage.name} were tokenised")
            part = items[start : start + CHUNK]
            for item, ids in zip(part, _ids(run, part, encoding), strict=True):
                kept, remark = encoding.fit(ids)
                if remark:
                    remarks[remark, encoding.asked(item).domain] += 1
                if kept is not None:
                    writer.columns["starts"].append(len(kept[0]))
                    writer.add(array(code, kept[0] + kept[1]).tobytes())
        counts = [[remark, source, n] for (remark, source), n in remarks.items()]
        writer.finish(key, {"remarks": counts})
