"""Conversations and pairs out of a user's own rows, which hold their replies: no domain is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np

from cascade_rl.data.disjoint import problems_with
from cascade_rl.data.preferred import PREFERENCES, Asked, KeptPairs, OwnPairs, sides
from cascade_rl.data.replies import CHATS, Replies
from cascade_rl.data.shelf import Form, Kept, Shelf, Table, keep
from cascade_rl.errors import InputError, StageError
from cascade_rl.recipe import ChatData, OwnRows, RewardModelStage
from cascade_rl.sources.own_maps import Said, chat_map, pair_map
from cascade_rl.sources.own_rows import Made, counted, own_rows, refuse_bad
from cascade_rl.types import Pairs, Tally

T = TypeVar("T")


def check_rows(rows: OwnRows, most: int | None = None) -> Tally:
    """Read and map the rows, or the first `most` of them; what became of them.

    Raises InputError for what can't be used.
    """
    one: Made[object] = (chat_map if rows.chats else pair_map)(rows.map, rows.split)
    tally = counted(rows.source, islice(own_rows(rows.source, one), most))
    if tally.read != most:
        refuse_bad(tally, rows.bad_rows)
    # what is left unread may be good where the first rows are not
    elif tally.bad and rows.bad_rows in (None, "strict"):
        try:
            refuse_bad(tally, rows.bad_rows)
        except InputError as error:
            raise InputError(f"of the first rows: {error}") from None
    return tally


def own_replies(
    stage: str, data: ChatData, wanted: int, seed: str, shelf: Shelf | None
) -> tuple[Replies, Tally]:
    """`wanted` replies of own conversations in the order of the seed, and what became of the rows.

    Raises StageError when there are fewer.
    """
    made = chat_map(data.map, data.split)
    kept = _kept(shelf, CHATS, stage, Table(data.source, made, _said(data.map, data.split), data.bad_rows))
    replies = Replies(kept, f"{seed}/{data.source}", wanted, last=data.targets == "last")
    if replies.total < wanted:
        raise StageError(
            f"{stage}: {data.source} has only {replies.total} replies, {wanted} are asked for; "
            "lower samples or its weight"
        )
    beside = (*kept.tally.beside, f"{replies.total} replies in all, {wanted} trained on")
    return replies, replace(kept.tally, used=replies.rows, beside=beside)


def _said(map: Said, split: str | None) -> str:
    """How rows are read, as a text: operations in another order are another map."""
    return json.dumps([map, split])


def _kept(shelf: Shelf | None, form: Form[T], stage: str, table: Table[T]) -> Kept:
    if shelf is None:
        raise ValueError("own rows need a shelf to be kept on")
    try:
        return keep(shelf, form, table)
    # of rows behind those that were looked at when the recipe was read
    except InputError as error:
        raise InputError(f"{stage}: {error}") from None


def own_pairs(stage: RewardModelStage, seed: int, shelf: Shelf | None) -> Pairs:
    """Own pairs, those on some prompts held out; each pair once.

    Raises StageError when there are none for training or none for measuring.
    """
    if stage.map is None:
        raise ValueError("own pairs need a map, which the recipe asks for")
    made = pair_map(stage.map, stage.split)
    table = Table(stage.source, made, _said(stage.map, stage.split), stage.bad_rows)
    kept = _kept(shelf, PREFERENCES, stage.name, table)
    training, heldout = (KeptPairs(kept, rows) for rows in sides(kept, f"{seed}/{stage.name}"))
    _refuse_shared(stage, training, heldout)
    _refuse_few(stage, len(training), len(heldout))
    used, measured = training.first(stage.pairs), heldout.first(stage.heldout_pairs)
    tally = replace(
        kept.tally,
        repeated=len(kept.store) - len(training) - len(heldout),
        kept=len(training) + len(heldout),
        used=len(used) + len(measured),
        beside=(*kept.tally.beside, f"{len(used)} trained on", f"{len(measured)} held out"),
    )
    return OwnPairs(used, measured, (tally,))


def _refuse_shared(stage: RewardModelStage, training: KeptPairs, heldout: KeptPairs) -> None:
    """A hash keeps prompts apart, a column may not: who has seen two answers to one knows the third."""
    alike = np.intersect1d(training.marks, heldout.marks)
    # two prompts may have one mark: the texts decide
    sides = (
        {problem.prompt_text for problem in problems_with([Asked(s)], alike)} for s in (training, heldout)
    )
    shared = set.intersection(*sides)
    if shared:
        raise StageError(
            f"{stage.name}: {stage.source} puts {len(shared)} prompts on both sides, training and held "
            f"out, such as {min(shared)!r:.100}; split: hash keeps them apart"
        )


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
