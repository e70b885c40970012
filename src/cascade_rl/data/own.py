"""Conversations and pairs out of a user's own rows, which hold their replies: no domain is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from cascade_rl.data.preferred import PREFERENCES, KeptPairs, OwnPairs, sides
from cascade_rl.data.replies import CHATS, Replies
from cascade_rl.data.shelf import Form, Kept, Shelf, keep
from cascade_rl.errors import InputError, StageError
from cascade_rl.recipe import ChatData, OwnRows, RewardModelStage
from cascade_rl.sources.chats import CHAT_MAPS, Chat
from cascade_rl.sources.own_rows import OwnRow, counted, own_rows, refuse_bad
from cascade_rl.sources.preferences import PAIR_MAPS, Preference
from cascade_rl.types import Pairs, Tally

OWN_MAPS: Mapping[str, Callable[[Mapping[str, Any]], Chat | Preference | None]] = {**CHAT_MAPS, **PAIR_MAPS}

T = TypeVar("T")


def check_rows(rows: OwnRows, most: int | None = None) -> Tally:
    """Read and map the rows, or the first `most` of them; what became of them.

    Raises InputError for what can't be used.
    """
    found: Iterator[OwnRow[Chat | Preference]] = own_rows(rows.source, OWN_MAPS[rows.map])
    tally = counted(rows.source, islice(found, most))
    # rows that are left unread may be good where the first are not
    if tally.read != most:
        refuse_bad(tally, skip=rows.skip)
    elif tally.bad and not rows.skip:
        refuse_bad(tally, skip=False, of="the first ")
    return tally


def own_replies(
    stage: str, data: ChatData, wanted: int, seed: str, shelf: Shelf | None
) -> tuple[Replies, Tally]:
    """`wanted` replies of own conversations in the order of the seed, and what became of the rows.

    Raises StageError when there are fewer.
    """
    kept = _kept(shelf, CHATS, stage, data.source, data.map, skip=data.bad_rows == "skip")
    replies = Replies(kept, f"{seed}/{data.source}", wanted, last=data.targets == "last")
    if replies.total < wanted:
        raise StageError(
            f"{stage}: {data.source} has only {replies.total} replies, {wanted} are asked for; "
            "lower samples or its weight"
        )
    beside = (*kept.tally.beside, f"{replies.total} replies in all, {wanted} trained on")
    return replies, replace(kept.tally, used=replies.rows, beside=beside)


def _kept(shelf: Shelf | None, form: Form[T], stage: str, source: str, name: str, *, skip: bool) -> Kept:
    if shelf is None:
        raise ValueError("own rows need a shelf to be kept on")
    try:
        return keep(shelf, form, source, name, skip=skip)
    # rows behind those that were looked at when the recipe was read
    except InputError as error:
        raise InputError(f"{stage}: {error}") from None


def own_pairs(stage: RewardModelStage, seed: int, shelf: Shelf | None) -> Pairs:
    """Own pairs, those on some prompts held out; each pair once.

    Raises StageError when there are none for training or none for measuring.
    """
    if stage.map is None:
        raise ValueError("own pairs need a map, which the recipe asks for")
    kept = _kept(shelf, PREFERENCES, stage.name, stage.source, stage.map, skip=stage.bad_rows == "skip")
    training, heldout = sides(kept, f"{seed}/{stage.name}")
    _refuse_few(stage, len(training), len(heldout))
    used, measured = training[: stage.pairs], heldout[: stage.heldout_pairs]
    tally = replace(
        kept.tally,
        repeated=len(kept.store) - len(training) - len(heldout),
        kept=len(training) + len(heldout),
        used=len(used) + len(measured),
        beside=(*kept.tally.beside, f"{len(used)} trained on", f"{len(measured)} held out"),
    )
    return OwnPairs(KeptPairs(kept, used), KeptPairs(kept, measured), (tally,))


def _refuse_few(stage: RewardModelStage, training: int, heldout: int) -> None:
    if not training or not heldout:
        raise StageError(
            f"{stage.name}: of the pairs in {stage.source} {training} are for training and "
            f"{heldout} held out, by a hash of their prompts; both are needed: give more prompts"
        )
    # steps are counted in epochs of `pairs`
    if stage.epochs is not None and training < stage.pairs:
        raise StageError(
            f"{stage.name}: {stage.source} has {training} pairs for training, and epochs are counted "
            f"by pairs: {stage.pairs}; set pairs: {training}, or steps instead of epochs"
        )
